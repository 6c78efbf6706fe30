//! Which proof counts where.

use std::sync::Arc;

use broker_core::engine::{AuthOutcome, AuthProof, AuthRequest};
use broker_core::types::ProtocolVersion;
use broker_policy::{Client, PasswordHash, Policy, Record, RefusalReason, Settings};

use super::authentication::{Decision, Proofs, decide};

const PASSWORD: Proofs =
    Proofs { password: true, certificate: false, word: false, none: false, anonymous: true };
const BOTH: Proofs = Proofs { certificate: true, ..PASSWORD };
const CERTIFICATE: Proofs = Proofs { password: false, ..BOTH };
const WORD: Proofs = Proofs { password: false, word: true, ..PASSWORD };
const NONE: Proofs = Proofs { password: false, none: true, ..PASSWORD };

fn policy() -> Policy {
    let hash = PasswordHash::pbkdf2_sha512(b"secret", &[7; 16], 1).unwrap();
    let client = |username: &str| Client { username: username.to_owned(), ..Client::default() };
    let records = [
        Client { certificate: true, ..client("camera") },
        Client { password: Some(hash), ..client("pump") },
        Client { certificate: true, disabled: true, ..client("gone") },
    ];
    Policy::from_records(records.map(Record::Client)).unwrap()
}

fn request(username: Option<&str>, password: Option<&[u8]>, name: Option<&str>) -> AuthRequest {
    AuthRequest {
        policy: Arc::new(policy()),
        client_id: "device".into(),
        version: ProtocolVersion::V5,
        username: username.map(Arc::from),
        password: password.map(Box::from),
        certificate_name: name.map(Arc::from),
    }
}

fn is_certified_as(decision: &Decision, wanted: &str) -> bool {
    matches!(
        decision,
        Decision::Done(AuthOutcome::Accepted { username: Some(name), proof: AuthProof::Certificate })
            if &**name == wanted
    )
}

#[test]
fn a_certificate_is_the_user_name_where_the_listener_says_so() {
    let plain = request(None, None, Some("camera"));
    assert!(is_certified_as(&decide(BOTH, &plain), "camera"));
    assert!(is_certified_as(&decide(CERTIFICATE, &plain), "camera"));
    let named = request(Some("camera"), None, Some("camera"));
    assert!(is_certified_as(&decide(BOTH, &named), "camera"));
    let refused = decide(PASSWORD, &plain);
    assert_eq!(refused, Decision::Refused(RefusalReason::AnonymousRefused));
}

#[test]
fn a_certificate_is_no_proof_of_another_name() {
    let refused = decide(BOTH, &request(Some("pump"), None, Some("camera")));
    assert_eq!(refused, Decision::Refused(RefusalReason::CredentialMissing));
    let asked = decide(BOTH, &request(Some("pump"), Some(b"x"), Some("camera")));
    assert!(matches!(asked, Decision::Password { username, .. } if &*username == "pump"));
}

#[test]
fn a_user_with_a_password_may_show_a_certificate_beside_it() {
    let asked = decide(BOTH, &request(Some("pump"), Some(b"secret"), Some("pump")));
    assert!(matches!(asked, Decision::Password { .. }), "{asked:?}");
    let refused = decide(BOTH, &request(Some("pump"), None, Some("pump")));
    assert_eq!(refused, Decision::Refused(RefusalReason::CertificateNotAccepted));
}

#[test]
fn a_password_counts_only_where_the_listener_takes_passwords() {
    let sent = request(Some("pump"), Some(b"secret"), None);
    assert!(matches!(decide(PASSWORD, &sent), Decision::Password { .. }));
    let refused = decide(CERTIFICATE, &sent);
    assert_eq!(refused, Decision::Refused(RefusalReason::PasswordNotAccepted));
}

#[test]
fn suspended_and_unknown_users_are_refused_whatever_they_show() {
    let refused = decide(BOTH, &request(None, None, Some("gone")));
    assert_eq!(refused, Decision::Refused(RefusalReason::Suspended));
    let refused = decide(BOTH, &request(Some("nobody"), Some(b"x"), None));
    assert_eq!(refused, Decision::Refused(RefusalReason::UnknownUser));
}

/// Everybody may come in, by any name or none.
fn open(request: AuthRequest) -> AuthRequest {
    let (anonymous, guest) = (Some("all".to_owned()), Some("all".to_owned()));
    let settings =
        Settings { anonymous_group: anonymous, guest_group: guest, ..Settings::default() };
    AuthRequest {
        policy: Arc::new(Policy::from_records([Record::Settings(settings)]).unwrap()),
        ..request
    }
}

fn name_of(decision: &Decision) -> Option<Option<&str>> {
    match decision {
        Decision::Done(AuthOutcome::Accepted { username, .. }) => Some(username.as_deref()),
        _ => None,
    }
}

#[test]
fn a_believed_client_keeps_its_name_and_one_that_is_not_asked_loses_it() {
    let named = open(request(Some("anybody"), Some(b"anything"), None));
    assert_eq!(name_of(&decide(WORD, &named)), Some(Some("anybody")));
    assert_eq!(name_of(&decide(NONE, &named)), Some(None));
    let refused = Decision::Refused(RefusalReason::UnknownUser);
    assert_eq!(decide(PASSWORD, &named), refused, "a password proves no guest's name");
}

#[test]
fn a_listener_that_takes_no_anonymous_clients_refuses_them_whatever_the_policy_says() {
    let nameless = open(request(None, None, None));
    assert_eq!(name_of(&decide(PASSWORD, &nameless)), Some(None));
    for proofs in [PASSWORD, BOTH, WORD] {
        let closed = Proofs { anonymous: false, ..proofs };
        let refused = Decision::Refused(RefusalReason::AnonymousRefused);
        assert_eq!(decide(closed, &nameless), refused);
    }
}
