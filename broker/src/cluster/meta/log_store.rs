//! openraft's log on the write-ahead log: the latest entries in memory, the others read back where
//! they are needed; all writes in order through the one writer.

use std::fmt;
use std::io;
use std::ops::{Bound, Range, RangeBounds};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::vec::IntoIter;

use bytes::Bytes;
use futures::{Stream, stream};
use openraft::entry::RaftEntry;
use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::{LogState, Membership, OptionalSend, RaftLogReader};

use super::layout::{decode, encode};
use super::log_tail::Tail;
use super::type_config::{Entry, LogId, MemberNode, TypeConfig, Vote};
use crate::cluster::environment::{Environment, GroupLog, Process};
use crate::storage::{GroupId, Record, RecordKind, RecoveredGroup};
use crate::sync::lock;

/// The log of one group. A clone reads and writes the same one.
#[derive(Clone)]
pub(super) struct LogStore<E: Environment = Process> {
    group: GroupId,
    writer: E::Log,
    tail: Arc<Mutex<Tail>>,
    /// The last entry that is known to be durable.
    durable: Arc<AtomicU64>,
}

/// Bytes of entries that are read at a time where fewer than asked for will do.
const READ_BYTES_MAX: u64 = 4 << 20;

/// Tries to read entries that others purge or overwrite meanwhile.
const READ_TRIES: u32 = 8;

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
        let cached = writer.cached_bytes_max();
        for (index, payload) in &recovered.entries {
            let payload = match payload {
                Some(payload) => payload.clone(),
                None => read_one(&writer, group, *index)?,
            };
            tail.push(decode("log entry", &payload)?);
            tail.let_go(*index, cached);
        }
        let durable = recovered.entries.back().map_or(0, |(index, _)| *index);
        let (tail, durable) = (Arc::new(Mutex::new(tail)), Arc::new(AtomicU64::new(durable)));
        Ok(Self { group, writer, tail, durable })
    }

    /// Whether the node has ever voted or written an entry.
    pub(super) fn is_pristine(&self) -> bool {
        let tail = lock(&self.tail);
        tail.vote.is_none() && tail.is_empty() && tail.purged.is_none()
    }

    /// The last membership that the log held when it was opened; `None` where it held none.
    pub(super) fn last_membership(&self) -> Option<Membership<u64, MemberNode>> {
        lock(&self.tail).membership.clone()
    }

    /// Waits until all that was written to the log so far is durable.
    pub(super) async fn synced(&self) -> io::Result<()> {
        self.writer.append_durably(Vec::new()).await
    }

    /// Bytes of the commands in the log.
    pub(super) fn bytes(&self) -> u64 {
        lock(&self.tail).bytes()
    }

    /// Those of these entries that the log has.
    async fn read(&self, range: Range<u64>) -> io::Result<Vec<Entry>> {
        for _ in 0..READ_TRIES {
            let (elsewhere, cached) = lock(&self.tail).find(range.clone());
            let (Some(first), Some(last)) = (elsewhere.first(), elsewhere.last()) else {
                return Ok(cached);
            };
            let (writer, group) = (self.writer.clone(), self.group);
            let wanted = first.index..last.index + 1;
            let read = E::blocking(move || writer.read_entries(group, wanted)).await;
            let mut entries = match read {
                Ok(payloads) => decode_all(&payloads)?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
                Err(error) => return Err(error),
            };
            if entries.iter().map(|entry: &Entry| entry.log_id).eq(elsewhere.iter().copied()) {
                entries.extend(cached);
                return Ok(entries);
            }
        }
        let Range { start, end } = range;
        Err(io::Error::other(format!(
            "log entries {start} to {end} are not where they were written"
        )))
    }

    fn record(&self, kind: RecordKind, index: u64, payload: Bytes) -> Record {
        Record { group: self.group, kind, index, payload }
    }
}

fn decode_all(payloads: &[Bytes]) -> io::Result<Vec<Entry>> {
    payloads.iter().map(|payload| decode("log entry", payload)).collect()
}

fn read_one<L: GroupLog>(writer: &L, group: GroupId, index: u64) -> io::Result<Bytes> {
    let mut found = writer.read_entries(group, index..index + 1)?;
    found.pop().ok_or_else(|| io::Error::other(format!("log entry {index} can't be found again")))
}

/// What a range means in a log that has no index beyond all.
fn bounds(range: &impl RangeBounds<u64>) -> Range<u64> {
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
    start..end
}

impl<E: Environment> RaftLogReader<TypeConfig<E>> for LogStore<E> {
    async fn try_get_log_entries<RB>(&mut self, range: RB) -> io::Result<Vec<Entry>>
    where
        RB: RangeBounds<u64> + Clone + fmt::Debug + OptionalSend,
    {
        self.read(bounds(&range)).await
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        let end = lock(&self.tail).limit(start..end, READ_BYTES_MAX);
        self.read(start..end).await
    }

    async fn entries_stream<RB>(
        &mut self,
        range: RB,
    ) -> impl Stream<Item = io::Result<Entry>> + OptionalSend
    where
        RB: RangeBounds<u64> + Clone + fmt::Debug + OptionalSend,
    {
        // Some at a time: all of them may be more than memory has room for.
        let state = (self.clone(), bounds(&range), Vec::new().into_iter());
        let next = |(mut log, mut range, mut read): (Self, Range<u64>, IntoIter<Entry>)| async move {
            if read.len() == 0 && range.start < range.end {
                read = log.limited_get_log_entries(range.start, range.end).await?.into_iter();
            }
            let Some(entry) = read.next() else { return Ok(None) };
            range.start = entry.index() + 1;
            Ok(Some((entry, (log, range, read))))
        };
        Box::pin(stream::try_unfold(state, next))
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        Ok(lock(&self.tail).vote)
    }
}

impl<E: Environment> RaftLogStorage<TypeConfig<E>> for LogStore<E> {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<TypeConfig<E>>> {
        let tail = lock(&self.tail);
        Ok(LogState { last_purged_log_id: tail.purged, last_log_id: tail.last().or(tail.purged) })
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
        let last = entries.last().map_or(0, RaftEntry::index);
        {
            let mut tail = lock(&self.tail);
            for entry in entries {
                debug_assert!(
                    tail.is_empty() || entry.index() == tail.next_index(),
                    "entries leave a hole in the log"
                );
                tail.push(entry);
            }
            tail.let_go(self.durable.load(Ordering::Acquire), self.writer.cached_bytes_max());
        }
        let durable = Arc::clone(&self.durable);
        let completion = Box::new(move |result: io::Result<()>| {
            if result.is_ok() {
                durable.fetch_max(last, Ordering::AcqRel);
            }
            callback.io_completed(result);
        });
        self.writer.append(records, completion).await
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        let first_dropped = last.map_or(0, |last| last.index + 1);
        lock(&self.tail).drop_from(first_dropped);
        let record = self.record(RecordKind::Truncate, first_dropped, Bytes::new());
        self.writer.append_durably(vec![record]).await?;
        // What was dropped may be written anew, and is not durable then.
        self.durable.fetch_min(first_dropped.saturating_sub(1), Ordering::AcqRel);
        Ok(())
    }

    async fn purge(&mut self, upto: LogId) -> io::Result<()> {
        let record = self.record(RecordKind::Purge, upto.index, encode(&upto)?);
        lock(&self.tail).purge(upto);
        self.writer.append_durably(vec![record]).await
    }
}

#[cfg(test)]
#[path = "log_store_test.rs"]
mod tests;
