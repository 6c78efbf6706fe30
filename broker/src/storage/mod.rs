//! What a broker keeps on disk: its data directory, the write-ahead log, snapshots.
//!
//! Layer: below the cluster module, above nothing. IO. It knows records and bytes, not consensus
//! and not MQTT.
//!
//! Layout of the data directory:
//! - `lock`: held by the running process.
//! - `identity.json`: who this directory is (see [`crate::identity`]).
//! - `damaged-<number>`: what a broker that stands alone could not read, and has set aside: log and
//!   snapshots, or one of the files above and below.
//! - `starts`: how many processes have had the directory.
//! - `log/<sequence>.log`: segments of the write-ahead log.
//! - `snapshots/<group>-<index>-<term>.snapshot`: one per group, and the one being written.

mod atomic_file;
mod data_directory;
mod log_recovery;
mod log_segment;
mod log_writer;
mod record;
mod segment_file;
mod snapshot_store;

pub(crate) use atomic_file::write_file_atomically;
pub use data_directory::{DataDirectory, DataDirectoryError, count_set_aside};
pub use log_recovery::{LogError, RecoveredGroup, RecoveryReport};
pub use log_writer::{Completion, LogWriter, LogWriterStats};
pub use record::{GroupId, Record, RecordKind};
pub use snapshot_store::{SnapshotError, SnapshotFile, SnapshotStore};
