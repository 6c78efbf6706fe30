//! The write-ahead log after crashes and damage.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use broker::storage::{
    GroupId, LogError, LogWriter, Record, RecordKind, RecoveredGroup, RecoveryReport,
};
use bytes::Bytes;

const GROUP: GroupId = GroupId(3);

fn entry(index: u64) -> Record {
    let payload = Bytes::from(format!("entry {index} ").repeat(20 + index as usize % 7));
    Record { group: GROUP, kind: RecordKind::Entry, index, payload }
}

fn purge(index: u64) -> Record {
    let payload = Bytes::from_static(b"log id");
    Record { group: GROUP, kind: RecordKind::Purge, index, payload }
}

fn open(directory: &Path) -> (LogWriter, RecoveredGroup, RecoveryReport) {
    let (writer, mut groups, report) = LogWriter::open(directory).unwrap();
    (writer, groups.remove(&GROUP).unwrap_or_default(), report)
}

fn refusal(directory: &Path) -> LogError {
    match LogWriter::open(directory) {
        Ok(_) => panic!("the log was opened"),
        Err(error) => error,
    }
}

fn segments(directory: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

fn indices(group: &RecoveredGroup) -> Vec<u64> {
    group.entries.iter().map(|(index, _)| *index).collect()
}

/// Writes `count` entries, each its own batch; returns the end of the written part after each.
async fn write_batches(directory: &Path, count: u64) -> Vec<usize> {
    let (writer, _, _) = open(directory);
    let mut ends = Vec::new();
    for index in 1..=count {
        writer.append_durably(vec![entry(index)]).await.unwrap();
        let content = fs::read(&segments(directory)[0]).unwrap();
        ends.push(content.iter().rposition(|byte| *byte != 0).unwrap() + 1);
    }
    writer.close();
    ends
}

#[tokio::test]
async fn a_torn_last_batch_is_cut_and_counted_wherever_it_was_torn() {
    let directory = tempfile::tempdir().unwrap();
    let ends = write_batches(directory.path(), 3).await;
    let path = segments(directory.path()).remove(0);
    let whole = fs::read(&path).unwrap();
    let start = ends[1].next_multiple_of(8);
    for torn_at in (start + 1..ends[2]).step_by(13).chain([ends[2] - 1]) {
        let mut torn = whole.clone();
        torn[torn_at..].fill(0);
        fs::write(&path, &torn).unwrap();
        let (writer, group, report) = open(directory.path());
        assert_eq!(indices(&group), [1, 2], "torn at {torn_at}");
        assert!(report.cut_bytes > 0, "torn at {torn_at}");
        assert_eq!((report.records, report.cut_records), (2, 0));
        // It goes on where it was cut.
        writer.append_durably(vec![entry(3)]).await.unwrap();
        writer.close();
        let (writer, group, report) = open(directory.path());
        assert_eq!(indices(&group), [1, 2, 3]);
        assert_eq!(report.cut_bytes, 0);
        writer.close();
    }
}

#[tokio::test]
async fn whole_records_behind_a_hole_in_the_last_batch_are_counted_and_cut() {
    let directory = tempfile::tempdir().unwrap();
    let (writer, _, _) = open(directory.path());
    writer.append_durably(vec![entry(1)]).await.unwrap();
    let path = segments(directory.path()).remove(0);
    let content = fs::read(&path).unwrap();
    let end = content.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    writer.append_durably((2..=5).map(entry).collect()).await.unwrap();
    writer.close();
    let mut content = fs::read(&path).unwrap();
    content[end.next_multiple_of(8) + 60] ^= 1;
    fs::write(&path, content).unwrap();
    let (writer, group, report) = open(directory.path());
    assert_eq!(indices(&group), [1]);
    assert_eq!(report.cut_records, 3);
    // As long as the damaged one: what stood behind that one must not come back.
    writer.append_durably(vec![entry(2)]).await.unwrap();
    writer.close();
    let (writer, group, report) = open(directory.path());
    assert_eq!(indices(&group), [1, 2]);
    assert_eq!((report.cut_bytes, report.cut_records), (0, 0));
    writer.close();
}

#[tokio::test]
async fn damage_before_the_last_batch_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let ends = write_batches(directory.path(), 4).await;
    let path = segments(directory.path()).remove(0);
    let whole = fs::read(&path).unwrap();
    for position in [ends[0] - 5, ends[1] - 5] {
        let mut damaged = whole.clone();
        damaged[position] ^= 0x10;
        fs::write(&path, &damaged).unwrap();
        let error = refusal(directory.path());
        let LogError::Damaged { path: named, offset } = &error else { panic!("{error}") };
        assert!(*named == path && *offset < position as u64, "{error}");
        let text = error.to_string();
        for said in [path.to_str().unwrap(), &format!("byte {offset}"), "empty data directory"] {
            assert!(text.contains(said), "{text}");
        }
        assert_eq!(fs::read(&path).unwrap(), damaged, "evidence must stay");
    }
}

