//! The ConfigMap with the brokers' configuration and what they trust: nothing in it is secret.
//! Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;

use super::{BuildFacts, metadata};
use crate::cluster::ValidatedCluster;

/// Certificates that sides of a cluster trust, PEM. Brokers are given those of [`super`]'s volume
/// only; all are kept, so that certificates are recognised while the authority's keys are broken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustAnchors {
    /// The root: what devices trust.
    pub root: String,
    /// The client intermediate: what brokers trust of MQTT clients.
    pub client: String,
    /// The admin intermediate: what brokers trust of callers of the admin API.
    pub admin: String,
    /// The peer intermediate: what brokers trust of each other.
    pub peer: String,
    /// The server intermediate: what stands between the root and the certificate shown to devices.
    pub server: String,
}

impl TrustAnchors {
    /// Those that the ConfigMap of a cluster holds; `None` when one is missing.
    #[must_use]
    pub fn of(config_map: &ConfigMap) -> Option<Self> {
        let entry = |name: &str| config_map.data.as_ref()?.get(name).cloned();
        Some(Self {
            root: entry(ROOT_CA)?,
            client: entry(CLIENT_CA)?,
            admin: entry(ADMIN_CA)?,
            peer: entry(PEER_CA)?,
            server: entry(SERVER_CA)?,
        })
    }
}

pub(super) const BROKER_TOML: &str = "broker.toml";
pub(super) const CLIENT_CA: &str = "client-ca.crt";
pub(super) const ADMIN_CA: &str = "admin-ca.crt";
pub(super) const ROOT_CA: &str = "ca.crt";
const PEER_CA: &str = "peer-ca.crt";
const SERVER_CA: &str = "server-ca.crt";
/// The entry with the spec that was last accepted ([`super::super::accepted`]).
pub const ACCEPTED: &str = "accepted.json";

pub(super) fn build(cluster: &ValidatedCluster, facts: &BuildFacts) -> ConfigMap {
    let data = BTreeMap::from([
        (BROKER_TOML.to_owned(), facts.configuration.text.clone()),
        (CLIENT_CA.to_owned(), facts.trust.client.clone()),
        (ADMIN_CA.to_owned(), facts.trust.admin.clone()),
        (ROOT_CA.to_owned(), facts.trust.root.clone()),
        (PEER_CA.to_owned(), facts.trust.peer.clone()),
        (SERVER_CA.to_owned(), facts.trust.server.clone()),
        (ACCEPTED.to_owned(), facts.accepted.clone()),
    ]);
    ConfigMap {
        metadata: metadata(cluster, cluster.names.config_map()),
        data: Some(data),
        ..ConfigMap::default()
    }
}
