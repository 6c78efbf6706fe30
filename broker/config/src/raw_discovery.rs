//! `[peers.discovery]` as it is written. Pure.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// `[peers.discovery]`: exactly one of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum RawDiscovery {
    /// `[[peers.discovery.static]]`: every broker by name; this broker's own entry is ignored.
    Static(Vec<RawStaticPeer>),
    /// `[peers.discovery.dns]`: the A and AAAA records of one name.
    Dns(RawDnsPeers),
    /// `[peers.discovery.kubernetes]`: the EndpointSlices of a Service.
    Kubernetes(RawKubernetesPeers),
    /// `[peers.discovery.etcd]`: what the brokers register in etcd.
    Etcd(RawEtcdPeers),
}

/// One entry of `[[peers.discovery.static]]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawStaticPeer {
    /// The broker's name, as in its certificate.
    pub name: String,
    /// `host:port` of its peer listener.
    pub address: String,
}

/// `[peers.discovery.dns]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawDnsPeers {
    /// Name that resolves to every broker, for example a headless Service.
    pub host: String,
    /// Port of the peers' listeners.
    pub port: u16,
}

/// `[peers.discovery.kubernetes]`. What a Pod has mounted need not be written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawKubernetesPeers {
    /// Name of the Service.
    pub service: String,
    /// Port of the peers' listeners.
    pub port: u16,
    /// Namespace of the Service; absent: the Pod's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// URL of the API server; absent: that of the Pod's cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// File with the token, read anew at each call; absent: the Pod's service account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_file: Option<PathBuf>,
    /// Trust anchors of the API server; absent: those of the Pod's service account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
}

/// `[peers.discovery.etcd]`: etcd's v3 API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawEtcdPeers {
    /// URLs of its members, tried one after the other.
    pub endpoints: Vec<String>,
    /// What the keys begin with; absent: `/dunlin/`, the name of the cluster and `/brokers/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// `host:port` by which the others reach this broker, `{name}` stands for its name; absent:
    /// `peers.listen`, if that is an address that others can use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advertise: Option<String>,
    /// Seconds after which a broker that says nothing is no longer found, 5 to 3,600. Default 30: a
    /// restart takes less.
    #[serde(default = "lease_seconds")]
    pub lease_seconds: u32,
    /// Trust anchors of etcd; needed with `https`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// Certificate that is shown to etcd.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_file: Option<PathBuf>,
    /// Its private key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_file: Option<PathBuf>,
    /// etcd's user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// File with the user's password, read anew at each login.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_file: Option<PathBuf>,
}

const fn lease_seconds() -> u32 {
    30
}
