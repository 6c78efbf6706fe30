use crate::authentication::{AuthDecision, Credential, RefusalReason};
use crate::password::PasswordHash;
use crate::record::*;
use crate::snapshot::Policy;

fn hash() -> PasswordHash {
    PasswordHash::pbkdf2_sha512(b"secret", b"twelve bytes", 1).unwrap()
}

fn policy(anonymous_group: Option<&str>) -> Policy {
    let client = |username: &str| Client { username: username.into(), ..Client::default() };
    let settings =
        Settings { anonymous_group: anonymous_group.map(str::to_owned), ..Settings::default() };
    Policy::from_records([
        Record::Client(Client {
            password: Some(hash()),
            client_ids: vec![ClientIdPattern::parse("pump-*")],
            ..client("pump")
        }),
        Record::Client(Client { disabled: true, password: Some(hash()), ..client("idle") }),
        Record::Client(Client { certificate: true, ..client("gate") }),
        Record::Client(client("mute")),
        Record::Settings(settings),
    ])
    .unwrap()
}

#[test]
fn a_password_is_asked_for_only_after_the_cheap_checks() {
    use AuthDecision::{Accepted, NeedsVerification, Refused};
    let password = Credential::Password(b"secret");
    for (username, client_id, credential, expected) in [
        ("pump", "pump-1", password, NeedsVerification(hash())),
        ("pump", "gate-1", password, Refused(RefusalReason::ClientIdNotAllowed)),
        ("pump", "pump-1", Credential::None, Refused(RefusalReason::CredentialMissing)),
        ("pump", "pump-1", Credential::Certificate, Refused(RefusalReason::CertificateNotAccepted)),
        ("ghost", "pump-1", password, Refused(RefusalReason::UnknownUser)),
        ("idle", "any", password, Refused(RefusalReason::Suspended)),
        ("gate", "any", Credential::Certificate, Accepted),
        ("gate", "any", password, Refused(RefusalReason::PasswordNotAccepted)),
        ("mute", "any", password, Refused(RefusalReason::PasswordNotAccepted)),
        ("mute", "any", Credential::Certificate, Refused(RefusalReason::CertificateNotAccepted)),
    ] {
        let decision = policy(None).authenticate(Some(username), client_id, credential);
        assert_eq!(decision, expected, "{username} {client_id}");
    }
}

#[test]
fn anonymous_clients_need_an_anonymous_group() {
    let decide = |policy: &Policy| policy.authenticate(None, "c", Credential::None);
    let refused = AuthDecision::Refused(RefusalReason::AnonymousRefused);
    assert_eq!(decide(&policy(None)), refused);
    assert_eq!(decide(&policy(Some("guests"))), AuthDecision::Accepted);
}

#[test]
fn a_refusal_has_a_sentence_and_a_label() {
    assert_eq!(RefusalReason::Suspended.to_string(), "the user is suspended");
    assert_eq!(RefusalReason::Suspended.as_str(), "Suspended");
}

#[test]
fn a_name_without_a_record_is_a_guests_where_it_is_proven_or_believed() {
    let closed = policy(None);
    let settings = Settings { guest_group: Some("guests".into()), ..Settings::default() };
    let open = Policy::from_records([Record::Settings(settings)]).unwrap();
    let unknown = AuthDecision::Refused(RefusalReason::UnknownUser);
    for credential in [Credential::Believed, Credential::Certificate] {
        assert_eq!(closed.authenticate(Some("nobody"), "c", credential), unknown);
        assert_eq!(open.authenticate(Some("nobody"), "c", credential), AuthDecision::Accepted);
    }
    for credential in [Credential::Password(b"x"), Credential::None] {
        assert_eq!(open.authenticate(Some("nobody"), "c", credential), unknown);
    }
    assert_eq!(open.admits(Some("nobody"), "c"), Ok(()));
    assert_eq!(open.admits(None, "c"), Err(RefusalReason::AnonymousRefused));
}

#[test]
fn a_believed_name_is_refused_where_its_record_says_so() {
    let policy = policy(None);
    let ask = |name, id| policy.authenticate(Some(name), id, Credential::Believed);
    assert_eq!(ask("pump", "pump-1"), AuthDecision::Accepted);
    let refused = AuthDecision::Refused(RefusalReason::ClientIdNotAllowed);
    assert_eq!(ask("pump", "other"), refused);
}
