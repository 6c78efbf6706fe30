//! `RawConfig` -> `Config`: each relation between values, checked once. Pure.

use std::net::SocketAddr;
use std::time::Duration;

use crate::config::{
    Authentication, ClientCertificates, Cluster, Config, Discovery, Listener, ListenerLimits, Log,
    Mqtt, PeerTlsPaths, Peers, Protocol, Retained, Sessions, StaticPeer, TlsPaths,
};
use crate::error::ConfigError;
use crate::name::{is_cluster_id, is_label};
use crate::raw::{RawConfig, RawDiscovery, RawListener, RawMqtt, RawPeers, RawSessions, RawTls};

/// Listeners of one broker.
pub(crate) const LISTENERS_MAX: usize = 16;
/// Worker threads of one broker: as many as forward destinations are set aside for them.
pub(crate) const WORKERS_MAX: u16 = 32;
/// Largest packet of the protocol. Spec: MQTT 5.0 section 1.5.5, plus the fixed header.
pub(crate) const PACKET_BYTES_MAX: u32 = 268_435_455 + 5;
/// A CONNECT with every field in use fits.
const PACKET_BYTES_MIN: u32 = 1024;
/// Queue limit of one Session.
const QUEUED_MESSAGES_MAX: u32 = 100_000_000;
/// Connections of one listener.
const CONNECTIONS_MAX: u32 = 10_000_000;

impl TryFrom<RawConfig> for Config {
    type Error = ConfigError;

    fn try_from(raw: RawConfig) -> Result<Self, ConfigError> {
        if !is_label(&raw.cluster.name) {
            return Err(ConfigError::Name { key: "cluster.name".into(), value: raw.cluster.name });
        }
        if !is_cluster_id(&raw.cluster.id) {
            return Err(ConfigError::ClusterId { value: raw.cluster.id });
        }
        if raw.data_dir.as_os_str().is_empty() {
            return Err(ConfigError::Empty { key: "data_dir".into(), expected: "a folder" });
        }
        range("workers", raw.workers, 0, WORKERS_MAX)?;
        let mqtt = mqtt(&raw.mqtt)?;
        let sessions = sessions(&raw.sessions, &raw.mqtt)?;
        range("retained.messages_max", raw.retained.messages_max, 1, u64::MAX)?;
        range("retained.bytes_max", raw.retained.bytes_max, 1, u64::MAX)?;
        let listeners = listeners(&raw)?;
        distinct_addresses(&raw, &listeners)?;
        Ok(Self {
            cluster: Cluster { name: raw.cluster.name, id: raw.cluster.id },
            data_dir: raw.data_dir,
            workers: (raw.workers > 0).then_some(raw.workers),
            durability: raw.durability,
            partition_policy: raw.partition_policy,
            peers: peers(raw.peers)?,
            admin_listen: raw.admin.listen,
            tls: tls(raw.tls)?,
            listeners,
            mqtt,
            sessions,
            retained: Retained {
                messages_max: raw.retained.messages_max,
                bytes_max: raw.retained.bytes_max,
            },
            log: Log { format: raw.log.format, level: raw.log.level },
        })
    }
}

fn range<N: Into<u64> + Copy>(key: &str, value: N, min: N, max: N) -> Result<(), ConfigError> {
    let (value, min, max) = (value.into(), min.into(), max.into());
    if (min..=max).contains(&value) {
        Ok(())
    } else {
        Err(ConfigError::Range { key: key.to_owned(), value, min, max })
    }
}

fn mqtt(raw: &RawMqtt) -> Result<Mqtt, ConfigError> {
    range("mqtt.packet_bytes_max", raw.packet_bytes_max, PACKET_BYTES_MIN, PACKET_BYTES_MAX)?;
    range("mqtt.receive_maximum", raw.receive_maximum, 1, u16::MAX)?;
    range("mqtt.keep_alive_max_seconds", raw.keep_alive_max_seconds, 1, u16::MAX)?;
    range("mqtt.connect_timeout_seconds", raw.connect_timeout_seconds, 1, 600)?;
    if raw.output_bytes_max < raw.packet_bytes_max {
        return Err(ConfigError::OutputBelowPacket {
            output: raw.output_bytes_max,
            packet: raw.packet_bytes_max,
        });
    }
    Ok(Mqtt {
        packet_bytes_max: raw.packet_bytes_max,
        receive_maximum: raw.receive_maximum,
        topic_alias_maximum: raw.topic_alias_maximum,
        keep_alive_max: Duration::from_secs(raw.keep_alive_max_seconds.into()),
        connect_timeout: Duration::from_secs(raw.connect_timeout_seconds.into()),
        output_bytes_max: raw.output_bytes_max,
        shared_subscription_strategy: raw.shared_subscription_strategy,
    })
}

