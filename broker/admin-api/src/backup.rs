//! A backup: the whole state of a cluster as of one log entry.

use serde::{Deserialize, Serialize};

use crate::Member;

/// What stands in front of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupHeader {
    /// The cluster whose state it is.
    pub cluster_id: String,
    /// The broker that wrote it.
    pub written_by: String,
    /// Its version.
    pub broker_version: String,
    /// When, Unix seconds.
    pub created_at: i64,
    /// The last log entry whose effect the state holds.
    pub log_index: u64,
    /// The term of that entry.
    pub log_term: u64,
    /// Whether there are secrets in it; always true: hashes of passwords, the cluster's secret, and
    /// messages.
    pub contains_secrets: bool,
}

/// Answer to `POST /v1/cluster/restore`: the cluster is founded from a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restored {
    /// What was restored.
    pub backup: BackupHeader,
    /// Log index of the new membership.
    pub membership_log_index: u64,
    /// The new membership: this broker.
    pub members: Vec<Member>,
}
