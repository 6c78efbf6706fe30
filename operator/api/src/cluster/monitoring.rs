//! Objects for the monitoring system. Pure.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Objects for the monitoring system.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct Monitoring {
    /// A PodMonitor.
    pub pod_monitor: Presence,
    /// Dashboards.
    pub dashboards: Presence,
    /// Alerting rules.
    pub alerts: Presence,
}

/// Whether an optional object is made.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Presence {
    /// Where its kind is installed.
    #[default]
    Auto,
    /// Never.
    Never,
}
