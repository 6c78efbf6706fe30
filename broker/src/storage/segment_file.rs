//! The log's segments as the writer sees them: where the next frame goes, and which segments can
//! go. IO.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use bytes::Bytes;

use super::atomic_file::sync_parent;
use super::free_space::is_full;
use super::log_index::{EntryIndex, SegmentReader};
use super::log_recovery::{RecoveredGroup, Recovery};
use super::log_segment::{
    SEGMENT_BYTES, SEGMENT_HEADER_BYTES, Spare, create_segment, segment_path,
};
use super::record::{GroupId, Record, RecordKind};
use crate::sync::lock;

/// What a new segment must repeat, so that the ones before it can go.
#[derive(Default)]
struct HardState {
    vote: Option<Bytes>,
    committed: Option<Bytes>,
    purged: Option<(u64, Bytes)>,
}

impl HardState {
    fn of(group: &RecoveredGroup) -> Self {
        Self {
            vote: group.vote.clone(),
            committed: group.committed.clone(),
            purged: group.purged.clone(),
        }
    }

    fn take(&mut self, record: &Record) {
        match record.kind {
            RecordKind::Vote => self.vote = Some(record.payload.clone()),
            RecordKind::Committed => self.committed = Some(record.payload.clone()),
            RecordKind::Purge => self.purged = Some((record.index, record.payload.clone())),
            RecordKind::Entry | RecordKind::Truncate => {}
        }
    }

    fn records(&self, group: GroupId) -> impl Iterator<Item = Record> {
        let record =
            |kind, index, payload: &Bytes| Record { group, kind, index, payload: payload.clone() };
        let vote = self.vote.as_ref().map(|p| record(RecordKind::Vote, 0, p));
        let committed = self.committed.as_ref().map(|p| record(RecordKind::Committed, 0, p));
        let purged = self.purged.as_ref().map(|(i, p)| record(RecordKind::Purge, *i, p));
        [vote, committed, purged].into_iter().flatten()
    }
}

/// What frames are written to.
pub(super) trait LogFile: Send {
    /// Writes all bytes, from an offset on.
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Returns once what was written is on the disk.
    fn sync_data(&self) -> io::Result<()>;
}

impl LogFile for File {
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        FileExt::write_all_at(self, bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        Self::sync_data(self)
    }
}

/// Why a batch was not written.
#[derive(Debug)]
pub(super) enum WriteError {
    /// There is no room on the disk. Nothing was synced, and the same batch may be written when there
    /// is some.
    Full(io::Error),
    /// The disk failed. What it has of the batch nobody knows: it is not to be written again.
    Failed(io::Error),
}

impl WriteError {
    /// Of what came before the sync.
    fn before_sync(error: io::Error) -> Self {
        match is_full(&error) {
            true => Self::Full(error),
            false => Self::Failed(error),
        }
    }
}

struct Active {
    sequence: u64,
    /// Reads what was written.
    reader: Arc<SegmentReader>,
    file: Box<dyn LogFile>,
    /// Where the next frame goes.
    offset: u64,
    /// The file's length.
    end: u64,
}

/// The segments and where to write next.
pub(super) struct SegmentFile {
    directory: PathBuf,
    segments: BTreeMap<u64, BTreeMap<GroupId, u64>>,
    hard_states: BTreeMap<GroupId, HardState>,
    batch: u64,
    active: Option<Active>,
    spare: Option<Spare>,
    index: Arc<Mutex<EntryIndex>>,
}

impl SegmentFile {
    /// Goes on behind what was recovered, whose segments and tail it takes.
    pub(super) fn resume(directory: &Path, recovery: &mut Recovery) -> io::Result<Self> {
        let active = match recovery.tail.take() {
            Some((sequence, file, offset)) => {
                let end = file.metadata()?.len();
                let reader = SegmentReader::new(directory, sequence);
                Some(Active { sequence, reader, file: Box::new(file), offset, end })
            }
            None => None,
        };
        let groups = recovery.groups.iter();
        Ok(Self {
            directory: directory.to_owned(),
            segments: std::mem::take(&mut recovery.segments),
            hard_states: groups.map(|(group, g)| (*group, HardState::of(g))).collect(),
            batch: recovery.last_batch,
            active,
            spare: Spare::find(directory),
            index: Arc::new(Mutex::new(std::mem::take(&mut recovery.index))),
        })
    }

    /// An empty log whose only segment is this file. For tests of who waits for what.
    #[cfg(test)]
    pub(super) fn on(file: Box<dyn LogFile>) -> Self {
        let (sequence, offset, end) = (1, SEGMENT_HEADER_BYTES, SEGMENT_BYTES);
        Self {
            directory: PathBuf::new(),
            segments: BTreeMap::new(),
            hard_states: BTreeMap::new(),
            batch: 0,
            active: Some(Active {
                sequence,
                reader: SegmentReader::new(Path::new(""), sequence),
                file,
                offset,
                end,
            }),
            spare: None,
            index: Arc::default(),
        }
    }

