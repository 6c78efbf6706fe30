//! The meta group: one replicated state machine over all nodes, for policy, retained messages and
//! durable sessions.
//!
//! Runs on the cluster thread. Only [`MetaGroup::bootstrap`] ever founds a cluster; a node with an
//! empty disk waits to be added.

mod config;
mod joint;
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

use std::io;
use std::sync::Arc;
use std::time::Duration;

use broker_core::cluster_state::{Command, RetainedStore};
use broker_core::shard::SessionStore;
use broker_core::types::{Millis, NodeId};
use bytes::Bytes;
use openraft::async_runtime::WatchReceiver;
use openraft::{AsyncRuntime, Instant};
use ring::rand::{SecureRandom as _, SystemRandom};
use tokio::sync::watch;

pub use config::{MetaConfig, MetaError, MetaTiming};
pub use membership::MembershipError;
pub use proposals::{COMMAND_BYTES_MAX, PROPOSE_TIMEOUT, ProposeError, Proposed};
pub use sessions::{SessionEvents, SessionNews, SessionsProposed};
pub use state_machine::AppliedPolicy;
pub use status::{MetaMember, MetaPhase, MetaRole, MetaStatus};

use super::environment::{Environment, GroupLog, PeerLinks, Process, spawn};
use super::frame::FrameKind;
use super::links::Links;
use crate::node::Clock;
use crate::storage::{
    DataDirectory, GroupId, LogWriter, LogWriterStats, RecoveredGroup, RecoveryReport,
    SnapshotStore,
};
use config::raft_config;
use joint::finish_joint;
use log_store::LogStore;
use network::NetworkFactory;
use proposals::{InstantOf, ProposalQueue};
use proposer::Proposer;
use service::{Heard, RaftService};
use sessions::{SessionProposer, applied_by_peers};
use state_machine::StateMachine;
use type_config::Raft;
use upkeep::{expire_retained, follow_leadership, keep_sessions, make_snapshots};

/// Longest silence, in times of the longest election timeout, of a leader that counts as heard.
/// An election is over by then, so that a change of leader does not show as a loss of it.
const HEARD_ELECTIONS: u32 = 3;

/// How often the status is looked at, where it is waited for.
const STATUS_POLL: Duration = Duration::from_millis(50);

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
pub struct MetaGroup<E: Environment = Process> {
    raft: Raft<E>,
    links: E::Links,
    log: LogStore<E>,
    writer: E::Log,
    machine: StateMachine<E>,
    proposals: ProposalQueue<E>,
    session_proposer: SessionProposer<E>,
    leadership: watch::Receiver<Leadership>,
    heard: Heard<E>,
    heard_within: Duration,
}

/// What a node's part in the group is made of.
pub struct MetaParts<E: Environment> {
    /// The peers; not started yet, so that no frame is missed.
    pub links: E::Links,
    /// The write-ahead log.
    pub writer: E::Log,
    /// What it held of the group.
    pub recovered: RecoveredGroup,
    /// The snapshots.
    pub snapshots: E::Snapshots,
    /// Tells when sessions and messages expire.
    pub clock: E::Clock,
    /// Number of this process among those that had the disk, above all before it.
    pub start: u64,
    /// A number that clients can't foresee.
    pub seed: u64,
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
        let (writer, mut recovered, report) =
            LogWriter::open(&directory.log_path()).map_err(|source| MetaError::Log { source })?;
        log_recovery(&report);
        let parts = MetaParts {
            links,
            writer,
            recovered: recovered.remove(&GroupId::META).unwrap_or_default(),
            snapshots: SnapshotStore::new(&directory.snapshots_path()),
            clock: Clock::start(),
            start: directory.count_start().map_err(|source| MetaError::Start { source })?,
            seed: seed().map_err(|source| MetaError::State { source })?,
        };
        Self::start_with(config, parts).await
    }

    /// Counters of the write-ahead log.
    #[must_use]
    pub fn log_stats(&self) -> &LogWriterStats {
        self.writer.stats()
    }
}

