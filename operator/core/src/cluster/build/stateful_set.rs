//! The StatefulSet of a cluster: one name for life, pods replaced only by the rollout planner.
//! Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{
    StatefulSet, StatefulSetPersistentVolumeClaimRetentionPolicy, StatefulSetSpec,
    StatefulSetUpdateStrategy,
};
use k8s_openapi::api::core::v1::{
    ConfigMapProjection, KeyToPath, LocalObjectReference, PersistentVolumeClaim,
    PersistentVolumeClaimSpec, PodSecurityContext, PodSpec, PodTemplateSpec, ProjectedVolumeSource,
    SeccompProfile, SecretProjection, TopologySpreadConstraint, Volume, VolumeProjection,
    VolumeResourceRequirements,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use operator_api::cluster::WhenDeleted;

use super::container::{DATA_VOLUME, SETTINGS_VOLUME};
use super::{BuildFacts, config_map, container, metadata, peer_discovery, pod_template};
use crate::cluster::ValidatedCluster;
use crate::cluster::names::{CONFIG_DIGEST_ANNOTATION, REPLICAS_MAX, VERSION_ANNOTATION};

/// The user and group that brokers run as.
const USER_ID: i64 = 10001;
/// How long a broker has for moving its clients and handing leadership over.
const TERMINATION_GRACE_SECONDS: i64 = 60;
/// Files are readable by the broker's group and nobody else.
const FILE_MODE: i32 = 0o440;

pub(super) fn build(cluster: &ValidatedCluster, facts: &BuildFacts) -> StatefulSet {
    let when_deleted = match cluster.storage.when_deleted {
        WhenDeleted::Retain => "Retain",
        WhenDeleted::Delete => "Delete",
    };
    StatefulSet {
        metadata: metadata(cluster, cluster.names.stateful_set()),
        spec: Some(StatefulSetSpec {
            replicas: Some(facts.replicas.into()),
            service_name: Some(cluster.names.headless_service()),
            // Brokers need each other to become ready, so none may wait for another.
            pod_management_policy: Some("Parallel".into()),
            update_strategy: Some(StatefulSetUpdateStrategy {
                type_: Some("OnDelete".into()),
                rolling_update: None,
            }),
            selector: selector(cluster),
            template: pod_template::merge_overlay(template(cluster, facts), &cluster.pod_template),
            volume_claim_templates: Some(vec![volume_claim(cluster, facts)]),
            persistent_volume_claim_retention_policy: Some(
                StatefulSetPersistentVolumeClaimRetentionPolicy {
                    when_deleted: Some(when_deleted.into()),
                    when_scaled: Some("Retain".into()),
                },
            ),
            ..StatefulSetSpec::default()
        }),
        status: None,
    }
}

fn selector(cluster: &ValidatedCluster) -> LabelSelector {
    LabelSelector {
        match_labels: Some(cluster.names.selector_labels()),
        ..LabelSelector::default()
    }
}

fn template(cluster: &ValidatedCluster, facts: &BuildFacts) -> PodTemplateSpec {
    PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(cluster.names.labels()),
            annotations: Some(BTreeMap::from([
                (CONFIG_DIGEST_ANNOTATION.to_owned(), facts.configuration.digest.clone()),
                (VERSION_ANNOTATION.to_owned(), cluster.version.clone()),
            ])),
            ..ObjectMeta::default()
        }),
        spec: Some(pod(cluster)),
    }
}

fn pod(cluster: &ValidatedCluster) -> PodSpec {
    let pull_secrets: Vec<_> = cluster
        .pull_secrets
        .iter()
        .map(|name| LocalObjectReference { name: name.clone() })
        .collect();
    let token = peer_discovery::token_volume(cluster);
    PodSpec {
        service_account_name: Some(cluster.names.stateful_set()),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        termination_grace_period_seconds: Some(TERMINATION_GRACE_SECONDS),
        image_pull_secrets: (!pull_secrets.is_empty()).then_some(pull_secrets),
        security_context: Some(PodSecurityContext {
            run_as_non_root: Some(true),
            run_as_user: Some(USER_ID),
            run_as_group: Some(USER_ID),
            fs_group: Some(USER_ID),
            fs_group_change_policy: Some("OnRootMismatch".into()),
            seccomp_profile: Some(SeccompProfile {
                type_: "RuntimeDefault".into(),
                localhost_profile: None,
            }),
            ..PodSecurityContext::default()
        }),
        containers: vec![container::build(cluster)],
        volumes: Some([settings(cluster)].into_iter().chain(token).collect()),
        topology_spread_constraints: Some(vec![
            spread(cluster, "topology.kubernetes.io/zone"),
            spread(cluster, "kubernetes.io/hostname"),
        ]),
        ..PodSpec::default()
    }
}

