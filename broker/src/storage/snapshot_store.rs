//! Snapshots on disk: one whole file per group, replaced atomically. IO.
//!
//! File: `[8 magic][u16 version][u32 meta length][meta][content][u32 crc of all before it]`.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use bytes::{Buf, Bytes};

use super::atomic_file::sync_parent;
use super::record::GroupId;

const MAGIC: &[u8; 8] = b"DUNLINSN";

/// Version of the file's layout.
const VERSION: u16 = 1;

/// Bytes before the meta.
const HEADER_BYTES: usize = 14;

/// Why a snapshot can't be used.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// A file can't be read or written.
    #[error("access the snapshot {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not what was written.
    #[error(
        "snapshot {} is damaged: remove this broker from the cluster and start it with an \
         empty data directory", path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// A later version has written it.
    #[error("snapshot {} has version {version}, this broker reads up to {VERSION}: run a newer one", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: u16,
    },
}

/// A snapshot as it is on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotFile {
    /// What it covers, in its owner's encoding.
    pub meta: Bytes,
    /// The state.
    pub content: Bytes,
}

/// The snapshots of one directory.
#[derive(Debug, Clone)]
pub struct SnapshotStore {
    directory: PathBuf,
}

impl SnapshotStore {
    /// The store in `directory`, which must exist.
    #[must_use]
    pub fn new(directory: &Path) -> Self {
        Self { directory: directory.to_owned() }
    }

    fn path(&self, group: GroupId) -> PathBuf {
        self.directory.join(format!("{}.snapshot", group.0))
    }

    /// Replaces the group's snapshot; on return it is durable. Blocks.
    ///
    /// # Errors
    /// `Io`; the snapshot before it is then still there.
    pub fn write(&self, group: GroupId, meta: &[u8], content: &[u8]) -> Result<(), SnapshotError> {
        let path = self.path(group);
        self.replace(&path, meta, content).map_err(|source| SnapshotError::Io { path, source })
    }

    fn replace(&self, path: &Path, meta: &[u8], content: &[u8]) -> io::Result<()> {
        let mut header = Vec::with_capacity(HEADER_BYTES);
        header.extend_from_slice(MAGIC);
        header.extend_from_slice(&VERSION.to_le_bytes());
        header.extend_from_slice(&(meta.len() as u32).to_le_bytes());
        let mut hasher = crc32fast::Hasher::new();
        let temporary = path.with_extension("snapshot.new");
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary)?;
        for part in [&header[..], meta, content] {
            hasher.update(part);
            file.write_all(part)?;
        }
        file.write_all(&hasher.finalize().to_le_bytes())?;
        file.sync_all()?;
        drop(file);
        fs::rename(&temporary, path)?;
        sync_parent(path)
    }

    /// The group's snapshot; `None` when there has been none. Blocks.
    ///
    /// # Errors
    /// `Io`, `Damaged`, `Newer`.
    pub fn read(&self, group: GroupId) -> Result<Option<SnapshotFile>, SnapshotError> {
        let path = self.path(group);
        let mut bytes = Vec::new();
        match File::open(&path).and_then(|mut file| file.read_to_end(&mut bytes)) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(SnapshotError::Io { path, source }),
        }
        parse(Bytes::from(bytes), path).map(Some)
    }
}

fn parse(bytes: Bytes, path: PathBuf) -> Result<SnapshotFile, SnapshotError> {
    if bytes.len() < HEADER_BYTES + 4 || &bytes[..8] != MAGIC {
        return Err(SnapshotError::Damaged { path });
    }
    let mut header = &bytes[8..HEADER_BYTES];
    let version = header.get_u16_le();
    if version > VERSION {
        return Err(SnapshotError::Newer { path, version });
    }
    let meta_bytes = header.get_u32_le() as usize;
    let end = bytes.len() - 4;
    let crc = (&bytes[end..]).get_u32_le();
    if crc32fast::hash(&bytes[..end]) != crc || HEADER_BYTES + meta_bytes > end {
        return Err(SnapshotError::Damaged { path });
    }
    let meta = bytes.slice(HEADER_BYTES..HEADER_BYTES + meta_bytes);
    let content = bytes.slice(HEADER_BYTES + meta_bytes..end);
    Ok(SnapshotFile { meta, content })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_is_read_as_it_was_written_and_damage_is_noticed() {
        let directory = tempfile::tempdir().unwrap();
        let store = SnapshotStore::new(directory.path());
        assert_eq!(store.read(GroupId::META).unwrap(), None);
        store.write(GroupId::META, b"meta", b"content").unwrap();
        store.write(GroupId::META, b"later", b"state").unwrap();
        let found = store.read(GroupId::META).unwrap().unwrap();
        assert_eq!((&found.meta[..], &found.content[..]), (&b"later"[..], &b"state"[..]));

        let path = store.path(GroupId::META);
        let whole = fs::read(&path).unwrap();
        for position in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[position] ^= 0x40;
            fs::write(&path, bytes).unwrap();
            assert!(store.read(GroupId::META).is_err(), "byte {position}");
        }
        let mut newer = whole;
        newer[8] = 9;
        fs::write(&path, newer).unwrap();
        let error = store.read(GroupId::META).unwrap_err();
        assert!(matches!(error, SnapshotError::Newer { version: 9, .. }), "{error}");
    }
}
