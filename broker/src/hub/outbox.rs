//! What waits for room in the workers' queues. The hub never waits itself: it must go on taking
//! frames, and a worker that is stuck must not hold the others up.

use std::collections::VecDeque;

use tokio::sync::mpsc::{self, error::TrySendError};

use crate::node::{ToWorker, WorkerHandle};

/// Messages waiting for one worker above which messages of peers for it are dropped.
const DELIVERIES_WAITING_MAX: usize = 4_096;

/// Messages waiting for one worker above which the hub takes nothing more from the workers, so
/// that whoever causes the messages is slowed down.
const WAITING_MAX: usize = 16_384;

/// The queue to one worker, and what has no room in it.
#[derive(Debug)]
pub(super) struct Outbox {
    inbox: mpsc::Sender<ToWorker>,
    waiting: VecDeque<ToWorker>,
    /// Whether somebody waits for room already.
    is_flushing: bool,
}

impl Outbox {
    pub(super) fn new(worker: &WorkerHandle) -> Self {
        Self { inbox: worker.inbox.clone(), waiting: VecDeque::new(), is_flushing: false }
    }

    /// Queues a message. True when it has to wait and nobody waits for room yet: the caller is
    /// then to see to that.
    #[must_use]
    pub(super) fn push(&mut self, message: ToWorker) -> bool {
        if self.waiting.is_empty() {
            match self.inbox.try_send(message) {
                Ok(()) => return false,
                Err(TrySendError::Full(message)) => self.waiting.push_back(message),
                // The worker has ended; the process is about to.
                Err(TrySendError::Closed(_)) => return false,
            }
        } else {
            self.waiting.push_back(message);
        }
        !std::mem::replace(&mut self.is_flushing, true)
    }

    /// Whether the worker is so far behind that deliveries to it are dropped.
    pub(super) fn is_slow(&self) -> bool {
        self.waiting.len() >= DELIVERIES_WAITING_MAX
    }

    /// Whether the worker is so far behind that nothing more may be caused for it.
    pub(super) fn is_stuck(&self) -> bool {
        self.waiting.len() >= WAITING_MAX
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// The queue, for who waits for room in it.
    pub(super) fn inbox(&self) -> mpsc::Sender<ToWorker> {
        self.inbox.clone()
    }

    /// The next message to be put into the queue; with `None` the waiting is over.
    pub(super) fn pop(&mut self) -> Option<ToWorker> {
        let next = self.waiting.pop_front();
        self.is_flushing = next.is_some();
        next
    }
}
