//! Snapshots as consensus sees them, whatever keeps them.

use std::fmt::Debug;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use broker_core::stored::FileRange;
use bytes::Bytes;

use super::snapshot_store::VERSION;

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

/// A snapshot that is being written, part by part. Dropped before it is finished, it never was.
pub trait NewSnapshot: io::Write + Send {
    /// Makes what was written durable. It is not the group's snapshot yet. May block.
    ///
    /// # Errors
    /// The disk fails.
    fn finish(self: Box<Self>) -> Result<SnapshotContent, SnapshotError>;
}

/// Has a finished snapshot take the place of the one before.
pub trait Replace: Debug + Send + Sync {
    /// Does it; on return it is durable. Once it is done, nothing more. May block.
    ///
    /// # Errors
    /// The disk fails; one of the two is there.
    fn replace(&self) -> Result<(), SnapshotError>;
}

/// The content of a whole snapshot. It can be read for as long as this is there, whatever takes its
/// place meanwhile.
#[derive(Debug, Clone)]
pub struct SnapshotContent {
    range: FileRange,
    pending: Option<Arc<dyn Replace>>,
}

impl SnapshotContent {
    /// Of a snapshot that is not the group's yet.
    #[must_use]
    pub fn new(range: FileRange, pending: Arc<dyn Replace>) -> Self {
        Self { range, pending: Some(pending) }
    }

    /// Of the group's snapshot.
    #[must_use]
    pub const fn in_place(range: FileRange) -> Self {
        Self { range, pending: None }
    }

    /// The bytes.
    #[must_use]
    pub const fn range(&self) -> &FileRange {
        &self.range
    }

    /// Makes it the group's snapshot, if it is not. May block.
    ///
    /// # Errors
    /// As [`Replace::replace`].
    pub fn replace_earlier(&self) -> Result<(), SnapshotError> {
        self.pending.as_ref().map_or(Ok(()), |pending| pending.replace())
    }
}

/// A snapshot with what it covers.
#[derive(Debug, Clone)]
pub struct SnapshotFile {
    /// What it covers, in its owner's encoding.
    pub meta: Bytes,
    /// The state.
    pub content: SnapshotContent,
}
