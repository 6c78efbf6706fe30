//! What is kept, for how long, and how much of it. Pure.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema;

/// What brokers without a quorum do.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum PartitionPolicy {
    /// They refuse clients until they have one again.
    #[default]
    Fence,
    /// They serve what needs none.
    Serve,
}

/// Limits of sessions.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct Sessions {
    /// The longest time that a session is kept without a connection.
    #[schemars(schema_with = "schema::duration")]
    pub expiry_max: String,
    /// How many messages to one client may be unacknowledged.
    #[schemars(range(min = 1, max = 65535))]
    pub inflight_max: u32,
    /// How many messages may wait for one client.
    #[schemars(range(min = 1, max = 100_000_000))]
    pub queued_messages_max: u32,
    /// How many bytes may wait for one client.
    #[schemars(schema_with = "schema::bytes")]
    pub queued_bytes_max: String,
}

impl Default for Sessions {
    fn default() -> Self {
        Self {
            expiry_max: "168h".into(),
            inflight_max: 1_024,
            queued_messages_max: 10_000,
            queued_bytes_max: "64Mi".into(),
        }
    }
}

/// Limits of retained messages, in the whole cluster.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct Retained {
    /// How many there may be.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub messages_max: u32,
    /// How many bytes they may have together; default: 15 % of the memory budget of a broker, so
    /// that they and the queues of sessions never make memory scarce.
    #[schemars(schema_with = "schema::bytes")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_max: Option<String>,
}

impl Default for Retained {
    fn default() -> Self {
        Self { messages_max: 1_000_000, bytes_max: None }
    }
}
