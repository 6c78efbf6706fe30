//! The Secret of each user: made, kept, renewed. IO.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::runtime::reflector::ObjectRef;
use kube::{Resource as _, ResourceExt};
use operator_api::MqttUser;
use operator_api::cluster::AuthenticationMethod;
use operator_api::user::CertificateReport;
use operator_core::cluster::names::{INSTANCE_LABEL, MANAGED_BY_LABEL, MANAGER, NAME_LABEL};
use operator_core::policy::{Problem, UserCredential};
use operator_core::user::SecretData;
use operator_core::user::credentials::uri;

use super::super::apply::{apply, ensure_controlled_by};
use super::super::cluster::brokers::Prepared;
use super::super::cluster::data_of;
use super::super::scope::Scope;
use crate::user_credentials::{IssueRequest, issue_certificate, issue_password, kept, missing};

/// How many Secrets are written at the same time.
const WRITES_AT_ONCE: usize = 16;

/// What is known of one user's credentials.
#[derive(Clone, Debug)]
pub(super) struct Credentials {
    /// What the brokers need to know.
    pub(super) credential: UserCredential,
    /// What is wrong; `None` when its Secret holds all.
    pub(super) problem: Option<Problem>,
    /// Its certificate, where it has one.
    pub(super) certificate: Option<CertificateReport>,
    /// When they must be looked at again; `None` for not before something changes.
    renew_at: Option<Timestamp>,
    /// What they were made from.
    inputs: Inputs,
}

/// All that credentials depend on: while it is the same, they are.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Inputs {
    uid: Option<String>,
    generation: Option<i64>,
    own: Option<String>,
    given: Option<String>,
    uri: Arc<str>,
    root: Arc<str>,
}

/// What the credentials of all users of a cluster depend on.
struct Common {
    root: Arc<str>,
    /// Where clients with a password connect.
    password_uri: Arc<str>,
    /// Where those with a certificate do.
    x509_uri: Arc<str>,
}

/// The credentials of a cluster's users, by name.
pub(super) type AllCredentials = HashMap<String, Credentials>;

/// Brings the Secrets of users up to date; users whose inputs did not change cost nothing. Returns
/// whether any were looked at.
pub(super) async fn ensure_all(
    scope: &Scope,
    prepared: &Prepared,
    users: &[Arc<MqttUser>],
    known: &mut AllCredentials,
) -> bool {
    let now = Timestamp::now();
    let mut due = Vec::new();
    let names: HashSet<&str> = users.iter().map(|user| name(user)).collect();
    known.retain(|name, _| names.contains(name.as_str()));
    let common = Common {
        root: prepared.authority.root_pem().into(),
        password_uri: uri(&prepared.cluster, AuthenticationMethod::Password).into(),
        x509_uri: uri(&prepared.cluster, AuthenticationMethod::X509).into(),
    };
    for user in users.iter().filter(|user| user.metadata.deletion_timestamp.is_none()) {
        let inputs = inputs(scope, &common, user);
        let is_current = known.get(name(user)).is_some_and(|known| {
            known.inputs == inputs && known.renew_at.is_none_or(|renew_at| now < renew_at)
        });
        if !is_current {
            due.push((user.clone(), inputs));
        }
    }
    if due.is_empty() {
        return false;
    }
    let before = &*known;
    let made: Vec<(String, Credentials)> = futures::stream::iter(due)
        .map(|(user, inputs)| async move {
            let before = before.get(&user.name_any()).map(|known| known.credential.clone());
            let made = ensure(scope, prepared, &user, inputs, before, now).await;
            (user.name_any(), made)
        })
        .buffer_unordered(WRITES_AT_ONCE)
        .collect()
        .await;
    known.extend(made);
    true
}

fn name(user: &MqttUser) -> &str {
    user.metadata.name.as_deref().unwrap_or_default()
}

fn inputs(scope: &Scope, common: &Common, user: &MqttUser) -> Inputs {
    let namespace = user.namespace().unwrap_or_default();
    let own = ObjectRef::<Secret>::new(&user.secret_name()).within(&namespace);
    let version = |secret: Arc<Secret>| secret.resource_version();
    let given = given_name(user)
        .and_then(|name| scope.caches.given_secrets.get(&ObjectRef::new(&name).within(&namespace)));
    Inputs {
        uid: user.uid(),
        generation: user.metadata.generation,
        own: scope.caches.own_secrets.get(&own).and_then(version),
        given: given.and_then(version),
        uri: match user.spec.authentication.x509 {
            Some(_) => Arc::clone(&common.x509_uri),
            None => Arc::clone(&common.password_uri),
        },
        root: Arc::clone(&common.root),
    }
}

