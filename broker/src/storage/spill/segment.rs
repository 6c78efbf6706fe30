//! Files of messages, written once and read at any place. IO.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use broker_core::stored::{MessageSection, ReadAt, StoredMessage};

use super::{SpillStats, segment_path};

/// Bytes after which a file takes no more; a longer message has one alone.
const SEGMENT_BYTES: u64 = 16 << 20;

/// A file of messages. Dropped with the last of them, it removes the file.
#[derive(Debug)]
struct Segment {
    file: File,
    path: PathBuf,
    bytes: AtomicU64,
    stats: Arc<SpillStats>,
}

impl ReadAt for Segment {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        FileExt::read_exact_at(&self.file, buffer, offset)
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        self.stats.segments.fetch_sub(1, Ordering::Relaxed);
        self.stats.disk_bytes.fetch_sub(self.bytes.load(Ordering::Relaxed), Ordering::Relaxed);
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(%error, path = %self.path.display(), "file of messages is left behind");
        }
    }
}

#[derive(Debug)]
struct Active {
    segment: Arc<Segment>,
    section: Arc<MessageSection>,
    offset: u64,
}

/// Writes messages into one file after the other.
#[derive(Debug)]
pub(super) struct SegmentWriter {
    directory: PathBuf,
    active: Option<Active>,
    last: u64,
    stats: Arc<SpillStats>,
}

impl SegmentWriter {
    pub(super) fn new(directory: &Path, stats: Arc<SpillStats>) -> Self {
        Self { directory: directory.to_owned(), active: None, last: 0, stats }
    }

    /// Writes messages and moves them to the file. All of them stay where they are when it fails.
    pub(super) fn write(&mut self, messages: &[StoredMessage]) -> io::Result<()> {
        let (mut bytes, mut starts) = (Vec::new(), Vec::new());
        for message in messages {
            starts.push(bytes.len() as u64);
            message.append_record(&mut bytes).map_err(io::Error::other)?;
        }
        let length = bytes.len() as u64;
        let has_room = |active: &&mut Active| active.offset + length <= SEGMENT_BYTES;
        let active = match self.active.as_mut().filter(has_room) {
            Some(active) => active,
            None => {
                self.active = None;
                let active = self.create()?;
                self.active.insert(active)
            }
        };
        active.segment.file.write_all_at(&bytes, active.offset)?;
        let start = active.offset;
        active.offset += length;
        active.segment.bytes.store(active.offset, Ordering::Relaxed);
        self.stats.disk_bytes.fetch_add(length, Ordering::Relaxed);
        self.stats.spilled_bytes.fetch_add(length, Ordering::Relaxed);
        for (message, offset) in messages.iter().zip(starts) {
            message.move_to(Arc::clone(&active.section), (start + offset) as u32);
        }
        Ok(())
    }

    fn create(&mut self) -> io::Result<Active> {
        self.last += 1;
        let path = segment_path(&self.directory, self.last);
        let file =
            OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
        self.stats.segments.fetch_add(1, Ordering::Relaxed);
        let bytes = AtomicU64::new(0);
        let segment = Arc::new(Segment { file, path, bytes, stats: Arc::clone(&self.stats) });
        let section = MessageSection::new(Arc::<Segment>::clone(&segment), 0);
        Ok(Active { segment, section, offset: 0 })
    }
}
