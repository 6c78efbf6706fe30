//! What a user proves itself with, the same on both platforms: a password or a certificate is issued, an existing one kept.
//! IO: random bytes; where the Secret lies is the platform's.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use operator_api::user::CertificateReport;
use operator_api::{MqttUser, measure};
use operator_core::policy::{Problem, ProblemReason, UserCredential};
use operator_core::user::credentials::stored_password;
use operator_core::user::{PasswordRequest, SecretData, password_secret, x509_secret};
use operator_pki::{Authority, LeafRequest, ensure_leaf};

use crate::error_chain::chain;
use crate::random;

/// What credentials are issued from.
#[derive(Clone, Copy)]
pub(crate) struct IssueRequest<'a> {
    pub(crate) user: &'a MqttUser,
    pub(crate) cluster_id: &'a str,
    pub(crate) authority: &'a Authority,
    /// Where its clients connect.
    pub(crate) uri: &'a str,
    /// What its Secret holds now.
    pub(crate) existing: Option<&'a SecretData>,
}

/// Credentials as they should be.
pub(crate) struct Issued {
    /// What its Secret shall hold.
    pub(crate) data: SecretData,
    /// What the brokers need to know.
    pub(crate) credential: UserCredential,
    /// Its certificate, where it has one.
    pub(crate) certificate: Option<CertificateReport>,
    /// When they must be looked at again; `None` for not before something changes.
    pub(crate) renew_at: Option<Timestamp>,
}

/// A password: the `chosen` one, the one that is there, or a new one.
pub(crate) fn issue_password(
    request: &IssueRequest<'_>,
    chosen: Option<&[u8]>,
) -> Result<Issued, Problem> {
    let data = password_secret(&PasswordRequest {
        user: request.user,
        cluster_id: request.cluster_id,
        uri: request.uri,
        ca: request.authority.root_pem(),
        existing: request.existing,
        chosen,
        random: random::bytes(),
    })?;
    Ok(Issued { credential: stored(&data), data, certificate: None, renew_at: None })
}

/// A certificate: the one that is there while it is right and young enough, or a new one.
pub(crate) fn issue_certificate(
    request: &IssueRequest<'_>,
    now: Timestamp,
) -> Result<Issued, Problem> {
    let IssueRequest { user, authority, uri, existing, .. } = *request;
    let spec = user.spec.authentication.x509.clone().unwrap_or_default();
    if spec.csr_secret_ref.is_some() {
        return Err(missing(
            "csrSecretRef is not supported yet: leave it out, and a key pair is made".to_owned(),
        ));
    }
    let lifetime = measure::duration(&spec.lifetime).unwrap_or(Duration::from_hours(2160));
    let wanted = LeafRequest::client(&user.username(), lifetime);
    let leaf = ensure_leaf(existing, authority, &wanted, now)
        .map_err(|error| missing(format!("the certificate can't be issued: {}", chain(&error))))?
        .into_value();
    let certificate = CertificateReport {
        serial_number: Some(leaf.facts.serial_number.clone()),
        not_after: Some(Time(leaf.facts.not_after)),
    };
    Ok(Issued {
        renew_at: Some(leaf.facts.renew_at()),
        data: x509_secret(user, uri, leaf.secret_data()),
        credential: UserCredential::Certificate,
        certificate: Some(certificate),
    })
}

/// What a user keeps proving itself with while its Secret can't be brought up to date: what was known `before`, or what the
/// Secret holds.
pub(crate) fn kept(
    user: &MqttUser,
    before: Option<UserCredential>,
    existing: Option<&SecretData>,
) -> UserCredential {
    match (before, existing) {
        _ if user.spec.authentication.x509.is_some() => UserCredential::Certificate,
        (Some(before @ UserCredential::Password(..)), _) => before,
        (_, Some(existing)) => stored(existing),
        (_, None) => UserCredential::Missing,
    }
}

/// The password that a Secret holds already.
fn stored(data: &SecretData) -> UserCredential {
    stored_password(data)
        .map_or(UserCredential::Missing, |(hash, scram)| UserCredential::Password(hash, scram))
}

/// Why credentials are not there.
pub(crate) fn missing(message: String) -> Problem {
    Problem { reason: ProblemReason::CredentialsMissing, message }
}
