//! Where the log's entries lie on disk, so that they need not be in memory. IO: reads.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use super::log_segment::segment_path;
use super::record::{ALIGNMENT, GroupId, Record, RecordKind, frame_at};

/// A segment that entries are read from.
#[derive(Debug)]
pub(super) struct SegmentReader {
    sequence: u64,
    path: PathBuf,
    file: OnceLock<File>,
}

impl SegmentReader {
    pub(super) fn new(directory: &Path, sequence: u64) -> Arc<Self> {
        let path = segment_path(directory, sequence);
        Arc::new(Self { sequence, path, file: OnceLock::new() })
    }

    fn file(&self) -> io::Result<&File> {
        if let Some(file) = self.file.get() {
            return Ok(file);
        }
        let file = File::open(&self.path)?;
        Ok(self.file.get_or_init(|| file))
    }
}

/// Where an entry's frame lies.
#[derive(Debug, Clone)]
pub(super) struct EntryPlace {
    segment: Arc<SegmentReader>,
    /// In units of the frames' alignment.
    offset: u32,
    bytes: u32,
}

impl EntryPlace {
    /// Reads the entry's payload.
    pub(super) fn read(&self) -> io::Result<Bytes> {
        let mut frame = vec![0; self.bytes as usize];
        let offset = u64::from(self.offset) * ALIGNMENT as u64;
        self.segment.file()?.read_exact_at(&mut frame, offset)?;
        let damaged = || {
            let path = self.segment.path.display();
            let text = format!("log segment {path} is damaged at byte {offset}");
            io::Error::new(io::ErrorKind::InvalidData, text)
        };
        let frame = frame_at(self.segment.sequence, &Bytes::from(frame), 0).ok_or_else(damaged)?;
        Ok(Record::decode(frame.body).map_err(io::Error::other)?.payload)
    }
}

/// A group's entries, without a gap.
#[derive(Debug, Default)]
struct Places {
    first: u64,
    places: VecDeque<EntryPlace>,
}

/// The durable entries of all groups.
#[derive(Debug, Default)]
pub(super) struct EntryIndex {
    groups: BTreeMap<GroupId, Places>,
}

impl EntryIndex {
    /// Takes in a record that is durable, whose frame lies there.
    pub(super) fn take(&mut self, record: &Record, segment: &Arc<SegmentReader>, offset: u64) {
        let Places { first, places } = self.groups.entry(record.group).or_default();
        match record.kind {
            RecordKind::Vote | RecordKind::Committed => {}
            RecordKind::Truncate => places.truncate(behind(*first, record.index)),
            RecordKind::Purge => {
                let gone = behind(*first, record.index.saturating_add(1)).min(places.len());
                places.drain(..gone);
                *first += gone as u64;
            }
            RecordKind::Entry => {
                if places.is_empty() {
                    *first = record.index;
                }
                places.truncate(behind(*first, record.index));
                places.push_back(EntryPlace {
                    segment: Arc::clone(segment),
                    offset: (offset / ALIGNMENT as u64) as u32,
                    bytes: record.frame_bytes() as u32,
                });
            }
        }
    }

    /// Where those of these entries lie that are there, from the first on.
    pub(super) fn places(&self, group: GroupId, range: Range<u64>) -> Vec<EntryPlace> {
        let Some(Places { first, places }) = self.groups.get(&group) else { return Vec::new() };
        if range.start < *first {
            return Vec::new();
        }
        let (start, end) = (behind(*first, range.start), behind(*first, range.end));
        let end = end.min(places.len());
        if start < end { places.range(start..end).cloned().collect() } else { Vec::new() }
    }
}

fn behind(first: u64, index: u64) -> usize {
    usize::try_from(index.saturating_sub(first)).unwrap_or(usize::MAX)
}