fn given_name(user: &MqttUser) -> Option<String> {
    let password = user.spec.authentication.password.as_ref()?;
    Some(password.secret_ref.as_ref()?.name.clone())
}

async fn ensure(
    scope: &Scope,
    prepared: &Prepared,
    user: &MqttUser,
    inputs: Inputs,
    before: Option<UserCredential>,
    now: Timestamp,
) -> Credentials {
    let namespace = user.namespace().unwrap_or_default();
    let at = ObjectRef::<Secret>::new(&user.secret_name()).within(&namespace);
    let live = match scope.caches.own_secrets.get(&at) {
        Some(live) => Some(live),
        // The cache may be behind what was just written: making a new password would be harm.
        None => match scope.api::<Secret>(&namespace).get_opt(&user.secret_name()).await {
            Ok(found) => found.map(Arc::new),
            Err(error) => {
                let message = format!("its Secret can't be read: {error}");
                return failed(inputs, message, kept(user, before, None));
            }
        },
    };
    // Whoever may create a Secret of this name must not choose the user's password by it.
    if let Some(live) = live.as_deref()
        && let Err(error) = ensure_controlled_by(live, user.metadata.uid.as_deref().unwrap_or(""))
    {
        return failed(inputs, error.chain(), kept(user, None, None));
    }
    let existing = live.as_deref().map(data_of);
    let request = IssueRequest {
        user,
        cluster_id: &prepared.cluster.cluster_id,
        authority: &prepared.authority,
        uri: &inputs.uri,
        existing: existing.as_ref(),
    };
    let issued = match user.spec.authentication.x509 {
        Some(_) => issue_certificate(&request, now),
        None => {
            given_password(scope, user).and_then(|given| issue_password(&request, given.as_deref()))
        }
    };
    let issued = match issued {
        Ok(issued) => issued,
        Err(problem) => {
            return Credentials {
                credential: kept(user, before, existing.as_ref()),
                problem: Some(problem),
                certificate: None,
                renew_at: None,
                inputs,
            };
        }
    };
    if let Err(error) = apply(scope, &secret(user, &issued.data), live.as_deref()).await {
        return failed(inputs, error.chain(), kept(user, before, existing.as_ref()));
    }
    Credentials {
        credential: issued.credential,
        problem: None,
        certificate: issued.certificate,
        renew_at: issued.renew_at,
        inputs,
    }
}

/// How soon a Secret that could not be written is tried again.
const RETRY: Duration = Duration::from_secs(5);

fn failed(inputs: Inputs, message: String, credential: UserCredential) -> Credentials {
    Credentials {
        credential,
        problem: Some(missing(message)),
        certificate: None,
        renew_at: Timestamp::now().checked_add(RETRY).ok(),
        inputs,
    }
}

/// The password in the Secret that the user names; `None` when it names none.
fn given_password(scope: &Scope, user: &MqttUser) -> Result<Option<Vec<u8>>, Problem> {
    let password = user.spec.authentication.password.as_ref();
    let Some(reference) = password.and_then(|password| password.secret_ref.as_ref()) else {
        return Ok(None);
    };
    let namespace = user.namespace().unwrap_or_default();
    let at = ObjectRef::<Secret>::new(&reference.name).within(&namespace);
    let Some(secret) = scope.caches.given_secrets.get(&at) else {
        return Err(missing(format!(
            "the Secret {} is not there: create it with the label mqtt.dunlin.io/watch=true",
            reference.name
        )));
    };
    let key = reference.key.as_deref().unwrap_or("password");
    match data_of(&secret).remove(key) {
        Some(password) => Ok(Some(password)),
        None => Err(missing(format!("the Secret {} has no key {key}: add it", reference.name))),
    }
}

fn secret(user: &MqttUser, data: &SecretData) -> Secret {
    let labels = [
        (NAME_LABEL, "mqtt-user"),
        (INSTANCE_LABEL, user.spec.cluster_ref.name.as_str()),
        (MANAGED_BY_LABEL, MANAGER),
    ];
    Secret {
        metadata: ObjectMeta {
            name: Some(user.secret_name()),
            namespace: user.namespace(),
            labels: Some(labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into()),
            owner_references: user.controller_owner_ref(&()).map(|owner| vec![owner]),
            ..ObjectMeta::default()
        },
        type_: Some("Opaque".into()),
        data: Some(data.iter().map(|(k, v)| (k.clone(), ByteString(v.clone()))).collect()),
        ..Secret::default()
    }
}
