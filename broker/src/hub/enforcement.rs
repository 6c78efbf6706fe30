//! Which policy revision every worker enforces. Pure but for the channel that tells it.

use std::collections::VecDeque;

use broker_policy::Revision;
use tokio::sync::watch;

use crate::node::WorkerId;

/// Follows the revisions sent to the workers until all enforce them.
#[derive(Debug)]
pub(super) struct Enforcement {
    /// Revisions sent and not left behind by every worker, oldest first, numbered.
    sent: VecDeque<(u64, Revision)>,
    last: u64,
    /// Number of the revision that each worker enforces; 0 before the first.
    workers: Vec<u64>,
    enforced: watch::Sender<Option<Revision>>,
}

impl Enforcement {
    pub(super) fn new(workers: usize) -> Self {
        let enforced = watch::Sender::new(None);
        Self { sent: VecDeque::new(), last: 0, workers: vec![0; workers], enforced }
    }

    pub(super) fn watch(&self) -> watch::Receiver<Option<Revision>> {
        self.enforced.subscribe()
    }

    /// The revision is on its way to every worker.
    pub(super) fn sent(&mut self, revision: Revision) {
        self.last += 1;
        self.sent.push_back((self.last, revision));
    }

    /// A worker enforces the revision.
    pub(super) fn enforced(&mut self, worker: WorkerId, revision: Revision) {
        let Some(own) = self.workers.get_mut(usize::from(worker.0)) else { return };
        let at_least = *own;
        let number = self
            .sent
            .iter()
            .find(|(number, sent)| *number >= at_least && *sent == revision)
            .map(|(number, _)| *number);
        if let Some(number) = number {
            *own = number;
        }
        let everywhere = self.workers.iter().copied().min().unwrap_or(0);
        while self.sent.pop_front_if(|(number, _)| *number < everywhere).is_some() {}
        if let Some((number, revision)) = self.sent.front().copied()
            && number == everywhere
        {
            self.enforced.send_if_modified(|current| current.replace(revision) != Some(revision));
        }
    }
}

#[cfg(test)]
mod tests {
    use broker_policy::Digest;

    use super::*;

    fn revision(content: &str) -> Revision {
        Revision::of_buckets(&[Digest::of(content.as_bytes())])
    }

    #[test]
    fn a_revision_counts_once_the_slowest_worker_enforces_it() {
        let mut enforcement = Enforcement::new(2);
        let watched = enforcement.watch();
        let (one, two) = (revision("1"), revision("2"));
        enforcement.sent(one);
        enforcement.enforced(WorkerId(0), one);
        assert_eq!(*watched.borrow(), None);
        enforcement.sent(two);
        enforcement.enforced(WorkerId(0), two);
        assert_eq!(*watched.borrow(), None);
        enforcement.enforced(WorkerId(1), one);
        assert_eq!(*watched.borrow(), Some(one));
        enforcement.enforced(WorkerId(1), two);
        assert_eq!(*watched.borrow(), Some(two));
    }

    #[test]
    fn going_back_to_an_earlier_content_is_a_new_revision_to_enforce() {
        let mut enforcement = Enforcement::new(2);
        let watched = enforcement.watch();
        let (one, two) = (revision("1"), revision("2"));
        for sent in [one, two, one] {
            enforcement.sent(sent);
            enforcement.enforced(WorkerId(0), sent);
        }
        enforcement.enforced(WorkerId(1), one);
        enforcement.enforced(WorkerId(1), two);
        assert_eq!(*watched.borrow(), Some(two));
        enforcement.enforced(WorkerId(1), one);
        assert_eq!(*watched.borrow(), Some(one));
        assert_eq!(enforcement.sent.len(), 1);
    }
}
