//! Reads the write-ahead log when a broker starts, and cuts what a crash left half written. IO.
//!
//! Only the last batch of the last segment may be incomplete: it was never acknowledged. Damage
//! anywhere else means that acknowledged records are lost; a broker that went on would break its
//! word as a voter, so it refuses to start and says what to do.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::log_index::{EntryIndex, SegmentReader};
use super::log_segment::{
    Header, SEGMENT_HEADER_BYTES, check_header, has_nothing_behind_header, segment_path,
    segment_sequence,
};
use super::record::{ALIGNMENT, BodyError, Frame, GroupId, Record, RecordKind, frame_at};

/// Why the log can't be used.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// A file can't be read or written.
    #[error("access the log at {}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Records that were acknowledged once can't be read any more.
    #[error(
        "log segment {} is damaged at byte {offset}, where it was whole once: \
         remove this broker from the cluster and start it with an empty data directory", path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where.
        offset: u64,
    },
    /// A segment is missing between two others.
    #[error("log segment {} is missing: restore it, or start with an empty data directory", path.display())]
    Missing {
        /// The file that should be there.
        path: PathBuf,
    },
    /// A later version has written it.
    #[error("log segment {} was written by a newer broker: {reason}", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// What is unknown.
        reason: String,
    },
}

/// What recovery found, for the log and the tests.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecoveryReport {
    /// Segments read.
    pub segments: usize,
    /// Records read.
    pub records: u64,
    /// Bytes of an incomplete last batch that were cut.
    pub cut_bytes: u64,
    /// Whole records among them.
    pub cut_records: u64,
}

/// What the log holds of one group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecoveredGroup {
    /// The last vote, in its owner's encoding.
    pub vote: Option<Bytes>,
    /// The last committed log id, in its owner's encoding.
    pub committed: Option<Bytes>,
    /// Index and encoded log id of the last purged entry.
    pub purged: Option<(u64, Bytes)>,
    /// The entries, by index and without a gap; `None` for the earlier ones of many, which are to be
    /// read where they lie.
    pub entries: VecDeque<(u64, Option<Bytes>)>,
    /// How many of the first have no payload here.
    bare: usize,
    /// Bytes of the payloads.
    bytes: usize,
}

/// Bytes of entries that are given from memory; those before them are read again.
const RECOVERED_BYTES_MAX: usize = 8 << 20;

impl RecoveredGroup {
    fn next_index(&self) -> Option<u64> {
        let last = self.entries.back().map(|(index, _)| *index);
        last.or(self.purged.as_ref().map(|(index, _)| *index)).map(|index| index + 1)
    }

    /// Takes in the next record of the group; false when it can't follow those before it.
    pub fn take(&mut self, record: Record) -> bool {
        match record.kind {
            RecordKind::Vote => self.vote = Some(record.payload),
            RecordKind::Committed => self.committed = Some(record.payload),
            RecordKind::Truncate => self.drop_from(record.index),
            RecordKind::Purge => {
                while self.entries.front().is_some_and(|(index, _)| *index <= record.index) {
                    let payload = self.entries.pop_front().and_then(|(_, payload)| payload);
                    self.bytes -= payload.map_or(0, |payload| payload.len());
                    self.bare = self.bare.saturating_sub(1);
                }
                self.purged = Some((record.index, record.payload));
            }
            RecordKind::Entry => {
                if self.purged.as_ref().is_some_and(|(purged, _)| record.index <= *purged) {
                    return true;
                }
                self.drop_from(record.index);
                let is_next = self.next_index().is_none_or(|next| next == record.index);
                // Segments in front of this one are gone, by a purge whose record is still to come.
                let is_first = self.entries.is_empty() && self.next_index() < Some(record.index);
                if !is_next && !is_first {
                    return false;
                }
                self.bytes += record.payload.len();
                self.entries.push_back((record.index, Some(record.payload)));
                while self.bytes > RECOVERED_BYTES_MAX && self.bare + 1 < self.entries.len() {
                    let payload = self.entries.get_mut(self.bare).and_then(|entry| entry.1.take());
                    self.bytes -= payload.map_or(0, |payload| payload.len());
                    self.bare += 1;
                }
            }
        }
        true
    }

