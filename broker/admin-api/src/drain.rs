//! A drain: clients are moved away from one broker, so many a second.

use serde::{Deserialize, Serialize};

/// Stops new connections, makes `/readyz` answer 503 and moves the clients away at a paced rate.
/// Asked again, it changes the rate. `enabled: false` takes it back: clients that have gone are not
/// called back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DrainRequest {
    /// Whether to drain.
    pub enabled: bool,
    /// Clients disconnected a second, 1 to 100,000, over all workers.
    #[serde(default = "DrainRequest::default_rate")]
    pub clients_per_second: u32,
    /// The server that MQTT 5.0 clients are told to use instead, 1 to 1,024 bytes, such as
    /// `mqtt-b.example:8883`: they get 0x9C (Use another server) with it. `None`: what
    /// `[redirect] server_reference` says, else 0x8B (Server shutting down).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_reference: Option<String>,
    /// Who drains, 1 to 64 bytes; told in the status. The operator ends no drain but those that it
    /// has begun itself ([`Self::BY_OPERATOR`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested_by: Option<String>,
}

impl DrainRequest {
    /// Rate when none is given: what `rollout.clientsMovedPerSecond` defaults to.
    pub const CLIENTS_PER_SECOND_DEFAULT: u32 = 200;
    /// Highest rate taken.
    pub const CLIENTS_PER_SECOND_MAX: u32 = 100_000;
    /// Longest server reference taken.
    pub const SERVER_REFERENCE_BYTES_MAX: usize = 1_024;
    /// Longest name of who drains.
    pub const REQUESTED_BY_BYTES_MAX: usize = 64;
    /// What the operator calls itself.
    pub const BY_OPERATOR: &str = "mqtt-operator";

    const fn default_rate() -> u32 {
        Self::CLIENTS_PER_SECOND_DEFAULT
    }

    /// A drain that the operator begins.
    #[must_use]
    pub fn begin(clients_per_second: u32) -> Self {
        Self {
            enabled: true,
            clients_per_second,
            server_reference: None,
            requested_by: Some(Self::BY_OPERATOR.to_owned()),
        }
    }

    /// The end of a drain.
    #[must_use]
    pub const fn end() -> Self {
        Self {
            enabled: false,
            clients_per_second: Self::CLIENTS_PER_SECOND_DEFAULT,
            server_reference: None,
            requested_by: None,
        }
    }
}

/// How far a drain has come.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrainStatus {
    /// Whether the broker drains.
    pub draining: bool,
    /// Client connections still open.
    pub connections: u64,
    /// Clients disconnected a second, while it drains.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clients_per_second: Option<u32>,
    /// Seconds until the last client is gone at that rate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds_left: Option<u64>,
    /// The server that clients are told to use instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_reference: Option<String>,
    /// Who drains, where that was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested_by: Option<String>,
}

impl DrainStatus {
    /// Whether the operator has begun this drain.
    #[must_use]
    pub fn is_by_operator(&self) -> bool {
        self.draining && self.requested_by.as_deref() == Some(DrainRequest::BY_OPERATOR)
    }
}
