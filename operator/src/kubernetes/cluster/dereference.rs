//! What a cluster refers to, from the caches. IO: reads only.

use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;
use operator_api::{MqttCluster, MqttClusterStatus};
use operator_core::cluster::{ClusterFacts, ValidatedCluster};
use operator_core::membership::brokers_now;
use operator_core::rollout::Observed;

use super::super::scope::Scope;

/// What the operator knows beside the spec.
pub(super) fn facts(scope: &Scope, cluster: &MqttCluster, cluster_id: String) -> ClusterFacts {
    let namespace = cluster.namespace().unwrap_or_default();
    let secret = cluster.spec.tls.authority.secret_name.as_ref();
    ClusterFacts {
        cluster_id,
        operator_namespace: scope.settings.operator_namespace.clone(),
        cluster_domain: scope.settings.cluster_domain.clone(),
        has_authority_secret: secret.is_some_and(|name| {
            scope.caches.given_secrets.get(&ObjectRef::new(name).within(&namespace)).is_some()
        }),
    }
}

/// The volume size in the StatefulSet that is there.
pub(super) fn volume_size(scope: &Scope, cluster: &ValidatedCluster) -> Option<String> {
    let at = ObjectRef::new(&cluster.names.stateful_set()).within(&cluster.namespace);
    let stateful_set = scope.caches.stateful_sets.get(&at)?;
    let claims = stateful_set.spec.as_ref()?.volume_claim_templates.as_ref()?;
    let requests = claims.first()?.spec.as_ref()?.resources.as_ref()?.requests.as_ref()?;
    Some(requests.get("storage")?.0.clone())
}

/// How many brokers there shall be now.
pub(super) fn replicas(
    scope: &Scope,
    cluster: &ValidatedCluster,
    before: &MqttClusterStatus,
    brokers: &[Observed],
) -> u16 {
    let at = ObjectRef::new(&cluster.names.stateful_set()).within(&cluster.namespace);
    let running = scope
        .caches
        .stateful_sets
        .get(&at)
        .and_then(|stateful_set| stateful_set.spec.as_ref()?.replicas)
        .and_then(|replicas| u16::try_from(replicas).ok())
        .unwrap_or(0);
    let statuses = brokers.iter().filter_map(|broker| broker.status.as_ref().ok());
    brokers_now(cluster, running, before.founded, statuses)
}
