//! Server-side apply that writes only what differs from what the cache shows. IO.
//!
//! An object that was applied carries the digest of what was built. It is written again when that
//! digest changes (this operator wants something else) or when a built field is not in the live
//! object any more (somebody changed it); otherwise nothing is sent, so a restarted operator
//! writes nothing.

use k8s_openapi::NamespaceResourceScope;
use kube::ResourceExt;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::core::Resource;
use operator_core::cluster::names::MANAGER;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::fmt::Debug;

use super::error::{Error, kubernetes};
use super::scope::Scope;

/// The annotation with the digest of what was applied.
pub const APPLIED_ANNOTATION: &str = "mqtt.dunlin.io/applied";

/// What came of applying an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Applied {
    /// It is there already as it was built.
    Unchanged,
    /// It was made or changed.
    Written,
}

/// What can be applied: any namespaced kind.
pub(crate) trait Applicable:
    Resource<Scope = NamespaceResourceScope, DynamicType = ()>
    + Clone
    + Debug
    + Serialize
    + DeserializeOwned
    + Send
    + Sync
{
}

impl<K> Applicable for K where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + Debug
        + Serialize
        + DeserializeOwned
        + Send
        + Sync
{
}

/// Applies an object unless the live one, as the cache shows it, is as it was built. Without a live
/// one the API server is asked for it first.
///
/// # Errors
/// [`Error::NameTaken`] when the live object is owned by something else, [`Error::Kubernetes`].
pub(crate) async fn apply<K: Applicable>(
    scope: &Scope,
    built: &K,
    live: Option<&K>,
) -> Result<Applied, Error> {
    let name = built.name_any();
    let namespace = built.namespace().unwrap_or_default();
    let mut body = serde_json::to_value(built).unwrap_or_default();
    let digest = digest(&body);
    body["metadata"]["annotations"][APPLIED_ANNOTATION] = digest.into();
    // One that is not in the cache may still be there: somebody else's lacks the label by which
    // objects are cached, and a forced apply would take it over.
    let unseen = match live {
        Some(_) => None,
        None => scope
            .api::<K>(&namespace)
            .get_opt(&name)
            .await
            .map_err(kubernetes::<K>("read", &namespace, &name))?,
    };
    if let Some(live) = live.or(unseen.as_ref()) {
        if !is_ours(built, live) {
            let kind = K::kind(&()).into_owned();
            return Err(Error::NameTaken { kind, namespace, name });
        }
        let live = serde_json::to_value(live).unwrap_or_default();
        if contains(&live, &body) {
            return Ok(Applied::Unchanged);
        }
        tracing::debug!(namespace, name, difference = difference(&live, &body, ""), "applying");
    }
    let params = PatchParams::apply(MANAGER).force();
    scope
        .api::<K>(&namespace)
        .patch(&name, &params, &Patch::Apply(&body))
        .await
        .map_err(kubernetes::<K>("apply", &namespace, &name))?;
    scope.metrics.writes.with_label_values(&[K::kind(&()).as_ref()]).inc();
    Ok(Applied::Written)
}

/// Deletes an object that was seen; one that is gone or was replaced meanwhile is no error.
///
/// # Errors
/// [`Error::Kubernetes`].
pub(crate) async fn delete<K: Applicable>(scope: &Scope, live: &K) -> Result<(), Error> {
    let (name, namespace) = (live.name_any(), live.namespace().unwrap_or_default());
    let params = DeleteParams {
        preconditions: Some(Preconditions { uid: live.uid(), resource_version: None }),
        ..DeleteParams::background()
    };
    match scope.api::<K>(&namespace).delete(&name, &params).await {
        Ok(_) => {
            scope.metrics.writes.with_label_values(&[K::kind(&()).as_ref()]).inc();
            Ok(())
        }
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
        Err(error) => Err(kubernetes::<K>("delete", &namespace, &name)(error)),
    }
}

/// Writes the status of a custom resource, whole.
///
/// # Errors
/// [`Error::Kubernetes`]; a resource that is gone is no error.
pub(crate) async fn write_status<K: Applicable>(
    scope: &Scope,
    object: &K,
    status: &impl Serialize,
) -> Result<(), Error> {
    let (name, namespace) = (object.name_any(), object.namespace().unwrap_or_default());
    let body = serde_json::json!({
        "apiVersion": K::api_version(&()),
        "kind": K::kind(&()),
        "metadata": {"name": name, "uid": object.uid()},
        "status": status,
    });
    let params = PatchParams::apply(MANAGER).force();
    match scope.api::<K>(&namespace).patch_status(&name, &params, &Patch::Apply(&body)).await {
        Ok(_) => {
            let kind = format!("{}/status", K::kind(&()));
            scope.metrics.writes.with_label_values(&[kind.as_str()]).inc();
            Ok(())
        }
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
        Err(error) => Err(kubernetes::<K>("write the status of", &namespace, &name)(error)),
    }
}

