//! One file of the write-ahead log: preallocated, so that an fsync writes no metadata. IO.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use bytes::{Buf, BufMut, Bytes};

use super::atomic_file::sync_parent;

/// Bytes of a segment, header included. Written as zeros when it is made: reserved but unwritten
/// blocks would cost the file system a journal entry at each fsync.
pub(super) const SEGMENT_BYTES: u64 = 8 << 20;

/// Where the first frame starts.
pub(super) const SEGMENT_HEADER_BYTES: u64 = 64;

/// Version of the segment's layout.
const SEGMENT_VERSION: u16 = 1;

const SEGMENT_MAGIC: &[u8; 8] = b"DUNLINLG";

/// What a segment's header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Header {
    /// As it should be.
    Whole,
    /// The segment was being made when the process ended, and no record can be in it, if there is
    /// nothing behind the header; else the header is damaged.
    Unfinished,
    /// A later broker wrote it.
    Newer {
        /// Its version.
        version: u16,
    },
}

/// A segment's file name.
pub(super) fn segment_path(directory: &Path, sequence: u64) -> PathBuf {
    directory.join(format!("{sequence:016x}.log"))
}

/// The sequence that a file name stands for; `None` for other files.
pub(super) fn segment_sequence(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?.strip_suffix(".log")?;
    (name.len() == 16).then(|| u64::from_str_radix(name, 16).ok()).flatten()
}

/// Makes a segment of at least `bytes`: zeros first, the header last, everything synced. Takes the
/// spare one where there is one that is large enough. What it can't finish it removes.
pub(super) fn create_segment(
    directory: &Path,
    sequence: u64,
    bytes: u64,
    spare: Option<Spare>,
) -> io::Result<File> {
    let path = segment_path(directory, sequence);
    let file = match spare.filter(|_| bytes <= SEGMENT_BYTES) {
        Some(Spare { file }) => {
            fs::rename(spare_path(directory), &path)?;
            file
        }
        None => write_zeros(&path, bytes)?,
    };
    let headed = file.write_all_at(&header(sequence), 0).and_then(|()| file.sync_all());
    if let Err(error) = headed.and_then(|()| sync_parent(&path)) {
        drop_unfinished(&path);
        return Err(error);
    }
    Ok(file)
}

/// A segment that has no number yet: its room on the disk is taken while there is some, and it is
/// there when it is needed.
#[derive(Debug)]
pub(super) struct Spare {
    file: File,
}

impl Spare {
    /// Makes it.
    pub(super) fn create(directory: &Path) -> io::Result<Self> {
        Ok(Self { file: write_zeros(&spare_path(directory), SEGMENT_BYTES)? })
    }

    /// The one that an earlier process has left, if it is whole.
    pub(super) fn find(directory: &Path) -> Option<Self> {
        let file = OpenOptions::new().read(true).write(true).open(spare_path(directory)).ok()?;
        (file.metadata().ok()?.len() == SEGMENT_BYTES).then_some(Self { file })
    }
}

fn spare_path(directory: &Path) -> PathBuf {
    directory.join("spare")
}

/// A file of zeros, synced.
fn write_zeros(path: &Path, bytes: u64) -> io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    let zeros = vec![0u8; 1 << 20];
    let mut offset = 0;
    while offset < bytes {
        let length = (bytes - offset).min(zeros.len() as u64);
        if let Err(error) = file.write_all_at(&zeros[..length as usize], offset) {
            drop_unfinished(path);
            return Err(error);
        }
        offset += length;
    }
    if let Err(error) = file.sync_all() {
        drop_unfinished(path);
        return Err(error);
    }
    Ok(file)
}

/// Gives the room of a file back that was never used.
fn drop_unfinished(path: &Path) {
    if let Err(error) = fs::remove_file(path) {
        tracing::warn!(%error, path = %path.display(), "unfinished log segment is left behind");
    }
}

/// Reads a segment's header.
pub(super) fn check_header(sequence: u64, content: &Bytes) -> Header {
    let Some(mut bytes) = content.get(..SEGMENT_HEADER_BYTES as usize) else {
        return Header::Unfinished;
    };
    if &bytes[..8] != SEGMENT_MAGIC {
        return Header::Unfinished;
    }
    bytes.advance(8);
    let version = bytes.get_u16_le();
    if version > SEGMENT_VERSION {
        return Header::Newer { version };
    }
    let is_whole = content[..SEGMENT_HEADER_BYTES as usize] == header(sequence);
    if is_whole { Header::Whole } else { Header::Unfinished }
}

/// Whether a segment holds no record and no piece of one: its zeros are synced before its header,
/// so that a header half written has nothing else behind it.
pub(super) fn has_nothing_behind_header(content: &Bytes) -> bool {
    let behind = content.get(SEGMENT_HEADER_BYTES as usize..).unwrap_or_default();
    behind.iter().all(|byte| *byte == 0)
}

fn header(sequence: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(SEGMENT_HEADER_BYTES as usize);
    bytes.put_slice(SEGMENT_MAGIC);
    bytes.put_u16_le(SEGMENT_VERSION);
    bytes.put_u64_le(sequence);
    let crc = crc32fast::hash(&bytes);
    bytes.put_u32_le(crc);
    bytes.resize(SEGMENT_HEADER_BYTES as usize, 0);
    bytes
}
