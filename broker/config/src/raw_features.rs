//! Tables of the file that a broker does without: what it does beside routing messages. Pure.
//!
//! An older broker doesn't know them, so each is written only where it says something.

use serde::{Deserialize, Serialize};

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
