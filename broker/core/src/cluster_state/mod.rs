//! The replicated state of the meta group: policy records, retained messages, durable sessions, and
//! a secret.
//!
//! Layer: above `retained`, `shard` and the policy crate, below storage and consensus. Pure and
//! deterministic: no clock, no randomness, no order that depends on a hash. What differs between
//! nodes (time, limits from configuration) is stamped into the batch by its proposer.

mod apply;
mod command;
mod feature_level;
mod retained_store;
mod secret;
mod snapshot;
#[cfg(test)]
mod testing;

pub use apply::{Applied, ClusterState, Effect};
pub use command::{Command, CommandBatch, CommandError, Outcome, RetainedLimits};
pub use feature_level::{FEATURE_LEVEL_FIRST, FEATURE_LEVEL_MAX};
pub use retained_store::{RetainedRefusal, RetainedStore, RetainedTotals};
pub use secret::{CLUSTER_SECRET_BYTES, ClusterSecret, SharedSecret};
pub use snapshot::{SnapshotError, StateSnapshot};
