//! Nobody is told that a record is durable before the disk has said so.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use bytes::Bytes;

use super::super::record::RecordKind;
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
    (LogWriter::start(SegmentFile::on(Box::new(disk))).unwrap(), was_asked, answers)
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
