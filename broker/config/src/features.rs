//! What a broker does beside routing messages, checked. Pure.

use std::sync::Arc;

use crate::config::Durability;

use serde::{Deserialize, Serialize};

/// When messages of some topics are acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DurabilityRule {
    /// The Topic Filter.
    pub filter: String,
    /// What holds for the topics that it matches.
    pub durability: Durability,
}

/// Another server for clients that this one does not keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// Server Reference, not empty.
    pub server_reference: Arc<str>,
    /// Whether every client is sent there that connects.
    pub refuse_connects: bool,
}

/// What is held for `$delayed` topics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delayed {
    /// Messages at one time.
    pub messages_max: u32,
    /// Their bytes.
    pub bytes_max: u64,
    /// Longest delay, in seconds.
    pub seconds_max: u32,
}

/// Which packets a rewrite is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RewriteAction {
    /// PUBLISH, and wills.
    Publish,
    /// SUBSCRIBE and UNSUBSCRIBE.
    Subscribe,
    /// All of these.
    #[default]
    All,
}

/// Another topic in place of the one that a client names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rewrite {
    /// Which packets it is for.
    pub action: RewriteAction,
    /// A valid topic filter, not shared.
    pub source: String,
    /// The other topic; each `$1` to `$9` has its wildcard in the source.
    pub destination: String,
}

/// A subscription that every client is given at CONNECT which has the right to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AutoSubscription {
    /// A valid topic filter, with `%c` and `%u`.
    pub filter: Arc<str>,
    /// Maximum QoS, 0 to 2.
    pub qos: u8,
    /// Whether the client is spared its own messages; not where it is shared.
    pub no_local: bool,
    /// Whether messages keep the RETAIN that they were published with.
    pub retain_as_published: bool,
    /// Whether retained messages are sent when it is made.
    pub send_retained: bool,
}
