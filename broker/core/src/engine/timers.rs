//! When connections and sessions want to be looked at. Pure.
//!
//! Coarse and lazy: each connection and session remembers the time of its one valid entry; what
//! was postponed meanwhile is found out when the entry comes up. No message touches the timers.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::session::SessionSlot;
use crate::types::{ConnectionId, Millis};

/// Whose timer it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum TimerKey {
    /// Connect timeout or Keep Alive.
    Connection(ConnectionId),
    /// Will delay or session expiry; the session's serial number tells it from later ones.
    Session(SessionSlot, u32),
}

/// Entries by time, outdated ones among them.
#[derive(Debug, Default)]
pub(super) struct Timers {
    heap: BinaryHeap<Reverse<(Millis, TimerKey)>>,
    compact_at: usize,
}

/// A heap smaller than this is not searched for outdated entries.
const COMPACT_MIN: usize = 4096;

impl Timers {
    /// Adds an entry. `armed` is where its owner remembers the time of its valid entry: one that
    /// is due as early already makes a new one unnecessary.
    pub(super) fn arm(&mut self, key: TimerKey, at: Millis, armed: &mut Millis) {
        if at < *armed {
            *armed = at;
            self.heap.push(Reverse((at, key)));
        }
    }

    /// The time of the earliest entry.
    pub(super) fn next(&self) -> Option<Millis> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    /// Takes the earliest entry that is due.
    pub(super) fn pop_due(&mut self, now: Millis) -> Option<(Millis, TimerKey)> {
        let Reverse((at, _)) = self.heap.peek()?;
        if *at > now {
            return None;
        }
        self.heap.pop().map(|Reverse(entry)| entry)
    }

    /// Whether outdated entries may be most of the heap.
    pub(super) fn wants_compaction(&self) -> bool {
        self.heap.len() > self.compact_at.max(COMPACT_MIN)
    }

    /// Drops entries that `is_valid` denies.
    pub(super) fn compact(&mut self, mut is_valid: impl FnMut(Millis, TimerKey) -> bool) {
        self.heap.retain(|Reverse((at, key))| is_valid(*at, *key));
        self.compact_at = self.heap.len() * 2;
    }
}