fn sessions(raw: &RawSessions, mqtt: &RawMqtt) -> Result<Sessions, ConfigError> {
    range("sessions.inflight_max", raw.inflight_max, 1, u16::MAX)?;
    range("sessions.queued_messages_max", raw.queued_messages_max, 1, QUEUED_MESSAGES_MAX)?;
    if raw.queued_messages_max < u32::from(raw.inflight_max) {
        return Err(ConfigError::QueueBelowInflight {
            inflight: raw.inflight_max,
            queued: raw.queued_messages_max,
        });
    }
    if raw.queued_bytes_max < u64::from(mqtt.packet_bytes_max) {
        return Err(ConfigError::QueueBelowPacket {
            queued: raw.queued_bytes_max,
            packet: mqtt.packet_bytes_max,
        });
    }
    Ok(Sessions {
        expiry_max: Duration::from_secs(raw.expiry_max_seconds.into()),
        inflight_max: raw.inflight_max,
        queued_messages_max: raw.queued_messages_max,
        queued_bytes_max: raw.queued_bytes_max,
    })
}

fn peers(raw: RawPeers) -> Result<Peers, ConfigError> {
    let discovery = match raw.discovery {
        RawDiscovery::Dns(dns) => {
            if dns.host.is_empty() {
                let key = "peers.discovery.dns.host".to_owned();
                return Err(ConfigError::Empty { key, expected: "a DNS name" });
            }
            range("peers.discovery.dns.port", dns.port, 1, u16::MAX)?;
            Discovery::Dns { host: dns.host, port: dns.port }
        }
        RawDiscovery::Static(entries) => {
            let mut peers: Vec<StaticPeer> = Vec::with_capacity(entries.len());
            for entry in entries {
                if !is_label(&entry.name) {
                    let key = "peers.discovery.static.name".to_owned();
                    return Err(ConfigError::Name { key, value: entry.name });
                }
                if peers.iter().any(|peer| peer.name == entry.name) {
                    return Err(ConfigError::DuplicatePeer { name: entry.name });
                }
                if !is_host_and_port(&entry.address) {
                    let (name, address) = (entry.name, entry.address);
                    return Err(ConfigError::PeerAddress { name, address });
                }
                peers.push(StaticPeer { name: entry.name, address: entry.address });
            }
            Discovery::Static(peers)
        }
    };
    Ok(Peers { listen: raw.listen, discovery })
}

fn is_host_and_port(address: &str) -> bool {
    address.rsplit_once(':').is_some_and(|(host, port)| {
        !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0)
    })
}

fn tls(raw: RawTls) -> Result<TlsPaths, ConfigError> {
    let paths = [
        ("tls.server_certificate", Some(&raw.server_certificate)),
        ("tls.server_key", Some(&raw.server_key)),
        ("tls.peer_certificate", Some(&raw.peer_certificate)),
        ("tls.peer_key", Some(&raw.peer_key)),
        ("tls.peer_ca", Some(&raw.peer_ca)),
        ("tls.admin_ca", Some(&raw.admin_ca)),
        ("tls.client_ca", raw.client_ca.as_ref()),
    ];
    for (key, path) in paths {
        if path.is_some_and(|path| path.as_os_str().is_empty()) {
            return Err(ConfigError::Empty { key: key.to_owned(), expected: "a PEM file" });
        }
    }
    Ok(TlsPaths {
        server_certificate: raw.server_certificate,
        server_key: raw.server_key,
        client_ca: raw.client_ca,
        admin_ca: raw.admin_ca,
        peer: PeerTlsPaths {
            certificate: raw.peer_certificate,
            key: raw.peer_key,
            ca: raw.peer_ca,
        },
    })
}

