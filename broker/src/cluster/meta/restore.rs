//! The whole state taken out for a backup, and a cluster founded from one. Layer: beside the group's
//! handle.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use broker_core::cluster_state::{SnapshotError, StateSnapshot};
use broker_core::stored::FileRange;
use bytes::Bytes;
use openraft::Membership;

use super::MetaGroup;
use super::layout::{Layout as _, LogIdForm, VoteForm};
use super::membership::MembershipError;
use super::status::{MetaRole, MetaStatus};
use super::type_config::{LogId, MemberNode, SnapshotMeta, StoredMembership, Vote};
use crate::cluster::environment::{Environment, PeerLinks};

/// Longest wait until the founder leads: it is the only voter.
const LEADS_WITHIN: Duration = Duration::from_secs(10);

/// Highest log index and term that a backup may name: the log goes on behind them.
const LOG_NUMBER_MAX: u64 = u64::MAX / 2;

/// The whole state as of one log entry: cheap to take, expensive to write.
#[derive(Debug, Clone)]
pub struct StateCopy {
    /// The entry.
    pub log_index: u64,
    /// Its term.
    pub log_term: u64,
    state: StateSnapshot,
}

impl StateCopy {
    /// Writes the state. Takes its time.
    ///
    /// # Errors
    /// `out` fails.
    pub fn write(&self, out: &mut dyn io::Write) -> io::Result<()> {
        // Messages stay where they are: nobody keeps a backup here to read them from.
        self.state.write(out).map(drop).map_err(io::Error::other)
    }
}

/// Why state from a backup can't be used.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// No log gets so far.
    #[error(
        "the backup says that it is of log index {log_index} and term {log_term}, beyond \
         {LOG_NUMBER_MAX}: its header is not what a broker wrote; take another backup"
    )]
    OutOfRange {
        /// The entry.
        log_index: u64,
        /// Its term.
        log_term: u64,
    },
    /// The state can't be read.
    #[error(transparent)]
    State(#[from] SnapshotError),
}

/// State from a backup that was looked at and can be used.
#[derive(Debug, Clone)]
pub struct CheckedState {
    log_index: u64,
    log_term: u64,
    content: Bytes,
}

impl CheckedState {
    /// Looks at it. Takes its time.
    ///
    /// # Errors
    /// It can't be read, or names an entry that no log reaches.
    pub fn check(log_index: u64, log_term: u64, content: Bytes) -> Result<Self, CheckError> {
        if log_index.max(log_term) > LOG_NUMBER_MAX {
            return Err(CheckError::OutOfRange { log_index, log_term });
        }
        let bytes = content.len() as u64;
        StateSnapshot::read(&FileRange::new(Arc::new(content.clone()), 0, bytes))?;
        Ok(Self { log_index, log_term, content })
    }
}

impl<E: Environment> MetaGroup<E> {
    /// The state as of the last entry that this node has applied; `None` before the first.
    #[must_use]
    pub fn copy_state(&self) -> Option<StateCopy> {
        let (log_id, state) = self.machine.copy()?;
        Some(StateCopy { log_index: log_id.index, log_term: log_id.leader_id.term, state })
    }

    /// Founds the cluster from a backup's state, with this node as its only voter. The log goes on
    /// behind the backup's entry: it is as if its last leader had sent the state, and had gone.
    ///
    /// # Errors
    /// `AlreadyInitialised` when the node has ever voted or written a log entry; `Stopped`;
    /// `TimedOut` when it does not lead in time.
    pub async fn restore(&self, restored: CheckedState) -> Result<MetaStatus, MembershipError> {
        let _alone = self.steps.lock().await;
        if !self.log.is_pristine() {
            return Err(MembershipError::AlreadyInitialised);
        }
        let stopped = |reason: String| MembershipError::Stopped { reason };
        let CheckedState { log_index, log_term, content } = restored;
        let this = self.links.node_id().0;
        let last_log_id = LogId::from_form(LogIdForm::new(log_term, log_index));
        let last_log_id = last_log_id.map_err(|error| stopped(error.to_string()))?;
        let node = MemberNode { name: self.links.name().to_owned() };
        let membership =
            Membership::new(vec![BTreeSet::from([this])], BTreeMap::from([(this, node)]))
                .map_err(|error| stopped(error.to_string()))?;
        let meta = SnapshotMeta {
            last_log_id: Some(last_log_id),
            last_membership: StoredMembership::new(Some(last_log_id), membership),
        };
        // Nobody has the node id 0.
        let vote = Vote::from_form(VoteForm::committed(log_term, 0));
        let vote = vote.map_err(|error| stopped(error.to_string()))?;
        let snapshot = self.machine.write_snapshot(meta, content).await;
        let snapshot = snapshot.map_err(|error| stopped(error.to_string()))?;
        let installed = self.raft.install_full_snapshot(vote, snapshot).await;
        installed.map_err(|error| stopped(error.to_string()))?;
        self.raft.trigger().elect(false).await.map_err(|error| stopped(error.to_string()))?;
        let leads = |status: &MetaStatus| {
            status.role == MetaRole::Leader && status.last_applied_index > Some(log_index)
        };
        match self.wait_for(LEADS_WITHIN, leads).await {
            true => Ok(self.status()),
            false => Err(MembershipError::TimedOut),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_that_no_log_reaches_is_refused_before_anything_is_read() {
        let check = |index, term| CheckedState::check(index, term, Bytes::new()).unwrap_err();
        for (index, term) in [(LOG_NUMBER_MAX + 1, 1), (1, LOG_NUMBER_MAX + 1), (u64::MAX, 0)] {
            let error = check(index, term);
            assert!(matches!(error, CheckError::OutOfRange { .. }), "{index} {term}: {error}");
        }
        assert!(matches!(check(LOG_NUMBER_MAX, LOG_NUMBER_MAX), CheckError::State(_)));
    }
}
