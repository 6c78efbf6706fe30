//! The tables of `raw_features`, checked. Pure.

use crate::error::ConfigError;
use crate::features::{Delayed, Redirect};
use crate::raw::RawMqtt;
use crate::raw_features::{RawDelayed, RawRedirect};
use crate::validate::range;

/// Far from what a Maximum Packet Size or a text may hold.
const SERVER_REFERENCE_BYTES_MAX: usize = 1024;

/// What is wrong with one of those tables.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum FeatureError {
    /// A server reference that can't be sent.
    #[error(
        "redirect.server_reference is {value:?}: name the server that clients are to use, in 1 to \
         {SERVER_REFERENCE_BYTES_MAX} bytes without control characters, as in \
         \"mqtt-b.example:8883\""
    )]
    ServerReference {
        /// As written.
        value: String,
    },
    /// No Topic Filter.
    #[error(
        "durability_rules[{index}].filter is {value:?}: write a topic filter without $share, as in \
         \"telemetry/#\""
    )]
    DurabilityFilter {
        /// Which rule, from 0.
        index: usize,
        /// As written.
        value: String,
    },
    /// Clients are refused, and told nothing.
    #[error(
        "redirect.refuse_connects is true and redirect.server_reference is not set: name the \
         server that clients are to use, or remove refuse_connects"
    )]
    NoServerReference,
    /// A message that may be sent could not be held.
    #[error(
        "delayed.bytes_max is {bytes} and mqtt.packet_bytes_max is {packet}: the former must not \
         be smaller; delayed.messages_max = 0 turns delays off"
    )]
    DelayedBelowPacket {
        /// Bytes that are held.
        bytes: u64,
        /// Bytes of a packet.
        packet: u32,
    },
    /// More entries than are looked at.
    #[error(
        "there are {count} [[{what}]]: at most {max} are taken, put some together by wildcards"
    )]
    TooMany {
        /// The table.
        what: &'static str,
        /// How many there are.
        count: usize,
        /// How many may be.
        max: usize,
    },
    /// No topic filter.
    #[error(
        "rewrites[{index}].source is {value:?}: write a topic filter without $share, in which + \
         and # stand alone in their levels and # in the last one, as in \"old/+/#\""
    )]
    RewriteSource {
        /// Which entry, from 0.
        index: usize,
        /// As written.
        value: String,
    },
    /// No topic, or more references than wildcards.
    #[error(
        "rewrites[{index}].destination is {value:?} and its source has {wildcards} wildcards: \
         write a topic without + and #, in which $1 stands for what the first wildcard matches, $2 \
         for the second, and so on"
    )]
    RewriteDestination {
        /// Which entry, from 0.
        index: usize,
        /// As written.
        value: String,
        /// How many the source has.
        wildcards: usize,
    },
    /// No topic filter.
    #[error(
        "auto_subscriptions[{index}].filter is {value:?}: write a topic filter in which + and # \
         stand alone in their levels and # in the last one, as in \"devices/%c/#\""
    )]
    AutoSubscriptionFilter {
        /// Which entry, from 0.
        index: usize,
        /// As written.
        value: String,
    },
    /// No QoS.
    #[error("auto_subscriptions[{index}].qos is {value}: write 0, 1 or 2")]
    AutoSubscriptionQos {
        /// Which entry, from 0.
        index: usize,
        /// As written.
        value: u8,
    },
    /// Spec: MQTT 5.0 section 3.8.3.1 [MQTT-3.8.3-4].
    #[error(
        "auto_subscriptions[{index}] is shared and has no_local = true: MQTT forbids it, remove \
         no_local"
    )]
    SharedNoLocal {
        /// Which entry, from 0.
        index: usize,
    },
}

pub(crate) fn delayed(raw: RawDelayed, mqtt: &RawMqtt) -> Result<Option<Delayed>, ConfigError> {
    let RawDelayed { messages_max, bytes_max, seconds_max } = raw;
    if messages_max == 0 {
        return Ok(None);
    }
    range("delayed.seconds_max", seconds_max, 1, u32::MAX)?;
    if bytes_max < u64::from(mqtt.packet_bytes_max) {
        let packet = mqtt.packet_bytes_max;
        return Err(FeatureError::DelayedBelowPacket { bytes: bytes_max, packet }.into());
    }
    Ok(Some(Delayed { messages_max, bytes_max, seconds_max }))
}

pub(crate) fn redirect(raw: &RawRedirect) -> Result<Option<Redirect>, ConfigError> {
    let Some(text) = raw.server_reference.as_deref() else {
        return match raw.refuse_connects {
            true => Err(FeatureError::NoServerReference.into()),
            false => Ok(None),
        };
    };
    let is_sendable = !text.is_empty() && text.len() <= SERVER_REFERENCE_BYTES_MAX;
    if !is_sendable || text.chars().any(char::is_control) {
        return Err(FeatureError::ServerReference { value: text.to_owned() }.into());
    }
    Ok(Some(Redirect { server_reference: text.into(), refuse_connects: raw.refuse_connects }))
}