    /// Where the entries lie that are written.
    pub(super) fn index(&self) -> Arc<Mutex<EntryIndex>> {
        Arc::clone(&self.index)
    }

    /// Bytes of the segment that is ready to be the next one.
    pub(super) const fn spare_bytes(&self) -> u64 {
        if self.spare.is_some() { SEGMENT_BYTES } else { 0 }
    }

    /// Makes the next segment ready once half of this one is used.
    pub(super) fn prepare(&mut self) -> Result<(), WriteError> {
        let is_near = self.active.as_ref().is_some_and(|active| active.offset > active.end / 2);
        if is_near && self.spare.is_none() {
            self.spare = Some(Spare::create(&self.directory).map_err(WriteError::before_sync)?);
        }
        Ok(())
    }

    /// Writes and syncs one batch; returns its bytes.
    pub(super) fn write(&mut self, records: &[Record]) -> Result<usize, WriteError> {
        if records.is_empty() {
            return Ok(0);
        }
        let bytes = records.iter().map(Record::frame_bytes).sum::<usize>() as u64;
        let has_room = self.active.as_ref().is_some_and(|a| a.offset + bytes <= a.end);
        if !has_room {
            self.rotate(bytes)?;
        }
        for record in records {
            self.hard_states.entry(record.group).or_default().take(record);
        }
        let Some(mut active) = self.active.take() else {
            return Err(WriteError::Failed(io::Error::other("no active log segment")));
        };
        let written = self.write_frames(&mut active, records);
        self.active = Some(active);
        let written = written?;
        if records.iter().any(|record| record.kind == RecordKind::Purge) {
            self.remove_purged_segments().map_err(WriteError::Failed)?;
        }
        Ok(written)
    }

    fn write_frames(
        &mut self,
        active: &mut Active,
        records: &[Record],
    ) -> Result<usize, WriteError> {
        // Counted once it is synced: one that is written again is the same batch.
        let batch = self.batch + 1;
        let (mut frames, mut offsets) = (Vec::new(), Vec::new());
        let highest = self.segments.entry(active.sequence).or_default();
        for record in records {
            offsets.push(active.offset + frames.len() as u64);
            record.append_frame(active.sequence, batch, &mut frames);
            if record.kind == RecordKind::Entry {
                let highest = highest.entry(record.group).or_default();
                *highest = record.index.max(*highest);
            }
        }
        active.file.write_all_at(&frames, active.offset).map_err(WriteError::before_sync)?;
        active.file.sync_data().map_err(WriteError::Failed)?;
        active.offset += frames.len() as u64;
        self.batch = batch;
        let mut index = lock(&self.index);
        for (record, offset) in records.iter().zip(offsets) {
            index.take(record, &active.reader, offset);
        }
        Ok(frames.len())
    }

    /// Starts a segment that has room for `bytes`, headed by every group's hard state.
    fn rotate(&mut self, bytes: u64) -> Result<(), WriteError> {
        let sequence = self.segments.keys().next_back().map_or(1, |last| last + 1);
        let head: Vec<Record> =
            self.hard_states.iter().flat_map(|(group, hard)| hard.records(*group)).collect();
        let head_bytes = head.iter().map(Record::frame_bytes).sum::<usize>() as u64;
        let end = (SEGMENT_HEADER_BYTES + head_bytes + bytes).max(SEGMENT_BYTES);
        let spare = if end <= SEGMENT_BYTES { self.spare.take() } else { None };
        let file = create_segment(&self.directory, sequence, end, spare);
        let (file, offset) =
            (Box::new(file.map_err(WriteError::before_sync)?), SEGMENT_HEADER_BYTES);
        let reader = SegmentReader::new(&self.directory, sequence);
        self.segments.insert(sequence, BTreeMap::new());
        let mut active = Active { sequence, reader, file, offset, end };
        if !head.is_empty()
            && let Err(error) = self.write_frames(&mut active, &head)
        {
            self.segments.remove(&sequence);
            let _ = fs::remove_file(segment_path(&self.directory, sequence));
            return Err(error);
        }
        self.active = Some(active);
        Ok(())
    }

    /// Removes the oldest segments while all their entries are purged. The active one stays.
    fn remove_purged_segments(&mut self) -> io::Result<()> {
        let Some(active) = self.active.as_ref().map(|active| active.sequence) else {
            return Ok(());
        };
        let mut has_removed = false;
        while let Some((&sequence, highest)) = self.segments.first_key_value() {
            let is_purged = highest.iter().all(|(group, highest)| {
                let purged = self.hard_states.get(group).and_then(|hard| hard.purged.as_ref());
                purged.is_some_and(|(purged, _)| purged >= highest)
            });
            if sequence == active || !is_purged {
                break;
            }
            fs::remove_file(segment_path(&self.directory, sequence))?;
            self.segments.remove(&sequence);
            has_removed = true;
        }
        if has_removed {
            sync_parent(&segment_path(&self.directory, active))?;
        }
        Ok(())
    }
}
