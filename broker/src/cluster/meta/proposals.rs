//! Proposals: a command on its way to its outcome, and the queue in which it waits for the
//! proposer of this node.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use broker_core::cluster_state::{Command, CommandBatch, Outcome, RetainedLimits};
use bytes::{Buf, Bytes};
use openraft::async_runtime::WatchReceiver;
use openraft::{AsyncRuntime, Instant, ServerState};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use super::layout::encode_form;
use super::proposal_stats::ProposalStats;
use super::type_config::Raft;
use crate::cluster::environment::Environment;
use crate::cluster::frame::FRAME_BODY_BYTES_MAX;
use crate::cluster::replier::Replier;

/// Proposals that may wait, forwarded ones counting as one each.
const QUEUE_MAX: usize = 16_384;

/// Bytes of the proposals that may wait.
const QUEUED_BYTES_MAX: usize = 64 << 20;

/// Longest encoded command between brokers: it goes to others, alone in a log entry if need be, in
/// one frame, with room for what consensus adds. The largest packet that a cluster takes fits. A
/// larger policy change is to be made in steps.
pub const COMMAND_BYTES_MAX: usize = FRAME_BODY_BYTES_MAX - (64 << 10);

/// How long a proposal is tried, from the moment it was made.
pub const PROPOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// A committed and applied command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposed {
    /// What became of it.
    pub outcome: Outcome,
    /// The log entry that it was part of.
    pub log_index: u64,
}

/// Why a command has no outcome.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// No leader was found in time; the command was not submitted.
    #[error("the cluster has no leader that can be reached; try again")]
    Unavailable,
    /// It was submitted, but its outcome did not come in time: it may still take effect.
    #[error("the command was not confirmed in time; it may still take effect")]
    TimedOut,
    /// Too much waits already.
    #[error("too many proposals wait; try again later")]
    Overloaded,
    /// The command is too long.
    #[error("command of {bytes} bytes is longer than {max}: make the change in steps")]
    TooLong {
        /// Its length.
        bytes: usize,
        /// The longest that there may be.
        max: usize,
    },
    /// The command can't be encoded.
    #[error("encode the command: {reason}")]
    Invalid {
        /// Why.
        reason: String,
    },
}

/// A moment, as the environment's runtime counts it.
pub(super) type InstantOf<E> = <<E as Environment>::Runtime as AsyncRuntime>::Instant;

pub(super) type Answer = Result<Proposed, ProposeError>;

/// Commands that stay together, with whoever waits for them.
pub(super) struct Unit<E: Environment> {
    pub(super) items: Bytes,
    pub(super) count: usize,
    pub(super) origin: Origin<E>,
    /// Whether a try may have put it into the log: nothing was heard of what became of it.
    pub(super) is_unclear: bool,
}

/// Who waits for a unit.
pub(super) enum Origin<E: Environment> {
    Local {
        answer: oneshot::Sender<Answer>,
        deadline: InstantOf<E>,
    },
    /// From a node that takes this one for the leader. Written in that term or not at all: the
    /// node tries again elsewhere, and a late first try would undo a later change.
    Forwarded {
        replier: Replier,
        term: u64,
    },
}

/// The leader's answer to forwarded proposals.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum ForwardAnswer {
    Committed { log_index: u64, outcomes: Vec<Outcome> },
    NotLeader,
}

/// Where proposals wait. Cheap to clone.
#[derive(Clone)]
pub(super) struct ProposalQueue<E: Environment> {
    sender: mpsc::Sender<Unit<E>>,
    command_bytes_max: usize,
    queued_bytes: Arc<AtomicUsize>,
    stats: Arc<ProposalStats>,
}

