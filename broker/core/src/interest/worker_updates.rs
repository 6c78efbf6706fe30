//! Which updates of their routing tables the workers of this node have applied. Pure.

use std::collections::VecDeque;

use crate::claim::WorkerIndex;

/// Updates sent to workers and not known to be applied. Each worker applies its own in order.
#[derive(Debug)]
pub(super) struct WorkerUpdates {
    outstanding: Vec<VecDeque<u64>>,
    last: u64,
}

impl WorkerUpdates {
    pub(super) fn new(workers: u8) -> Self {
        Self { outstanding: vec![VecDeque::new(); usize::from(workers)], last: 0 }
    }

    /// Numbers an update to all workers but `except`.
    pub(super) fn send(&mut self, except: Option<WorkerIndex>) -> u64 {
        self.last += 1;
        for (worker, outstanding) in self.outstanding.iter_mut().enumerate() {
            if except.is_none_or(|except| usize::from(except.0) != worker) {
                outstanding.push_back(self.last);
            }
        }
        self.last
    }

    /// The number of the newest update; 0 before the first.
    pub(super) const fn last(&self) -> u64 {
        self.last
    }

    /// The worker has applied everything that it was sent up to `update`.
    pub(super) fn applied(&mut self, worker: WorkerIndex, update: u64) {
        if let Some(outstanding) = self.outstanding.get_mut(usize::from(worker.0)) {
            while outstanding.pop_front_if(|sent| *sent <= update).is_some() {}
        }
    }

    /// Everything up to this update is applied by everyone.
    pub(super) fn applied_by_all(&self) -> u64 {
        let oldest = self.outstanding.iter().filter_map(|sent| sent.front()).min();
        oldest.map_or(self.last, |update| update - 1)
    }
}
