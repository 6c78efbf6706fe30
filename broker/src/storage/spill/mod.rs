//! Messages of durable sessions that memory has no room for, in files of their own. IO.
//!
//! Nothing here is durable: log and snapshots hold every message, and the folder is emptied at each
//! start. The messages that are kept for longest leave memory first, in the order in which they
//! came. A file goes with its last message; what a snapshot has, is read from there.

mod queue;
mod segment;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use broker_core::stored::{MessageLost, MessageStore, StoredMessage};
use tokio::sync::watch;

use crate::sync::lock;
use queue::Queue;
use segment::SegmentWriter;

/// Bytes of messages that leave memory in one write.
const BATCH_BYTES: u64 = 1 << 20;

/// Bytes above the cache's limit from which whoever adds a message writes too: the thread that does
/// it otherwise is too slow.
const MARGIN_BYTES: u64 = 16 << 20;

/// Wait before another try to write where there was no room.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// What a queued message takes of memory wherever its bytes are, about: its place in the queue, and
/// what says where it is.
const MESSAGE_COST_BYTES: u64 = 96;

/// What is in memory and on disk now, and what was written.
#[derive(Debug, Default)]
pub struct SpillStats {
    /// Bytes of messages in memory, with what each costs beside; those that are done with count for
    /// a while.
    pub cached_bytes: AtomicU64,
    /// Bytes written since the start.
    pub spilled_bytes: AtomicU64,
    /// Files.
    pub segments: AtomicU64,
    /// Their bytes.
    pub disk_bytes: AtomicU64,
    /// Writes that failed, mostly as the disk was full.
    pub failures: AtomicU64,
}

impl SpillStats {
    /// What queues take of memory, in bytes, about, that hold so many messages and bytes: only what is
    /// in the cache, and what says where the others are.
    #[must_use]
    pub fn memory_bytes(&self, messages: u64, bytes: u64) -> u64 {
        let cached = self.cached_bytes.load(Ordering::Relaxed).min(bytes);
        cached.saturating_add(messages.saturating_mul(MESSAGE_COST_BYTES))
    }
}

/// Keeps the newest messages in memory and moves the others to files. A clone is the same one; the
/// thread ends with the last.
#[derive(Debug, Clone)]
pub struct SpillStore {
    shared: Arc<Shared>,
    _thread: Arc<Thread>,
}

/// Ends the thread when it is dropped.
#[derive(Debug)]
struct Thread {
    shared: Arc<Shared>,
    handle: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    cache_bytes_max: u64,
    queue: Mutex<Queue>,
    wake: Condvar,
    writer: Mutex<Writer>,
    stats: Arc<SpillStats>,
    lost: watch::Sender<Option<String>>,
}

#[derive(Debug)]
struct Writer {
    segments: SegmentWriter,
    /// Nothing is written before this moment.
    paused_until: Option<Instant>,
}

impl SpillStore {
    /// Empties the folder, which must exist, and starts the thread that writes there. So many bytes
    /// of messages stay in memory.
    ///
    /// # Errors
    /// The folder can't be emptied, or the thread not be started.
    pub fn open(directory: &Path, cache_bytes_max: u64) -> io::Result<Self> {
        for file in fs::read_dir(directory)? {
            fs::remove_file(file?.path())?;
        }
        let stats = Arc::<SpillStats>::default();
        let segments = SegmentWriter::new(directory, Arc::clone(&stats));
        let shared = Arc::new(Shared {
            cache_bytes_max,
            queue: Mutex::default(),
            wake: Condvar::new(),
            writer: Mutex::new(Writer { segments, paused_until: None }),
            stats,
            lost: watch::Sender::new(None),
        });
        let for_thread = Arc::clone(&shared);
        let handle =
            std::thread::Builder::new().name("spill".to_owned()).spawn(move || run(&for_thread))?;
        let (for_end, handle) = (Arc::clone(&shared), Mutex::new(Some(handle)));
        Ok(Self { shared, _thread: Arc::new(Thread { shared: for_end, handle }) })
    }

    /// What is kept where.
    #[must_use]
    pub fn stats(&self) -> &Arc<SpillStats> {
        &self.shared.stats
    }

    /// Waits until a message can't be read back; says which and why. The broker must then stop: a
    /// new start finds the message in log and snapshot. Cancel-safe.
    pub async fn failure(&self) -> String {
        let mut lost = self.shared.lost.subscribe();
        match lost.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone().unwrap_or_default(),
            // The sender lives as long as this does.
            Err(_) => std::future::pending().await,
        }
    }
}

impl MessageStore for SpillStore {
    fn kept(&self, message: &StoredMessage) {
        let bytes = {
            let mut queue = lock(&self.shared.queue);
            queue.push(message);
            queue.bytes()
        };
        self.shared.stats.cached_bytes.store(bytes, Ordering::Relaxed);
        if bytes > self.shared.cache_bytes_max {
            self.shared.wake.notify_one();
            if bytes > self.shared.cache_bytes_max + MARGIN_BYTES {
                // What fails stays in memory.
                let _ = self.shared.spill_batch();
            }
        }
    }

    fn lost(&self, lost: &MessageLost) {
        let reason = crate::telemetry::Chain(lost).to_string();
        self.shared.lost.send_if_modified(|known| {
            let is_first = known.is_none();
            known.get_or_insert(reason);
            is_first
        });
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        lock(&self.shared.queue).close();
        self.shared.wake.notify_one();
        if let Some(thread) = lock(&self.handle).take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that moves messages to disk panicked");
        }
    }
}

impl Shared {
    /// Moves messages to disk until the cache has some room again.
    fn spill(&self) -> io::Result<()> {
        let mut swept = lock(&self.queue).take();
        swept.sweep();
        lock(&self.queue).put_back(swept);
        while self.spill_batch()? {}
        let bytes = lock(&self.queue).bytes();
        self.stats.cached_bytes.store(bytes, Ordering::Relaxed);
        Ok(())
    }

    /// Moves some messages to disk; false when there is nothing to do.
    fn spill_batch(&self) -> io::Result<bool> {
        let mut writer = lock(&self.writer);
        if writer.paused_until.is_some_and(|until| Instant::now() < until) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        // Some more than must be, so that there is not always a little to do.
        let target = self.cache_bytes_max / 4 * 3;
        let batch = lock(&self.queue).next_batch(target, BATCH_BYTES);
        if batch.is_empty() {
            return Ok(false);
        }
        let Err(error) = writer.segments.write(&batch) else {
            writer.paused_until = None;
            return Ok(true);
        };
        lock(&self.queue).unread(batch);
        if writer.paused_until.is_none() {
            tracing::warn!(%error, "queued messages stay in memory: they can't be written");
        }
        writer.paused_until = Some(Instant::now() + RETRY_PAUSE);
        self.stats.failures.fetch_add(1, Ordering::Relaxed);
        Err(error)
    }
}

fn run(shared: &Shared) {
    loop {
        let is_idle =
            |queue: &mut Queue| !queue.is_closed() && queue.bytes() <= shared.cache_bytes_max;
        let woken = shared.wake.wait_while(lock(&shared.queue), is_idle);
        if woken.unwrap_or_else(PoisonError::into_inner).is_closed() {
            return;
        }
        if shared.spill().is_err() {
            let is_open = |queue: &mut Queue| !queue.is_closed();
            let queue = lock(&shared.queue);
            drop(shared.wake.wait_timeout_while(queue, RETRY_PAUSE, is_open));
        }
    }
}

/// Where segments lie, by their number.
fn segment_path(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("{number:016x}.queue"))
}

#[cfg(test)]
#[path = "spill_test.rs"]
mod tests;
