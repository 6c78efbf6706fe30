//! Issues the identity of a cluster: once, and written down before anything else is made. IO.

use std::time::Duration;

use kube::ResourceExt;
use kube::api::PostParams;
use kube::runtime::controller::Action;
use operator_api::{MqttCluster, MqttClusterStatus};
use operator_core::cluster::names::MANAGER;
use operator_core::cluster::new_cluster_id;

use super::super::error::{Error, kubernetes};
use super::super::scope::Scope;
use crate::random;

/// How soon the cache is expected to show an identity that was issued.
const AFTER_ISSUE: Duration = Duration::from_millis(100);

/// Issues an identity and waits for the change that this causes.
pub(super) async fn issue(scope: &Scope, cluster: &MqttCluster) -> Result<Action, Error> {
    let cluster_id = new_cluster_id(jiff::Timestamp::now().as_millisecond(), random::bytes());
    let before = cluster.status.clone().unwrap_or_default();
    let (name, namespace) = (cluster.name_any(), cluster.namespace().unwrap_or_default());
    let mut issued = cluster.clone();
    issued.status = Some(MqttClusterStatus { cluster_id: Some(cluster_id), ..before });
    // With the resourceVersion that was seen: over an identity that the cache doesn't show yet,
    // this is refused.
    let params = PostParams { field_manager: Some(MANAGER.into()), ..PostParams::default() };
    let api = scope.api::<MqttCluster>(&namespace);
    match api.replace_status(&name, &params, &issued).await {
        Ok(_) => {
            scope.metrics.writes.with_label_values(&["MqttCluster/status"]).inc();
            Ok(Action::requeue(AFTER_ISSUE))
        }
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {
            Ok(Action::requeue(AFTER_ISSUE))
        }
        Err(error) => {
            Err(kubernetes::<MqttCluster>("write the status of", &namespace, &name)(error))
        }
    }
}
