//! `RawConfig` -> `Config`: each relation between values, checked once. Pure.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::config::{
    Authentication, Bind, ClientCertificates, Config, Listener, ListenerLimits, Log, Mqtt,
};
use crate::error::ConfigError;
use crate::limits::{Limits, Retained, Sessions};
use crate::name::is_label;
use crate::raw::{RawConfig, RawLimits, RawListener, RawMqtt, RawSessions, TOPIC_LEVELS_MAX};
use crate::validate_cluster::{cluster, metrics, policy, tls};
use crate::validate_features::{delayed, redirect};
use crate::validate_topics::{auto_subscriptions, rewrites};

/// Listeners of one broker.
pub(crate) const LISTENERS_MAX: usize = 16;
/// Worker threads of one broker: as many as forward destinations are set aside for them.
pub(crate) const WORKERS_MAX: u16 = 32;
/// Largest packet of the protocol. Spec: MQTT 5.0 section 1.5.5, plus the fixed header.
pub(crate) const PACKET_BYTES_MAX: u32 = 268_435_455 + 5;
/// Largest packet in a cluster: with its topic, and that of a group, it goes to other brokers in one
/// frame of 8 MiB.
pub(crate) const CLUSTER_PACKET_BYTES_MAX: u32 = 7 << 20;
/// A CONNECT with every field in use fits.
const PACKET_BYTES_MIN: u32 = 1024;
/// Far from what a Maximum Packet Size or a text may hold.
const RESPONSE_INFORMATION_BYTES_MAX: usize = 1024;
/// Queue limit of one Session.
const QUEUED_MESSAGES_MAX: u32 = 100_000_000;
/// Below it the broker would not come up.
const MEMORY_BYTES_MIN: u64 = 64 << 20;
/// Subscriptions of one Session.
const SUBSCRIPTIONS_MAX: u32 = 10_000_000;
/// Connections of one listener.
const CONNECTIONS_MAX: u32 = 10_000_000;

impl TryFrom<RawConfig> for Config {
    type Error = ConfigError;

    fn try_from(raw: RawConfig) -> Result<Self, ConfigError> {
        if raw.data_dir.as_os_str().is_empty() {
            return Err(ConfigError::Empty { key: "data_dir".into(), expected: "a folder" });
        }
        range("workers", raw.workers, 0, WORKERS_MAX)?;
        let mqtt = mqtt(&raw.mqtt)?;
        let sessions = sessions(&raw.sessions, &raw.mqtt)?;
        range("retained.messages_max", raw.retained.messages_max, 1, u64::MAX)?;
        let listeners = listeners(&raw)?;
        distinct_addresses(&raw, &listeners)?;
        let is_tls_needed = raw.cluster.is_some() || listeners.iter().any(|l| l.protocol.is_tls());
        let cluster = cluster(&raw)?;
        if cluster.is_some() && mqtt.packet_bytes_max > CLUSTER_PACKET_BYTES_MAX {
            return Err(ConfigError::PacketAboveFrame {
                packet: mqtt.packet_bytes_max,
                max: CLUSTER_PACKET_BYTES_MAX,
            });
        }
        Ok(Self {
            metrics: metrics(raw.metrics.as_ref(), cluster.is_some())?,
            policy: policy(raw.policy, cluster.is_some())?,
            tls: tls(raw.tls.unwrap_or_default(), is_tls_needed)?,
            cluster,
            data_dir: raw.data_dir,
            workers: (raw.workers > 0).then_some(raw.workers),
            durability: raw.durability,
            partition_policy: raw.partition_policy,
            listeners,
            mqtt,
            sessions,
            retained: Retained {
                messages_max: raw.retained.messages_max,
                bytes_max: some(raw.retained.bytes_max),
                expiry_max: some(raw.retained.expiry_max_seconds)
                    .map(|seconds| Duration::from_secs(seconds.into())),
            },
            limits: limits(&raw.limits)?,
            rewrites: rewrites(&raw.rewrites)?,
            auto_subscriptions: auto_subscriptions(&raw.auto_subscriptions)?,
            delayed: delayed(raw.delayed, &raw.mqtt)?,
            redirect: redirect(&raw.redirect)?,
            sys_interval: (raw.sys.interval_seconds > 0)
                .then(|| Duration::from_secs(raw.sys.interval_seconds.into())),
            log: Log { format: raw.log.format, level: raw.log.level },
        })
    }
}

/// `None` for 0.
fn some<N: Default + PartialEq>(value: N) -> Option<N> {
    (value != N::default()).then_some(value)
}

