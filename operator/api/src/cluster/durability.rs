//! When messages count as kept, for all and by topic. Pure.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema;

/// When a message of QoS 1 or 2 counts as kept, and with it sessions that outlive their
/// connections; default: quorum, or local where one broker votes. With several voters local is as
/// good as quorum.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// When a majority of brokers has it on disk.
    Quorum,
    /// When the broker that received it has it on disk.
    Local,
    /// When it is in memory: a session goes with its broker. Retained messages are kept all the
    /// same.
    Memory,
}

/// When messages of some topics count as kept.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct DurabilityRule {
    /// The Topic Filter of the topics that it holds for, at most 512 characters.
    #[schemars(schema_with = "schema::topic_filter")]
    pub filter: String,
    /// quorum and local: as for the whole cluster. memory: acknowledged as soon as the message is on
    /// its way to where it is kept.
    pub durability: Durability,
}
