//! What the members of a cluster have agreed to write. Pure.
//!
//! A level names everything that may stand in log entries and snapshots. The cluster's level is part
//! of the replicated state; it rises, never falls, and only when every member knows the next one.
//! Until then a newer broker writes what the older ones read.

/// Level of a cluster that has agreed on none: what Dunlin wrote before there were levels.
pub const FEATURE_LEVEL_FIRST: u16 = 1;

/// Highest level that this broker knows. Level 2: the level itself, in the log and in snapshots;
/// messages of brokers that may not know of all sessions; retained messages on their way to a new
/// Subscription that another one has replaced are left out.
pub const FEATURE_LEVEL_MAX: u16 = 2;
