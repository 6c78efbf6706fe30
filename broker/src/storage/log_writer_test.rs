//! Nobody is told that a record is durable before the disk has said so.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use bytes::Bytes;

use super::super::log_segment::SEGMENT_HEADER_BYTES;
use super::super::record::{RecordKind, frame_at};
use super::super::segment_file::LogFile;
use super::*;

const DEADLINE: Duration = Duration::from_secs(20);
/// Far more than a test sends.
const QUEUE: usize = 16;

/// A disk that says when it is asked to sync, and then waits for what it is to answer.
struct SlowDisk {
    asked: SyncSender<()>,
    answer: Mutex<Receiver<io::Result<()>>>,
}

impl LogFile for SlowDisk {
    fn write_all_at(&self, _: &[u8], _: u64) -> io::Result<()> {
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let _ = self.asked.send(());
        lock(&self.answer).recv_timeout(DEADLINE).map_err(io::Error::other)?
    }
}

/// A writer on such a disk: that it was asked, and what it is to answer.
fn writer() -> (LogWriter, Receiver<()>, SyncSender<io::Result<()>>) {
    let ((asked, was_asked), (answers, answer)) = (sync_channel(QUEUE), sync_channel(QUEUE));
    let disk = SlowDisk { asked, answer: Mutex::new(answer) };
    (LogWriter::start(SegmentFile::on(Box::new(disk)), Path::new("")).unwrap(), was_asked, answers)
}

/// Appends a record; gives where its completion says what became of it.
fn append(writer: &LogWriter, index: u64) -> Receiver<io::Result<()>> {
    let (sender, receiver) = sync_channel(QUEUE);
    let payload = Bytes::from_static(b"x");
    let record = Record { group: GroupId::META, kind: RecordKind::Entry, index, payload };
    let completion = Box::new(move |result| {
        let _ = sender.send(result);
    });
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(writer.append(vec![record], completion)).unwrap();
    receiver
}

#[test]
fn a_record_counts_as_durable_when_the_disk_has_synced_it_and_not_before() {
    let (writer, was_asked, answers) = writer();
    let first = append(&writer, 1);
    was_asked.recv_timeout(DEADLINE).expect("the disk is asked to sync");
    // While it does: what comes now waits for the next time.
    let second = append(&writer, 2);
    assert!(first.try_recv().is_err() && second.try_recv().is_err());
    answers.send(Ok(())).unwrap();
    first.recv_timeout(DEADLINE).unwrap().unwrap();
    was_asked.recv_timeout(DEADLINE).expect("the disk is asked to sync once more");
    assert!(second.try_recv().is_err());
    answers.send(Ok(())).unwrap();
    second.recv_timeout(DEADLINE).unwrap().unwrap();
    assert_eq!(writer.stats().syncs.load(Ordering::Relaxed), 2);
}

#[test]
fn a_disk_that_fails_once_makes_nothing_durable_any_more() {
    let (writer, was_asked, answers) = writer();
    let first = append(&writer, 1);
    was_asked.recv_timeout(DEADLINE).unwrap();
    let second = append(&writer, 2);
    answers.send(Err(io::Error::other("the disk is gone"))).unwrap();
    for waiting in [first, second] {
        let error = waiting.recv_timeout(DEADLINE).unwrap().unwrap_err();
        assert!(error.to_string().contains("the disk is gone"), "{error}");
    }
    assert_eq!(writer.stats().syncs.load(Ordering::Relaxed), 0);
}

/// A disk that has room, or has none, or fails to sync.
#[derive(Clone, Default)]
struct FullDisk {
    state: Arc<Mutex<DiskState>>,
}

#[derive(Default)]
struct DiskState {
    is_full: bool,
    is_failing: bool,
    /// Bytes at their offsets, as they were written last.
    written: BTreeMap<u64, Vec<u8>>,
    refused: u32,
    syncs: u32,
}

