//! Snapshots on disk: one whole file per group, replaced atomically, written and read in order. IO.
//!
//! File: `[8 magic][u16 version][u32 meta length][meta][content][u32 crc of all before it]`.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use broker_core::stored::{FileRange, ReadAt};
use bytes::{Buf, Bytes};

use super::atomic_file::sync_parent;
use super::record::GroupId;
use super::snapshot_content::{NewSnapshot, Replace, SnapshotContent, SnapshotError, SnapshotFile};

const MAGIC: &[u8; 8] = b"DUNLINSN";

/// Version of the file's layout.
pub(super) const VERSION: u16 = 1;

/// Bytes before the meta.
const HEADER_BYTES: usize = 14;

/// Bytes of a snapshot after which what is written is synced: the log, which syncs too, is not to
/// wait for all of them at once.
const SYNC_BYTES: u64 = 8 << 20;

/// Bytes gathered for one write, or read at once.
const BUFFER_BYTES: usize = 256 << 10;

/// What the names of files end with that are not whole yet.
const UNFINISHED: &str = "unfinished";

/// The snapshots of one directory.
#[derive(Debug, Clone)]
pub struct SnapshotStore {
    directory: PathBuf,
    /// Files begun.
    begun: Arc<AtomicU64>,
}

impl SnapshotStore {
    /// The store in `directory`, which must exist. Removes what an earlier process left unfinished.
    #[must_use]
    pub fn new(directory: &Path) -> Self {
        for file in fs::read_dir(directory).into_iter().flatten().flatten() {
            let path = file.path();
            let is_unfinished = path.extension().is_some_and(|end| end == UNFINISHED);
            if is_unfinished && let Err(error) = fs::remove_file(&path) {
                tracing::warn!(%error, path = %path.display(), "unfinished snapshot is left behind");
            }
        }
        Self { directory: directory.to_owned(), begun: Arc::default() }
    }

    fn path(&self, group: GroupId) -> PathBuf {
        self.directory.join(format!("{}.snapshot", group.0))
    }

    /// Begins a snapshot of the group: its content is to be written, then it is to be finished and
    /// put in the place of the one before. Blocks.
    ///
    /// # Errors
    /// `Io`.
    pub fn begin(&self, group: GroupId, meta: &[u8]) -> Result<SnapshotWriter, SnapshotError> {
        let path = self.path(group);
        let number = self.begun.fetch_add(1, Ordering::Relaxed);
        let unfinished = path.with_extension(format!("snapshot.{number}.{UNFINISHED}"));
        let failed = |source| SnapshotError::Io { path: unfinished.clone(), source };
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&unfinished)
            .map_err(failed)?;
        let is_replaced = AtomicBool::new(false);
        let pending = Pending { path, unfinished: unfinished.clone(), is_replaced };
        let mut header = Vec::with_capacity(HEADER_BYTES + meta.len());
        header.extend_from_slice(MAGIC);
        header.extend_from_slice(&VERSION.to_le_bytes());
        header.extend_from_slice(&(meta.len() as u32).to_le_bytes());
        header.extend_from_slice(meta);
        let start = header.len() as u64;
        let (hasher, buffer) = (crc32fast::Hasher::new(), Vec::new());
        let (bytes, synced) = (0, 0);
        let mut writer = SnapshotWriter { pending, file, hasher, buffer, start, bytes, synced };
        writer.write_all(&header).map_err(failed)?;
        Ok(writer)
    }

    /// The group's snapshot; `None` when there has been none. Reads all of it. Blocks.
    ///
    /// # Errors
    /// `Io`, `Damaged`, `Newer`.
    pub fn read(&self, group: GroupId) -> Result<Option<SnapshotFile>, SnapshotError> {
        let path = self.path(group);
        match File::open(&path) {
            Ok(file) => check(file, path).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(SnapshotError::Io { path, source }),
        }
    }
}

/// A snapshot that is being written.
#[derive(Debug)]
pub struct SnapshotWriter {
    pending: Pending,
    file: File,
    hasher: crc32fast::Hasher,
    buffer: Vec<u8>,
    /// Where the content begins.
    start: u64,
    /// Bytes written or in the buffer.
    bytes: u64,
    synced: u64,
}

impl SnapshotWriter {
    fn write_buffer(&mut self) -> io::Result<()> {
        self.file.write_all(&self.buffer)?;
        self.buffer.clear();
        if self.bytes - self.synced >= SYNC_BYTES {
            self.synced = self.bytes;
            self.file.sync_data()?;
        }
        Ok(())
    }
}

