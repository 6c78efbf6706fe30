//! The thread that writes the write-ahead log: one fsync for all that has gathered. IO.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{Notify, watch};

use super::free_space::{FreeSpace, SpaceWatch};
use super::log_index::EntryIndex;
use super::log_recovery::{LogError, RecoveredGroup, RecoveryReport, recover};
use super::record::{BODY_BYTES_MAX, GroupId, Record};
use super::segment_file::{SegmentFile, WriteError};
use crate::latency::Latency;
use crate::sync::lock;

/// Bytes that may wait for the writer; who has more to write waits for room.
const QUEUED_BYTES_MAX: usize = 32 << 20;

/// Wait before the disk is looked at while nothing is written: others fill it, too.
const IDLE_PAUSE: Duration = Duration::from_secs(5);

/// Wait before a full disk is looked at again.
const FULL_PAUSE: Duration = Duration::from_millis(500);

/// Called on the writer's thread once the records are durable, or can't be made so.
pub type Completion = Box<dyn FnOnce(io::Result<()>) + Send>;

/// The log's counters since the start.
#[derive(Debug, Default)]
pub struct LogWriterStats {
    /// Fsyncs, that is batches.
    pub syncs: AtomicU64,
    /// Records written.
    pub records: AtomicU64,
    /// Bytes written, frames and padding included.
    pub bytes: AtomicU64,
    /// How long a batch took, from its write to the end of its fsync; waits for room are no part of
    /// it.
    pub sync: Latency,
}

#[derive(Default)]
struct Queue {
    records: Vec<Record>,
    bytes: usize,
    completions: Vec<Completion>,
    /// The newest of each group: written with the next batch, not for their own sake.
    notes: BTreeMap<GroupId, Record>,
    is_closed: bool,
    /// A write failed: nothing is written any more, and never tried again.
    failure: Option<String>,
}

struct Append {
    records: Vec<Record>,
    bytes: usize,
    completion: Completion,
}

struct Shared {
    queue: Mutex<Queue>,
    wake: Condvar,
    room: Notify,
    stats: LogWriterStats,
    space: FreeSpace,
    index: Arc<Mutex<EntryIndex>>,
}

/// The write-ahead log of this node. Cheap to clone; the thread ends when [`LogWriter::close`] is
/// called or the last clone is dropped.
#[derive(Clone)]
pub struct LogWriter {
    handle: Arc<Handle>,
}

struct Handle {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl LogWriter {
    /// Reads the log in `directory` and starts the writer's thread behind it.
    ///
    /// # Errors
    /// As [`LogError`] says; an incomplete last batch is none of them, it is cut.
    pub fn open(
        directory: &Path,
    ) -> Result<(Self, BTreeMap<GroupId, RecoveredGroup>, RecoveryReport), LogError> {
        let failed = |source| LogError::Io { path: directory.to_owned(), source };
        let mut recovery = recover(directory)?;
        let file = SegmentFile::resume(directory, &mut recovery).map_err(failed)?;
        let writer = Self::start(file, directory).map_err(failed)?;
        Ok((writer, recovery.groups, recovery.report))
    }