fn limits(raw: &RawLimits) -> Result<Limits, ConfigError> {
    if raw.memory_bytes_max != 0 {
        range("limits.memory_bytes_max", raw.memory_bytes_max, MEMORY_BYTES_MIN, u64::MAX)?;
    }
    Ok(Limits {
        connections_max: raw.connections_max,
        connections_per_address_max: raw.connections_per_address_max,
        connections_per_user_max: raw.connections_per_user_max,
        memory_bytes_max: raw.memory_bytes_max,
    })
}

pub(crate) fn range<N: Into<u64> + Copy>(
    key: &str,
    value: N,
    min: N,
    max: N,
) -> Result<(), ConfigError> {
    let (value, min, max) = (value.into(), min.into(), max.into());
    if (min..=max).contains(&value) {
        Ok(())
    } else {
        Err(ConfigError::Range { key: key.to_owned(), value, min, max })
    }
}

fn response_information(raw: &RawMqtt) -> Result<Option<Arc<str>>, ConfigError> {
    let Some(text) = raw.response_information.as_deref() else { return Ok(None) };
    let is_topic = !text.contains(['\0', '+', '#']);
    if text.is_empty() || text.len() > RESPONSE_INFORMATION_BYTES_MAX || !is_topic {
        return Err(ConfigError::ResponseInformation { value: text.to_owned() });
    }
    Ok(Some(text.into()))
}

fn mqtt(raw: &RawMqtt) -> Result<Mqtt, ConfigError> {
    range("mqtt.packet_bytes_max", raw.packet_bytes_max, PACKET_BYTES_MIN, PACKET_BYTES_MAX)?;
    range("mqtt.topic_levels_max", raw.topic_levels_max, 1, TOPIC_LEVELS_MAX)?;
    range("mqtt.receive_maximum", raw.receive_maximum, 1, u16::MAX)?;
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
        topic_alias_maximum_outbound: raw.topic_alias_maximum_outbound,
        response_information: response_information(raw)?,
        message_expiry_max: some(raw.message_expiry_max_seconds)
            .map(|seconds| Duration::from_secs(seconds.into())),
        topic_levels_max: raw.topic_levels_max,
        keep_alive_max: Duration::from_secs(raw.keep_alive_max_seconds.into()),
        connect_timeout: Duration::from_secs(raw.connect_timeout_seconds.into()),
        output_bytes_max: raw.output_bytes_max,
        shared_subscription_strategy: raw.shared_subscription_strategy,
        profile: raw.profile,
    })
}

