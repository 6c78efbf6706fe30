//! Operations on durable sessions on their way through the log, and what applying them here asks
//! of this node's workers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use broker_core::cluster_state::{Command, Outcome};
use broker_core::shard::{
    BatchOrigin, Drops, LiveMessage, OperationOutcome, Ready, SessionBatch, SessionLimits,
};
use broker_core::types::{ClientId, Millis, NodeId};
use bytes::Bytes;
use tokio::sync::Notify;

use super::proposals::{ProposalQueue, ProposeError};
use crate::cluster::environment::Environment;
use crate::sync::lock;

/// What this process proposes for durable sessions, in order.
#[derive(Clone)]
pub(super) struct SessionProposer<E: Environment> {
    node: NodeId,
    start: u64,
    limits: SessionLimits,
    queue: ProposalQueue<E>,
    batches: Arc<Mutex<Batches>>,
}

/// Numbers of batches: each is queued in the order of its number.
#[derive(Default)]
struct Batches {
    last: u64,
    /// Those without an answer.
    open: BTreeSet<u64>,
}

/// Committed operations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionsProposed {
    /// What became of each, in order.
    pub outcomes: Vec<OperationOutcome>,
    /// The log entry that they were part of.
    pub log_index: u64,
}

impl<E: Environment> SessionProposer<E> {
    pub(super) fn new(
        node: NodeId,
        start: u64,
        limits: SessionLimits,
        queue: ProposalQueue<E>,
    ) -> Self {
        Self { node, start, limits, queue, batches: Arc::default() }
    }

    /// Queues operations at once; the future gives what became of them.
    pub(super) fn propose(
        &self,
        now: Millis,
        operations: Bytes,
    ) -> impl Future<Output = Result<SessionsProposed, ProposeError>> + Send + use<E> {
        let mut batches = lock(&self.batches);
        batches.last += 1;
        let seq = batches.last;
        batches.open.insert(seq);
        let settled = batches.open.first().copied().unwrap_or(seq);
        let origin = BatchOrigin { node: self.node, start: self.start, seq, settled };
        let batch = SessionBatch { origin, now, limits: self.limits, operations };
        // Under the lock: what has the lower number is in the queue first.
        let proposed = self.queue.propose(&Command::Sessions(batch));
        drop(batches);
        let batches = Arc::clone(&self.batches);
        async move {
            let proposed = proposed.await;
            lock(&batches).open.remove(&seq);
            let proposed = proposed?;
            match proposed.outcome {
                Outcome::Sessions { outcomes } => {
                    Ok(SessionsProposed { outcomes, log_index: proposed.log_index })
                }
                other => {
                    let reason = format!("unexpected outcome {other:?}");
                    Err(ProposeError::Invalid { reason })
                }
            }
        }
    }
}

/// What applying entries asks of this node's workers, until the hub takes it.
#[derive(Debug, Default)]
pub struct SessionEvents {
    waiting: Mutex<SessionNews>,
    wake: Notify,
}

/// What the hub tells the workers. Bounded by the sessions whose clients are here, and by the wills of
/// one entry after another that the hub, on the same thread, takes as soon as it runs.
#[derive(Debug, Default)]
pub struct SessionNews {
    /// Sessions with something to send, by worker.
    pub ready: BTreeMap<u8, BTreeSet<ClientId>>,
    /// Messages for those who are not in the state.
    pub live: Vec<LiveMessage>,
    /// Messages that nobody got.
    pub drops: Drops,
    /// A snapshot has replaced the state: every session may have something to send.
    pub is_everything: bool,
}

impl SessionEvents {
    pub(super) fn sessions_ready(&self, node: NodeId, start: u64, sessions: Vec<Ready>) {
        let mut waiting = lock(&self.waiting);
        for Ready { holder, client_id } in sessions {
            if holder.node == node && holder.start == start {
                waiting.ready.entry(holder.worker).or_default().insert(client_id);
            }
        }
        if !waiting.ready.is_empty() {
            self.wake.notify_one();
        }
    }

    pub(super) fn live(&self, message: LiveMessage) {
        lock(&self.waiting).live.push(message);
        self.wake.notify_one();
    }

    pub(super) fn dropped(&self, more: Drops) {
        let drops = &mut lock(&self.waiting).drops;
        drops.queue_full += more.queue_full;
        drops.publish_denied += more.publish_denied;
        drops.expired += more.expired;
        self.wake.notify_one();
    }

    pub(super) fn everything(&self) {
        lock(&self.waiting).is_everything = true;
        self.wake.notify_one();
    }

    /// Waits until there is news. Cancel-safe.
    pub async fn wait(&self) {
        self.wake.notified().await;
    }

    /// Takes what there is.
    #[must_use]
    pub fn take(&self) -> SessionNews {
        std::mem::take(&mut *lock(&self.waiting))
    }
}

/// Index of the last applied entry. Who waits for one is woken in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Applied {
    log_index: AtomicU64,
    changed: Notify,
}

impl Applied {
    pub(super) fn set(&self, log_index: u64) {
        self.log_index.store(log_index, Ordering::Release);
        self.changed.notify_waiters();
    }

    /// Waits until an entry is applied here.
    pub(super) async fn reached(&self, log_index: u64) {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            // Registered before the look, so that no wake-up is missed.
            changed.as_mut().enable();
            if self.log_index.load(Ordering::Acquire) >= log_index {
                return;
            }
            changed.await;
        }
    }
}
