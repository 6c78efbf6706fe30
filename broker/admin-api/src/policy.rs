//! The answer to a change of the policy. The change itself, the digests and a bucket's keys are
//! `broker_policy`'s own types.

use serde::{Deserialize, Serialize};

/// A policy change is committed and applied on the broker that answers; when each broker enforces
/// it shows in its status.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyChangeApplied {
    /// The revision after the change.
    pub revision: String,
    /// Log index of the change.
    pub log_index: u64,
}
