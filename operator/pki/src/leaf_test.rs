//! Leaves: kept while they serve, issued with a reason when they don't.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::{
    Authority, AuthorityRequest, Ensured, IssueReason, Leaf, LeafRequest, PkiError,
    ensure_authority, ensure_leaf,
};

const LIFETIME: Duration = Duration::from_secs(90 * 86_400);

fn now() -> Timestamp {
    "2026-11-22T10:00:00Z".parse().unwrap()
}

fn authority() -> Authority {
    let wanted = AuthorityRequest { cluster_name: "fleet".to_owned() };
    ensure_authority(None, &wanted, now()).unwrap().into_value()
}

fn request() -> LeafRequest {
    let names = vec!["LOCALHOST".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    LeafRequest::server("fleet", names, LIFETIME)
}

fn issued(authority: &Authority, wanted: &LeafRequest) -> Leaf {
    ensure_leaf(None, authority, wanted, now()).unwrap().into_value()
}

fn reason_at(leaf: &Leaf, authority: &Authority, wanted: &LeafRequest, at: Timestamp) -> String {
    let ensured = ensure_leaf(Some(&leaf.secret_data()), authority, wanted, at).unwrap();
    ensured.reason().map_or("Unchanged", IssueReason::as_str).to_owned()
}

#[test]
fn a_stored_leaf_that_serves_is_kept() {
    let authority = authority();
    let leaf = issued(&authority, &request());
    let again = ensure_leaf(Some(&leaf.secret_data()), &authority, &request(), now()).unwrap();
    assert_eq!(again, Ensured::Unchanged(leaf));
}

#[test]
fn a_leaf_says_what_was_asked_for() {
    let leaf = issued(&authority(), &request());
    assert_eq!(leaf.facts.common_name, "fleet");
    assert_eq!(leaf.facts.names, ["127.0.0.1", "::1", "localhost"]);
    assert_eq!(leaf.facts.not_after, now() + SignedDuration::from_hours(90 * 24));
    assert_eq!(leaf.facts.fingerprint.len(), 64);
    assert_eq!(leaf.pair.certificate.matches("BEGIN CERTIFICATE").count(), 2);
}

#[test]
fn a_peer_carries_its_clusters_name_and_its_own() {
    let names = vec!["fleet-0.fleet-brokers.iot.svc".to_owned()];
    let wanted = LeafRequest::peer("fleet-0", "01KABC", names, LIFETIME);
    let leaf = issued(&authority(), &wanted);
    assert_eq!(leaf.facts.common_name, "fleet-0");
    assert_eq!(leaf.facts.names, ["01kabc.peer.dunlin", "fleet-0.fleet-brokers.iot.svc"]);
}

#[test]
fn a_leaf_is_renewed_at_two_thirds_of_its_life() {
    let authority = authority();
    let leaf = issued(&authority, &request());
    let day = |days: i64| now() + SignedDuration::from_hours(days * 24);
    assert_eq!(reason_at(&leaf, &authority, &request(), day(54)), "Unchanged");
    assert_eq!(reason_at(&leaf, &authority, &request(), day(61)), "RenewalDue");
    assert_eq!(reason_at(&leaf, &authority, &request(), day(400)), "RenewalDue");
}

#[test]
fn other_names_or_another_lifetime_issue_anew_and_say_what_changed() {
    let authority = authority();
    let leaf = issued(&authority, &request());
    let mut wanted = request();
    wanted.names.push("mqtt.example.org".to_owned());
    assert_eq!(reason_at(&leaf, &authority, &wanted, now()), "Changed");
    let shorter = LeafRequest { lifetime: Duration::from_secs(3_600 * 24), ..request() };
    let again = ensure_leaf(Some(&leaf.secret_data()), &authority, &shorter, now()).unwrap();
    let text = again.reason().unwrap().to_string();
    assert_eq!(text, "the lifetime is now 24 h, it was 2160 h");
}

#[test]
fn names_in_another_order_or_case_change_nothing() {
    let authority = authority();
    let leaf = issued(&authority, &request());
    let mut wanted = request();
    wanted.names = vec!["::1".to_owned(), "localhost".to_owned(), "127.0.0.1".to_owned()];
    assert_eq!(reason_at(&leaf, &authority, &wanted, now()), "Unchanged");
}

#[test]
fn a_leaf_of_another_authority_is_issued_anew() {
    let leaf = issued(&authority(), &request());
    assert_eq!(reason_at(&leaf, &authority(), &request(), now()), "ForeignIssuer");
}

#[test]
fn an_authority_without_keys_keeps_its_leaves_and_issues_none() {
    let whole = authority();
    let leaf = issued(&whole, &request());
    let left = Authority::without_keys(&whole.certificates()).unwrap();
    let kept = ensure_leaf(Some(&leaf.secret_data()), &left, &request(), now()).unwrap();
    assert_eq!(kept, Ensured::Unchanged(leaf));
    let refused = ensure_leaf(None, &left, &request(), now()).unwrap_err();
    assert!(matches!(&refused, PkiError::KeyMissing { purpose } if purpose == "server"));
    let holds_a_key = left.secret_data().keys().any(|entry| entry.contains("key"));
    assert!(!holds_a_key && left.certificates() == whole.certificates());
}

#[test]
fn an_authority_without_keys_is_none_when_a_certificate_is_damaged() {
    let mut certificates = authority().certificates();
    certificates.insert("peer.crt".to_owned(), "nothing".to_owned());
    let refused = Authority::without_keys(&certificates).unwrap_err();
    assert!(matches!(&refused, PkiError::AuthorityBroken { entry, .. } if entry == "peer.crt"));
}

#[test]
fn a_damaged_leaf_is_issued_anew_and_the_damage_is_told() {
    let authority = authority();
    let leaf = issued(&authority, &request());
    let other = issued(&authority, &request());
    let mut data = leaf.secret_data();
    data.insert("tls.key".to_owned(), other.pair.key.as_bytes().to_vec());
    let again = ensure_leaf(Some(&data), &authority, &request(), now()).unwrap();
    let reason = again.reason().unwrap().to_string();
    assert!(reason.ends_with("the key does not belong to the certificate"), "{reason}");
    for entry in ["tls.crt", "tls.key"] {
        let mut data = leaf.secret_data();
        data.insert(entry.to_owned(), b"\xff\xfe".to_vec());
        let again = ensure_leaf(Some(&data), &authority, &request(), now()).unwrap();
        assert_eq!(again.reason().unwrap().as_str(), "Broken");
    }
}

#[test]
fn requests_that_cannot_be_met_say_what_to_change() {
    let authority = authority();
    let refusal = |wanted: LeafRequest| ensure_leaf(None, &authority, &wanted, now()).unwrap_err();
    let named = |name: &str| LeafRequest { names: vec![name.to_owned()], ..request() };
    for name in ["a b", "", "*.", "a..b", "ünï.example", "*.*.example"] {
        let error = refusal(named(name));
        assert!(matches!(error, PkiError::InvalidName { .. }), "{name:?}: {error}");
    }
    let error = refusal(LeafRequest::client("", LIFETIME));
    assert!(matches!(error, PkiError::EmptyCommonName));
    let error = refusal(LeafRequest::client("pump", Duration::from_secs(60)));
    assert!(matches!(error, PkiError::LifetimeOutOfBounds { hours: 0 }));
    let error = refusal(LeafRequest::client("pump", Duration::from_secs(87_601 * 3_600)));
    assert!(matches!(error, PkiError::LifetimeOutOfBounds { hours: 87_601 }));
}

#[test]
fn a_wildcard_name_is_allowed() {
    let names = vec!["*.fleet-brokers.iot.svc".to_owned()];
    let leaf = issued(&authority(), &LeafRequest::server("fleet", names, LIFETIME));
    assert_eq!(leaf.facts.names, ["*.fleet-brokers.iot.svc"]);
}

#[test]
fn a_clock_outside_of_all_calendars_is_an_error() {
    let wanted = request();
    let early = ensure_leaf(None, &authority(), &wanted, Timestamp::MIN);
    assert!(matches!(early, Err(PkiError::TimeOutOfBounds { .. })));
    let late = ensure_leaf(None, &authority(), &wanted, Timestamp::MAX);
    assert!(matches!(late, Err(PkiError::TimeOutOfBounds { .. })));
}
