//! Who is this client? From what it presents, what the listener allows, and the policy. Pure.

use std::sync::Arc;

use broker_config::{Authentication, Listener};
use broker_core::codec::ReasonCode;
use broker_core::engine::{AuthOutcome, AuthProof, AuthRequest, Profile};
use broker_policy::realm::user_in;
use broker_policy::{AuthDecision, Credential, PasswordHash, RefusalReason};

/// What a listener lets count as proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Proofs {
    pub(super) password: bool,
    pub(super) certificate: bool,
    /// The client's word.
    pub(super) word: bool,
    /// None is asked for: whatever the client calls itself, it is anonymous.
    pub(super) none: bool,
    /// Clients without a user name may come in, where the policy has a group for them.
    pub(super) anonymous: bool,
}

impl Proofs {
    pub(super) fn of(listener: &Listener) -> Self {
        Self {
            password: listener.allows(Authentication::Password),
            certificate: listener.allows(Authentication::X509),
            word: listener.allows(Authentication::Believed),
            none: listener.allows(Authentication::Anonymous),
            anonymous: listener.anonymous,
        }
    }
}

/// The answer, or the password check that is left to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// Final.
    Done(AuthOutcome),
    /// Refused, for this reason.
    Refused(RefusalReason),
    /// Accepted as this user, if the password in the request is the one of the hash.
    Password { username: Arc<str>, hash: PasswordHash },
}

/// Decides over a CONNECT.
///
/// The name in a verified certificate counts where the listener allows it, and where the client
/// names itself differently in CONNECT, it must prove that name by its password.
///
/// `realm`: the one whose users the listener's clients are.
pub(super) fn decide(proofs: Proofs, realm: Option<&str>, request: &AuthRequest) -> Decision {
    let policy = &request.policy;
    let certified = request.certificate_name.as_ref().filter(|_| proofs.certificate);
    let named = request.username.as_ref();
    if let Some(name) = certified
        && named.is_none_or(|named| named == name)
    {
        let user = user_of(realm, Some(name));
        let (username, client_id) = (user.as_deref(), request.client_id.as_str());
        match policy.authenticate(username, client_id, Credential::Certificate) {
            AuthDecision::Accepted => return accepted(user, AuthProof::Certificate),
            // A user who needs a password may show a certificate too.
            AuthDecision::Refused(RefusalReason::CertificateNotAccepted)
                if request.password.is_some() => {}
            AuthDecision::Refused(reason) => return Decision::Refused(reason),
            AuthDecision::NeedsVerification(_) => {}
        }
    }
    let named = named.filter(|_| !proofs.none);
    if named.is_none() && !proofs.anonymous {
        return Decision::Refused(RefusalReason::AnonymousRefused);
    }
    let credential = match request.password.as_deref() {
        _ if proofs.word => Credential::Believed,
        None => Credential::None,
        Some(_) if !proofs.password && named.is_some() => {
            return Decision::Refused(RefusalReason::PasswordNotAccepted);
        }
        Some(password) => Credential::Password(password),
    };
    let user = user_of(realm, named);
    match policy.authenticate(user.as_deref(), request.client_id.as_str(), credential) {
        AuthDecision::Refused(reason) => Decision::Refused(reason),
        AuthDecision::Accepted => accepted(user, AuthProof::None),
        AuthDecision::NeedsVerification(hash) => match user {
            Some(username) => Decision::Password { username, hash },
            None => Decision::Refused(RefusalReason::CredentialMissing),
        },
    }
}

fn accepted(username: Option<Arc<str>>, proof: AuthProof) -> Decision {
    Decision::Done(AuthOutcome::Accepted { username, proof })
}

/// The user whom a client's name is, where it came in.
fn user_of(realm: Option<&str>, name: Option<&Arc<str>>) -> Option<Arc<str>> {
    match realm {
        None => name.cloned(),
        Some(realm) => Some(user_in(realm, name.map(AsRef::as_ref))),
    }
}

/// What the client is told: whether a user exists is not its business.
pub(super) fn reason_code(reason: RefusalReason, profile: Profile) -> ReasonCode {
    match reason {
        // As Mosquitto, which has one answer for all.
        _ if profile == Profile::Mosquitto => ReasonCode::NotAuthorized,
        RefusalReason::UnknownUser
        | RefusalReason::CredentialMissing
        | RefusalReason::PasswordNotAccepted
        | RefusalReason::CertificateNotAccepted
        | RefusalReason::WrongPassword => ReasonCode::BadUserNameOrPassword,
        RefusalReason::Suspended
        | RefusalReason::ClientIdNotAllowed
        | RefusalReason::AnonymousRefused => ReasonCode::NotAuthorized,
    }
}
