//! The ConfigMap with the brokers' configuration and what they trust: nothing in it is secret.
//! Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;

use super::{BuildFacts, metadata};
use crate::cluster::ValidatedCluster;

/// Certificates that sides of a cluster trust, PEM.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustAnchors {
    /// The root: what devices trust.
    pub root: String,
    /// The client intermediate: what brokers trust of MQTT clients.
    pub client: String,
    /// The admin intermediate: what brokers trust of callers of the admin API.
    pub admin: String,
}

pub(super) const BROKER_TOML: &str = "broker.toml";
pub(super) const CLIENT_CA: &str = "client-ca.crt";
pub(super) const ADMIN_CA: &str = "admin-ca.crt";
pub(super) const ROOT_CA: &str = "ca.crt";

pub(super) fn build(cluster: &ValidatedCluster, facts: &BuildFacts) -> ConfigMap {
    let data = BTreeMap::from([
        (BROKER_TOML.to_owned(), facts.configuration.text.clone()),
        (CLIENT_CA.to_owned(), facts.trust.client.clone()),
        (ADMIN_CA.to_owned(), facts.trust.admin.clone()),
        (ROOT_CA.to_owned(), facts.trust.root.clone()),
    ]);
    ConfigMap {
        metadata: metadata(cluster, cluster.names.config_map()),
        data: Some(data),
        ..ConfigMap::default()
    }
}