    /// Whether entries are missing between the last purged one and the first.
    fn has_gap(&self) -> bool {
        let first = self.entries.front().map(|(index, _)| *index);
        self.purged.as_ref().is_some_and(|(purged, _)| first > Some(purged + 1))
    }

    fn drop_from(&mut self, first: u64) {
        while self.entries.back().is_some_and(|(index, _)| *index >= first) {
            let payload = self.entries.pop_back().and_then(|(_, payload)| payload);
            self.bytes -= payload.map_or(0, |payload| payload.len());
        }
        self.bare = self.bare.min(self.entries.len());
    }
}

/// Where the writer goes on.
pub(super) struct Recovery {
    pub(super) groups: BTreeMap<GroupId, RecoveredGroup>,
    pub(super) report: RecoveryReport,
    /// Highest entry index of each group, by segment, for deletion.
    pub(super) segments: BTreeMap<u64, BTreeMap<GroupId, u64>>,
    /// The last segment with the offset after its last record; `None` when there is none.
    pub(super) tail: Option<(u64, File, u64)>,
    pub(super) last_batch: u64,
    /// Where the entries lie.
    pub(super) index: EntryIndex,
}

/// Reads every segment of the directory.
pub(super) fn recover(directory: &Path) -> Result<Recovery, LogError> {
    let sequences = list_segments(directory)?;
    let mut recovery = Recovery {
        groups: BTreeMap::new(),
        report: RecoveryReport::default(),
        segments: BTreeMap::new(),
        tail: None,
        last_batch: 0,
        index: EntryIndex::default(),
    };
    for (position, &sequence) in sequences.iter().enumerate() {
        let is_last = position + 1 == sequences.len();
        if position > 0 && sequences[position - 1] + 1 != sequence {
            let path = segment_path(directory, sequences[position - 1] + 1);
            return Err(LogError::Missing { path });
        }
        read_segment(&mut recovery, directory, sequence, is_last)?;
    }
    if recovery.groups.values().any(RecoveredGroup::has_gap)
        && let Some(first) = sequences.first()
    {
        return Err(LogError::Damaged { path: segment_path(directory, *first), offset: 0 });
    }
    Ok(recovery)
}

fn list_segments(directory: &Path) -> Result<Vec<u64>, LogError> {
    let failed = |source| LogError::Io { path: directory.to_owned(), source };
    let mut sequences = Vec::new();
    for file in fs::read_dir(directory).map_err(failed)? {
        sequences.extend(segment_sequence(&file.map_err(failed)?.path()));
    }
    sequences.sort_unstable();
    Ok(sequences)
}

