//! A node's disk: a log of which a crash leaves what was synced, and one snapshot.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use broker::cluster::{GroupLog, SnapshotStorage};
use broker::storage::{
    Completion, GroupId, NewSnapshot, Record, RecordKind, RecoveredGroup, Replace, SnapshotContent,
    SnapshotError, SnapshotFile,
};
use broker_core::stored::FileRange;
use bytes::Bytes;
use tokio::sync::{Notify, watch};

use crate::environment::{sleep, spawn};
use crate::random::Random;

/// Time of an fsync in milliseconds, from and below.
const SYNC: (u64, u64) = (1, 6);

/// The same on a disk that is slow.
const SLOW_SYNC: (u64, u64) = (50, 900);

/// Bytes of log entries that a node keeps in memory: few, so that it reads others from the disk.
const LOG_CACHED_BYTES_MAX: usize = 4 << 10;

/// A disk. A clone is the same one; it outlives the processes that use it.
#[derive(Debug, Clone)]
pub(crate) struct Disk(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    random: Random,
    /// What is safe.
    records: Vec<Record>,
    /// What is being synced: a crash leaves some of it.
    in_flight: Vec<Record>,
    snapshot: Option<SnapshotFile>,
    /// Number of the process that may use it; processes before it have ended.
    start: u64,
    is_slow: bool,
    /// No sync ends.
    is_hung: bool,
    /// The next sync fails.
    is_failing: bool,
}