fn digest(body: &Value) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, body.to_string().as_bytes());
    digest.as_ref().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// Makes sure that the object with this uid controls a live one, before anything in it is believed:
/// whoever may create an object of a name that is needed must not gain anything by it.
///
/// # Errors
/// [`Error::NameTaken`] when something else, or nothing, controls it.
pub(crate) fn ensure_controlled_by<K: Applicable>(live: &K, uid: &str) -> Result<(), Error> {
    if controller(live).is_some_and(|owner| !owner.is_empty() && owner == uid) {
        return Ok(());
    }
    let (namespace, name) = (live.namespace().unwrap_or_default(), live.name_any());
    Err(Error::NameTaken { kind: K::kind(&()).into_owned(), namespace, name })
}

/// Whether the live object has the owner that the built one shall have.
fn is_ours<K: Applicable>(built: &K, live: &K) -> bool {
    controller(built).is_none_or(|wanted| controller(live) == Some(wanted))
}

/// The uid of what controls an object.
fn controller<K: Applicable>(object: &K) -> Option<&str> {
    let owners = object.owner_references();
    owners.iter().find(|owner| owner.controller == Some(true)).map(|owner| owner.uid.as_str())
}

/// Whether everything in `built` is in `live`; lists must have the same length.
fn contains(live: &Value, built: &Value) -> bool {
    match (live, built) {
        (Value::Object(live), Value::Object(built)) => built.iter().all(|(key, built)| {
            live.get(key).map_or(is_empty(built), |live| contains(live, built))
        }),
        (Value::Array(live), Value::Array(built)) => {
            live.len() == built.len() && live.iter().zip(built).all(|(l, b)| contains(l, b))
        }
        (Value::String(live), Value::String(built)) => {
            live == built || amount(live).is_some_and(|live| amount(built) == Some(live))
        }
        (live, built) => live == built,
    }
}

/// An amount in thousandths: the API server writes `1000m` as `1`.
fn amount(text: &str) -> Option<u128> {
    if let Some(number) = text.strip_suffix('m') {
        return number.parse().ok();
    }
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let is_number = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
    if fraction.len() <= 3 && is_number(fraction) && is_number(whole) {
        let thousandths: u128 = format!("{fraction:0<3}").parse().ok()?;
        return whole.parse::<u128>().ok()?.checked_mul(1000)?.checked_add(thousandths);
    }
    u128::from(operator_api::measure::bytes(text)?).checked_mul(1000)
}

/// The first built field that is not in the live object, for the log.
fn difference(live: &Value, built: &Value, path: &str) -> String {
    match (live, built) {
        (Value::Object(live), Value::Object(built)) => {
            let differs = |(key, built): &(&String, &Value)| {
                !live.get(*key).map_or(is_empty(built), |live| contains(live, built))
            };
            built.iter().find(differs).map_or_else(String::new, |(key, built)| {
                let live = live.get(key).unwrap_or(&Value::Null);
                difference(live, built, &format!("{path}.{key}"))
            })
        }
        (Value::Array(live), Value::Array(built)) if live.len() == built.len() => {
            let mut pairs = live.iter().zip(built).enumerate();
            let first = pairs.find(|(_, (live, built))| !contains(live, built));
            first.map_or_else(String::new, |(at, (live, built))| {
                difference(live, built, &format!("{path}[{at}]"))
            })
        }
        _ => path.to_owned(),
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(flag) => !flag,
        Value::String(text) => text.is_empty(),
        Value::Number(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn defaults_of_the_api_server_are_no_difference_and_edits_are() {
        let built = json!({"spec": {"ports": [{"port": 1}], "type": "ClusterIP", "a": {}}});
        let live = json!({"spec": {"ports": [{"port": 1, "protocol": "TCP"}], "type": "ClusterIP",
            "clusterIP": "10.0.0.1"}});
        assert!(contains(&live, &built));
        let edited = json!({"spec": {"ports": [{"port": 2}], "type": "ClusterIP"}});
        assert!(!contains(&edited, &built));
        let (one, thousand) =
            (json!({"cpu": "1", "memory": "1Gi"}), json!({"cpu": "1000m", "memory": "1024Mi"}));
        assert!(contains(&one, &thousand));
        assert!(!contains(&json!({"cpu": "1", "memory": "1G"}), &thousand));
        let longer = json!({"spec": {"ports": [{"port": 1}, {"port": 2}], "type": "ClusterIP"}});
        assert!(!contains(&longer, &built));
    }
}