fn read_segment(
    recovery: &mut Recovery,
    directory: &Path,
    sequence: u64,
    is_last: bool,
) -> Result<(), LogError> {
    let path = segment_path(directory, sequence);
    let failed = |source| LogError::Io { path: path.clone(), source };
    let content = Bytes::from(fs::read(&path).map_err(failed)?);
    match check_header(sequence, &content) {
        Header::Whole => {}
        Header::Unfinished if is_last && has_nothing_behind_header(&content) => {
            tracing::warn!(path = %path.display(), "removing a log segment that was never used");
            return fs::remove_file(&path).map_err(failed);
        }
        // Records were written here once: the header was whole then.
        Header::Unfinished => return Err(LogError::Damaged { path, offset: 0 }),
        Header::Newer { version } => {
            let reason = format!("segment version {version}");
            return Err(LogError::Newer { path, reason });
        }
    }
    recovery.report.segments += 1;
    recovery.segments.insert(sequence, BTreeMap::new());

    let mut offset = SEGMENT_HEADER_BYTES as usize;
    let reader = SegmentReader::new(directory, sequence);
    while let Some(frame) = frame_at(sequence, &content, offset) {
        take_frame(recovery, &path, (sequence, &reader, offset), &frame)?;
        offset += frame.bytes;
    }
    let rest = examine_rest(sequence, &content, offset);
    if rest.written_bytes > 0 {
        if !is_last || rest.was_whole_once(recovery.last_batch) {
            return Err(LogError::Damaged { path, offset: offset as u64 });
        }
        cut(&path, offset as u64, rest.written_bytes).map_err(failed)?;
        recovery.report.cut_bytes += rest.written_bytes;
        recovery.report.cut_records += rest.records;
        tracing::warn!(
            path = %path.display(),
            offset,
            cut_bytes = rest.written_bytes,
            cut_records = rest.records,
            "cut an incomplete batch off the log; it had not been acknowledged"
        );
    }
    if is_last {
        let file = OpenOptions::new().write(true).open(&path).map_err(failed)?;
        recovery.tail = Some((sequence, file, offset as u64));
    }
    Ok(())
}

fn take_frame(
    recovery: &mut Recovery,
    path: &Path,
    (sequence, reader, offset): (u64, &Arc<SegmentReader>, usize),
    frame: &Frame,
) -> Result<(), LogError> {
    let path = || path.to_owned();
    let offset = offset as u64;
    let record = match Record::decode(frame.body.clone()) {
        Ok(record) => record,
        Err(BodyError::Short { .. }) => {
            return Err(LogError::Damaged { path: path(), offset });
        }
        Err(newer) => return Err(LogError::Newer { path: path(), reason: newer.to_string() }),
    };
    recovery.last_batch = recovery.last_batch.max(frame.batch);
    recovery.report.records += 1;
    if record.kind == RecordKind::Entry {
        let highest = recovery.segments.entry(sequence).or_default();
        let highest = highest.entry(record.group).or_default();
        *highest = record.index.max(*highest);
    }
    recovery.index.take(&record, reader, offset);
    if recovery.groups.entry(record.group).or_default().take(record) {
        Ok(())
    } else {
        Err(LogError::Damaged { path: path(), offset })
    }
}

/// What lies behind the last good record.
struct Rest {
    /// Up to the last byte that is not zero.
    written_bytes: u64,
    /// Whole records in it.
    records: u64,
    /// The lowest and the highest batch among them.
    batches: Option<(u64, u64)>,
}

impl Rest {
    /// Whether a record is missing of a batch that was synced: one after which a later batch was
    /// begun. `before` is the batch of the last good record in front. A batch that lacks nothing but
    /// its last record can't be told from a whole one before a torn one.
    fn was_whole_once(&self, before: u64) -> bool {
        // What is missing belongs to the batch of the record in front of it, or to the next one.
        self.batches
            .is_some_and(|(first, last)| last > before + 1 || first <= before && last > before)
    }
}

fn examine_rest(sequence: u64, content: &Bytes, offset: usize) -> Rest {
    let rest = content.get(offset..).unwrap_or_default();
    let written = rest.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let mut found = Rest { written_bytes: written as u64, records: 0, batches: None };
    let mut at = offset;
    while at < offset + written {
        match frame_at(sequence, content, at) {
            Some(frame) => {
                found.records += 1;
                let (first, last) = found.batches.unwrap_or((frame.batch, frame.batch));
                found.batches = Some((first.min(frame.batch), last.max(frame.batch)));
                at += frame.bytes;
            }
            None => at += ALIGNMENT,
        }
    }
    found
}

/// Overwrites with zeros: a later, shorter batch must not leave a piece of this one behind it.
fn cut(path: &Path, offset: u64, bytes: u64) -> io::Result<()> {
    let file = OpenOptions::new().write(true).open(path)?;
    file.write_all_at(&vec![0u8; bytes as usize], offset)?;
    file.sync_all()
}
