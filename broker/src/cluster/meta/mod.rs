//! The meta group: one replicated state machine over all nodes, for policy, retained messages and
//! durable sessions.
//!
//! Runs on the cluster thread. Only [`MetaGroup::bootstrap`] ever founds a cluster; a node with an
//! empty disk waits to be added.

mod config;
mod layout;
mod log_store;
mod membership;
mod network;
mod proposals;
mod proposer;
mod service;
mod sessions;
mod state_machine;
mod status;
mod type_config;
mod upkeep;

use std::sync::Arc;
use std::time::Duration;

use broker_core::cluster_state::{Command, RetainedStore, SharedSecret};
use broker_core::shard::SessionStore;
use broker_core::types::{Millis, NodeId};
use bytes::Bytes;
use openraft::async_runtime::WatchReceiver;
use tokio::sync::watch;

pub use config::{MetaConfig, MetaError, MetaTiming};
pub use membership::MembershipError;
pub use proposals::{COMMAND_BYTES_MAX, PROPOSE_TIMEOUT, ProposeError, Proposed};
pub use sessions::{SessionEvents, SessionNews, SessionsProposed};
pub use state_machine::AppliedPolicy;
pub use status::{MetaMember, MetaPhase, MetaRole, MetaStatus};

use super::frame::FrameKind;
use super::links::Links;
use crate::storage::{
    DataDirectory, GroupId, LogWriter, LogWriterStats, RecoveryReport, SnapshotStore,
};
use config::raft_config;
use log_store::LogStore;
use network::NetworkFactory;
use proposals::ProposalQueue;
use proposer::Proposer;
use service::{Heard, RaftService};
use sessions::{SessionProposer, applied_by_peers, applied_here};
use state_machine::StateMachine;
use type_config::Raft;
use upkeep::{expire_retained, follow_leadership, give_secret, keep_sessions, make_snapshots};

/// Longest silence, in times of the longest election timeout, of a leader that counts as heard.
/// An election is over by then, so that a change of leader does not show as a loss of it.
const HEARD_ELECTIONS: u32 = 3;

/// Longest wait for another leader when this one shuts down.
const TRANSFER_TIMEOUT: Duration = Duration::from_secs(2);

/// Who leads, for those who act on a change of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Leadership {
    /// The term; one leader a term.
    pub term: u64,
    /// Who leads in it, where that is known.
    pub leader: Option<NodeId>,
}

/// The meta group's handle on one node. Cheap to clone.
#[derive(Clone)]
pub struct MetaGroup {
    raft: Raft,
    links: Links,
    log: LogStore,
    writer: LogWriter,
    machine: StateMachine,
    proposals: ProposalQueue,
    session_proposer: SessionProposer,
    leadership: watch::Receiver<Leadership>,
    heard: Heard,
    heard_within: Duration,
}