#[tokio::test]
async fn damage_inside_the_batch_before_the_last_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let (writer, _, _) = open(directory.path());
    writer.append_durably(vec![entry(1)]).await.unwrap();
    let path = segments(directory.path()).remove(0);
    let content = fs::read(&path).unwrap();
    let start = (content.iter().rposition(|byte| *byte != 0).unwrap() + 1).next_multiple_of(8);
    writer.append_durably((2..=4).map(entry).collect()).await.unwrap();
    writer.append_durably(vec![entry(5)]).await.unwrap();
    writer.close();
    let whole = fs::read(&path).unwrap();
    let second = start + 20 + 14 + entry(2).payload.len();
    // In the first record of the batch, and in the second: what follows in it tells.
    for position in [start + 60, second.next_multiple_of(8) + 60] {
        let mut damaged = whole.clone();
        damaged[position] ^= 0x10;
        fs::write(&path, &damaged).unwrap();
        let error = refusal(directory.path());
        assert!(matches!(&error, LogError::Damaged { .. }), "at {position}: {error}");
        assert_eq!(fs::read(&path).unwrap(), damaged, "evidence must stay");
    }
}

#[tokio::test]
async fn a_log_of_a_newer_version_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    write_batches(directory.path(), 1).await;
    let path = segments(directory.path()).remove(0);
    let mut content = fs::read(&path).unwrap();
    content[8] = 9;
    fs::write(&path, content).unwrap();
    let error = refusal(directory.path());
    assert!(matches!(&error, LogError::Newer { reason, .. } if reason.contains('9')), "{error}");
}

#[tokio::test]
async fn segments_are_removed_once_purged_and_a_missing_one_is_noticed() {
    let directory = tempfile::tempdir().unwrap();
    let (writer, _, _) = open(directory.path());
    let vote = Record {
        group: GROUP,
        kind: RecordKind::Vote,
        index: 0,
        payload: Bytes::from_static(b"vote"),
    };
    writer.append_durably(vec![vote]).await.unwrap();
    let large = |index| Record { payload: Bytes::from(vec![7; 3 << 20]), ..entry(index) };
    for index in 1..=12 {
        writer.append_durably(vec![large(index)]).await.unwrap();
    }
    assert!(segments(directory.path()).len() >= 6);
    writer.append_durably(vec![purge(9)]).await.unwrap();
    writer.close();
    let kept = segments(directory.path());
    assert!(kept.len() <= 3, "{kept:?}");

    let (writer, group, _) = open(directory.path());
    assert_eq!(indices(&group), [10, 11, 12]);
    assert_eq!(group.purged.as_ref().map(|(index, _)| *index), Some(9));
    assert_eq!(group.vote.as_deref(), Some(&b"vote"[..]));
    for index in 13..=20 {
        writer.append_durably(vec![large(index)]).await.unwrap();
    }
    writer.close();
    let all = segments(directory.path());
    fs::remove_file(&all[1]).unwrap();
    let error = refusal(directory.path());
    assert!(matches!(&error, LogError::Missing { path } if *path == all[1]), "{error}");
}

#[tokio::test]
async fn a_segment_that_was_being_made_is_removed() {
    let directory = tempfile::tempdir().unwrap();
    write_batches(directory.path(), 2).await;
    fs::write(directory.path().join("0000000000000002.log"), vec![0; 4096]).unwrap();
    let (writer, group, _) = open(directory.path());
    assert_eq!(indices(&group), [1, 2]);
    writer.append_durably(vec![entry(3)]).await.unwrap();
    writer.close();
    let (writer, group, _) = open(directory.path());
    assert_eq!(indices(&group), [1, 2, 3]);
    writer.close();
}

#[tokio::test]
async fn a_segment_with_records_is_not_removed_for_its_damaged_header() {
    let directory = tempfile::tempdir().unwrap();
    write_batches(directory.path(), 2).await;
    let path = segments(directory.path()).remove(0);
    let whole = fs::read(&path).unwrap();
    // The magic, the sequence, the checksum.
    for position in [0, 10, 18] {
        let mut damaged = whole.clone();
        damaged[position] ^= 0x10;
        fs::write(&path, &damaged).unwrap();
        let error = refusal(directory.path());
        assert!(matches!(error, LogError::Damaged { offset: 0, .. }), "{position}: {error}");
        assert!(error.to_string().contains("empty data directory"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), damaged, "evidence must stay");
    }
}

#[tokio::test]
async fn a_closed_log_takes_nothing_and_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let (writer, _, _) = open(directory.path());
    writer.close();
    let error = writer.append_durably(vec![entry(1)]).await.unwrap_err();
    assert!(error.to_string().contains("closed"), "{error}");
}

