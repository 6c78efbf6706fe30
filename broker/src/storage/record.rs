//! Records of the write-ahead log and their frames. Pure.
//!
//! Frame: `[u32 magic][u32 body length][u64 batch][u32 crc][body]`, little endian, padded with
//! zeros to a multiple of 8. Body: `[u8 version][u8 kind][u32 group][u64 index][payload]`.
//! A batch is what one fsync covered. Batch `n + 1` is written only after `n` was synced, so a
//! whole record of a later batch proves that all before it had once been safe on disk.

use bytes::{Buf, BufMut, Bytes};

/// Version of the body's layout. Older ones stay readable; newer ones are refused.
const RECORD_VERSION: u8 = 1;

/// First bytes of a frame: "DREC".
pub(super) const MAGIC: u32 = u32::from_le_bytes(*b"DREC");

/// Bytes of a frame before its body.
pub(super) const FRAME_HEADER_BYTES: usize = 20;

/// Frames start at multiples of this.
pub(super) const ALIGNMENT: usize = 8;

/// Bytes of a body before its payload.
const BODY_HEADER_BYTES: usize = 14;

/// Longest body: twice what a log entry may have with the largest packet that a broker alone may be
/// set to take. A segment grows to hold one that is longer than a segment usually is.
pub(super) const BODY_BYTES_MAX: usize = 640 << 20;

/// Which log a record belongs to; all groups of a node share one write-ahead log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId(pub u32);

impl GroupId {
    /// The group of membership, policy and retained messages.
    pub const META: Self = Self(0);
}

/// What a record says. The number is on disk: never reused for something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum RecordKind {
    /// A log entry at `index`; replaces what stood there and drops all after it.
    Entry = 1,
    /// The vote; `index` is unused.
    Vote = 2,
    /// The last log id known to be committed; `index` is unused.
    Committed = 3,
    /// All entries from `index` on are dropped.
    Truncate = 4,
    /// All entries up to `index` are dropped; the payload is the log id of the last one.
    Purge = 5,
}

impl RecordKind {
    fn from_byte(byte: u8) -> Option<Self> {
        [Self::Entry, Self::Vote, Self::Committed, Self::Truncate, Self::Purge]
            .into_iter()
            .find(|kind| *kind as u8 == byte)
    }
}

/// One record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Whose.
    pub group: GroupId,
    /// What.
    pub kind: RecordKind,
    /// Log index, where the kind has one; else 0.
    pub index: u64,
    /// The rest, in the owner's encoding.
    pub payload: Bytes,
}

/// A whole frame with a good checksum whose body this version can't read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum BodyError {
    #[error(
        "record has version {found}, this broker reads up to {RECORD_VERSION}: run a newer one"
    )]
    NewerVersion { found: u8 },
    #[error("record of unknown kind {kind}: run a newer broker")]
    UnknownKind { kind: u8 },
    #[error("record of {bytes} bytes is shorter than its header")]
    Short { bytes: usize },
}

impl Record {
    /// Bytes that the frame takes, padding and all.
    pub(super) fn frame_bytes(&self) -> usize {
        (FRAME_HEADER_BYTES + BODY_HEADER_BYTES + self.payload.len()).next_multiple_of(ALIGNMENT)
    }

    /// Appends the frame to `out`, which must be a multiple of [`ALIGNMENT`] long.
    pub(super) fn append_frame(&self, segment: u64, batch: u64, out: &mut Vec<u8>) {
        debug_assert!(out.len().is_multiple_of(ALIGNMENT));
        let start = out.len();
        let body_bytes = BODY_HEADER_BYTES + self.payload.len();
        out.put_u32_le(MAGIC);
        out.put_u32_le(body_bytes as u32);
        out.put_u64_le(batch);
        out.put_u32_le(0);
        out.put_u8(RECORD_VERSION);
        out.put_u8(self.kind as u8);
        out.put_u32_le(self.group.0);
        out.put_u64_le(self.index);
        out.put_slice(&self.payload);
        let crc = checksum(segment, batch, &out[start + FRAME_HEADER_BYTES..]);
        out[start + 16..start + 20].copy_from_slice(&crc.to_le_bytes());
        out.resize(out.len().next_multiple_of(ALIGNMENT), 0);
    }

    /// Reads a body.
    pub(super) fn decode(mut body: Bytes) -> Result<Self, BodyError> {
        if body.len() < BODY_HEADER_BYTES {
            return Err(BodyError::Short { bytes: body.len() });
        }
        let version = body.get_u8();
        if version > RECORD_VERSION {
            return Err(BodyError::NewerVersion { found: version });
        }
        let kind = body.get_u8();
        let kind = RecordKind::from_byte(kind).ok_or(BodyError::UnknownKind { kind })?;
        let group = GroupId(body.get_u32_le());
        let index = body.get_u64_le();
        Ok(Self { group, kind, index, payload: body })
    }
}

/// A frame found in a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) batch: u64,
    pub(super) body: Bytes,
    /// Bytes it takes, padding and all.
    pub(super) bytes: usize,
}

/// The frame that starts at `offset`, when there is a whole one with a good checksum.
pub(super) fn frame_at(segment: u64, content: &Bytes, offset: usize) -> Option<Frame> {
    let mut header = content.get(offset..offset + FRAME_HEADER_BYTES)?;
    if header.get_u32_le() != MAGIC {
        return None;
    }
    let body_bytes = header.get_u32_le() as usize;
    let batch = header.get_u64_le();
    let crc = header.get_u32_le();
    if body_bytes > BODY_BYTES_MAX {
        return None;
    }
    let start = offset + FRAME_HEADER_BYTES;
    let body = content.get(start..start + body_bytes)?;
    if checksum(segment, batch, body) != crc {
        return None;
    }
    let bytes = (FRAME_HEADER_BYTES + body_bytes).next_multiple_of(ALIGNMENT);
    Some(Frame { batch, body: content.slice(start..start + body_bytes), bytes })
}

/// The segment is part of it, so that a block that a file system hands out again with old
/// content never passes for a record.
fn checksum(segment: u64, batch: u64, body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&segment.to_le_bytes());
    hasher.update(&batch.to_le_bytes());
    hasher.update(&(body.len() as u64).to_le_bytes());
    hasher.update(body);
    hasher.finalize()
}
