//! What became of a node's proposals, for its metrics. Pure.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::proposals::ProposeError;
use crate::latency::Latency;

/// Proposals that this node has made since its start; one may hold many operations on sessions.
#[derive(Debug, Default)]
pub struct ProposalStats {
    /// Those that were committed: until they were applied where they were written.
    pub committed: Latency,
    /// Those that were not, by why.
    failed: [AtomicU64; ProposeError::REASONS.len()],
}

impl ProposalStats {
    /// How many have failed, by why.
    #[must_use]
    pub fn failed(&self) -> [(&'static str, u64); ProposeError::REASONS.len()] {
        let mut read = ProposeError::REASONS.map(|reason| (reason, 0));
        for ((_, count), failed) in read.iter_mut().zip(&self.failed) {
            *count = failed.load(Ordering::Relaxed);
        }
        read
    }

    pub(super) fn note<T>(&self, answer: &Result<T, ProposeError>, time: Duration) {
        match answer {
            Ok(_) => self.committed.note(time),
            Err(error) => {
                if let Some(failed) = self.failed.get(error.reason()) {
                    failed.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }
}

impl ProposeError {
    /// The reasons in metrics, by [`Self::reason`].
    const REASONS: [&str; 5] = ["unavailable", "timed_out", "overloaded", "too_long", "invalid"];

    const fn reason(&self) -> usize {
        match self {
            Self::Unavailable => 0,
            Self::TimedOut => 1,
            Self::Overloaded => 2,
            Self::TooLong { .. } => 3,
            Self::Invalid { .. } => 4,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_is_counted_by_its_reason_and_not_among_the_times() {
        let stats = ProposalStats::default();
        let time = Duration::from_millis(3);
        stats.note(&Ok(()), time);
        stats.note::<()>(&Err(ProposeError::TimedOut), time);
        stats.note::<()>(&Err(ProposeError::TimedOut), time);
        stats.note::<()>(&Err(ProposeError::TooLong { bytes: 2, max: 1 }), time);
        let committed = stats.committed.read();
        assert_eq!((committed.count, committed.sum_micros), (1, 3_000));
        let failed = stats.failed();
        assert_eq!(failed[1], ("timed_out", 2));
        assert_eq!(failed[3], ("too_long", 1));
        assert_eq!(failed.iter().map(|(_, count)| count).sum::<u64>(), 3);
    }
}
