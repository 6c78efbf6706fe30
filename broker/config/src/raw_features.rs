//! Tables of the file that a broker does without: what it does beside routing messages. Pure.
//!
//! An older broker doesn't know them, so each is written only where it says something.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::config::Durability;
use crate::features::RewriteAction;

/// `[metrics]`: `/metrics`, `/healthz` and `/readyz` of a broker that stands alone, over plain HTTP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawMetrics {
    /// Address and port; port 0 takes a free one, which is then logged.
    pub address: SocketAddr,
    /// Must be `true` on an address that other machines reach: everybody there reads the numbers.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub acknowledge_plaintext: bool,
}

/// One of `[[durability_rules]]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawDurabilityRule {
    /// Topic Filter, without `$share`.
    pub filter: String,
    /// When a message of QoS 1 or 2 is acknowledged: `quorum` and `local` as for all, `memory` as
    /// soon as it is on its way to where it is kept.
    pub durability: Durability,
}

/// `[sys]`: topics below `$SYS`, by Mosquitto's names. Each broker of a cluster has its own values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawSys {
    /// Between two times that changed values are told, in seconds; 0: there are no such topics.
    pub interval_seconds: u16,
}

impl Default for RawSys {
    /// Mosquitto's interval.
    fn default() -> Self {
        Self { interval_seconds: 10 }
    }
}

/// `[redirect]`: another server for clients that this one does not keep. MQTT 5.0 clients are told
/// it with reason code 0x9C. Spec: MQTT 5.0 section 4.11.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawRedirect {
    /// Server Reference: as the clients take it, for example `mqtt-b.example:8883`. Told at a drain
    /// and at the end of the process, in place of "server shutting down".
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_reference: Option<String>,
    /// Whether every client is sent there that connects.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub refuse_connects: bool,
}

/// `[delayed]`: `$delayed/<seconds>/<topic>`, what of it is held.
///
/// QoS 1 and 2 are kept by the cluster, unless `durability` is `memory`; the rest by this broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawDelayed {
    /// Messages held at one time by the cluster, and by this broker, there divided among the
    /// workers; 0: nothing is delayed, and these topics
    /// are like others.
    pub messages_max: u32,
    /// Bytes of these messages, divided likewise.
    pub bytes_max: u64,
    /// Longest delay, in seconds.
    pub seconds_max: u32,
}

impl Default for RawDelayed {
    /// A few for each of many devices, in a small part of the memory, for a month.
    fn default() -> Self {
        Self { messages_max: 10_000, bytes_max: 64 * 1024 * 1024, seconds_max: 30 * 24 * 3_600 }
    }
}

/// One of `[[rewrites]]`: another topic in place of the one that a client names. The first whose
/// source matches decides; rights are those to the other topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawRewrite {
    /// Which packets it is for.
    #[serde(default)]
    pub action: RewriteAction,
    /// A topic filter; of topic filters it takes those that it covers.
    pub source: String,
    /// The other topic; `$1` to `$9` stand for what the source's wildcards match, in their order.
    pub destination: String,
}

/// One of `[[auto_subscriptions]]`: every client is given it at CONNECT which has the right to it,
/// and has not subscribed to the same filter itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawAutoSubscription {
    /// A topic filter, with `%c` for the client identifier and `%u` for the user name; a client
    /// without user name, or with a wildcard in the name, goes without.
    pub filter: String,
    /// Maximum QoS, 0 to 2.
    #[serde(default)]
    pub qos: u8,
    /// Whether the client is spared its own messages. Spec: MQTT 5.0 section 3.8.3.1.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub no_local: bool,
    /// Whether messages keep the RETAIN that they were published with.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub retain_as_published: bool,
    /// Whether retained messages are sent when the subscription is made.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub send_retained: bool,
}

const fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
const fn is_yes(value: &bool) -> bool {
    *value
}
