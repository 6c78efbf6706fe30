//! Limits of packets and sessions, with Mosquitto's defaults. Pure.

use broker_config::{RawLimits, RawMqtt, RawSessions};

use super::Translator;
use super::protocol::topic_aliases;
use crate::model::MosquittoConfig;

/// Mosquitto 2.1's own: before it there was no limit.
const PACKET_BYTES_MAX: u32 = 2_000_000;
/// The broker's least budget.
const MEMORY_BYTES_MIN: u64 = 64 << 20;
/// The broker's least: a CONNECT with every field in use.
const PACKET_BYTES_MIN: u32 = 1_024;
const INFLIGHT_MAX: u16 = 20;
const QUEUED_MESSAGES_MAX: u32 = 1_000;
/// In place of "no limit": the most that the configuration holds.
const QUEUED_MESSAGES_UNLIMITED: u32 = 100_000_000;
/// Mosquitto has no limit: the most that the configuration holds.
const SUBSCRIPTIONS_MAX: u32 = 10_000_000;
const HOUR: u64 = 3_600;

impl Translator<'_> {
    pub(super) fn mqtt(&mut self, config: &MosquittoConfig) -> RawMqtt {
        let global = &config.global;
        let defaults = RawMqtt::default();
        let asked = global.integer("max_packet_size").and_then(|bytes| u32::try_from(bytes).ok());
        let packet_bytes_max = asked.unwrap_or(PACKET_BYTES_MAX).max(PACKET_BYTES_MIN);
        if let (Some(setting), true) =
            (global.get("max_packet_size"), asked != Some(packet_bytes_max))
        {
            let message = format!("max_packet_size: {PACKET_BYTES_MIN} is the least here");
            self.warn(Some(&setting.at), message);
        }
        RawMqtt {
            message_expiry_max_seconds: 0,
            packet_bytes_max,
            receive_maximum: inflight(config),
            topic_alias_maximum: topic_aliases(&config.listeners[0], "max_topic_alias"),
            topic_alias_maximum_outbound: topic_aliases(
                &config.listeners[0],
                "max_topic_alias_broker",
            ),
            response_information: None,
            keep_alive_max_seconds: match global.integer("max_keepalive") {
                Some(seconds @ 1..65_535) => u16::try_from(seconds).unwrap_or(u16::MAX),
                // Mosquitto's default: as long as the client asks.
                _ => 0,
            },
            topic_levels_max: defaults.topic_levels_max,
            connect_timeout_seconds: defaults.connect_timeout_seconds,
            output_bytes_max: defaults.output_bytes_max.max(packet_bytes_max),
            shared_subscription_strategy: defaults.shared_subscription_strategy,
            profile: defaults.profile,
        }
    }

    /// `memory_limit`, `global_max_connections` and `global_max_clients`: of the whole process.
    pub(super) fn limits(&mut self, config: &MosquittoConfig) -> RawLimits {
        let positive = |name| config.global.integer(name).filter(|count| *count > 0);
        let asked = positive("memory_limit").and_then(|bytes| u64::try_from(bytes).ok());
        let memory_bytes_max = asked.map_or(0, |bytes| bytes.max(MEMORY_BYTES_MIN));
        if let Some(setting) = config.global.get("memory_limit").filter(|_| asked.is_some()) {
            let what = match asked == Some(memory_bytes_max) {
                true => "from 70 % of it on publishers wait, from 85 % on new clients are refused",
                false => "64 MiB is the least here",
            };
            self.warn(Some(&setting.at), format!("memory_limit: {what}"));
        }
        // Sessions without connection count among the clients: `sessions` limits those.
        let connections = ["global_max_connections", "global_max_clients"];
        let connections = connections.into_iter().filter_map(positive).min();
        RawLimits {
            connections_max: connections.map_or(0, |n| u32::try_from(n).unwrap_or(u32::MAX)),
            memory_bytes_max,
            ..RawLimits::default()
        }
    }

    pub(super) fn sessions(&mut self, config: &MosquittoConfig, mqtt: &RawMqtt) -> RawSessions {
        let global = &config.global;
        let inflight_max = inflight(config);
        let queued_messages_max = match global.integer("max_queued_messages") {
            None => QUEUED_MESSAGES_MAX,
            Some(..=0) => QUEUED_MESSAGES_UNLIMITED,
            Some(count) => u32::try_from(count).unwrap_or(u32::MAX).min(QUEUED_MESSAGES_UNLIMITED),
        };
        let queued_bytes_max = match global.integer("max_queued_bytes") {
            None | Some(..=0) => RawSessions::default().queued_bytes_max,
            Some(bytes) => u64::try_from(bytes).unwrap_or(u64::MAX),
        };
        let clients = global.integer("global_max_clients").filter(|count| *count > 0);
        let least = (u32::from(inflight_max), u64::from(mqtt.packet_bytes_max));
        let sessions = RawSessions {
            expiry_max_seconds: self.expiration(config),
            inflight_max,
            queued_messages_max: queued_messages_max.max(least.0),
            queued_bytes_max: queued_bytes_max.max(least.1),
            subscriptions_max: SUBSCRIPTIONS_MAX,
            durable_max: clients.map_or(RawSessions::default().durable_max, i64::unsigned_abs),
            ..RawSessions::default()
        };
        for (name, was, is) in [
            (
                "max_queued_messages",
                queued_messages_max.into(),
                sessions.queued_messages_max.into(),
            ),
            ("max_queued_bytes", queued_bytes_max, sessions.queued_bytes_max),
        ] {
            if let (Some(setting), true) = (global.get(name), was != is) {
                let message = format!("{name}: {is} is the least here");
                self.warn(Some(&setting.at), message);
            } else if let (Some(0), "max_queued_bytes") = (global.integer(name), name) {
                let at = global.get(name).map(|setting| &setting.at);
                self.warn(at, format!("max_queued_bytes: {is} is the limit of each session here"));
            }
        }
        sessions
    }

    /// `persistent_client_expiration`, in seconds; without it sessions last as long as they ask.
    fn expiration(&mut self, config: &MosquittoConfig) -> u32 {
        let Some(setting) = config.global.get("persistent_client_expiration") else {
            return u32::MAX;
        };
        let word = setting.text.split(' ').next().unwrap_or_default();
        let unit = |suffix| match suffix {
            's' => Some(1),
            'h' => Some(HOUR),
            'd' => Some(24 * HOUR),
            'w' => Some(7 * 24 * HOUR),
            'm' => Some(30 * 24 * HOUR),
            'y' => Some(365 * 24 * HOUR),
            _ => None,
        };
        let seconds = word.char_indices().next_back().and_then(|(at, suffix)| {
            let count: u64 = word[..at].parse().ok().filter(|count| *count > 0)?;
            count.checked_mul(unit(suffix)?)
        });
        match seconds {
            Some(seconds) => u32::try_from(seconds).unwrap_or(u32::MAX),
            None => {
                self.faults.push(crate::fault::Fault::Value {
                    at: setting.at.clone(),
                    name: "persistent_client_expiration",
                    value: setting.text.clone(),
                    expected: "a number with h, d, w, m or y after it, as in 14d,".to_owned(),
                });
                u32::MAX
            }
        }
    }
}

/// Unacknowledged messages, each way; 0 is no limit.
fn inflight(config: &MosquittoConfig) -> u16 {
    match config.global.integer("max_inflight_messages") {
        None => INFLIGHT_MAX,
        Some(..=0) => u16::MAX,
        Some(count) => u16::try_from(count).unwrap_or(u16::MAX),
    }
}