impl LogFile for FullDisk {
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut state = lock(&self.state);
        if state.is_full {
            state.refused += 1;
            return Err(io::ErrorKind::StorageFull.into());
        }
        state.written.insert(offset, bytes.to_vec());
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = lock(&self.state);
        state.syncs += 1;
        match state.is_failing {
            true => Err(io::ErrorKind::StorageFull.into()),
            false => Ok(()),
        }
    }
}

impl FullDisk {
    fn writer(&self) -> LogWriter {
        let file = SegmentFile::on(Box::new(self.clone()));
        LogWriter::start(file, Path::new("")).unwrap()
    }

    fn set_full(&self, is_full: bool) {
        lock(&self.state).is_full = is_full;
    }
}

#[test]
fn a_full_disk_confirms_nothing_and_what_waits_is_written_when_there_is_room() {
    let disk = FullDisk::default();
    let writer = disk.writer();
    append(&writer, 1).recv_timeout(DEADLINE).unwrap().unwrap();
    disk.set_full(true);
    let second = append(&writer, 2);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let low = |is_low: bool| {
        let mut watch = writer.is_disk_low();
        let changed = async { watch.wait_for(|low| *low == is_low).await.map(|_| ()) };
        runtime.block_on(async { tokio::time::timeout(DEADLINE, changed).await }).unwrap().unwrap();
    };
    low(true);
    let third = append(&writer, 3);
    assert!(second.try_recv().is_err() && third.try_recv().is_err());
    assert_eq!(lock(&disk.state).syncs, 1, "what was not written is not synced");
    disk.set_full(false);
    for waiting in [second, third] {
        waiting.recv_timeout(DEADLINE).unwrap().unwrap();
    }
    append(&writer, 4).recv_timeout(DEADLINE).unwrap().unwrap();
    low(false);
    let state = lock(&disk.state);
    assert!(state.refused > 0);
    // One behind the other, and each in a batch of its own: no number is left out.
    let mut next = SEGMENT_HEADER_BYTES;
    for (batch, (offset, bytes)) in (1..).zip(&state.written) {
        assert_eq!(*offset, next);
        let frame = frame_at(1, &Bytes::from(bytes.clone()), 0).unwrap();
        assert_eq!(frame.batch, batch);
        next += bytes.len() as u64;
    }
    assert_eq!(state.written.len(), 4);
}

#[test]
fn a_sync_that_fails_is_not_tried_again_even_for_want_of_room() {
    let disk = FullDisk::default();
    let writer = disk.writer();
    lock(&disk.state).is_failing = true;
    let error = append(&writer, 1).recv_timeout(DEADLINE).unwrap().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    lock(&disk.state).is_failing = false;
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let refused = runtime.block_on(writer.append_durably(Vec::new())).unwrap_err();
    assert!(refused.to_string().contains("an earlier log write failed"), "{refused}");
    let state = lock(&disk.state);
    assert_eq!((state.syncs, state.written.len()), (1, 1));
}

#[test]
fn a_log_on_a_full_disk_can_be_closed() {
    let disk = FullDisk::default();
    let writer = disk.writer();
    disk.set_full(true);
    let waiting = append(&writer, 1);
    writer.close();
    waiting.recv_timeout(DEADLINE).unwrap().unwrap_err();
}

#[test]
fn a_wait_for_room_is_no_time_of_the_disk_and_the_room_is_looked_at_meanwhile() {
    let (disk, directory) = (FullDisk::default(), tempfile::tempdir().unwrap());
    disk.set_full(true);
    let file = SegmentFile::on(Box::new(disk.clone()));
    let writer = LogWriter::start(file, directory.path()).unwrap();
    let waiting = append(&writer, 1);
    let started = Instant::now();
    // Between two tries it pauses once.
    while lock(&disk.state).refused < 4 {
        assert!(started.elapsed() < DEADLINE);
        std::thread::yield_now();
    }
    assert!(writer.free_bytes().is_some());
    disk.set_full(false);
    waiting.recv_timeout(DEADLINE).unwrap().unwrap();
    let times = writer.stats().sync.read();
    assert_eq!(times.count, 1);
    assert!(Duration::from_micros(times.sum_micros) < 3 * FULL_PAUSE, "{times:?}");
}
