//! The spec that was last accepted, kept beside the brokers' configuration: while an edit can't be
//! acted upon, the cluster goes on by it, also after the operator was restarted. Pure.

use k8s_openapi::api::core::v1::ConfigMap;
use operator_api::MqttCluster;
use operator_api::cluster::MqttClusterSpec;
use serde::{Deserialize, Serialize};

use super::build::ACCEPTED;

/// What is kept.
#[derive(Serialize, Deserialize)]
struct Accepted {
    generation: Option<i64>,
    spec: MqttClusterSpec,
}

/// A spec that was validated, as it is kept: JSON.
#[must_use]
pub fn record(cluster: &MqttCluster) -> String {
    let accepted = Accepted { generation: cluster.metadata.generation, spec: cluster.spec.clone() };
    serde_json::to_string(&accepted).unwrap_or_default()
}

/// The cluster with the spec, and its generation, that was last accepted; `None` when the ConfigMap
/// is another cluster's or holds none.
#[must_use]
pub fn recall(cluster: &MqttCluster, config_map: &ConfigMap) -> Option<MqttCluster> {
    let uid = cluster.metadata.uid.as_ref()?;
    let owners = config_map.metadata.owner_references.as_ref()?;
    if !owners.iter().any(|owner| owner.uid == *uid) {
        return None;
    }
    let kept = config_map.data.as_ref()?.get(ACCEPTED)?;
    let accepted: Accepted = serde_json::from_str(kept).ok()?;
    let mut cluster = cluster.clone();
    cluster.metadata.generation = accepted.generation;
    cluster.spec = accepted.spec;
    Some(cluster)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::build::{self, BuildFacts};
    use crate::cluster::configuration::{Placement, render};
    use crate::cluster::fixture::{cluster, validated};

    fn config_map(spec: &str) -> ConfigMap {
        let valid = validated(spec);
        let facts = BuildFacts {
            replicas: valid.replicas,
            configuration: render(&valid, &Placement::kubernetes(&valid)).unwrap(),
            trust: build::TrustAnchors::default(),
            accepted: record(&cluster(spec)),
            existing_volume_size: None,
        };
        build::build(&valid, &facts).config_map
    }

    #[test]
    fn what_was_accepted_is_recalled_with_its_generation() {
        let spec = "{version: 0.1.0, replicas: 5, podTemplate: {spec: {nodeName: a}}}";
        let mut edited = cluster("{version: 0.2.0}");
        edited.metadata.generation = Some(7);
        let recalled = recall(&edited, &config_map(spec)).unwrap();
        assert_eq!(recalled.metadata.generation, Some(1));
        assert_eq!(recalled.spec, cluster(spec).spec);
        assert_eq!(record(&recalled), record(&cluster(spec)));
    }

    #[test]
    fn nothing_is_recalled_of_an_earlier_cluster_of_the_same_name() {
        let mut recreated = cluster("{version: 0.1.0}");
        recreated.metadata.uid = Some("another".into());
        assert_eq!(recall(&recreated, &config_map("{version: 0.1.0}")), None);
    }
}