impl Disk {
    pub(crate) fn new(random: Random) -> Self {
        Self(Arc::new(Mutex::new(State {
            random,
            records: Vec::new(),
            in_flight: Vec::new(),
            snapshot: None,
            start: 0,
            is_slow: false,
            is_hung: false,
            is_failing: false,
        })))
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Opens the disk for a new process: the log's writer, what the log holds, the snapshots, and
    /// the number of the process.
    pub(crate) fn open(&self) -> (SimLog, RecoveredGroup, SimSnapshots, u64) {
        let (start, recovered) = self.with(|state| {
            state.start += 1;
            let mut recovered = RecoveredGroup::default();
            for record in &state.records {
                let is_in_order = recovered.take(record.clone());
                assert!(is_in_order, "the log has a hole before {record:?}");
            }
            (state.start, recovered)
        });
        let log = SimLog { disk: self.clone(), start, queue: Arc::default(), wake: Arc::default() };
        spawn(log.clone().write());
        (log, recovered, SimSnapshots { disk: self.clone(), start }, start)
    }

    /// The process that uses the disk ends: what was not synced is lost, but for some of what was
    /// just being written.
    pub(crate) fn crash(&self) {
        self.with(|state| {
            state.start += 1;
            state.is_failing = false;
            state.is_hung = false;
            let mut in_flight = std::mem::take(&mut state.in_flight);
            let kept = state.random.place(in_flight.len() + 1);
            in_flight.truncate(kept);
            state.records.append(&mut in_flight);
        });
    }

    pub(crate) fn set_slow(&self, is_slow: bool) {
        self.with(|state| state.is_slow = is_slow);
    }

    /// Has no sync end before the process does.
    #[cfg(test)]
    pub(crate) fn hang(&self) {
        self.with(|state| state.is_hung = true);
    }

    /// Has the next sync fail.
    pub(crate) fn fail(&self) {
        self.with(|state| state.is_failing = true);
    }
}

#[derive(Default)]
struct Queue {
    records: Vec<Record>,
    completions: Vec<Completion>,
    /// Written with the next batch.
    note: Option<Record>,
    failure: Option<String>,
}

/// The log's writer of one process. A clone is the same one.
#[derive(Clone)]
pub(crate) struct SimLog {
    disk: Disk,
    start: u64,
    queue: Arc<Mutex<Queue>>,
    wake: Arc<Notify>,
}

impl SimLog {
    fn with<T>(&self, act: impl FnOnce(&mut Queue) -> T) -> T {
        act(&mut self.queue.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Writes batches, each with one sync, until the process ends or the disk fails.
    async fn write(self) {
        loop {
            self.wake.notified().await;
            loop {
                let (mut records, completions) = self.with(|queue| {
                    let completions = std::mem::take(&mut queue.completions);
                    (std::mem::take(&mut queue.records), completions)
                });
                if completions.is_empty() {
                    break;
                }
                records.extend(self.with(|queue| queue.note.take()));
                // Behind what could not be written nothing is.
                let synced = match self.with(|queue| queue.failure.clone()) {
                    Some(failure) => Err(failure),
                    None => self.sync(records).await,
                };
                if let Err(failure) = &synced {
                    self.with(|queue| queue.failure = Some(failure.clone()));
                }
                for completion in completions {
                    completion(synced.clone().map_err(io::Error::other));
                }
            }
        }
    }

    async fn sync(&self, records: Vec<Record>) -> Result<(), String> {
        let over = || Err("the process has ended".to_owned());
        let time = self.disk.with(|state| {
            if state.start != self.start {
                return None;
            }
            let (least, most) = if state.is_slow { SLOW_SYNC } else { SYNC };
            state.in_flight = records;
            Some(state.random.millis(least, most))
        });
        let Some(time) = time else { return over() };
        sleep(time).await;
        while self.disk.with(|state| state.is_hung && state.start == self.start) {
            sleep(time).await;
        }
        self.disk.with(|state| {
            if state.start != self.start {
                return over();
            }
            if state.is_failing {
                return Err("the disk fails".to_owned());
            }
            let mut synced = std::mem::take(&mut state.in_flight);
            state.records.append(&mut synced);
            Ok(())
        })
    }
}

impl GroupLog for SimLog {
    async fn append(&self, records: Vec<Record>, completion: Completion) -> io::Result<()> {
        let failure = self.with(|queue| queue.failure.clone());
        if let Some(failure) = failure {
            completion(Err(io::Error::other(failure.clone())));
            return Err(io::Error::other(failure));
        }
        self.with(|queue| {
            queue.records.extend(records);
            queue.completions.push(completion);
        });
        self.wake.notify_one();
        Ok(())
    }

    async fn append_durably(&self, records: Vec<Record>) -> io::Result<()> {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let completion = Box::new(move |result| drop(sender.send(result)));
        self.append(records, completion).await?;
        receiver.await.map_err(io::Error::other)?
    }

    fn note(&self, record: Record) {
        self.with(|queue| queue.note = Some(record));
    }

    fn read_entries(&self, _group: GroupId, range: Range<u64>) -> io::Result<Vec<Bytes>> {
        Ok(self.disk.with(|state| {
            let mut entries = BTreeMap::new();
            for record in &state.records {
                match record.kind {
                    RecordKind::Entry => {
                        drop(entries.split_off(&record.index));
                        entries.insert(record.index, record.payload.clone());
                    }
                    RecordKind::Truncate => drop(entries.split_off(&record.index)),
                    RecordKind::Purge => entries = entries.split_off(&(record.index + 1)),
                    RecordKind::Vote | RecordKind::Committed => {}
                }
            }
            let from = range.start;
            let found = entries.range(range);
            let found = (from..).zip(found).take_while(|(expected, (index, _))| expected == *index);
            found.map(|(_, (_, payload))| payload.clone()).collect()
        }))
    }

    fn cached_bytes_max(&self) -> usize {
        LOG_CACHED_BYTES_MAX
    }

    fn is_disk_low(&self) -> watch::Receiver<bool> {
        watch::channel(false).1
    }

    fn reserve(&self, _snapshot_bytes: u64) {}

    fn close(&self) {
        self.with(|queue| queue.failure = Some("the log is closed".to_owned()));
    }
}

/// The snapshots of one process. A clone is the same.
#[derive(Debug, Clone)]
pub(crate) struct SimSnapshots {
    disk: Disk,
    start: u64,
}

impl SnapshotStorage for SimSnapshots {
    fn begin(&self, _group: GroupId, meta: &[u8]) -> Result<Box<dyn NewSnapshot>, SnapshotError> {
        let (snapshots, meta) = (self.clone(), Bytes::copy_from_slice(meta));
        Ok(Box::new(SimSnapshot { snapshots, meta, content: Vec::new() }))
    }

    fn read(&self, _group: GroupId) -> Result<Option<SnapshotFile>, SnapshotError> {
        Ok(self.disk.with(|state| state.snapshot.clone()))
    }
}

/// A snapshot that is being written.
struct SimSnapshot {
    snapshots: SimSnapshots,
    meta: Bytes,
    content: Vec<u8>,
}

impl io::Write for SimSnapshot {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.content.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl NewSnapshot for SimSnapshot {
    fn finish(self: Box<Self>) -> Result<SnapshotContent, SnapshotError> {
        let Self { snapshots, meta, content } = *self;
        let bytes = content.len() as u64;
        let range = FileRange::new(Arc::new(Bytes::from(content)), 0, bytes);
        let content = SnapshotContent::in_place(range.clone());
        let replacing = SimReplace { snapshots, file: SnapshotFile { meta, content } };
        Ok(SnapshotContent::new(range, Arc::new(replacing)))
    }
}

/// Puts a snapshot in the place of the one before.
#[derive(Debug)]
struct SimReplace {
    snapshots: SimSnapshots,
    file: SnapshotFile,
}

impl Replace for SimReplace {
    fn replace(&self) -> Result<(), SnapshotError> {
        self.snapshots.disk.with(|state| {
            if state.start != self.snapshots.start {
                let source = io::Error::other("the process has ended");
                return Err(SnapshotError::Io { path: "snapshot".into(), source });
            }
            state.snapshot = Some(self.file.clone());
            Ok(())
        })
    }
}
