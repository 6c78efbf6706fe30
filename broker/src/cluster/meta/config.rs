//! How the meta group is set up, and why it may not start.

use std::time::Duration;

use broker_core::cluster_state::{RetainedLimits, SnapshotError as StateSnapshotError};
use broker_core::shard::SessionLimits;
use openraft::{Config, SnapshotPolicy};

use crate::storage::{DataDirectoryError, LogError, SnapshotError};

/// How the group runs.
#[derive(Debug, Clone)]
pub struct MetaConfig {
    /// Names the group in openraft's logs.
    pub cluster_id: String,
    /// Most that retained messages may take; the leader's is in force.
    pub retained_limits: RetainedLimits,
    /// Most that durable sessions may hold; each node's own are in force for what it proposes.
    pub session_limits: SessionLimits,
    /// Bytes of queued messages that stay in memory; the others go to disk.
    pub cache_bytes_max: u64,
    /// The feature level is not raised above this.
    pub feature_level_max: u16,
    /// Longest encoded command: with [`COMMAND_BYTES_MAX`](super::COMMAND_BYTES_MAX) it goes to
    /// other brokers in one frame.
    pub command_bytes_max: usize,
    /// Whether a message that no durable session is known to want is acknowledged by a copy of the
    /// state only that the leader has confirmed of late, and proposed otherwise; and a leader that
    /// sends heartbeats counts only while a quorum follows it. Without, a node that is cut off
    /// goes on as it knows.
    pub is_view_followed: bool,
    /// Intervals; the default is the production setting.
    pub timing: MetaTiming,
}

/// Intervals of consensus, in time and in log entries.
#[derive(Debug, Clone, Copy)]
pub struct MetaTiming {
    /// Between two of the leader's heartbeats.
    pub heartbeat: Duration,
    /// Shortest silence after which a follower stands for election.
    pub election_min: Duration,
    /// Longest such silence, and the leader's lease.
    pub election_max: Duration,
    /// Log entries between two snapshots, while the state is small.
    pub snapshot_entries: u64,
    /// Entries kept behind a snapshot, for followers that lag a little.
    pub kept_entries: u64,
    /// How often the leader looks for expired retained messages.
    pub expiry_interval: Duration,
    /// How often the leader looks for wills that are due, expired sessions, and sessions whose
    /// broker has gone.
    pub session_interval: Duration,
    /// How often the leader looks whether all members know the next feature level.
    pub feature_interval: Duration,
}

impl Default for MetaTiming {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_millis(125),
            election_min: Duration::from_millis(450),
            election_max: Duration::from_millis(900),
            snapshot_entries: 5000,
            kept_entries: 1000,
            expiry_interval: Duration::from_secs(10),
            session_interval: Duration::from_millis(500),
            feature_interval: Duration::from_secs(1),
        }
    }
}

/// Why the group can't start.
#[derive(Debug, thiserror::Error)]
pub enum MetaError {
    /// The write-ahead log can't be used.
    #[error("open the write-ahead log")]
    Log {
        /// Why.
        source: LogError,
    },
    /// What the log or the snapshot holds can't be used.
    #[error("recover the meta group's state")]
    State {
        /// Why.
        source: std::io::Error,
    },
    /// The log begins behind the snapshot.
    #[error(
        "the log begins at entry {first}, but the snapshot ends at {applied}: \
         start this broker with an empty data directory"
    )]
    SnapshotMissing {
        /// First entry of the log.
        first: u64,
        /// Last entry that the snapshot covers.
        applied: u64,
    },
    /// The data directory can't be written.
    #[error("count the start of this process")]
    Start {
        /// Why.
        source: DataDirectoryError,
    },
    /// openraft does not start.
    #[error("start consensus: {reason}")]
    Raft {
        /// Why.
        reason: String,
    },
}

impl MetaError {
    /// Whether what is on the disk is not what was written, rather than out of reach or newer.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Log { source } => {
                matches!(source, LogError::Damaged { .. } | LogError::Missing { .. })
            }
            Self::State { source } => source.get_ref().is_some_and(|inner| {
                let on_disk = inner.downcast_ref::<SnapshotError>();
                let within = inner.downcast_ref::<StateSnapshotError>();
                matches!(on_disk, Some(SnapshotError::Damaged { .. }))
                    || matches!(within, Some(StateSnapshotError::Damaged { .. }))
            }),
            Self::SnapshotMissing { .. } => true,
            Self::Start { .. } | Self::Raft { .. } => false,
        }
    }
}

/// The same for openraft. `is_alone`: the node is the only member that its log knows.
///
/// One among several never comes back as the leader that it was. What it had sent to the others and
/// not synced is lost to it but not to them: in the same term it would give the same log id to
/// another entry, and they would not notice.
pub(super) fn raft_config(config: &MetaConfig, is_alone: bool) -> Config {
    let millis = |duration: Duration| duration.as_millis() as u64;
    Config {
        cluster_name: config.cluster_id.clone(),
        heartbeat_interval: millis(config.timing.heartbeat),
        election_timeout_min: millis(config.timing.election_min),
        election_timeout_max: millis(config.timing.election_max),
        enable_pre_vote: Some(true),
        enable_leader_restore: Some(is_alone),
        // Made by `upkeep`, which knows how large entries and state are.
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: config.timing.kept_entries,
        ..Config::default()
    }
}