impl MetaGroup {
    /// Recovers the node's state and joins in: serves other nodes' consensus on `links`, which
    /// must not have been started yet. Runs on the current runtime; reads the disk before it
    /// returns.
    ///
    /// # Errors
    /// As [`MetaError`] says. None of them is healed by another try.
    pub async fn start(
        config: MetaConfig,
        links: Links,
        directory: &DataDirectory,
    ) -> Result<Self, MetaError> {
        let group = GroupId::META;
        let (writer, mut recovered, report) =
            LogWriter::open(&directory.log_path()).map_err(|source| MetaError::Log { source })?;
        log_recovery(&report);
        let failed = |source| MetaError::State { source };
        let recovered = recovered.remove(&group).unwrap_or_default();
        let log = LogStore::open(writer.clone(), group, &recovered).map_err(failed)?;
        let store = SnapshotStore::new(&directory.snapshots_path());
        let start = directory.count_start().map_err(|source| MetaError::Start { source })?;
        let this = links.node_id();
        let machine = StateMachine::open(store, group, (this, start)).map_err(failed)?;
        let first = recovered.purged.as_ref().map_or(0, |(purged, _)| purged + 1);
        let applied = machine.applied_index();
        if recovered.purged.is_some() && applied.is_none_or(|applied| applied + 1 < first) {
            let applied = applied.unwrap_or(0);
            return Err(MetaError::SnapshotMissing { first, applied });
        }

        let raft = start_raft(&config, &links, &log, &machine).await?;
        let (retained, longest) = (config.retained_limits, config.command_bytes_max);
        let (proposer, proposals) = Proposer::new(raft.clone(), links.clone(), retained, longest);
        tokio::spawn(proposer.run());
        let (sender, leadership) = watch::channel(Leadership::default());
        tokio::spawn(follow_leadership(raft.clone(), sender));
        let entries = config.timing.snapshot_entries;
        tokio::spawn(make_snapshots(raft.clone(), machine.clone(), log.clone(), entries));
        tokio::spawn(expire_retained(
            raft.clone(),
            machine.retained(),
            proposals.clone(),
            config.timing.expiry_interval,
        ));
        tokio::spawn(give_secret(raft.clone(), machine.secret(), proposals.clone()));
        let session_proposer =
            SessionProposer::new(this, start, config.session_limits, proposals.clone());
        tokio::spawn(keep_sessions(
            raft.clone(),
            links.clone(),
            machine.sessions(),
            session_proposer.clone(),
            config.timing.session_interval,
        ));
        let heard = Heard::default();
        let heard_within = config.timing.election_max * HEARD_ELECTIONS;
        let service = RaftService {
            raft: raft.clone(),
            proposals: proposals.clone(),
            applied: machine.watch_applied(),
            incoming: Arc::default(),
            heard: heard.clone(),
        };
        links.serve(FrameKind::CONSENSUS_FIRST..=FrameKind::CONSENSUS_LAST, Arc::new(service));
        Ok(Self {
            raft,
            links,
            log,
            writer,
            machine,
            proposals,
            session_proposer,
            leadership,
            heard,
            heard_within,
        })
    }

    /// Has the cluster commit a command, here or by way of the leader, within
    /// [`PROPOSE_TIMEOUT`]. Queued at once: proposals of one node are committed in the order of
    /// the calls. Dropping the future gives up the outcome, not the command.
    ///
    /// # Errors
    /// `Unavailable` and `TimedOut` without a quorum, `Overloaded`, `TooLong`.
    pub fn propose(
        &self,
        command: &Command,
    ) -> impl Future<Output = Result<Proposed, ProposeError>> + Send + use<> {
        self.proposals.propose(command)
    }

    /// Has the cluster carry out operations on durable sessions, as [`Self::propose`] does
    /// commands. Also those are queued in the order of the calls.
    ///
    /// # Errors
    /// As [`Self::propose`].
    pub fn propose_sessions(
        &self,
        now: Millis,
        operations: Bytes,
    ) -> impl Future<Output = Result<SessionsProposed, ProposeError>> + Send + use<> {
        self.session_proposer.propose(now, operations)
    }

    /// Waits until this node has applied a log entry.
    pub async fn applied_here(&self, log_index: u64) {
        applied_here(self.machine.watch_applied(), log_index).await;
    }

    /// Waits until this node and all others that can be reached have applied a log entry; for one
    /// that is silent it waits a second.
    pub async fn applied_everywhere(&self, log_index: u64) {
        let here = self.applied_here(log_index);
        let peers = applied_by_peers(&self.links, log_index);
        futures::future::join(here, peers).await;
    }

    /// The durable sessions as of the last applied entry; may be read from any thread.
    #[must_use]
    pub fn sessions(&self) -> Arc<SessionStore> {
        self.machine.sessions()
    }

    /// The cluster's secret, once it has one; may be read from any thread.
    #[must_use]
    pub fn secret(&self) -> SharedSecret {
        self.machine.secret()
    }

    /// What applied entries ask of this node's workers.
    #[must_use]
    pub fn session_events(&self) -> Arc<SessionEvents> {
        self.machine.session_events()
    }

    /// The group as this node sees it now.
    #[must_use]
    pub fn status(&self) -> MetaStatus {
        let metrics = self.raft.metrics().borrow_watched().clone();
        let within = self.heard_within;
        MetaStatus::read(&metrics, within, |leader| self.heard.is_recent(leader, within))
    }

    /// Who leads, and changes of it.
    #[must_use]
    pub fn leadership(&self) -> watch::Receiver<Leadership> {
        self.leadership.clone()
    }

    /// The policy as of the last applied entry, and its changes.
    #[must_use]
    pub fn policy(&self) -> watch::Receiver<AppliedPolicy> {
        self.machine.watch_policy()
    }

