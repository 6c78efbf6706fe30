//! Brings a cluster's policy to its brokers as changes, and tells who enforces it.
//!
//! [`PolicySync::push`] compares digests and sends the records that differ, nothing when nothing does; it holds a memory of what the
//! brokers were last known to have, so that the usual edit is one request, and needs none: an operator that restarts reads the
//! digests. [`enforcement`] says from the brokers' statuses who enforces what. IO only in `push` and [`wait_until_enforced`].

mod enforced;
mod push;
#[cfg(test)]
mod push_test;

pub(crate) use enforced::is_serving;
pub use enforced::{Enforcement, enforcement, wait_until_enforced};
pub use push::{PolicySync, Pushed, SyncError};