    /// Starts the thread.
    fn start(file: SegmentFile, directory: &Path) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            wake: Condvar::new(),
            room: Notify::new(),
            stats: LogWriterStats::default(),
            space: FreeSpace::default(),
            index: file.index(),
        });
        let watch = SpaceWatch::new(directory);
        let for_thread = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("log-writer".to_owned())
            .spawn(move || run(&for_thread, file, watch))?;
        let handle = Handle { shared, thread: Mutex::new(Some(thread)) };
        Ok(Self { handle: Arc::new(handle) })
    }

    /// Queues records, in order and whole: after a crash the log holds a prefix of what was
    /// queued. Waits while the queue is full.
    ///
    /// # Errors
    /// When the log is closed, an earlier write has failed, or a record is too long; the
    /// completion is called with the error as well.
    pub async fn append(&self, records: Vec<Record>, completion: Completion) -> io::Result<()> {
        let shared = &self.handle.shared;
        let longest = records.iter().map(|record| record.payload.len()).max().unwrap_or(0);
        if longest > BODY_BYTES_MAX / 2 {
            let error = || io::Error::other(format!("log record of {longest} bytes is too long"));
            completion(Err(error()));
            return Err(error());
        }
        let bytes = records.iter().map(Record::frame_bytes).sum::<usize>();
        let mut append = Some(Append { records, bytes, completion });
        loop {
            // Registered before the look, so that no wake-up is missed.
            let mut room = std::pin::pin!(shared.room.notified());
            room.as_mut().enable();
            if let Some(result) = shared.try_queue(&mut append) {
                return result;
            }
            room.await;
        }
    }

    /// Queues records and waits until they are durable.
    ///
    /// # Errors
    /// As [`LogWriter::append`], and when the write itself fails.
    pub async fn append_durably(&self, records: Vec<Record>) -> io::Result<()> {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let completion = Box::new(move |result| {
            // Who waited may be gone; the records are in the log all the same.
            let _ = sender.send(result);
        });
        self.append(records, completion).await?;
        receiver.await.map_err(io::Error::other)?
    }

    /// Leaves a record to be written with the next batch, or at the close; a later one of the
    /// group takes its place. For what is good to know after a restart but need not be durable.
    pub fn note(&self, record: Record) {
        self.handle.shared.lock().notes.insert(record.group, record);
    }

    /// Writes what is queued, then ends the thread. Later appends fail.
    pub fn close(&self) {
        self.handle.close();
    }

    /// Reads the payloads of durable entries, from the first of them on; fewer where the others are
    /// purged. Blocks.
    ///
    /// # Errors
    /// One can't be read, or is not what was written; it may have been purged meanwhile.
    pub fn read_entries(&self, group: GroupId, range: Range<u64>) -> io::Result<Vec<Bytes>> {
        let places = lock(&self.handle.shared.index).places(group, range);
        places.iter().map(super::log_index::EntryPlace::read).collect()
    }

    /// Whether the disk is so full that nothing should be added to the log that can be turned down,
    /// and changes of it.
    #[must_use]
    pub fn is_disk_low(&self) -> watch::Receiver<bool> {
        self.handle.shared.space.watch()
    }

    /// Keeps room for a snapshot of so many bytes before the disk counts as full.
    pub fn reserve(&self, snapshot_bytes: u64) {
        self.handle.shared.space.reserve(snapshot_bytes);
    }

    /// Free bytes of the disk as of the last look; `None`: not known.
    #[must_use]
    pub fn free_bytes(&self) -> Option<u64> {
        self.handle.shared.space.free_bytes()
    }

    /// Counters since the start.
    #[must_use]
    pub fn stats(&self) -> &LogWriterStats {
        &self.handle.shared.stats
    }
}

