//! Brings a cluster's policy to its brokers as changes, and tells which records they enforce.
//!
//! [`PolicySync::push`] compares digests and sends the records that differ, nothing when nothing does; it holds a memory of what the
//! brokers were last known to have, so that the usual edit is one request, and needs none: an operator that restarts reads the
//! digests. [`enforcement`] and [`EnforcedRecords`] say from the brokers' statuses who enforces what. IO only in `push` and
//! [`wait_until_enforced`].

mod enforced;
mod push;
#[cfg(test)]
mod push_test;

pub use enforced::{EnforcedRecords, Enforcement, enforcement, wait_until_enforced};
pub use push::{PolicySync, Pushed, SyncError};
