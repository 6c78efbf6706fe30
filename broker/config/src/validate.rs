//! `RawConfig` -> `Config`: each relation between values, checked once. Pure.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::config::{Config, Log, Mqtt};
use crate::error::ConfigError;
use crate::limits::{Limits, Retained, Sessions};
use crate::listener::{Bind, Listener};
use crate::raw::{RawConfig, RawLimits, RawMqtt, RawSessions, TOPIC_LEVELS_MAX};
use crate::validate_cluster::{cluster, metrics, policy, tls};
use crate::validate_features::{delayed, redirect};
use crate::validate_listener::listeners;
use crate::validate_topics::{auto_subscriptions, durability_rules, rewrites};

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
        let uses_tls = |l: &Listener| l.protocol.is_tls() && l.tls.is_none();
        let is_tls_needed = raw.cluster.is_some() || listeners.iter().any(uses_tls);
        let is_policy_needed = listeners.iter().any(|listener| listener.policy.is_none());
        let cluster = cluster(&raw)?;
        if cluster.is_some() && mqtt.packet_bytes_max > CLUSTER_PACKET_BYTES_MAX {
            return Err(ConfigError::PacketAboveFrame {
                packet: mqtt.packet_bytes_max,
                max: CLUSTER_PACKET_BYTES_MAX,
            });
        }
        Ok(Self {
            metrics: metrics(raw.metrics.as_ref(), cluster.is_some())?,
            policy: policy(raw.policy, cluster.is_some(), is_policy_needed)?,
            tls: tls(raw.tls.unwrap_or_default(), is_tls_needed)?,
            cluster,
            data_dir: raw.data_dir,
            workers: (raw.workers > 0).then_some(raw.workers),
            pid_file: raw.pid_file,
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
            durability_rules: durability_rules(&raw.durability_rules)?,
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
pub(crate) fn some<N: Default + PartialEq>(value: N) -> Option<N> {
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
        durable_cache_bytes: some(raw.durable_cache_bytes),
    })
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