fn spread(cluster: &ValidatedCluster, topology_key: &str) -> TopologySpreadConstraint {
    TopologySpreadConstraint {
        max_skew: 1,
        topology_key: topology_key.into(),
        when_unsatisfiable: "ScheduleAnyway".into(),
        label_selector: Some(selector(cluster)),
        ..TopologySpreadConstraint::default()
    }
}

/// Configuration, certificates and trust as one volume, so that they change together.
///
/// It names the peer Secret of each ordinal that there can ever be: if it named the current ones,
/// changing the number of brokers would restart them all.
fn settings(cluster: &ValidatedCluster) -> Volume {
    let names = &cluster.names;
    let mut sources = vec![
        from_config_map(
            names.config_map(),
            &[
                (config_map::BROKER_TOML, "broker.toml"),
                (config_map::CLIENT_CA, "tls/trust/client-ca.crt"),
                (config_map::ADMIN_CA, "tls/trust/admin-ca.crt"),
                (config_map::ROOT_CA, "tls/trust/ca.crt"),
            ],
        ),
        from_secret(names.server_secret(), "tls/server", false, &["tls.crt", "tls.key"]),
    ];
    sources.extend((0..REPLICAS_MAX).map(|ordinal| {
        let folder = format!("tls/peer/{ordinal}");
        from_secret(names.peer_secret(ordinal), &folder, true, &["tls.crt", "tls.key", "ca.crt"])
    }));
    Volume {
        name: SETTINGS_VOLUME.into(),
        projected: Some(ProjectedVolumeSource {
            default_mode: Some(FILE_MODE),
            sources: Some(sources),
        }),
        ..Volume::default()
    }
}

fn from_config_map(name: String, items: &[(&str, &str)]) -> VolumeProjection {
    VolumeProjection {
        config_map: Some(ConfigMapProjection {
            name,
            items: Some(items.iter().map(|(key, path)| item(key, path)).collect()),
            optional: None,
        }),
        ..VolumeProjection::default()
    }
}

fn from_secret(name: String, folder: &str, optional: bool, keys: &[&str]) -> VolumeProjection {
    VolumeProjection {
        secret: Some(SecretProjection {
            name,
            items: Some(keys.iter().map(|key| item(key, &format!("{folder}/{key}"))).collect()),
            optional: optional.then_some(true),
        }),
        ..VolumeProjection::default()
    }
}

fn item(key: &str, path: &str) -> KeyToPath {
    KeyToPath { key: key.to_owned(), path: path.to_owned(), mode: None }
}

/// The claim of a broker's volume, with the size that the StatefulSet was made with: a bigger one
/// goes to the claims themselves.
fn volume_claim(cluster: &ValidatedCluster, facts: &BuildFacts) -> PersistentVolumeClaim {
    let size = facts.existing_volume_size.as_ref().unwrap_or(&cluster.storage.size);
    PersistentVolumeClaim {
        metadata: ObjectMeta {
            name: Some(DATA_VOLUME.into()),
            labels: Some(cluster.names.labels()),
            ..ObjectMeta::default()
        },
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(vec!["ReadWriteOnce".into()]),
            storage_class_name: cluster.storage.class_name.clone(),
            resources: Some(VolumeResourceRequirements {
                requests: Some(BTreeMap::from([("storage".to_owned(), Quantity(size.clone()))])),
                limits: None,
            }),
            ..PersistentVolumeClaimSpec::default()
        }),
        status: None,
    }
}
