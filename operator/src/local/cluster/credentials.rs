//! What users prove themselves with: made, kept and renewed in the state folder. IO.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt as _;
use operator_api::user::CertificateReport;
use operator_api::{MqttUser, measure};
use operator_core::policy::{Problem, ProblemReason, UserCredential};
use operator_core::user::credentials::{PASSWORD_RANDOM_BYTES, stored_hash};
use operator_core::user::{PasswordRequest, SecretData, password_secret, x509_secret};
use operator_pki::{Authority, LeafRequest, ensure_leaf};

use super::super::store::Store;
use super::certificates::chain;
use super::desired::GivenSecret;
use super::record::random_bytes;

/// What is known of one user's credentials.
#[derive(Debug, Clone)]
pub(super) struct Credentials {
    /// What the brokers need to know.
    pub(super) credential: UserCredential,
    /// What is wrong; `None` when its Secret holds all.
    pub(super) problem: Option<Problem>,
    /// Its certificate, where it has one.
    pub(super) certificate: Option<CertificateReport>,
    renew_at: Option<Timestamp>,
    user: Arc<MqttUser>,
    given: Option<GivenSecret>,
    uri: String,
}

/// What credentials are made from.
pub(super) struct Request<'a> {
    pub(super) store: &'a Store,
    pub(super) authority: &'a Authority,
    pub(super) cluster_id: &'a str,
    pub(super) namespace: &'a str,
    /// Secrets of the manifests, by name.
    pub(super) secrets: &'a std::collections::BTreeMap<String, GivenSecret>,
    /// Where clients with a password connect, and those with a certificate.
    pub(super) uris: (&'a str, &'a str),
}

/// The credentials of a cluster's users, by the object's name.
#[derive(Debug, Default)]
pub(super) struct AllCredentials(HashMap<String, Credentials>);

impl AllCredentials {
    pub(super) fn get(&self, name: &str) -> Option<&Credentials> {
        self.0.get(name)
    }

    /// Brings them up to date; users for whom nothing changed cost nothing. Returns whether anything changed.
    pub(super) fn ensure(
        &mut self,
        request: &Request<'_>,
        users: &[Arc<MqttUser>],
        now: Timestamp,
    ) -> bool {
        let mut kept = HashMap::with_capacity(users.len());
        let mut is_changed = self.0.len() != users.len();
        for user in users {
            let name = user.name_any();
            let given = given(request, user);
            let uri = match user.spec.authentication.x509 {
                Some(_) => request.uris.1,
                None => request.uris.0,
            };
            let known = self.0.remove(&name).filter(|known| {
                Arc::ptr_eq(&known.user, user)
                    && known.uri == uri
                    && known.given.as_ref().map(Arc::as_ptr) == given.as_ref().map(Arc::as_ptr)
                    && known.renew_at.is_none_or(|at| now < at)
            });
            let credentials = known.unwrap_or_else(|| {
                is_changed = true;
                make(request, user, given, uri, now)
            });
            kept.insert(name, credentials);
        }
        // What remains belongs to users that are gone, and goes with them.
        for (_, gone) in self.0.drain() {
            if !kept.contains_key(&gone.user.name_any()) {
                request.store.remove_secret(request.namespace, &gone.user.secret_name());
                is_changed = true;
            }
        }
        self.0 = kept;
        is_changed
    }
}

fn given(request: &Request<'_>, user: &MqttUser) -> Option<GivenSecret> {
    let password = user.spec.authentication.password.as_ref()?;
    request.secrets.get(&password.secret_ref.as_ref()?.name).cloned()
}

