//! Clusters for tests: from YAML through the real validation.

use operator_api::MqttCluster;

use super::{ClusterFacts, ValidatedCluster, validate};

/// The object `iot/fleet` with a spec in YAML.
pub(crate) fn cluster(spec: &str) -> MqttCluster {
    let mut cluster = MqttCluster::new("fleet", serde_yaml::from_str(spec).expect("spec"));
    cluster.metadata.namespace = Some("iot".into());
    cluster.metadata.uid = Some("0b1c5f0e-0000-4000-8000-000000000001".into());
    cluster.metadata.generation = Some(1);
    cluster
}

/// What the operator knows beside the spec.
pub(crate) fn facts() -> ClusterFacts {
    ClusterFacts {
        cluster_id: "01KABCDEF".into(),
        operator_namespace: "dunlin-system".into(),
        cluster_domain: "cluster.local".into(),
        has_authority_secret: false,
    }
}

/// The validated cluster `iot/fleet`.
pub(crate) fn validated(spec: &str) -> ValidatedCluster {
    validate(&cluster(spec), &facts()).expect("valid")
}