impl<E: Environment> MetaGroup<E> {
    /// Joins in with what was recovered from the disk, as [`MetaGroup::start`] does.
    ///
    /// # Errors
    /// `State`, `SnapshotMissing`, `Raft`.
    pub async fn start_with(config: MetaConfig, parts: MetaParts<E>) -> Result<Self, MetaError> {
        let group = GroupId::META;
        let MetaParts { links, writer, recovered, snapshots, clock, start, seed } = parts;
        let failed = |source| MetaError::State { source };
        let log = LogStore::open(writer.clone(), group, &recovered).map_err(failed)?;
        let this = links.node_id();
        let machine = StateMachine::open(snapshots, group, (this, start), seed).map_err(failed)?;
        let first = recovered.purged.as_ref().map_or(0, |(purged, _)| purged + 1);
        let applied = machine.applied_index();
        if recovered.purged.is_some() && applied.is_none_or(|applied| applied + 1 < first) {
            let applied = applied.unwrap_or(0);
            return Err(MetaError::SnapshotMissing { first, applied });
        }

        let raft = start_raft(&config, &links, &log, &machine).await?;
        let (proposer, proposals) =
            Proposer::new(raft.clone(), links.clone(), config.retained_limits);
        spawn::<E>(proposer.run());
        let (sender, leadership) = watch::channel(Leadership::default());
        spawn::<E>(follow_leadership(raft.clone(), sender));
        let session_proposer =
            SessionProposer::new(this, start, config.session_limits, proposals.clone());
        let meta = Self {
            raft,
            links,
            log,
            writer,
            machine,
            proposals,
            session_proposer,
            leadership,
            heard: Heard::default(),
            heard_within: config.timing.election_max * HEARD_ELECTIONS,
        };
        meta.spawn_upkeep(&config.timing, clock);
        let service = RaftService {
            raft: meta.raft.clone(),
            proposals: meta.proposals.clone(),
            applied: meta.machine.applied(),
            incoming: Arc::default(),
            heard: meta.heard.clone(),
        };
        let kinds = FrameKind::CONSENSUS_FIRST..=FrameKind::CONSENSUS_LAST;
        meta.links.serve(kinds, Arc::new(service));
        Ok(meta)
    }

    fn spawn_upkeep(&self, timing: &MetaTiming, clock: E::Clock) {
        let (raft, machine) = (&self.raft, &self.machine);
        spawn::<E>(finish_joint(raft.clone()));
        let entries = timing.snapshot_entries;
        spawn::<E>(make_snapshots(raft.clone(), machine.clone(), self.log.clone(), entries));
        spawn::<E>(expire_retained(
            raft.clone(),
            clock,
            machine.retained(),
            self.proposals.clone(),
            timing.expiry_interval,
        ));
        spawn::<E>(keep_sessions(
            raft.clone(),
            (self.links.clone(), clock),
            machine.sessions(),
            self.session_proposer.clone(),
            timing.session_interval,
        ));
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
    ) -> impl Future<Output = Result<Proposed, ProposeError>> + Send + use<E> {
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
    ) -> impl Future<Output = Result<SessionsProposed, ProposeError>> + Send + use<E> {
        self.session_proposer.propose(now, operations)
    }

    /// Waits until this node has applied a log entry.
    pub async fn applied_here(&self, log_index: u64) {
        self.machine.applied().reached(log_index).await;
    }

    /// Waits until this node and all others that can be reached have applied a log entry; for one
    /// that is silent it waits a second.
    pub async fn applied_everywhere(&self, log_index: u64) {
        let here = self.applied_here(log_index);
        let peers = applied_by_peers::<E>(&self.links, log_index);
        futures::future::join(here, peers).await;
    }

    /// The durable sessions as of the last applied entry; may be read from any thread.
    #[must_use]
    pub fn sessions(&self) -> Arc<SessionStore> {
        self.machine.sessions()
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

    /// Waits until the status satisfies `is_met`; false when it has not within `timeout`.
    pub async fn wait_for(&self, timeout: Duration, is_met: impl Fn(&MetaStatus) -> bool) -> bool {
        let mut metrics = self.raft.metrics();
        let until = InstantOf::<E>::now() + timeout;
        while !is_met(&self.status()) {
            let left = until.saturating_duration_since(InstantOf::<E>::now());
            if left.is_zero() {
                return false;
            }
            // Links come and go without a change of the metrics.
            let pause = E::Runtime::timeout(left.min(STATUS_POLL), metrics.changed());
            let _ = pause.await;
        }
        true
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
        let closed = E::blocking(move || {
            writer.close();
            Ok(())
        });
        if closed.await.is_err() {
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

/// A number that clients can't foresee.
fn seed() -> io::Result<u64> {
    let mut bytes = [0; 8];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| io::Error::other("the system gives no random bytes"))?;
    Ok(u64::from_be_bytes(bytes))
}

async fn start_raft<E: Environment>(
    config: &MetaConfig,
    links: &E::Links,
    log: &LogStore<E>,
    machine: &StateMachine<E>,
) -> Result<Raft<E>, MetaError> {
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

fn log_recovery(report: &RecoveryReport) {
    tracing::info!(
        segments = report.segments,
        records = report.records,
        cut_bytes = report.cut_bytes,
        cut_records = report.cut_records,
        "write-ahead log read"
    );
}
