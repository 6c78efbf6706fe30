//! The finalizer of a user: it goes when no broker knows the user any more. IO.

use std::sync::Arc;

use futures::StreamExt as _;
use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use operator_api::MqttUser;

use super::super::error::{Error, kubernetes};
use super::super::scope::Scope;

/// The finalizer of a user.
pub(super) const FINALIZER: &str = "mqtt.dunlin.io/revoke";
/// How many users are patched at the same time.
const WRITES_AT_ONCE: usize = 16;

/// Gives the finalizer to users that lack it, before any broker knows them.
pub(super) async fn add(scope: &Scope, users: &[Arc<MqttUser>]) {
    let lacking = users
        .iter()
        .filter(|user| user.metadata.deletion_timestamp.is_none() && !has_finalizer(user));
    each(scope, lacking, |user| {
        let mut finalizers = user.finalizers().to_vec();
        finalizers.push(FINALIZER.to_owned());
        finalizers
    })
    .await;
}

/// Takes the finalizer off users that are being deleted.
pub(super) async fn remove(scope: &Scope, users: &[Arc<MqttUser>]) {
    let leaving = users
        .iter()
        .filter(|user| user.metadata.deletion_timestamp.is_some() && has_finalizer(user));
    each(scope, leaving, |user| {
        user.finalizers().iter().filter(|name| *name != FINALIZER).cloned().collect()
    })
    .await;
}

pub(super) fn has_finalizer(user: &MqttUser) -> bool {
    user.finalizers().iter().any(|name| name == FINALIZER)
}

async fn each<'a>(
    scope: &Scope,
    users: impl Iterator<Item = &'a Arc<MqttUser>>,
    finalizers: impl Fn(&MqttUser) -> Vec<String>,
) {
    let patches: Vec<_> = users.map(|user| (user.clone(), finalizers(user))).collect();
    futures::stream::iter(patches)
        .for_each_concurrent(WRITES_AT_ONCE, |(user, finalizers)| async move {
            if let Err(error) = patch(scope, &user, &finalizers).await {
                tracing::warn!(error = error.chain(), "a finalizer was not written");
            }
        })
        .await;
}

async fn patch(scope: &Scope, user: &MqttUser, finalizers: &[String]) -> Result<(), Error> {
    let (name, namespace) = (user.name_any(), user.namespace().unwrap_or_default());
    // With the version that was seen: a list that somebody else changed meanwhile is not undone.
    let patch = serde_json::json!({"metadata": {
        "finalizers": finalizers,
        "resourceVersion": user.resource_version(),
    }});
    let api = scope.api::<MqttUser>(&namespace);
    match api.patch_metadata(&name, &PatchParams::default(), &Patch::Merge(&patch)).await {
        Ok(_) => {
            scope.metrics.writes.with_label_values(&["MqttUser"]).inc();
            Ok(())
        }
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
        Err(error) => Err(kubernetes::<MqttUser>("patch", &namespace, &name)(error)),
    }
}
