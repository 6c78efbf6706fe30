//! What users prove themselves with: made, kept and renewed in the state folder. IO.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use kube::ResourceExt as _;
use operator_api::MqttUser;
use operator_api::user::CertificateReport;
use operator_core::policy::{Problem, UserCredential};
use operator_pki::Authority;

use super::super::store::Store;
use super::desired::GivenSecret;
use crate::error_chain::chain;
use crate::user_credentials::{IssueRequest, issue_certificate, issue_password, kept, missing};

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
    let wanted = IssueRequest {
        user,
        cluster_id: request.cluster_id,
        authority: request.authority,
        uri,
        existing: existing.as_ref(),
    };
    let issued = match user.spec.authentication.x509 {
        Some(_) => issue_certificate(&wanted, now),
        None => {
            given_password(user, given.as_ref()).and_then(|chosen| issue_password(&wanted, chosen))
        }
    };
    let issued = issued.and_then(|issued| {
        if existing.as_ref() != Some(&issued.data) {
            let name = user.secret_name();
            let written = request.store.write_secret(request.namespace, &name, &issued.data);
            written.map_err(|error| missing(chain(&error)))?;
        }
        Ok(issued)
    });
    let (credential, problem, certificate, renew_at) = match issued {
        Ok(issued) => (issued.credential, None, issued.certificate, issued.renew_at),
        Err(problem) => (kept(user, None, existing.as_ref()), Some(problem), None, None),
    };
    let (user, uri) = (Arc::clone(user), uri.to_owned());
    Credentials { credential, problem, certificate, renew_at, user, given, uri }
}

/// The password in the Secret that the user names; `None` when it names none.
fn given_password<'a>(
    user: &MqttUser,
    given: Option<&'a GivenSecret>,
) -> Result<Option<&'a [u8]>, Problem> {
    let password = user.spec.authentication.password.as_ref();
    let Some(reference) = password.and_then(|password| password.secret_ref.as_ref()) else {
        return Ok(None);
    };
    let Some(given) = given else {
        return Err(missing(format!(
            "the Secret {} is not there: add it to the folder of manifests",
            reference.name
        )));
    };
    let key = reference.key.as_deref().unwrap_or("password");
    let no_key = || missing(format!("the Secret {} has no key {key}: add it", reference.name));
    Ok(Some(given.1.get(key).ok_or_else(no_key)?))
}
