//! The brokers' configuration file, as the broker itself reads it. Pure.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use broker_config::{
    Config, ORDINAL_PLACEHOLDER, RawAdmin, RawCluster, RawConfig, RawDiscovery, RawDnsPeers,
    RawDurabilityRule, RawKubernetesPeers, RawLimits, RawListener, RawListenerLimits, RawLog,
    RawMqtt, RawPeers, RawRetained, RawSessions, RawTls,
};
use operator_api::cluster as api;
use sha2::{Digest, Sha256};

use super::build::TOKEN_FOLDER;
use super::names::{ADMIN_PORT, PEER_PORT};
use super::overlay::merged;
use super::validate::{Problem, ProblemReason, ValidatedCluster};

/// Where a broker finds its files and which addresses it binds: what differs between platforms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// Folder for identity, log and state.
    pub data_dir: PathBuf,
    /// Folder with `tls.crt` and `tls.key` of the server certificate.
    pub server_tls_dir: PathBuf,
    /// Folder with `tls.crt`, `tls.key` and `ca.crt` of the peer certificate; may hold
    /// `{ordinal}`.
    pub peer_tls_dir: PathBuf,
    /// Folder with `client-ca.crt` and `admin-ca.crt`.
    pub trust_dir: PathBuf,
    /// Address and port for links from other brokers.
    pub peer_listen: SocketAddr,
    /// Address and port of the admin API.
    pub admin_listen: SocketAddr,
    /// How the other brokers are found.
    pub discovery: RawDiscovery,
    /// Address to bind the listeners to.
    pub listener_address: IpAddr,
    /// Ports that differ from the spec's, by listener.
    pub listener_ports: BTreeMap<String, u16>,
}

impl Placement {
    /// The folder that everything is mounted at in a pod.
    pub const KUBERNETES_FOLDER: &'static str = "/etc/dunlin";
    /// The folder of the volume in a pod.
    pub const KUBERNETES_DATA_FOLDER: &'static str = "/var/lib/dunlin";

    /// The placement of every broker of a cluster in Kubernetes.
    #[must_use]
    pub fn kubernetes(cluster: &ValidatedCluster) -> Self {
        let folder = PathBuf::from(Self::KUBERNETES_FOLDER);
        let any = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
        let host = format!("{}.{}.svc", cluster.names.headless_service(), cluster.namespace);
        Self {
            data_dir: Self::KUBERNETES_DATA_FOLDER.into(),
            server_tls_dir: folder.join("tls/server"),
            peer_tls_dir: folder.join("tls/peer").join(ORDINAL_PLACEHOLDER),
            trust_dir: folder.join("tls/trust"),
            peer_listen: SocketAddr::new(any, PEER_PORT),
            admin_listen: SocketAddr::new(any, ADMIN_PORT),
            discovery: match cluster.discovery {
                api::Discovery::Dns => RawDiscovery::Dns(RawDnsPeers { host, port: PEER_PORT }),
                api::Discovery::Kubernetes => RawDiscovery::Kubernetes(RawKubernetesPeers {
                    service: cluster.names.headless_service(),
                    port: PEER_PORT,
                    namespace: Some(cluster.namespace.clone()),
                    server: None,
                    token_file: Some(Path::new(TOKEN_FOLDER).join("token")),
                    ca_file: Some(Path::new(TOKEN_FOLDER).join("ca.crt")),
                }),
            },
            listener_address: any,
            listener_ports: BTreeMap::new(),
        }
    }

    /// The loopback address, for brokers on this machine.
    #[must_use]
    pub fn loopback() -> IpAddr {
        IpAddr::V4(Ipv4Addr::LOCALHOST)
    }
}

/// A configuration file that the broker's own parser accepts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configuration {
    /// The file.
    pub text: String,
    /// Its SHA-256 in hex, as brokers report it.
    pub digest: String,
}

/// Renders the configuration file of a cluster's brokers.
///
/// # Errors
/// [`ProblemReason::InvalidConfiguration`] when `brokerConfig` holds what it may not, or the
/// broker would refuse the whole.
pub fn render(cluster: &ValidatedCluster, placement: &Placement) -> Result<Configuration, Problem> {
    let raw = merged(raw(cluster, placement), &cluster.broker_config)?;
    Config::try_from(raw.clone())
        .map_err(|error| Problem::new(ProblemReason::InvalidConfiguration, error.to_string()))?;
    let text = raw.render();
    let digest = Sha256::digest(text.as_bytes()).iter().map(|b| format!("{b:02x}")).collect();
    Ok(Configuration { text, digest })
}

