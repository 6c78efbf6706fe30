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
    assert!(is_certified_as(&decide(BOTH, None, &plain), "camera"));
    assert!(is_certified_as(&decide(CERTIFICATE, None, &plain), "camera"));
    let named = request(Some("camera"), None, Some("camera"));
    assert!(is_certified_as(&decide(BOTH, None, &named), "camera"));
    let refused = decide(PASSWORD, None, &plain);
    assert_eq!(refused, Decision::Refused(RefusalReason::AnonymousRefused));
}

#[test]
fn a_certificate_is_no_proof_of_another_name() {
    let refused = decide(BOTH, None, &request(Some("pump"), None, Some("camera")));
    assert_eq!(refused, Decision::Refused(RefusalReason::CredentialMissing));
    let asked = decide(BOTH, None, &request(Some("pump"), Some(b"x"), Some("camera")));
    assert!(matches!(asked, Decision::Password { username, .. } if &*username == "pump"));
}

#[test]
fn a_user_with_a_password_may_show_a_certificate_beside_it() {
    let asked = decide(BOTH, None, &request(Some("pump"), Some(b"secret"), Some("pump")));
    assert!(matches!(asked, Decision::Password { .. }), "{asked:?}");
    let refused = decide(BOTH, None, &request(Some("pump"), None, Some("pump")));
    assert_eq!(refused, Decision::Refused(RefusalReason::CertificateNotAccepted));
}

#[test]
fn a_password_counts_only_where_the_listener_takes_passwords() {
    let sent = request(Some("pump"), Some(b"secret"), None);
    assert!(matches!(decide(PASSWORD, None, &sent), Decision::Password { .. }));
    let refused = decide(CERTIFICATE, None, &sent);
    assert_eq!(refused, Decision::Refused(RefusalReason::PasswordNotAccepted));
}

#[test]
fn suspended_and_unknown_users_are_refused_whatever_they_show() {
    let refused = decide(BOTH, None, &request(None, None, Some("gone")));
    assert_eq!(refused, Decision::Refused(RefusalReason::Suspended));
    let refused = decide(BOTH, None, &request(Some("nobody"), Some(b"x"), None));
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
    assert_eq!(name_of(&decide(WORD, None, &named)), Some(Some("anybody")));
    assert_eq!(name_of(&decide(NONE, None, &named)), Some(None));
    let refused = Decision::Refused(RefusalReason::UnknownUser);
    assert_eq!(decide(PASSWORD, None, &named), refused, "a password proves no guest's name");
}

#[test]
fn a_client_is_a_user_of_the_realm_of_its_listener() {
    let own = |name: &str| broker_policy::realm::user_in("own", Some(name));
    let settings = broker_policy::realm::RealmSettings {
        guest_group: Some("all".to_owned()),
        anonymous_group: Some("all".to_owned()),
        ..Default::default()
    };
    let realms = [("own".to_owned(), settings)].into();
    let hash = PasswordHash::pbkdf2_sha512(b"secret", &[7; 16], 1).unwrap();
    let records = [
        Record::Settings(Settings { realms, ..Settings::default() }),
        Record::Client(Client {
            username: own("pump").to_string(),
            password: Some(hash),
            ..Client::default()
        }),
    ];
    let asked = |username: Option<&str>| AuthRequest {
        policy: Arc::new(Policy::from_records(records.clone()).unwrap()),
        ..request(username, Some(b"secret"), None)
    };
    let inside = decide(PASSWORD, Some("own"), &asked(Some("pump")));
    assert!(matches!(inside, Decision::Password { username, .. } if username == own("pump")));
    let outside = decide(PASSWORD, None, &asked(Some("pump")));
    assert_eq!(outside, Decision::Refused(RefusalReason::UnknownUser));
    let guest = decide(WORD, Some("own"), &asked(Some("anybody")));
    assert_eq!(name_of(&guest), Some(Some(&*own("anybody"))));
    let nameless = decide(WORD, Some("own"), &asked(None));
    assert_eq!(name_of(&nameless), Some(Some(&*broker_policy::realm::user_in("own", None))));
    let outside = decide(WORD, None, &asked(None));
    assert_eq!(outside, Decision::Refused(RefusalReason::AnonymousRefused));
}

#[test]
fn a_listener_that_takes_no_anonymous_clients_refuses_them_whatever_the_policy_says() {
    let nameless = open(request(None, None, None));
    assert_eq!(name_of(&decide(PASSWORD, None, &nameless)), Some(None));
    for proofs in [PASSWORD, BOTH, WORD] {
        let closed = Proofs { anonymous: false, ..proofs };
        let refused = Decision::Refused(RefusalReason::AnonymousRefused);
        assert_eq!(decide(closed, None, &nameless), refused);
    }
}
