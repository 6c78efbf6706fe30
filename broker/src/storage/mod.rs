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
//! - `log/<sequence>.log`: segments of the write-ahead log; `log/spare`: zeros, the next one.
//! - `snapshots/<group>.snapshot`: one per group; `….unfinished`: those being written or received.
//! - `queues/<number>.queue`: messages of durable sessions that memory has no room for; emptied at
//!   each start.

mod atomic_file;
mod data_directory;
mod free_space;
mod log_index;
mod log_recovery;
mod log_segment;
mod log_writer;
mod record;
mod segment_file;
mod snapshot_content;
mod snapshot_store;
mod spill;

pub(crate) use atomic_file::write_file_atomically;
pub use data_directory::{DataDirectory, DataDirectoryError, count_set_aside};
pub(crate) use free_space::is_full;
pub use log_recovery::{LogError, RecoveredGroup, RecoveryReport};
pub use log_writer::{Completion, LogWriter, LogWriterStats};
pub use record::{GroupId, Record, RecordKind};
pub use snapshot_content::{NewSnapshot, Replace, SnapshotContent, SnapshotError, SnapshotFile};
pub use snapshot_store::{SnapshotStore, SnapshotWriter};
pub use spill::{SpillStats, SpillStore};
