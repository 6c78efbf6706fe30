//! What is kept of refused peers, and how much of it is logged. Pure: the time is given.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::link_types::{Refusal, RefusalKind};

/// Refusals kept for the status report, newest last.
const KEPT: usize = 16;

/// Lines logged within [`LOG_WINDOW`]; a peer that claims to be another each time fills no log.
const LOGGED_MAX: u32 = 20;

/// Over which lines are counted.
const LOG_WINDOW: Duration = Duration::from_secs(60);

/// The refusals of this process.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    kept: VecDeque<Refusal>,
    counts: [u64; RefusalKind::ALL.len()],
    window: Option<(Instant, u32)>,
    /// Lines left out since the last one.
    left_out: u64,
}

impl Refusals {
    /// Counts and keeps one; gives how many lines were left out before it when it is to be logged.
    /// One that is kept already is not logged again: peers try for ever.
    pub(super) fn note(&mut self, now: Instant, refusal: Refusal) -> Option<u64> {
        self.counts[refusal.kind as usize] += 1;
        // A dialling peer has a new port each time.
        let same = |other: &Refusal| {
            other.address.ip() == refusal.address.ip()
                && Refusal { address: refusal.address, ..other.clone() } == refusal
        };
        if self.kept.iter().any(same) {
            return None;
        }
        if self.kept.len() == KEPT {
            self.kept.pop_front();
        }
        self.kept.push_back(refusal);
        let (start, lines) = match self.window {
            Some((start, lines)) if now.saturating_duration_since(start) < LOG_WINDOW => {
                (start, lines)
            }
            _ => (now, 0),
        };
        if lines >= LOGGED_MAX {
            self.left_out += 1;
            return None;
        }
        self.window = Some((start, lines + 1));
        Some(std::mem::take(&mut self.left_out))
    }

    /// Those that are kept, newest last.
    pub(super) fn kept(&self) -> Vec<Refusal> {
        self.kept.iter().cloned().collect()
    }

    /// How often each kind was met.
    pub(super) const fn counts(&self) -> [u64; RefusalKind::ALL.len()] {
        self.counts
    }
}

#[cfg(test)]
mod tests {
    use broker_core::types::NodeId;

    use super::*;

    fn refusal(port: u16, node: u64) -> Refusal {
        Refusal {
            address: ([127, 0, 0, 1], port).into(),
            common_name: Some("b".to_owned()),
            cluster_id: None,
            node_id: Some(NodeId(node)),
            name: None,
            kind: RefusalKind::NodeId,
            reason: "r".to_owned(),
        }
    }

    #[test]
    fn a_refusal_that_repeats_is_counted_and_logged_once() {
        let (mut refusals, now) = (Refusals::default(), Instant::now());
        assert_eq!(refusals.note(now, refusal(1, 1)), Some(0));
        assert_eq!(refusals.note(now, refusal(2, 1)), None, "the same from another port");
        assert_eq!(refusals.note(now, refusal(3, 2)), Some(0));
        assert_eq!(refusals.counts()[RefusalKind::NodeId as usize], 3);
        assert_eq!(refusals.kept().len(), 2);
    }

    #[test]
    fn a_peer_that_says_something_else_each_time_fills_no_log() {
        let (mut refusals, start) = (Refusals::default(), Instant::now());
        let logged = (0..1000).filter(|node| refusals.note(start, refusal(1, *node)).is_some());
        assert_eq!(logged.count(), LOGGED_MAX as usize);
        let left_out = 1000 - u64::from(LOGGED_MAX);
        assert_eq!(refusals.note(start + LOG_WINDOW, refusal(1, 5000)), Some(left_out));
        assert_eq!(refusals.kept().len(), KEPT);
    }

    #[test]
    fn kinds_are_counted_at_their_place() {
        for (place, kind) in RefusalKind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, place);
        }
    }
}
