//! The meta group: one replicated state machine over all nodes, for policy, retained messages and
//! durable sessions.
//!
//! Runs on the cluster thread. Only [`MetaGroup::bootstrap`] and [`MetaGroup::restore`], both on
//! request, ever found a cluster; a node with an empty disk waits to be added.

mod config;
mod disk;
mod features;
mod joint;
mod layout;
mod log_store;
mod log_tail;
mod membership;
mod network;
mod proposal_stats;
mod proposals;
mod proposer;
mod restore;
mod service;
mod sessions;
mod snapshot_builder;
mod start;
mod state_machine;
mod status;
mod type_config;
mod upkeep;
mod view;

use std::sync::Arc;
use std::time::Duration;

use broker_core::cluster_state::{Command, RetainedStore, SharedSecret};
use broker_core::shard::SessionStore;
use broker_core::types::{Millis, NodeId};
use bytes::Bytes;
use openraft::async_runtime::WatchReceiver;
use openraft::{AsyncRuntime, Instant};
use tokio::sync::watch;

pub use config::{MetaConfig, MetaError, MetaTiming};
pub use membership::MembershipError;
pub use proposal_stats::ProposalStats;
pub use proposals::{COMMAND_BYTES_MAX, PROPOSE_TIMEOUT, ProposeError, Proposed};
pub use restore::{CheckError, CheckedState, StateCopy};
pub use sessions::{SessionEvents, SessionNews, SessionsProposed};
pub use start::{MetaParts, node_of_log};
pub use state_machine::AppliedPolicy;
pub use status::{MetaMember, MetaPhase, MetaRole, MetaStatus};

use super::environment::{Environment, GroupLog, PeerLinks, Process};
use features::Steps;
use log_store::LogStore;
use proposals::{InstantOf, ProposalQueue};
use service::Heard;
use sessions::SessionProposer;
use state_machine::StateMachine;
use type_config::Raft;
use view::Views;

/// How often the status is looked at, where it is waited for.
const STATUS_POLL: Duration = Duration::from_millis(50);

/// How often it is looked whether consensus has stopped for good.
const FAILURE_LOOK: Duration = Duration::from_millis(100);

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
    messages: E::Messages,
    machine: StateMachine<E>,
    proposals: ProposalQueue<E>,
    session_proposer: SessionProposer<E>,
    leadership: watch::Receiver<Leadership>,
    heard: Heard<E>,
    heard_within: Duration,
    views: Views<E>,
    is_view_followed: bool,
    steps: Steps,
}

impl<E: Environment> MetaGroup<E> {
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

    /// What became of this node's proposals.
    #[must_use]
    pub fn proposal_stats(&self) -> &ProposalStats {
        self.proposals.stats()
    }

    /// Waits until this node has applied a log entry.
    pub async fn applied_here(&self, log_index: u64) {
        self.machine.applied().reached(log_index).await;
    }

    /// Waits until this node and all others have applied a log entry, or can't act by a copy of
    /// the state from before it: for one that is silent that takes a second.
    pub async fn applied_everywhere(&self, log_index: u64) {
        let here = self.applied_here(log_index);
        futures::future::join(here, self.views.applied_by_others(log_index)).await;
    }

    /// The durable sessions as of the last applied entry; may be read from any thread.
    #[must_use]
    pub fn sessions(&self) -> Arc<SessionStore> {
        self.machine.sessions()
    }

    /// Where queued messages go that memory has no room for.
    #[must_use]
    pub const fn messages(&self) -> &E::Messages {
        &self.messages
    }

    /// Whether this node's disk is so full that nothing should be proposed that can be turned down,
    /// and changes of it.
    #[must_use]
    pub fn is_disk_low(&self) -> watch::Receiver<bool> {
        self.writer.is_disk_low()
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
        MetaStatus::read(&metrics, within, |leader| {
            let leads = !self.is_view_followed || self.views.leads(leader, within);
            leads && self.heard.is_recent(leader, within)
        })
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

    /// What the members have agreed to write, and its changes.
    #[must_use]
    pub fn feature_level(&self) -> watch::Receiver<u16> {
        self.machine.watch_feature_level()
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
        // Looked at from time to time: the metrics change with every log entry, and who waits for
        // a change of them, on another thread, is woken for each.
        let metrics = self.raft.metrics();
        loop {
            if let Err(fatal) = &metrics.borrow_watched().running_state {
                return fatal.to_string();
            }
            E::Runtime::sleep(FAILURE_LOOK).await;
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
