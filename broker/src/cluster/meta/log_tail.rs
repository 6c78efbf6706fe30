//! What a node knows of its log: every entry's id and size, and the latest entries themselves. Pure.

use std::collections::VecDeque;
use std::ops::Range;

use openraft::{EntryPayload, Membership};

use super::type_config::{Entry, LogId, MemberNode, Vote};

#[derive(Debug)]
struct Slot {
    log_id: LogId,
    /// Bytes of its commands.
    bytes: u32,
    /// `None`: it is to be read from disk.
    entry: Option<Entry>,
}

/// The log behind what is purged.
#[derive(Debug, Default)]
pub(super) struct Tail {
    /// Without a gap, the first one following `purged`. In front are those without entries.
    slots: VecDeque<Slot>,
    /// How many there are of them.
    bare: usize,
    bytes: u64,
    cached_bytes: usize,
    pub(super) vote: Option<Vote>,
    pub(super) committed: Option<LogId>,
    pub(super) purged: Option<LogId>,
    /// The last one that was pushed.
    pub(super) membership: Option<Membership<u64, MemberNode>>,
}

impl Tail {
    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    pub(super) fn last(&self) -> Option<LogId> {
        self.slots.back().map(|slot| slot.log_id)
    }

    /// Bytes of all commands, in memory and not.
    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Index of the first entry, or of the one that would be.
    fn first_index(&self) -> u64 {
        match self.slots.front() {
            Some(first) => first.log_id.index,
            None => self.purged.map_or(0, |purged| purged.index + 1),
        }
    }

    /// Index of the entry that would follow.
    pub(super) fn next_index(&self) -> u64 {
        self.first_index() + self.slots.len() as u64
    }

    fn place(&self, index: u64) -> usize {
        let place = usize::try_from(index.saturating_sub(self.first_index()));
        place.unwrap_or(usize::MAX).min(self.slots.len())
    }

    pub(super) fn push(&mut self, entry: Entry) {
        let bytes = match &entry.payload {
            EntryPayload::Normal(batch) => batch.as_bytes().len(),
            EntryPayload::Membership(membership) => {
                self.membership = Some(membership.clone());
                0
            }
            EntryPayload::Blank => 0,
        };
        self.bytes += bytes as u64;
        self.cached_bytes += bytes;
        let log_id = entry.log_id;
        self.slots.push_back(Slot { log_id, bytes: bytes as u32, entry: Some(entry) });
    }

    /// Leaves the first entries to the disk, up to the last that is durable, while those in memory
    /// have more bytes than that.
    pub(super) fn let_go(&mut self, durable: u64, bytes_max: usize) {
        while self.cached_bytes > bytes_max
            && let Some(slot) = self.slots.get_mut(self.bare)
            && slot.log_id.index <= durable
        {
            slot.entry = None;
            self.cached_bytes -= slot.bytes as usize;
            self.bare += 1;
        }
    }

    /// Drops all entries from an index on.
    pub(super) fn drop_from(&mut self, index: u64) {
        let kept = self.place(index);
        for slot in self.slots.drain(kept..) {
            self.bytes -= u64::from(slot.bytes);
            self.cached_bytes -= slot.entry.map_or(0, |_| slot.bytes as usize);
        }
        self.bare = self.bare.min(kept);
    }

    /// Drops all entries up to this one.
    pub(super) fn purge(&mut self, upto: LogId) {
        let gone = self.place(upto.index.saturating_add(1));
        for slot in self.slots.drain(..gone) {
            self.bytes -= u64::from(slot.bytes);
            self.cached_bytes -= slot.entry.map_or(0, |_| slot.bytes as usize);
        }
        self.bare = self.bare.saturating_sub(gone);
        self.purged = Some(upto);
    }

    /// Those of these entries that the log has: the ids of the first ones, which are on disk alone,
    /// and those in memory behind them.
    pub(super) fn find(&self, range: Range<u64>) -> (Vec<LogId>, Vec<Entry>) {
        let (start, end) = (self.place(range.start), self.place(range.end));
        if start >= end {
            return (Vec::new(), Vec::new());
        }
        let cached_from = self.bare.clamp(start, end);
        let elsewhere = self.slots.range(start..cached_from).map(|slot| slot.log_id).collect();
        let cached = self.slots.range(cached_from..end).filter_map(|slot| slot.entry.clone());
        (elsewhere, cached.collect())
    }

    /// Where a range ends that has no more bytes than that, and one entry at least.
    pub(super) fn limit(&self, range: Range<u64>, bytes_max: u64) -> u64 {
        let (start, end) = (self.place(range.start), self.place(range.end));
        let mut bytes = 0;
        for (count, slot) in self.slots.range(start..end.max(start)).enumerate() {
            bytes += u64::from(slot.bytes);
            if bytes > bytes_max && count > 0 {
                return slot.log_id.index;
            }
        }
        range.end
    }
}

#[cfg(test)]
mod tests {
    use broker_core::cluster_state::{CommandBatch, RetainedLimits};
    use bytes::Bytes;
    use openraft::entry::RaftEntry;

    use super::super::type_config::TypeConfig;
    use super::*;

    fn log_id(index: u64) -> LogId {
        LogId::new(openraft::alias::CommittedLeaderIdOf::<TypeConfig>::new(1), index)
    }

    /// A log of the entries from 1 on; gives the bytes of one.
    fn tail(count: u64) -> (Tail, usize) {
        let mut tail = Tail::default();
        let batch = CommandBatch::new(RetainedLimits::default(), [&Bytes::from(vec![7; 100])]);
        for index in 1..=count {
            tail.push(Entry::new_normal(log_id(index), batch.clone()));
        }
        (tail, batch.as_bytes().len())
    }

    /// Indices that are on disk alone, and in memory.
    fn found(tail: &Tail, range: Range<u64>) -> (Vec<u64>, Vec<u64>) {
        let (elsewhere, cached) = tail.find(range);
        let elsewhere = elsewhere.iter().map(|log_id| log_id.index).collect();
        (elsewhere, cached.iter().map(|entry| entry.log_id.index).collect())
    }

    #[test]
    fn only_durable_entries_leave_memory_and_the_oldest_first() {
        let (mut tail, bytes) = tail(10);
        tail.let_go(3, 5 * bytes);
        assert_eq!(found(&tail, 0..99), ((1..=3).collect(), (4..=10).collect()));
        tail.let_go(9, 5 * bytes);
        assert_eq!(found(&tail, 2..8), (vec![2, 3, 4, 5], vec![6, 7]));
        assert_eq!(found(&tail, 7..9), (vec![], vec![7, 8]));
        assert_eq!(found(&tail, 2..4), (vec![2, 3], vec![]));
        tail.purge(log_id(4));
        assert_eq!(found(&tail, 0..8), (vec![5], vec![6, 7]));
        tail.drop_from(7);
        assert_eq!(found(&tail, 0..99), (vec![5], vec![6]));
        assert_eq!((tail.bytes(), tail.cached_bytes), (2 * bytes as u64, bytes));
        tail.drop_from(0);
        assert_eq!((tail.bytes(), tail.cached_bytes, tail.bare), (0, 0, 0));
        assert_eq!(tail.next_index(), 5);
    }

    #[test]
    fn a_range_is_limited_by_bytes_and_has_one_entry_at_least() {
        let (tail, bytes) = tail(10);
        assert_eq!(tail.limit(1..9, 3 * bytes as u64), 4);
        assert_eq!(tail.limit(3..9, 1), 4);
        assert_eq!(tail.limit(3..5, u64::MAX), 5);
        assert_eq!(tail.limit(20..25, 1), 25);
    }
}
