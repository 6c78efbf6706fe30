//! How brokers of a cluster find each other, checked. Pure.

use std::path::PathBuf;

/// How the other brokers are found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Discovery {
    /// Every broker by name; a broker ignores its own entry.
    Static(Vec<StaticPeer>),
    /// The A and AAAA records of `host`, resolved again until every one is linked.
    Dns {
        /// Name that resolves to every broker.
        host: String,
        /// Port of the peers' listeners.
        port: u16,
    },
    /// The EndpointSlices of a Service.
    Kubernetes(KubernetesPeers),
    /// What the brokers register in etcd.
    Etcd(EtcdPeers),
}

/// A broker named in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaticPeer {
    /// The broker's name, as in its certificate.
    pub name: String,
    /// `host:port` of its peer listener.
    pub address: String,
}

/// A Service whose endpoints the brokers are; `None`: as the Pod has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KubernetesPeers {
    /// Name of the Service, a DNS label.
    pub service: String,
    /// Port of the peers' listeners.
    pub port: u16,
    /// Its namespace.
    pub namespace: Option<String>,
    /// The API server.
    pub server: Option<Server>,
    /// File with the token.
    pub token_file: Option<PathBuf>,
    /// Trust anchors of the API server.
    pub ca_file: Option<PathBuf>,
}

/// etcd, and what this broker says there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EtcdPeers {
    /// Its members; at least one.
    pub endpoints: Vec<Server>,
    /// What the keys begin with; ends with a slash.
    pub prefix: String,
    /// `host:port`; `{name}` stands for the broker's name.
    pub advertise: String,
    /// Seconds that an entry outlives its broker.
    pub lease_seconds: u32,
    /// Trust anchors; there where an endpoint has TLS.
    pub ca_file: Option<PathBuf>,
    /// Certificate and key that are shown.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// User, and the file with the password.
    pub login: Option<(String, PathBuf)>,
}

/// A server that is asked over HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Whether it has TLS.
    pub is_tls: bool,
    /// Name or address.
    pub host: String,
    /// Port.
    pub port: u16,
}