fn sessions(raw: &RawSessions, mqtt: &RawMqtt) -> Result<Sessions, ConfigError> {
    range("sessions.inflight_max", raw.inflight_max, 1, u16::MAX)?;
    range("sessions.subscriptions_max", raw.subscriptions_max, 1, SUBSCRIPTIONS_MAX)?;
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
    range("sessions.durable_max", raw.durable_max, 1, u64::MAX)?;
    if raw.durable_bytes_max != 0 {
        let packet = u64::from(mqtt.packet_bytes_max);
        range("sessions.durable_bytes_max", raw.durable_bytes_max, packet, u64::MAX)?;
    }
    Ok(Sessions {
        expiry_max: Duration::from_secs(raw.expiry_max_seconds.into()),
        inflight_max: raw.inflight_max,
        queued_messages_max: raw.queued_messages_max,
        queued_bytes_max: raw.queued_bytes_max,
        queued_bytes_total_max: some(raw.queued_bytes_total_max),
        queued_messages_total_max: some(raw.queued_messages_total_max),
        subscriptions_max: raw.subscriptions_max,
        durable_max: raw.durable_max,
        durable_bytes_max: some(raw.durable_bytes_max),
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
        let listener = listener(entry, raw)?;
        if listeners.iter().any(|other| other.name == listener.name) {
            return Err(ConfigError::DuplicateListener { name: listener.name });
        }
        listeners.push(listener);
    }
    Ok(listeners)
}

fn listener(raw: &RawListener, config: &RawConfig) -> Result<Listener, ConfigError> {
    let name = raw.name.clone();
    if !is_label(&name) {
        return Err(ConfigError::Name { key: "listeners.name".into(), value: name });
    }
    transport(raw)?;
    let client_certificates = client_certificates(raw, config)?;
    let mut authentication = Vec::new();
    for way in &raw.authentication {
        if !authentication.contains(way) {
            authentication.push(*way);
        }
    }
    if authentication.is_empty() {
        return Err(ConfigError::NoAuthentication { name });
    }
    let is_alone = config.cluster.is_none();
    let unproven =
        [(Authentication::Believed, "believed"), (Authentication::Anonymous, "anonymous")];
    if let Some((_, way)) = unproven.into_iter().find(|(way, _)| authentication.contains(way))
        && !is_alone
    {
        return Err(ConfigError::UnprovenInCluster { name, way });
    }
    let limits = &raw.limits;
    let key = format!("listeners[{name}].limits.connections");
    range(&key, limits.connections, 1, CONNECTIONS_MAX)?;
    let key = format!("listeners[{name}].limits.connections_per_second");
    range(&key, limits.connections_per_second, 1, CONNECTIONS_MAX)?;
    Ok(Listener {
        name,
        protocol: raw.protocol,
        bind: bind(raw)?,
        proxy_protocol: raw.proxy_protocol,
        authentication,
        anonymous: raw.anonymous.unwrap_or(!is_alone),
        client_certificates,
        websocket_origins: origins(raw)?,
        limits: ListenerLimits {
            connections: limits.connections,
            connections_per_second: limits.connections_per_second,
            client_publishes_per_second: some(limits.client_publishes_per_second),
            client_bytes_per_second: some(limits.client_bytes_per_second),
            publishes_per_second: some(limits.publishes_per_second),
            bytes_per_second: some(limits.bytes_per_second),
        },
    })
}

/// An address and a port, or a Unix socket.
fn bind(raw: &RawListener) -> Result<Bind, ConfigError> {
    let name = raw.name.clone();
    match (raw.port, &raw.unix_socket) {
        (Some(port), None) => Ok(Bind::Tcp(SocketAddr::new(raw.address, port))),
        (None, Some(path)) if path.as_os_str().is_empty() => {
            let key = format!("listeners[{name}].unix_socket");
            Err(ConfigError::Empty { key, expected: "a path" })
        }
        (None, Some(_)) if raw.proxy_protocol => Err(ConfigError::ProxyOnUnixSocket { name }),
        (None, Some(path)) => Ok(Bind::Unix(path.clone())),
        (Some(_), Some(_)) => Err(ConfigError::PortAndUnixSocket { name }),
        (None, None) => Err(ConfigError::NoPort { name }),
    }
}

/// Pages as browsers name them: a scheme, a host, and a port that is not the scheme's own.
fn origins(raw: &RawListener) -> Result<Vec<String>, ConfigError> {
    let name = raw.name.clone();
    if !raw.websocket_origins.is_empty() && !raw.protocol.is_websocket() {
        let protocol = raw.protocol.as_str();
        return Err(ConfigError::OriginsWithoutWebSocket { name, protocol });
    }
    let is_origin = |value: &&String| match value.split_once("://") {
        Some((scheme, host)) => {
            let is_host = |c: char| !(c == '/' || c.is_whitespace() || c.is_control());
            !scheme.is_empty() && !host.is_empty() && host.chars().all(is_host)
        }
        None => **value == "null",
    };
    match raw.websocket_origins.iter().find(|value| !is_origin(value)) {
        Some(value) => Err(ConfigError::Origin { name, value: value.clone() }),
        None => Ok(raw.websocket_origins.clone()),
    }
}

/// Plain text crosses a network only where somebody has said that it may.
fn transport(raw: &RawListener) -> Result<(), ConfigError> {
    let (name, protocol) = (raw.name.clone(), raw.protocol.as_str());
    let crosses_network = raw.unix_socket.is_none();
    let secure = if raw.protocol.is_websocket() { "wss" } else { "mqtts" };
    match (raw.protocol.is_tls(), raw.acknowledge_plaintext) {
        (false, false) if crosses_network => Err(ConfigError::Plaintext { name, protocol, secure }),
        (true, true) => Err(ConfigError::NeedlessAcknowledgement { name, protocol }),
        _ => Ok(()),
    }
}

fn client_certificates(
    raw: &RawListener,
    config: &RawConfig,
) -> Result<ClientCertificates, ConfigError> {
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
    if config.tls.as_ref().is_none_or(|tls| tls.client_ca.is_none()) {
        return Err(ConfigError::NoClientCa { name, mode });
    }
    Ok(asked)
}

/// No two sockets on one port, unless their addresses differ and neither takes them all.
fn distinct_addresses(raw: &RawConfig, listeners: &[Listener]) -> Result<(), ConfigError> {
    let mut taken: Vec<(String, SocketAddr)> = Vec::new();
    let peers = raw.peers.iter().map(|peers| ("peers.listen".to_owned(), peers.listen));
    let rest = peers
        .chain(raw.admin.iter().map(|admin| ("admin.listen".to_owned(), admin.listen)))
        .chain(raw.metrics.iter().map(|own| ("metrics.address".to_owned(), own.address)))
        .chain(listeners.iter().filter_map(|listener| match listener.bind {
            Bind::Tcp(address) => Some((format!("listener {:?}", listener.name), address)),
            Bind::Unix(_) => None,
        }));
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
