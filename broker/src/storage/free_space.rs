//! Whether a disk has room for what the log and the next snapshot need. IO: one call.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::log_segment::SEGMENT_BYTES;

/// Between two looks.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// Segments that there must be room for beside a snapshot.
const SEGMENTS_RESERVED: u64 = 2;

/// What everybody may know of the room on the disk.
#[derive(Debug)]
pub(super) struct FreeSpace {
    is_low: watch::Sender<bool>,
    /// Bytes that the next snapshot takes, about.
    snapshot_bytes: AtomicU64,
    /// Free bytes as of the last look.
    free_bytes: AtomicU64,
}

impl Default for FreeSpace {
    fn default() -> Self {
        let (snapshot_bytes, free_bytes) = (AtomicU64::new(0), AtomicU64::new(u64::MAX));
        Self { is_low: watch::Sender::new(false), snapshot_bytes, free_bytes }
    }
}

impl FreeSpace {
    pub(super) fn is_low(&self) -> bool {
        *self.is_low.borrow()
    }

    pub(super) fn watch(&self) -> watch::Receiver<bool> {
        self.is_low.subscribe()
    }

    /// Keeps room for a snapshot of so many bytes.
    pub(super) fn reserve(&self, snapshot_bytes: u64) {
        self.snapshot_bytes.store(snapshot_bytes, Ordering::Relaxed);
    }

    /// Free bytes as of the last look; `None` before the first.
    pub(super) fn free_bytes(&self) -> Option<u64> {
        let free = self.free_bytes.load(Ordering::Relaxed);
        (free != u64::MAX).then_some(free)
    }

    pub(super) fn set_low(&self, is_low: bool) {
        self.is_low.send_if_modified(|known| {
            let has_changed = *known != is_low;
            *known = is_low;
            if has_changed && is_low {
                tracing::warn!(
                    "the disk is nearly full: no message is taken that would have to be kept; \
                     make room, or enlarge the volume"
                );
            } else if has_changed {
                tracing::info!("the disk has room again: messages are taken as before");
            }
            has_changed
        });
    }
}

/// Looks at the disk from time to time.
pub(super) struct SpaceWatch {
    directory: PathBuf,
    looked_at: Option<Instant>,
}

impl SpaceWatch {
    pub(super) fn new(directory: &Path) -> Self {
        Self { directory: directory.to_owned(), looked_at: None }
    }

    /// The disk has just refused a write: it is low, whatever a look finds.
    pub(super) fn look_while_full(&self, space: &FreeSpace) {
        if let Ok(free) = free_bytes(&self.directory) {
            space.free_bytes.store(free, Ordering::Relaxed);
        }
        space.set_low(true);
    }

    /// Looks, unless it did just now. `ready_bytes` are those of files that are made already.
    pub(super) fn look(&mut self, space: &FreeSpace, ready_bytes: u64) {
        if self.looked_at.is_some_and(|at| at.elapsed() < LOOK_INTERVAL) {
            return;
        }
        self.looked_at = Some(Instant::now());
        match free_bytes(&self.directory) {
            Ok(free) => {
                space.free_bytes.store(free, Ordering::Relaxed);
                let snapshot = space.snapshot_bytes.load(Ordering::Relaxed);
                // Some more than what it needs, until it counts as having room again.
                let more = if space.is_low() { SEGMENT_BYTES } else { 0 };
                let needed = SEGMENTS_RESERVED * SEGMENT_BYTES + snapshot + more;
                space.set_low(free.saturating_add(ready_bytes) < needed);
            }
            // Nobody knows: the write that fails will tell.
            Err(_) => space.set_low(false),
        }
    }
}

/// Whether an error says that the disk has no room.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

fn free_bytes(directory: &Path) -> io::Result<u64> {
    let found = rustix::fs::statvfs(directory)?;
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_low_when_the_next_snapshot_would_not_fit_and_not_for_good() {
        let directory = tempfile::tempdir().unwrap();
        let free = free_bytes(directory.path()).unwrap();
        assert!(free > 0);
        let space = FreeSpace::default();
        assert_eq!(space.free_bytes(), None);
        for (snapshot_bytes, is_low) in [(0, false), (free * 2, true), (0, false)] {
            space.reserve(snapshot_bytes);
            SpaceWatch::new(directory.path()).look(&space, 0);
            assert_eq!(space.is_low(), is_low, "{snapshot_bytes} of {free}");
        }
        assert!(space.free_bytes().is_some());
        SpaceWatch::new(Path::new("/there/is/none")).look(&space, 0);
        assert!(!space.is_low());
    }
}
