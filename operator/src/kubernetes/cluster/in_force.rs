//! Which spec is acted upon: the newest one, or while that can't be, the one accepted last. IO:
//! reads caches only.

use std::sync::Arc;

use kube::runtime::reflector::ObjectRef;
use operator_api::MqttCluster;
use operator_core::cluster::{ClusterFacts, ClusterNames, Problem, ValidatedCluster};
use operator_core::cluster::{accepted, validate};

use super::super::scope::{ClusterKey, Scope};
use super::dereference;

/// The spec that is acted upon.
pub(super) struct InForce {
    /// The cluster as this spec wants it.
    pub(super) cluster: Arc<ValidatedCluster>,
    /// The spec as it is kept.
    pub(super) record: String,
    /// Why it is not the newest one; empty when it is.
    pub(super) problems: Vec<Problem>,
}

/// Finds the spec that is acted upon.
///
/// # Errors
/// Why the newest spec can't be acted upon, when none was accepted before.
pub(super) fn find(
    scope: &Scope,
    key: &ClusterKey,
    cluster: &MqttCluster,
    cluster_id: String,
) -> Result<InForce, Vec<Problem>> {
    let facts = dereference::facts(scope, cluster, cluster_id);
    let problems = match validate(cluster, &facts) {
        Ok(validated) => {
            let record = accepted::record(cluster);
            return Ok(InForce { cluster: Arc::new(validated), record, problems: Vec::new() });
        }
        Err(problems) => problems,
    };
    let name = ClusterNames::new(&*key.name).config_map();
    let at = ObjectRef::new(&name).within(&key.namespace);
    let kept = scope.caches.config_maps.get(&at).and_then(|kept| accepted::recall(cluster, &kept));
    // A given authority that is gone since then is told with the certificates.
    let facts = ClusterFacts { has_authority_secret: true, ..facts };
    match kept.as_ref().map(|kept| (validate(kept, &facts), accepted::record(kept))) {
        Some((Ok(validated), record)) => {
            Ok(InForce { cluster: Arc::new(validated), record, problems })
        }
        _ => Err(problems),
    }
}