impl<E: Environment> ProposalQueue<E> {
    /// The queue, what comes out of it, and the bytes in it, which whoever takes them out
    /// subtracts once they are settled.
    pub(super) fn new(
        command_bytes_max: usize,
    ) -> (Self, mpsc::Receiver<Unit<E>>, Arc<AtomicUsize>) {
        let (sender, receiver) = mpsc::channel(QUEUE_MAX);
        let queued_bytes = Arc::new(AtomicUsize::new(0));
        let (for_queue, stats) = (Arc::clone(&queued_bytes), Arc::default());
        let queue = Self { sender, command_bytes_max, queued_bytes: for_queue, stats };
        (queue, receiver, queued_bytes)
    }

    /// Queues a command at once; the future gives the outcome.
    pub(super) fn propose(
        &self,
        command: &Command,
    ) -> impl Future<Output = Answer> + Send + use<E> {
        let (stats, started) = (Arc::clone(&self.stats), InstantOf::<E>::now());
        let queued = self.queue_local(command);
        async move {
            let answer = match queued {
                // The proposer ends only when the group shuts down.
                Ok(queued) => queued.await.unwrap_or(Err(ProposeError::Unavailable)),
                Err(error) => Err(error),
            };
            stats.note(&answer, started.elapsed());
            answer
        }
    }

    /// What became of proposals until now.
    pub(super) fn stats(&self) -> &ProposalStats {
        &self.stats
    }

    fn queue_local(&self, command: &Command) -> Result<oneshot::Receiver<Answer>, ProposeError> {
        let items = command
            .encode()
            .map_err(|error| ProposeError::Invalid { reason: error.to_string() })?;
        let (bytes, max) = (items.len(), self.command_bytes_max);
        if bytes > max {
            return Err(ProposeError::TooLong { bytes, max });
        }
        let (answer, receiver) = oneshot::channel();
        let deadline = InstantOf::<E>::now() + PROPOSE_TIMEOUT;
        let origin = Origin::Local { answer, deadline };
        match self.queue(Unit { items, count: 1, origin, is_unclear: false }) {
            Ok(()) => Ok(receiver),
            Err(_) => Err(ProposeError::Overloaded),
        }
    }

    /// Queues what another node forwards.
    pub(super) fn take_forwarded(&self, raft: &Raft<E>, body: Bytes, replier: Replier) {
        let metrics = raft.metrics().borrow_watched().clone();
        if metrics.state != ServerState::Leader {
            answer_not_leader(replier);
            return;
        }
        let Some((items, count)) = decode_forwarded(body) else {
            replier.fail("forwarded proposals can't be read: run the same version");
            return;
        };
        let origin = Origin::Forwarded { replier, term: metrics.current_term };
        if let Err(unit) = self.queue(Unit { items, count, origin, is_unclear: false })
            && let Origin::Forwarded { replier, .. } = unit.origin
        {
            replier.fail("too many proposals wait");
        }
    }

    fn queue(&self, unit: Unit<E>) -> Result<(), Box<Unit<E>>> {
        let bytes = unit.items.len();
        let queued = self.queued_bytes.fetch_add(bytes, Ordering::Relaxed);
        // A single one may be longer, where the configuration lets packets be.
        let result = match queued == 0 || queued + bytes <= QUEUED_BYTES_MAX {
            true => self.sender.try_send(unit).map_err(|error| Box::new(error.into_inner())),
            false => Err(Box::new(unit)),
        };
        if result.is_err() {
            self.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
        result
    }
}

pub(super) fn answer_not_leader(replier: Replier) {
    match encode_form(&ForwardAnswer::NotLeader) {
        Ok(body) => replier.reply(&body),
        Err(error) => replier.fail(&error.to_string()),
    }
}

/// Commands that can't be read must not enter the log: no node could apply them.
fn decode_forwarded(mut body: Bytes) -> Option<(Bytes, usize)> {
    let count = body.try_get_u32_le().ok()? as usize;
    let (_, commands) = CommandBatch::new(RetainedLimits::default(), [&body]).decode().ok()?;
    (commands.len() == count).then_some((body, count))
}