fn make(
    request: &Request<'_>,
    user: &Arc<MqttUser>,
    given: Option<GivenSecret>,
    uri: &str,
    now: Timestamp,
) -> Credentials {
    let existing = request.store.secret(request.namespace, &user.secret_name());
    let made = match user.spec.authentication.x509 {
        Some(_) => x509(request, user, uri, existing.as_ref(), now),
        None => password(request, user, uri, existing.as_ref(), given.as_ref()),
    };
    let made = made.and_then(|made| {
        if existing.as_ref() != Some(&made.data) {
            let name = user.secret_name();
            let written = request.store.write_secret(request.namespace, &name, &made.data);
            written.map_err(|error| problem(chain(&error)))?;
        }
        Ok(made)
    });
    let (credential, problem, certificate, renew_at) = match made {
        Ok(made) => (made.credential, None, made.certificate, made.renew_at),
        Err(problem) => (kept(user, existing.as_ref()), Some(problem), None, None),
    };
    let (user, uri) = (Arc::clone(user), uri.to_owned());
    Credentials { credential, problem, certificate, renew_at, user, given, uri }
}

/// What a user keeps proving itself with while its Secret can't be brought up to date.
fn kept(user: &MqttUser, existing: Option<&SecretData>) -> UserCredential {
    if user.spec.authentication.x509.is_some() {
        return UserCredential::Certificate;
    }
    existing.and_then(stored_hash).map_or(UserCredential::Missing, UserCredential::Password)
}

struct Made {
    data: SecretData,
    credential: UserCredential,
    certificate: Option<CertificateReport>,
    renew_at: Option<Timestamp>,
}

fn password(
    request: &Request<'_>,
    user: &MqttUser,
    uri: &str,
    existing: Option<&SecretData>,
    given: Option<&GivenSecret>,
) -> Result<Made, Problem> {
    let reference = user
        .spec
        .authentication
        .password
        .as_ref()
        .and_then(|password| password.secret_ref.as_ref());
    let chosen = match (reference, given) {
        (None, _) => None,
        (Some(reference), None) => {
            let name = &reference.name;
            return Err(problem(format!(
                "the Secret {name} is not there: add it to the folder of manifests"
            )));
        }
        (Some(reference), Some(given)) => {
            let key = reference.key.as_deref().unwrap_or("password");
            let missing = || problem(format!("the Secret {} has no key {key}", reference.name));
            Some(given.1.get(key).ok_or_else(missing)?)
        }
    };
    let random: [u8; PASSWORD_RANDOM_BYTES] = random_bytes().map_err(problem)?;
    let data = password_secret(&PasswordRequest {
        user,
        cluster_id: request.cluster_id,
        uri,
        ca: request.authority.root_pem(),
        existing,
        chosen: chosen.map(Vec::as_slice),
        random,
    })?;
    let credential = stored_hash(&data).map_or(UserCredential::Missing, UserCredential::Password);
    Ok(Made { data, credential, certificate: None, renew_at: None })
}

fn x509(
    request: &Request<'_>,
    user: &MqttUser,
    uri: &str,
    existing: Option<&SecretData>,
    now: Timestamp,
) -> Result<Made, Problem> {
    let spec = user.spec.authentication.x509.clone().unwrap_or_default();
    if spec.csr_secret_ref.is_some() {
        return Err(problem(
            "csrSecretRef is not supported yet: leave it out, and a key pair is made".to_owned(),
        ));
    }
    let lifetime = measure::duration(&spec.lifetime).unwrap_or(Duration::from_hours(2160));
    let wanted = LeafRequest::client(&user.username(), lifetime);
    let leaf = ensure_leaf(existing, request.authority, &wanted, now)
        .map_err(|error| problem(format!("the certificate can't be issued: {}", chain(&error))))?
        .into_value();
    let certificate = CertificateReport {
        serial_number: Some(leaf.facts.serial_number.clone()),
        not_after: Some(Time(leaf.facts.not_after)),
    };
    Ok(Made {
        renew_at: Some(leaf.facts.renew_at()),
        data: x509_secret(user, uri, leaf.secret_data()),
        credential: UserCredential::Certificate,
        certificate: Some(certificate),
    })
}

fn problem(message: String) -> Problem {
    Problem { reason: ProblemReason::CredentialsMissing, message }
}