fn listeners(raw: &RawConfig) -> Result<Vec<Listener>, ConfigError> {
    if raw.listeners.is_empty() {
        return Err(ConfigError::NoListener);
    }
    if raw.listeners.len() > LISTENERS_MAX {
        let count = raw.listeners.len();
        return Err(ConfigError::TooManyListeners { count, max: LISTENERS_MAX });
    }
    let mut listeners: Vec<Listener> = Vec::with_capacity(raw.listeners.len());
    for entry in &raw.listeners {
        let listener = listener(entry, &raw.tls)?;
        if listeners.iter().any(|other| other.name == listener.name) {
            return Err(ConfigError::DuplicateListener { name: listener.name });
        }
        listeners.push(listener);
    }
    Ok(listeners)
}

fn listener(raw: &RawListener, tls: &RawTls) -> Result<Listener, ConfigError> {
    let name = raw.name.clone();
    if !is_label(&name) {
        return Err(ConfigError::Name { key: "listeners.name".into(), value: name });
    }
    transport(raw)?;
    let client_certificates = client_certificates(raw, tls)?;
    let mut authentication = Vec::new();
    for way in &raw.authentication {
        if !authentication.contains(way) {
            authentication.push(*way);
        }
    }
    if authentication.is_empty() {
        return Err(ConfigError::NoAuthentication { name });
    }
    let limits = &raw.limits;
    let key = format!("listeners[{name}].limits.connections");
    range(&key, limits.connections, 1, CONNECTIONS_MAX)?;
    let key = format!("listeners[{name}].limits.connections_per_second");
    range(&key, limits.connections_per_second, 1, CONNECTIONS_MAX)?;
    Ok(Listener {
        name,
        protocol: raw.protocol,
        bind: SocketAddr::new(raw.address, raw.port),
        authentication,
        client_certificates,
        limits: ListenerLimits {
            connections: limits.connections,
            connections_per_second: limits.connections_per_second,
        },
    })
}

fn transport(raw: &RawListener) -> Result<(), ConfigError> {
    let (name, protocol) = (raw.name.clone(), raw.protocol.as_str());
    match raw.protocol {
        Protocol::Mqtt if !raw.acknowledge_plaintext => {
            Err(ConfigError::Plaintext { name, protocol, secure: "mqtts" })
        }
        Protocol::Mqtts if raw.acknowledge_plaintext => {
            Err(ConfigError::NeedlessAcknowledgement { name, protocol })
        }
        Protocol::Mqtt | Protocol::Mqtts => Ok(()),
        Protocol::Ws | Protocol::Wss => Err(ConfigError::UnsupportedProtocol { name, protocol }),
    }
}

fn client_certificates(raw: &RawListener, tls: &RawTls) -> Result<ClientCertificates, ConfigError> {
    let name = raw.name.clone();
    let x509 = raw.authentication.contains(&Authentication::X509);
    let asked = raw.client_certificates.unwrap_or(if x509 {
        ClientCertificates::Optional
    } else {
        ClientCertificates::None
    });
    let mode = match asked {
        ClientCertificates::None if x509 => {
            return Err(ConfigError::X509WithoutCertificates { name });
        }
        ClientCertificates::None => return Ok(asked),
        ClientCertificates::Optional => "optional",
        ClientCertificates::Required => "required",
    };
    if !raw.protocol.is_tls() {
        let protocol = raw.protocol.as_str();
        return Err(ConfigError::CertificatesWithoutTls { name, protocol, mode });
    }
    if tls.client_ca.is_none() {
        return Err(ConfigError::NoClientCa { name, mode });
    }
    Ok(asked)
}

/// No two sockets on one port, unless their addresses differ and neither takes them all.
fn distinct_addresses(raw: &RawConfig, listeners: &[Listener]) -> Result<(), ConfigError> {
    let mut taken: Vec<(String, SocketAddr)> = vec![("peers.listen".to_owned(), raw.peers.listen)];
    let rest = std::iter::once(("admin.listen".to_owned(), raw.admin.listen))
        .chain(listeners.iter().map(|l| (format!("listener {:?}", l.name), l.bind)));
    for (second, address) in rest {
        let clash = taken.iter().find(|(_, other)| {
            other.port() != 0
                && other.port() == address.port()
                && (other.ip() == address.ip()
                    || other.ip().is_unspecified()
                    || address.ip().is_unspecified())
        });
        if let Some((first, _)) = clash {
            return Err(ConfigError::DuplicateAddress { first: first.clone(), second, address });
        }
        taken.push((second, address));
    }
    Ok(())
}
