//! May this client connect? Cheap checks first, the password last and apart. Pure.

use crate::password::PasswordHash;
use crate::realm;
use crate::snapshot::Policy;

/// What a client proves its identity with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Credential<'a> {
    /// The Password field of CONNECT.
    Password(&'a [u8]),
    /// A client certificate that the listener verified and took the username from.
    Certificate,
    /// The word of the client: the listener believes it.
    Believed,
    /// Nothing.
    None,
}

/// The answer to a connecting client.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum AuthDecision {
    /// It may connect.
    Accepted,
    /// It may not.
    Refused(RefusalReason),
    /// It may, if [`PasswordHash::verify`] says so of the password it sent; [`PasswordHash::cost`]
    /// tells whether to ask in place or on another thread.
    NeedsVerification(PasswordHash),
}

/// Why a client may not connect. Told to logs and metrics; the client learns less.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum RefusalReason {
    /// No client record has this username.
    #[error("no such user")]
    UnknownUser,
    /// The user is suspended.
    #[error("the user is suspended")]
    Suspended,
    /// The user may not take this client identifier.
    #[error("the user may not take this client identifier")]
    ClientIdNotAllowed,
    /// A username without password or certificate.
    #[error("no password and no client certificate was given")]
    CredentialMissing,
    /// A password for a user that has none.
    #[error("the user has no password")]
    PasswordNotAccepted,
    /// A certificate for a user that has to send a password.
    #[error("the user may not authenticate with a certificate")]
    CertificateNotAccepted,
    /// The password is wrong.
    #[error("wrong password")]
    WrongPassword,
    /// No username, and the policy names no anonymous group.
    #[error("anonymous clients are refused")]
    AnonymousRefused,
}

impl RefusalReason {
    /// A label for metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UnknownUser => "UnknownUser",
            Self::Suspended => "Suspended",
            Self::ClientIdNotAllowed => "ClientIdNotAllowed",
            Self::CredentialMissing => "CredentialMissing",
            Self::PasswordNotAccepted => "PasswordNotAccepted",
            Self::CertificateNotAccepted => "CertificateNotAccepted",
            Self::WrongPassword => "WrongPassword",
            Self::AnonymousRefused => "AnonymousRefused",
        }
    }
}

impl Policy {
    /// Decides over a connecting client, but for the password itself.
    ///
    /// Without a username the client is anonymous, whatever credential it has.
    pub fn authenticate(
        &self,
        username: Option<&str>,
        client_id: &str,
        credential: Credential<'_>,
    ) -> AuthDecision {
        if let Err(reason) = self.admits(username, client_id) {
            return AuthDecision::Refused(reason);
        }
        let Some(username) = username.filter(|_| realm::name_of(username).is_some()) else {
            return AuthDecision::Accepted;
        };
        let Some(client) = self.client(username) else { return guest(credential) };
        match (credential, &client.password) {
            (Credential::Believed, _) => AuthDecision::Accepted,
            (Credential::Certificate, _) if client.certificate => AuthDecision::Accepted,
            (Credential::Certificate, _) => {
                AuthDecision::Refused(RefusalReason::CertificateNotAccepted)
            }
            (Credential::None, _) => AuthDecision::Refused(RefusalReason::CredentialMissing),
            (Credential::Password(_), None) => {
                AuthDecision::Refused(RefusalReason::PasswordNotAccepted)
            }
            (Credential::Password(_), Some(hash)) => AuthDecision::NeedsVerification(hash.clone()),
        }
    }

    /// Whether the policy has room for this identity, credentials aside: what an established
    /// connection is asked again after a change. A name that no record holds is a guest's.
    ///
    /// # Errors
    /// `UnknownUser`, `Suspended`, `ClientIdNotAllowed` or `AnonymousRefused`.
    pub fn admits(&self, username: Option<&str>, client_id: &str) -> Result<(), RefusalReason> {
        let Some(username) = username.filter(|_| realm::name_of(username).is_some()) else {
            let is_open = self.strangers(username).anonymous_group.is_some();
            return if is_open { Ok(()) } else { Err(RefusalReason::AnonymousRefused) };
        };
        let Some(client) = self.client(username) else {
            let is_open = self.strangers(Some(username)).guest_group.is_some();
            return if is_open { Ok(()) } else { Err(RefusalReason::UnknownUser) };
        };
        if client.disabled {
            Err(RefusalReason::Suspended)
        } else if client.allows_client_id(client_id) {
            Ok(())
        } else {
            Err(RefusalReason::ClientIdNotAllowed)
        }
    }
}

/// A guest is whom the listener believes, or a certificate names; a password proves nothing of a
/// name without one.
fn guest(credential: Credential<'_>) -> AuthDecision {
    match credential {
        Credential::Certificate | Credential::Believed => AuthDecision::Accepted,
        Credential::Password(_) | Credential::None => {
            AuthDecision::Refused(RefusalReason::UnknownUser)
        }
    }
}