impl Handle {
    fn close(&self) {
        self.shared.lock().is_closed = true;
        self.shared.wake.notify_one();
        let thread = lock(&self.thread).take();
        if let Some(thread) = thread
            && thread.thread().id() != std::thread::current().id()
            && thread.join().is_err()
        {
            tracing::error!("the log writer panicked");
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        lock(&self.queue)
    }

    /// Takes the append when there is room for it; `None` when there is not.
    fn try_queue(&self, append: &mut Option<Append>) -> Option<io::Result<()>> {
        let mut queue = self.lock();
        let error = queue.error();
        let is_full =
            |append: &mut Append| queue.bytes > 0 && queue.bytes + append.bytes > QUEUED_BYTES_MAX;
        if error.is_none() && append.as_mut().is_some_and(is_full) {
            return None;
        }
        let append = append.take()?;
        if let Some(error) = error {
            drop(queue);
            (append.completion)(Err(io::Error::other(error.to_string())));
            return Some(Err(error));
        }
        queue.records.extend(append.records);
        queue.bytes += append.bytes;
        queue.completions.push(append.completion);
        drop(queue);
        self.wake.notify_one();
        Some(Ok(()))
    }
}

impl Queue {
    fn error(&self) -> Option<io::Error> {
        if let Some(failure) = &self.failure {
            return Some(io::Error::other(format!("an earlier log write failed: {failure}")));
        }
        self.is_closed.then(|| io::Error::other("the log is closed"))
    }
}

type Batch = (Vec<Record>, Vec<Completion>);

impl Shared {
    /// Waits for what is to be written; `None` at the end. Looks at the disk meanwhile.
    fn next_batch(&self, file: &SegmentFile, watch: &mut SpaceWatch) -> Option<Batch> {
        let mut queue = self.lock();
        while queue.records.is_empty() && queue.completions.is_empty() && !queue.is_closed {
            let pause = if self.space.is_low() { FULL_PAUSE } else { IDLE_PAUSE };
            let waited = self.wake.wait_timeout(queue, pause);
            let (woken, waited) = waited.unwrap_or_else(PoisonError::into_inner);
            queue = woken;
            if waited.timed_out() {
                watch.look(&self.space, file.spare_bytes());
            }
        }
        let is_idle = queue.records.is_empty() && queue.completions.is_empty();
        if is_idle && queue.notes.is_empty() {
            return None;
        }
        queue.bytes = 0;
        let mut records = std::mem::take(&mut queue.records);
        records.extend(std::mem::take(&mut queue.notes).into_values());
        Some((records, std::mem::take(&mut queue.completions)))
    }

    /// Waits for a while, or for the end; says whether it is the end.
    fn pause(&self) -> bool {
        let queue = self.lock();
        let is_open = |queue: &mut Queue| !queue.is_closed;
        let waited = self.wake.wait_timeout_while(queue, FULL_PAUSE, is_open);
        waited.unwrap_or_else(PoisonError::into_inner).0.is_closed
    }
}

/// Writes a batch, once there is room for it. Of one that the disk had no room for nothing was
/// synced: it is written again, as the same batch, where it was to stand.
fn write(
    shared: &Shared,
    file: &mut SegmentFile,
    watch: &mut SpaceWatch,
    records: &[Record],
) -> io::Result<usize> {
    loop {
        let started = Instant::now();
        match file.write(records) {
            Ok(bytes) => {
                if bytes > 0 {
                    shared.stats.syncs.fetch_add(1, Ordering::Relaxed);
                    shared.stats.sync.note(started.elapsed());
                }
                return Ok(bytes);
            }
            Err(WriteError::Failed(error)) => return Err(error),
            Err(WriteError::Full(error)) => {
                watch.look_while_full(&shared.space);
                if shared.pause() {
                    return Err(error);
                }
            }
        }
    }
}

fn run(shared: &Shared, mut file: SegmentFile, mut watch: SpaceWatch) {
    while let Some((records, completions)) = shared.next_batch(&file, &mut watch) {
        shared.room.notify_waiters();
        match write(shared, &mut file, &mut watch, &records) {
            Ok(bytes) => {
                shared.stats.records.fetch_add(records.len() as u64, Ordering::Relaxed);
                shared.stats.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
                for completion in completions {
                    completion(Ok(()));
                }
            }
            Err(error) => return fail(shared, &error, completions),
        }
        watch.look(&shared.space, file.spare_bytes());
        match file.prepare() {
            Ok(()) => {}
            Err(WriteError::Full(_)) => shared.space.set_low(true),
            Err(WriteError::Failed(error)) => return fail(shared, &error, Vec::new()),
        }
    }
}

/// A failed fsync may have dropped the pages it could not write: trying again would report
/// success for what is lost.
fn fail(shared: &Shared, error: &io::Error, mut completions: Vec<Completion>) {
    tracing::error!(%error, "writing the log failed; this broker must stop");
    {
        let mut queue = shared.lock();
        queue.failure = Some(error.to_string());
        queue.records.clear();
        completions.append(&mut queue.completions);
    }
    shared.room.notify_waiters();
    for completion in completions {
        completion(Err(io::Error::new(error.kind(), error.to_string())));
    }
}

#[cfg(test)]
#[path = "log_writer_test.rs"]
mod tests;