const CHILD_DIRECTORY: &str = "DUNLIN_TEST_LOG_DIRECTORY";

/// Not a test of its own: the process that the next one kills.
#[tokio::test]
async fn child_writes_until_it_is_killed() {
    let Some(directory) = std::env::var_os(CHILD_DIRECTORY) else { return };
    let (writer, group, _) = open(Path::new(&directory));
    let mut index = group.entries.back().map_or(1, |(index, _)| index + 1);
    loop {
        let batch: Vec<Record> = (index..index + 5).map(entry).collect();
        writer.append_durably(batch).await.unwrap();
        index += 5;
        let mut out = std::io::stdout().lock();
        writeln!(out, "\nacknowledged {}", index - 1).unwrap();
        out.flush().unwrap();
    }
}

#[test]
fn what_was_acknowledged_survives_kill_9() {
    let directory = tempfile::tempdir().unwrap();
    let mut acknowledged = 0;
    for round in 0..5 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "storage::child_writes_until_it_is_killed", "--nocapture"])
            .env(CHILD_DIRECTORY, directory.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let goal = acknowledged + 40 + 35 * round;
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            if let Some(index) = line.unwrap().strip_prefix("acknowledged ") {
                acknowledged = index.parse().unwrap();
            }
            if acknowledged >= goal {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        let (writer, group, _) = open(directory.path());
        let found = indices(&group);
        let last = *found.last().unwrap();
        assert!(last >= acknowledged, "{last} of {acknowledged}");
        assert_eq!(found, (1..=last).collect::<Vec<_>>());
        for (index, payload) in &group.entries {
            assert_eq!(payload.as_ref(), Some(&entry(*index).payload));
        }
        writer.close();
    }
}

#[tokio::test]
async fn entries_are_read_where_they_lie_until_they_are_purged() {
    let directory = tempfile::tempdir().unwrap();
    let (writer, _, _) = open(directory.path());
    let large = |index: u64| {
        let payload = Bytes::from(vec![index as u8; 1 << 20]);
        Record { group: GROUP, kind: RecordKind::Entry, index, payload }
    };
    for index in 1..=33 {
        writer.append_durably(vec![large(index)]).await.unwrap();
    }
    let check =
        |writer: &LogWriter, range: std::ops::Range<u64>, expected: std::ops::Range<u64>| {
            let found = writer.read_entries(GROUP, range).unwrap();
            let expected: Vec<Bytes> = expected.map(|index| large(index).payload).collect();
            assert!(found == expected);
        };
    check(&writer, 3..28, 3..28);
    writer.close();
    let (writer, group, _) = open(directory.path());
    assert!(
        group.entries[0].1.is_none() && group.entries[32].1.is_some(),
        "the last are in memory"
    );
    check(&writer, 1..99, 1..34);
    writer.append_durably(vec![purge(20)]).await.unwrap();
    assert!(writer.read_entries(GROUP, 20..22).unwrap().is_empty());
    check(&writer, 21..23, 21..23);
    assert!(directory.path().join("spare").exists(), "the next segment is ready");
    writer.close();
}

#[tokio::test]
async fn a_log_that_was_purged_again_and_again_is_read_from_the_first_segment_that_is_left() {
    let directory = tempfile::tempdir().unwrap();
    let (writer, _, _) = open(directory.path());
    let large = |index: u64| {
        let payload = Bytes::from(vec![index as u8; 1 << 20]);
        Record { group: GROUP, kind: RecordKind::Entry, index, payload }
    };
    for index in 1..=40 {
        writer.append_durably(vec![large(index)]).await.unwrap();
        if index == 12 || index == 38 {
            writer.append_durably(vec![purge(index - 9)]).await.unwrap();
        }
    }
    writer.close();
    let (writer, group, _) = open(directory.path());
    assert_eq!(indices(&group), (30..=40).collect::<Vec<_>>());
    assert_eq!(group.purged.as_ref().map(|(index, _)| *index), Some(29));
    writer.close();
    // Its purge lost, the same log has a hole.
    let last = segments(directory.path()).into_iter().filter(|path| path.extension().is_some());
    let last = last.max().unwrap();
    let mut content = fs::read(&last).unwrap();
    let is_start = |at: &usize| content[*at..].starts_with(b"DREC");
    let starts: Vec<usize> = (0..content.len()).step_by(8).filter(is_start).collect();
    let kind = |at: usize| content[at + 21];
    let purged = starts.iter().find(|at| kind(**at) == RecordKind::Purge as u8 && **at > 1 << 20);
    content[*purged.unwrap()..].fill(0);
    fs::write(&last, content).unwrap();
    let error = refusal(directory.path());
    assert!(matches!(error, LogError::Damaged { offset: 0, .. }), "{error}");
}
