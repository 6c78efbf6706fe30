//! Authorities: made once, kept, renewed with their keys, never silently replaced.

use jiff::{SignedDuration, Timestamp};

use crate::{
    Authority, AuthorityRequest, CertificateFacts, Ensured, IssueReason, LeafRequest, PkiError,
    Purpose, SecretData, ensure_authority, ensure_leaf, given_authority,
};

const YEAR: SignedDuration = SignedDuration::from_hours(365 * 24);

fn now() -> Timestamp {
    "2026-11-22T10:00:00Z".parse().unwrap()
}

fn request() -> AuthorityRequest {
    AuthorityRequest { cluster_name: "fleet".to_owned() }
}

fn made() -> Authority {
    ensure_authority(None, &request(), now()).unwrap().into_value()
}

fn broken_entry(data: &SecretData) -> String {
    match ensure_authority(Some(data), &request(), now()) {
        Err(PkiError::AuthorityBroken { entry, .. }) => entry,
        other => panic!("expected a broken authority, got {other:?}"),
    }
}

#[test]
fn an_authority_that_is_missing_is_made() {
    let made = ensure_authority(None, &request(), now()).unwrap();
    assert_eq!(made.reason(), Some(&IssueReason::Missing));
    let names: Vec<_> = made.value().secret_data().into_keys().collect();
    let expected = [
        "admin.crt",
        "admin.key",
        "client.crt",
        "client.key",
        "peer.crt",
        "peer.key",
        "root.crt",
        "root.key",
        "server.crt",
        "server.key",
    ];
    assert_eq!(names, expected);
}

#[test]
fn a_stored_authority_is_kept_as_it_is() {
    let authority = made();
    let again = ensure_authority(Some(&authority.secret_data()), &request(), now()).unwrap();
    assert_eq!(again, Ensured::Unchanged(authority));
}

#[test]
fn a_damaged_entry_is_named_and_nothing_is_replaced() {
    for entry in ["root.crt", "root.key", "peer.crt", "peer.key", "client.crt", "admin.key"] {
        let mut data = made().secret_data();
        data.insert(entry.to_owned(), b"-----BEGIN NOTHING-----".to_vec());
        assert_eq!(broken_entry(&data), entry);
    }
}

#[test]
fn a_missing_entry_is_named() {
    for entry in ["root.crt", "server.crt", "admin.key"] {
        let mut data = made().secret_data();
        data.remove(entry);
        assert_eq!(broken_entry(&data), entry);
    }
}

#[test]
fn a_key_of_another_certificate_is_named() {
    let mut data = made().secret_data();
    let other = made().secret_data();
    data.insert("client.key".to_owned(), other["client.key"].clone());
    assert_eq!(broken_entry(&data), "client.key");
}

#[test]
fn an_intermediate_of_another_root_is_named() {
    let mut data = made().secret_data();
    let other = made().secret_data();
    data.insert("client.key".to_owned(), other["client.key"].clone());
    data.insert("client.crt".to_owned(), other["client.crt"].clone());
    assert_eq!(broken_entry(&data), "client.crt");
}

#[test]
fn a_leaf_in_an_intermediates_place_is_named() {
    let authority = made();
    let wanted = LeafRequest::client("pump", std::time::Duration::from_secs(86_400));
    let leaf = ensure_leaf(None, &authority, &wanted, now()).unwrap().into_value();
    let mut data = authority.secret_data();
    data.insert("client.crt".to_owned(), leaf.pair.certificate.clone().into_bytes());
    data.insert("client.key".to_owned(), leaf.pair.key.as_bytes().to_vec());
    assert_eq!(broken_entry(&data), "client.crt");
}

#[test]
fn intermediates_are_renewed_with_their_keys_so_that_their_leaves_stay_valid() {
    let authority = made();
    let later = now() + YEAR * 4;
    let wanted = LeafRequest::client("pump", std::time::Duration::from_secs(9 * 365 * 86_400));
    let leaf = ensure_leaf(None, &authority, &wanted, now()).unwrap().into_value();

    let renewed = ensure_authority(Some(&authority.secret_data()), &request(), later).unwrap();

    assert!(matches!(renewed.reason(), Some(IssueReason::RenewalDue { .. })), "{renewed:?}");
    let renewed = renewed.into_value();
    assert_eq!(renewed.root_pem(), authority.root_pem());
    for purpose in Purpose::ALL {
        let facts = |authority: &Authority| {
            CertificateFacts::from_pem(authority.trust_anchor_pem(purpose).as_bytes()).unwrap()
        };
        assert!(facts(&renewed).not_after > facts(&authority).not_after);
        assert_ne!(facts(&renewed).serial_number, facts(&authority).serial_number);
    }
    let kept = ensure_leaf(Some(&leaf.secret_data()), &renewed, &wanted, later).unwrap();
    assert!(matches!(kept.reason(), Some(IssueReason::Changed { .. })), "{kept:?}");
    assert_eq!(kept.value().pair.key, leaf.pair.key, "only the chain is written anew");
    assert!(kept.value().pair.certificate.ends_with(renewed.trust_anchor_pem(Purpose::Client)));
}

#[test]
fn a_root_whose_renewal_is_due_keeps_its_key_and_name() {
    let authority = made();
    let later = now() + YEAR * 14;
    let renewed = ensure_authority(Some(&authority.secret_data()), &request(), later).unwrap();
    let renewed = renewed.into_value();
    let facts = |pem: &str| CertificateFacts::from_pem(pem.as_bytes()).unwrap();
    assert_eq!(facts(renewed.root_pem()).common_name, "fleet root CA");
    assert!(facts(renewed.root_pem()).not_after > facts(authority.root_pem()).not_after);
    let data = renewed.secret_data();
    assert_eq!(data["root.key"], authority.secret_data()["root.key"]);
    assert!(ensure_authority(Some(&data), &request(), later).unwrap().reason().is_none());
}

#[test]
fn an_offline_root_is_enough_until_an_intermediate_ends() {
    let mut data = made().secret_data();
    data.remove("root.key");
    let kept = ensure_authority(Some(&data), &request(), now() + YEAR * 4).unwrap();
    assert_eq!(kept.reason(), None);
    let ended = ensure_authority(Some(&data), &request(), now() + YEAR * 6);
    assert!(matches!(ended, Err(PkiError::RootKeyMissing { .. })), "{ended:?}");
}

#[test]
fn a_debug_text_shows_no_key() {
    let authority = made();
    let text = format!("{authority:?}");
    let key = String::from_utf8(authority.secret_data()["peer.key"].clone()).unwrap();
    let line = key.lines().nth(1).unwrap();
    assert!(!text.contains(line));
    assert!(!text.contains("PRIVATE KEY"));
}

#[test]
fn a_given_authority_is_used_as_it_is_until_it_ends() {
    let given = made();
    for at in [now(), now() + YEAR * 4] {
        assert_eq!(given_authority(&given.secret_data(), at).unwrap(), given, "at {at}");
    }
    let ended = given_authority(&given.secret_data(), now() + YEAR * 6).unwrap_err();
    assert!(matches!(ended, PkiError::GivenAuthorityEnded { .. }), "{ended}");
    assert!(ended.to_string().contains("put a renewed one there"), "{ended}");
    let mut damaged = given.secret_data();
    damaged.remove("peer.key");
    let broken = given_authority(&damaged, now()).unwrap_err();
    assert!(matches!(broken, PkiError::AuthorityBroken { .. }), "{broken}");
}
