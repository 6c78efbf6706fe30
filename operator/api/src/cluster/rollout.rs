//! How brokers are replaced. Pure.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema;

/// How brokers are replaced.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct Rollout {
    /// Whether nothing disruptive may be done; the status is still kept.
    pub paused: bool,
    /// How many clients are moved away each second before their broker is restarted or removed: it
    /// takes no new ones meanwhile, and is not restarted before all have gone. No effect where there
    /// is no other broker for them.
    #[schemars(range(min = 1, max = 100_000))]
    pub clients_moved_per_second: u32,
    /// How long a replaced broker must be well before the next one.
    #[schemars(schema_with = "schema::duration")]
    pub minimum_stable: String,
    /// What is done when a replaced broker doesn't become well. No effect yet: Revert, the default,
    /// also stops the rollout, until spec.version is set to one that works.
    pub on_failure: OnFailure,
}

impl Default for Rollout {
    fn default() -> Self {
        Self {
            paused: false,
            clients_moved_per_second: 200,
            minimum_stable: "10s".into(),
            on_failure: OnFailure::Revert,
        }
    }
}

/// What is done when a rollout fails.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFailure {
    /// The brokers go back to the version before.
    Revert,
    /// The rollout stops.
    Stop,
}