    /// The retained messages as of the last applied entry; may be read from any thread.
    #[must_use]
    pub fn retained(&self) -> Arc<RetainedStore> {
        self.machine.retained()
    }

    /// Counters of the write-ahead log.
    #[must_use]
    pub fn log_stats(&self) -> &LogWriterStats {
        self.writer.stats()
    }

    /// Waits until the status satisfies `is_met`; false when it has not within `timeout`.
    pub async fn wait_for(&self, timeout: Duration, is_met: impl Fn(&MetaStatus) -> bool) -> bool {
        let mut metrics = self.raft.metrics();
        let waiting = async {
            while !is_met(&self.status()) {
                // Links come and go without a change of the metrics.
                let pause = tokio::time::timeout(Duration::from_millis(50), metrics.changed());
                let _ = pause.await;
            }
        };
        tokio::time::timeout(timeout, waiting).await.is_ok()
    }

    /// Waits until consensus has stopped for good, which only a failed disk or a bug causes;
    /// returns why. The broker must then stop: it can't keep its word.
    pub async fn failure(&self) -> String {
        let mut metrics = self.raft.metrics();
        loop {
            if let Err(fatal) = &metrics.borrow_watched().running_state {
                return fatal.to_string();
            }
            if metrics.changed().await.is_err() {
                return "consensus has ended".to_owned();
            }
        }
    }

    /// Stops without a word to the others, as a crash would; what is queued for the disk is
    /// written. For tests, and for a broker whose disk has failed.
    pub async fn abandon(&self) {
        if self.raft.shutdown().await.is_err() {
            tracing::error!("consensus ended with a panic");
        }
        let writer = self.writer.clone();
        if tokio::task::spawn_blocking(move || writer.close()).await.is_err() {
            tracing::error!("closing the log failed");
        }
    }

    /// Leaves in good order: hands leadership to another voter first, then stops, and writes
    /// what is queued. The links must still be up.
    pub async fn shutdown(&self) {
        let status = self.status();
        if status.role == MetaRole::Leader && self.best_successor(&status).is_some() {
            let this = self.links.node_id();
            match self.transfer_leader(None).await {
                Ok(to) => {
                    let is_handed_over = |status: &MetaStatus| {
                        status.role != MetaRole::Leader
                            && status.leader.is_some_and(|leader| leader != this)
                    };
                    if !self.wait_for(TRANSFER_TIMEOUT, is_handed_over).await {
                        tracing::warn!(node_id = %to, "leadership was not taken over in time");
                    }
                }
                Err(error) => tracing::warn!(%error, "leadership can't be handed over"),
            }
        }
        self.abandon().await;
    }
}

async fn start_raft(
    config: &MetaConfig,
    links: &Links,
    log: &LogStore,
    machine: &StateMachine,
) -> Result<Raft, MetaError> {
    let failed = |reason: String| MetaError::Raft { reason };
    let membership = log.last_membership().unwrap_or_else(|| machine.membership());
    let is_alone = membership.nodes().all(|(node, _)| *node == links.node_id().0);
    let raft_config =
        raft_config(config, is_alone).validate().map_err(|e| failed(e.to_string()))?;
    let network = NetworkFactory { links: links.clone() };
    let this = links.node_id().0;
    Raft::new(this, Arc::new(raft_config), network, log.clone(), machine.clone())
        .await
        .map_err(|e| failed(e.to_string()))
}

/// Which node a data directory's log is of that belongs to a broker on its own: only it has ever
/// been voted for. `None`: the log is empty, or can't be read. The log is left as it is, but for an
/// incomplete last batch.
#[must_use]
pub fn node_of_log(directory: &DataDirectory) -> Option<NodeId> {
    let (writer, recovered, _) = LogWriter::open(&directory.log_path()).ok()?;
    writer.close();
    let vote = recovered.get(&GroupId::META)?.vote.as_ref()?;
    let vote: type_config::Vote = layout::decode("vote", vote).ok()?;
    Some(NodeId(vote.leader_id.voted_for))
}

fn log_recovery(report: &RecoveryReport) {
    tracing::info!(
        segments = report.segments,
        records = report.records,
        cut_bytes = report.cut_bytes,
        cut_records = report.cut_records,
        "write-ahead log read"
    );
}
