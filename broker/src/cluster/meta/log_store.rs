//! openraft's log on the write-ahead log: entries in memory up to the last snapshot, all writes
//! in order through the one writer.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use openraft::entry::RaftEntry;
use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::{EntryPayload, LogState, Membership, OptionalSend, RaftLogReader};

use super::layout::{decode, encode};
use super::type_config::{Entry, LogId, MemberNode, TypeConfig, Vote};
use crate::cluster::environment::{Environment, GroupLog, Process};
use crate::storage::{GroupId, Record, RecordKind, RecoveredGroup};
use crate::sync::lock;

#[derive(Debug, Default)]
struct Tail {
    /// Without a gap, the first one following `purged`.
    entries: VecDeque<Entry>,
    vote: Option<Vote>,
    committed: Option<LogId>,
    purged: Option<LogId>,
}

/// The log of one group. A clone reads and writes the same one.
#[derive(Clone)]
pub(super) struct LogStore<E: Environment = Process> {
    group: GroupId,
    writer: E::Log,
    tail: Arc<Mutex<Tail>>,
}

impl<E: Environment> LogStore<E> {
    /// The log as it was recovered.
    pub(super) fn open(
        writer: E::Log,
        group: GroupId,
        recovered: &RecoveredGroup,
    ) -> io::Result<Self> {
        let mut tail = Tail::default();
        if let Some(vote) = &recovered.vote {
            tail.vote = Some(decode("vote", vote)?);
        }
        if let Some(committed) = &recovered.committed {
            tail.committed = Some(decode("committed log id", committed)?);
        }
        if let Some((_, purged)) = &recovered.purged {
            tail.purged = Some(decode("purged log id", purged)?);
        }
        for (_, entry) in &recovered.entries {
            tail.entries.push_back(decode("log entry", entry)?);
        }
        Ok(Self { group, writer, tail: Arc::new(Mutex::new(tail)) })
    }

    /// Whether the node has ever voted or written an entry.
    pub(super) fn is_pristine(&self) -> bool {
        let tail = lock(&self.tail);
        tail.vote.is_none() && tail.entries.is_empty() && tail.purged.is_none()
    }

    /// The last membership in the log; `None` where it holds none.
    pub(super) fn last_membership(&self) -> Option<Membership<u64, MemberNode>> {
        let tail = lock(&self.tail);
        tail.entries.iter().rev().find_map(|entry| match &entry.payload {
            EntryPayload::Membership(membership) => Some(membership.clone()),
            EntryPayload::Blank | EntryPayload::Normal(_) => None,
        })
    }

    /// Bytes of the commands in memory.
    pub(super) fn bytes(&self) -> u64 {
        let bytes_of = |entry: &Entry| match &entry.payload {
            EntryPayload::Normal(batch) => batch.as_bytes().len() as u64,
            EntryPayload::Blank | EntryPayload::Membership(_) => 0,
        };
        lock(&self.tail).entries.iter().map(bytes_of).sum()
    }

    fn record(&self, kind: RecordKind, index: u64, payload: Bytes) -> Record {
        Record { group: self.group, kind, index, payload }
    }
}

impl Tail {
    /// Index of the first entry, or of the one that would be.
    fn first_index(&self) -> u64 {
        match self.entries.front() {
            Some(first) => first.index(),
            None => self.purged.map_or(0, |purged| purged.index + 1),
        }
    }

    fn drop_from(&mut self, index: u64) {
        let kept = index.saturating_sub(self.first_index()) as usize;
        self.entries.truncate(kept);
    }
}

impl<E: Environment> RaftLogReader<TypeConfig<E>> for LogStore<E> {
    async fn try_get_log_entries<RB>(&mut self, range: RB) -> io::Result<Vec<Entry>>
    where
        RB: RangeBounds<u64> + Clone + fmt::Debug + OptionalSend,
    {
        let tail = lock(&self.tail);
        let first = tail.first_index();
        let start = match range.start_bound() {
            Bound::Included(index) => *index,
            Bound::Excluded(index) => index + 1,
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(index) => index + 1,
            Bound::Excluded(index) => *index,
            Bound::Unbounded => u64::MAX,
        };
        let start = start.saturating_sub(first) as usize;
        let end = end.saturating_sub(first).min(tail.entries.len() as u64) as usize;
        match start < end {
            true => Ok(tail.entries.range(start..end).cloned().collect()),
            false => Ok(Vec::new()),
        }
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        Ok(lock(&self.tail).vote)
    }
}

impl<E: Environment> RaftLogStorage<TypeConfig<E>> for LogStore<E> {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<TypeConfig<E>>> {
        let tail = lock(&self.tail);
        let last = tail.entries.back().map(|entry| entry.log_id);
        Ok(LogState { last_purged_log_id: tail.purged, last_log_id: last.or(tail.purged) })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        let record = self.record(RecordKind::Vote, 0, encode(vote)?);
        self.writer.append_durably(vec![record]).await?;
        lock(&self.tail).vote = Some(*vote);
        Ok(())
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        if let Some(committed) = committed {
            // It may be lost: the leader tells it again. So it costs no fsync.
            self.writer.note(self.record(RecordKind::Committed, 0, encode(&committed)?));
            lock(&self.tail).committed = Some(committed);
        }
        Ok(())
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        Ok(lock(&self.tail).committed)
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig<E>>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        let mut records = Vec::with_capacity(entries.len());
        for entry in &entries {
            records.push(self.record(RecordKind::Entry, entry.index(), encode(entry)?));
        }
        {
            let mut tail = lock(&self.tail);
            debug_assert!(
                tail.entries.is_empty()
                    || entries.first().is_none_or(|first| {
                        first.index() == tail.first_index() + tail.entries.len() as u64
                    }),
                "entries leave a hole in the log"
            );
            tail.entries.extend(entries);
        }
        self.writer.append(records, Box::new(|result| callback.io_completed(result))).await
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        let first_dropped = last.map_or(0, |last| last.index + 1);
        lock(&self.tail).drop_from(first_dropped);
        let record = self.record(RecordKind::Truncate, first_dropped, Bytes::new());
        self.writer.append_durably(vec![record]).await
    }

    async fn purge(&mut self, upto: LogId) -> io::Result<()> {
        let record = self.record(RecordKind::Purge, upto.index, encode(&upto)?);
        {
            let mut tail = lock(&self.tail);
            while tail.entries.front().is_some_and(|entry| entry.index() <= upto.index) {
                tail.entries.pop_front();
            }
            tail.purged = Some(upto);
        }
        self.writer.append_durably(vec![record]).await
    }
}

#[cfg(test)]
#[path = "log_store_test.rs"]
mod tests;