impl Write for SnapshotWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.hasher.update(bytes);
        self.buffer.extend_from_slice(bytes);
        self.bytes += bytes.len() as u64;
        if self.buffer.len() >= BUFFER_BYTES {
            self.write_buffer()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.write_buffer()
    }
}

impl NewSnapshot for SnapshotWriter {
    fn finish(mut self: Box<Self>) -> Result<SnapshotContent, SnapshotError> {
        let content_bytes = self.bytes - self.start;
        let crc = self.hasher.clone().finalize();
        self.buffer.extend_from_slice(&crc.to_le_bytes());
        let written = self.write_buffer().and_then(|()| self.file.sync_all());
        let Self { pending, file, start, .. } = *self;
        let path = || pending.unfinished.clone();
        written.map_err(|source| SnapshotError::Io { path: path(), source })?;
        let range = FileRange::new(Arc::new(Readable(file)), start, content_bytes);
        Ok(SnapshotContent::new(range, Arc::new(pending)))
    }
}

/// A file that is to take the place of another. Dropped before, it is removed.
#[derive(Debug)]
struct Pending {
    path: PathBuf,
    unfinished: PathBuf,
    is_replaced: AtomicBool,
}

impl Replace for Pending {
    fn replace(&self) -> Result<(), SnapshotError> {
        if self.is_replaced.swap(true, Ordering::Relaxed) {
            return Ok(());
        }
        let replaced = fs::rename(&self.unfinished, &self.path);
        let replaced = replaced.and_then(|()| sync_parent(&self.path));
        replaced.map_err(|source| SnapshotError::Io { path: self.path.clone(), source })
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if !self.is_replaced.load(Ordering::Relaxed)
            && let Err(error) = fs::remove_file(&self.unfinished)
        {
            let path = self.unfinished.display();
            tracing::warn!(%error, %path, "unfinished snapshot is left behind");
        }
    }
}

#[derive(Debug)]
struct Readable(File);

impl ReadAt for Readable {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        FileExt::read_exact_at(&self.0, buffer, offset)
    }
}

/// Reads the file from beginning to end.
fn check(file: File, path: PathBuf) -> Result<SnapshotFile, SnapshotError> {
    let failed = |source| SnapshotError::Io { path: path.clone(), source };
    let damaged = || SnapshotError::Damaged { path: path.clone() };
    let bytes = file.metadata().map_err(failed)?.len();
    let end = bytes.checked_sub(4).ok_or_else(damaged)?;
    let file = Readable(file);
    let mut header = [0; HEADER_BYTES];
    if end < HEADER_BYTES as u64 {
        return Err(damaged());
    }
    file.read_exact_at(&mut header, 0).map_err(failed)?;
    let mut fields = &header[MAGIC.len()..];
    let (version, meta_bytes) = (fields.get_u16_le(), u64::from(fields.get_u32_le()));
    if &header[..MAGIC.len()] != MAGIC {
        return Err(damaged());
    }
    if version > VERSION {
        return Err(SnapshotError::Newer { path, version });
    }
    let start = HEADER_BYTES as u64 + meta_bytes;
    if start > end
        || crc_of(&file, end).map_err(failed)? != stored_crc(&file, end).map_err(failed)?
    {
        return Err(damaged());
    }
    let mut meta = vec![0; meta_bytes as usize];
    file.read_exact_at(&mut meta, HEADER_BYTES as u64).map_err(failed)?;
    let range = FileRange::new(Arc::new(file), start, end - start);
    Ok(SnapshotFile { meta: Bytes::from(meta), content: SnapshotContent::in_place(range) })
}

fn crc_of(file: &Readable, end: u64) -> io::Result<u32> {
    let mut hasher = crc32fast::Hasher::new();
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut offset = 0;
    while offset < end {
        let count = (end - offset).min(BUFFER_BYTES as u64) as usize;
        file.read_exact_at(&mut buffer[..count], offset)?;
        hasher.update(&buffer[..count]);
        offset += count as u64;
    }
    Ok(hasher.finalize())
}

fn stored_crc(file: &Readable, end: u64) -> io::Result<u32> {
    let mut crc = [0; 4];
    file.read_exact_at(&mut crc, end)?;
    Ok(u32::from_le_bytes(crc))
}

#[cfg(test)]
#[path = "snapshot_store_test.rs"]
mod tests;
