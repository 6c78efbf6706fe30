//! Backups as files: who wrote one, the state, and a checksum. Pure.
//!
//! Layer: beside the admin API, which sends and receives them. What the state is as bytes, is the
//! state's own affair (`broker_core::cluster_state::StateSnapshot`).
//!
//! Layout, little endian: `DUNLIN-BACKUP\n`, `[u16 format]`, `[u32 length][header as JSON]`, then
//! parts of the state, each `[u32 length][bytes]`, then `[u32 0]` and SHA-256 over all that stands
//! before it. So one can be written while it is made, and one that is cut short is told from a whole
//! one.

mod read;
mod write;

#[cfg(test)]
mod backup_test;

pub use read::BackupReader;
pub use write::BackupWriter;

/// How every backup begins.
const MAGIC: &[u8; 14] = b"DUNLIN-BACKUP\n";

/// The format that is written; all up to it are read.
const FORMAT: u16 = 1;

/// Longest header that is read.
const HEADER_BYTES_MAX: u32 = 64 << 10;

/// Bytes of SHA-256.
const DIGEST_BYTES: usize = 32;

/// Largest state that is restored: what a broker takes from another one.
pub const STATE_BYTES_MAX: u64 = 4 << 30;

/// A backup can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BackupError {
    /// It is something else.
    #[error("this is no backup: it does not begin as what GET /v1/backup gives")]
    Foreign,
    /// A later version wrote it.
    #[error(
        "the backup has format {found}, this broker reads up to {FORMAT}: restore it with a newer \
         broker"
    )]
    NewerFormat {
        /// Its format.
        found: u16,
    },
    /// It is not what was written.
    #[error("the backup is damaged: {what}; take another copy of it, or an older one")]
    Damaged {
        /// What is wrong.
        what: &'static str,
    },
    /// It is larger than what a broker takes.
    #[error("the backup's state has more than {STATE_BYTES_MAX} bytes, which no broker takes")]
    TooLarge,
}