fn raw(cluster: &ValidatedCluster, placement: &Placement) -> RawConfig {
    let asks_for_certificates = cluster
        .listeners
        .iter()
        .any(|listener| listener.client_certificates() != api::ClientCertificates::None);
    RawConfig {
        data_dir: placement.data_dir.clone(),
        workers: 0,
        pid_file: None,
        durability: durability(cluster.durability),
        partition_policy: match cluster.partition_policy {
            api::PartitionPolicy::Fence => broker_config::PartitionPolicy::Fence,
            api::PartitionPolicy::Serve => broker_config::PartitionPolicy::Serve,
        },
        cluster: Some(RawCluster {
            name: cluster.name.clone(),
            id: cluster.cluster_id.clone(),
            feature_level_max: None,
        }),
        peers: Some(RawPeers {
            listen: placement.peer_listen,
            discovery: placement.discovery.clone(),
        }),
        admin: Some(RawAdmin { listen: placement.admin_listen }),
        metrics: None,
        tls: Some(RawTls {
            server_certificate: Some(placement.server_tls_dir.join("tls.crt")),
            server_key: Some(placement.server_tls_dir.join("tls.key")),
            peer_certificate: Some(placement.peer_tls_dir.join("tls.crt")),
            peer_key: Some(placement.peer_tls_dir.join("tls.key")),
            peer_ca: Some(placement.peer_tls_dir.join("ca.crt")),
            admin_ca: Some(placement.trust_dir.join("admin-ca.crt")),
            client_ca: asks_for_certificates.then(|| placement.trust_dir.join("client-ca.crt")),
            client_crl: None,
        }),
        policy: None,
        listeners: cluster.listeners.iter().map(|l| raw_listener(l, placement)).collect(),
        mqtt: RawMqtt::default(),
        sessions: RawSessions {
            expiry_max_seconds: u32::try_from(cluster.sessions.expiry_max.as_secs())
                .unwrap_or(u32::MAX),
            inflight_max: cluster.sessions.inflight_max,
            queued_messages_max: cluster.sessions.queued_messages_max,
            queued_bytes_max: cluster.sessions.queued_bytes_max,
            ..RawSessions::default()
        },
        retained: RawRetained {
            messages_max: cluster.retained.messages_max,
            bytes_max: cluster.retained.bytes_max.unwrap_or(0),
            ..RawRetained::default()
        },
        limits: RawLimits::default(),
        sys: Default::default(),
        redirect: Default::default(),
        durability_rules: cluster
            .durability_rules
            .iter()
            .map(|rule| RawDurabilityRule {
                filter: rule.filter.clone(),
                durability: durability(rule.durability),
            })
            .collect(),
        rewrites: Vec::new(),
        auto_subscriptions: Vec::new(),
        delayed: Default::default(),
        log: RawLog::default(),
    }
}

fn durability(durability: api::Durability) -> broker_config::Durability {
    match durability {
        api::Durability::Quorum => broker_config::Durability::Quorum,
        api::Durability::Local => broker_config::Durability::Local,
        api::Durability::Memory => broker_config::Durability::Memory,
    }
}

fn raw_listener(listener: &api::Listener, placement: &Placement) -> RawListener {
    let port = placement.listener_ports.get(&listener.name).copied();
    RawListener {
        name: listener.name.clone(),
        protocol: match listener.protocol {
            api::Protocol::Mqtt => broker_config::Protocol::Mqtt,
            api::Protocol::Mqtts => broker_config::Protocol::Mqtts,
            api::Protocol::Ws => broker_config::Protocol::Ws,
            api::Protocol::Wss => broker_config::Protocol::Wss,
        },
        address: placement.listener_address,
        port: Some(port.unwrap_or_else(|| u16::try_from(listener.port).unwrap_or(0))),
        unix_socket: None,
        proxy_protocol: false,
        authentication: listener
            .authentication_methods()
            .iter()
            .map(|method| match method {
                api::AuthenticationMethod::Password => broker_config::Authentication::Password,
                api::AuthenticationMethod::X509 => broker_config::Authentication::X509,
            })
            .collect(),
        anonymous: None,
        client_certificates: Some(match listener.client_certificates() {
            api::ClientCertificates::None => broker_config::ClientCertificates::None,
            api::ClientCertificates::Optional => broker_config::ClientCertificates::Optional,
            api::ClientCertificates::Required => broker_config::ClientCertificates::Required,
        }),
        websocket_origins: Vec::new(),
        certificate_username: Default::default(),
        tls: None,
        policy: None,
        mqtt: Default::default(),
        acknowledge_plaintext: listener.acknowledge_plaintext && !listener.protocol.is_tls(),
        limits: RawListenerLimits {
            connections: listener.limits.connections,
            connections_per_second: listener.limits.connections_per_second,
            ..RawListenerLimits::default()
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::fixture::validated;

    #[test]
    fn the_broker_reads_what_is_rendered() {
        let cluster = validated("{version: 0.1.0}");
        let rendered = render(&cluster, &Placement::kubernetes(&cluster)).unwrap();
        let config = Config::parse(&rendered.text).unwrap();
        assert_eq!(config.cluster.unwrap().id, "01KABCDEF");
        assert_eq!(config.listeners[0].bind.to_string(), "[::]:8883");
        insta::assert_snapshot!(rendered.text);
    }

    #[test]
    fn durability_by_topic_is_in_the_order_of_the_spec() {
        let cluster = validated(
            "{version: 0.1.0, durabilityRules: [
                {filter: telemetry/alarms/#, durability: quorum},
                {filter: telemetry/#, durability: memory}]}",
        );
        let rendered = render(&cluster, &Placement::kubernetes(&cluster)).unwrap();
        let rules = Config::parse(&rendered.text).unwrap().durability_rules;
        let rules: Vec<_> = rules.iter().map(|rule| (&*rule.filter, rule.durability)).collect();
        let (quorum, memory) =
            (broker_config::Durability::Quorum, broker_config::Durability::Memory);
        assert_eq!(rules, [("telemetry/alarms/#", quorum), ("telemetry/#", memory)]);
        let mut twice = cluster;
        twice.broker_config = serde_yaml::from_str("{durability_rules: []}").unwrap();
        let refused = render(&twice, &Placement::kubernetes(&twice)).unwrap_err();
        assert!(refused.message.contains("write all rules in durabilityRules"), "{refused}");
    }
}
