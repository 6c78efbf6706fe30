use std::path::Path;

use broker_core::cluster_state::{ClusterState, CommandBatch, RetainedLimits};
use broker_core::types::NodeId;
use openraft::entry::RaftEntry;
use openraft::testing::log::{StoreBuilder, Suite};

use super::*;
use crate::cluster::meta::state_machine::StateMachine;
use crate::storage::{LogWriter, SnapshotStore};

struct Builder;

type Stores = (tempfile::TempDir, LogStore, StateMachine);

fn open(directory: &Path) -> LogStore {
    let (writer, mut groups, _) = LogWriter::open(directory).unwrap();
    let recovered = groups.remove(&GroupId::META).unwrap_or_default();
    LogStore::open(writer, GroupId::META, &recovered).unwrap()
}

impl StoreBuilder<TypeConfig, LogStore, StateMachine, tempfile::TempDir> for Builder {
    async fn build(&self) -> Result<Stores, openraft::StorageError<TypeConfig>> {
        let directory = tempfile::tempdir().unwrap();
        let log = open(directory.path());
        let machine = StateMachine::open(
            SnapshotStore::new(directory.path()),
            GroupId::META,
            (NodeId(1), 1),
            ClusterState::default(),
        )
        .unwrap();
        Ok((directory, log, machine))
    }
}

#[tokio::test]
async fn log_and_state_machine_pass_the_suite_of_openraft() {
    Suite::test_all(Builder).await.unwrap();
}

fn log_id(term: u64, index: u64) -> LogId {
    LogId::new(openraft::alias::CommittedLeaderIdOf::<TypeConfig>::new(term), index)
}

async fn append(log: &mut LogStore, ids: impl IntoIterator<Item = LogId>) {
    let entries: Vec<Entry> = ids.into_iter().map(Entry::new_blank).collect();
    log.append(entries, IOFlushed::noop()).await.unwrap();
}

async fn ids(log: &mut LogStore) -> Vec<LogId> {
    let entries = log.try_get_log_entries(..).await.unwrap();
    entries.iter().map(|entry| entry.log_id).collect()
}

#[tokio::test]
async fn a_restart_finds_entries_vote_truncation_and_purge() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = open(directory.path());
    assert!(log.is_pristine());
    log.save_vote(&Vote::new(3, 7)).await.unwrap();
    append(&mut log, (1..=10).map(|index| log_id(3, index))).await;
    log.truncate_after(Some(log_id(3, 8))).await.unwrap();
    append(&mut log, [log_id(4, 9), log_id(4, 10)]).await;
    log.save_committed(Some(log_id(4, 9))).await.unwrap();
    log.purge(log_id(3, 5)).await.unwrap();
    let before = ids(&mut log).await;
    let state = log.get_log_state().await.unwrap();
    assert_eq!(before.len(), 5);
    log.writer.close();
    drop(log);

    let mut log = open(directory.path());
    assert!(!log.is_pristine());
    assert_eq!(ids(&mut log).await, before);
    assert_eq!(log.get_log_state().await.unwrap(), state);
    assert_eq!(log.read_vote().await.unwrap(), Some(Vote::new(3, 7)));
    assert_eq!(log.read_committed().await.unwrap(), Some(log_id(4, 9)));
}

/// Entries of half a mebibyte each.
fn large(ids: impl Iterator<Item = u64>) -> Vec<Entry> {
    let entry = |index: u64| {
        let items = bytes::Bytes::from(vec![index as u8; 512 << 10]);
        Entry::new_normal(log_id(1, index), CommandBatch::new(RetainedLimits::default(), [&items]))
    };
    ids.map(entry).collect()
}

async fn append_large(log: &mut LogStore, ids: impl Iterator<Item = u64>) {
    for entry in large(ids) {
        log.append([entry], IOFlushed::noop()).await.unwrap();
    }
    // Behind all entries: they are durable then.
    log.save_vote(&Vote::new(1, 1)).await.unwrap();
}

#[tokio::test]
async fn a_log_larger_than_its_memory_is_read_back_whole_and_by_the_piece() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = open(directory.path());
    append_large(&mut log, 1..=60).await;
    append_large(&mut log, 61..=61).await;
    let (elsewhere, cached) = lock(&log.tail).find(0..u64::MAX);
    assert!(elsewhere.len() >= 44 && cached.len() >= 14, "{} {}", elsewhere.len(), cached.len());
    let expected = large(1..=61);
    let check = async |log: &mut LogStore| {
        assert!(log.try_get_log_entries(0..).await.unwrap() == expected);
        assert!(log.try_get_log_entries(5..7).await.unwrap() == expected[4..6]);
        let some = log.limited_get_log_entries(3, 50).await.unwrap();
        assert!(some.len() < 10 && some == expected[2..2 + some.len()]);
        let stream = log.entries_stream(2..).await;
        let all: Vec<Entry> = futures::TryStreamExt::try_collect(stream).await.unwrap();
        assert!(all == expected[1..]);
    };
    check(&mut log).await;
    log.writer.close();
    drop(log);

    let mut log = open(directory.path());
    check(&mut log).await;
    log.purge(log_id(1, 20)).await.unwrap();
    assert!(log.try_get_log_entries(0..23).await.unwrap() == expected[20..22]);
    log.truncate_after(Some(log_id(1, 30))).await.unwrap();
    append_large(&mut log, 31..=31).await;
    assert!(log.try_get_log_entries(..).await.unwrap() == expected[20..31]);
    log.writer.close();
}
