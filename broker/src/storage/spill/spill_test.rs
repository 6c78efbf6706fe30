use std::os::unix::fs::PermissionsExt;

use broker_core::router::Message;
use broker_core::types::{Millis, QoS};

use super::*;

/// A message of about so many bytes that says a number.
fn message(number: u64, bytes: usize) -> StoredMessage {
    let payload = format!("{number:0bytes$}");
    let publish = broker_core::codec::packet::Publish {
        dup: false,
        qos: QoS::AtLeastOnce,
        retain: false,
        topic: "t",
        packet_id: broker_core::types::PacketId::new(1),
        properties: Default::default(),
        payload: payload.as_bytes(),
    };
    StoredMessage::new(Arc::new(Message::new(&publish, Millis::NEVER).unwrap()))
}

fn number(message: &StoredMessage) -> u64 {
    let message = message.load().unwrap();
    let payload = message.publish().unwrap().payload.to_vec();
    String::from_utf8(payload).unwrap().parse().unwrap()
}

fn files(directory: &Path) -> usize {
    fs::read_dir(directory).unwrap().count()
}

/// Waits until something is so.
fn wait_for(what: impl Fn() -> bool) {
    let until = Instant::now() + Duration::from_secs(30);
    while !what() {
        assert!(Instant::now() < until, "it did not become so in time");
        std::thread::yield_now();
    }
}

#[test]
fn what_the_cache_has_no_room_for_is_read_from_disk_and_the_oldest_goes_first() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("left by another process"), "x").unwrap();
    let store = SpillStore::open(directory.path(), 1 << 20).unwrap();
    let messages: Vec<StoredMessage> = (0..4000).map(|n| message(n, 1000)).collect();
    messages.iter().for_each(|message| store.kept(message));
    wait_for(|| store.stats().cached_bytes.load(Ordering::Relaxed) <= 1 << 20);
    let first = messages.iter().position(|message| message.in_memory().is_some()).unwrap();
    assert!((3000..4000).contains(&first), "{first}");
    assert!(messages[first..].iter().all(|message| message.in_memory().is_some()));
    for (expected, message) in (0..).zip(&messages) {
        assert_eq!(number(message), expected);
    }
    let stats = store.stats();
    let on_disk = stats.disk_bytes.load(Ordering::Relaxed);
    assert_eq!(on_disk, stats.spilled_bytes.load(Ordering::Relaxed));
    assert!(on_disk > 3_000_000 && files(directory.path()) == 1);
}

#[test]
fn a_file_goes_with_its_last_message_and_what_is_done_with_is_not_written() {
    let directory = tempfile::tempdir().unwrap();
    let store = SpillStore::open(directory.path(), 1 << 20).unwrap();
    for n in 0..4000 {
        store.kept(&message(n, 1000));
    }
    wait_for(|| store.stats().cached_bytes.load(Ordering::Relaxed) <= 1 << 20);
    let spilled = store.stats().spilled_bytes.load(Ordering::Relaxed);
    assert!(spilled < 100_000, "nobody kept them: {spilled}");

    let mut messages: Vec<StoredMessage> = (0..40_000).map(|n| message(n, 1000)).collect();
    messages.iter().for_each(|message| store.kept(message));
    wait_for(|| store.stats().cached_bytes.load(Ordering::Relaxed) <= 1 << 20);
    let before = files(directory.path());
    assert!(before >= 3, "{before} files");
    messages.drain(..35_000);
    assert!(files(directory.path()) < before);
    assert_eq!(number(&messages[0]), 35_000);
    drop(messages);
    assert_eq!(files(directory.path()), 1, "the one that is written to");
    assert_eq!(store.stats().segments.load(Ordering::Relaxed), 1);
}

#[test]
fn messages_stay_in_memory_while_they_cant_be_written_and_leave_it_later() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("queues");
    fs::create_dir(&path).unwrap();
    let store = SpillStore::open(&path, 1 << 20).unwrap();
    fs::remove_dir(&path).unwrap();
    let messages: Vec<StoredMessage> = (0..4000).map(|n| message(n, 1000)).collect();
    messages.iter().for_each(|message| store.kept(message));
    wait_for(|| store.stats().failures.load(Ordering::Relaxed) > 0);
    assert!(messages.iter().all(|message| message.in_memory().is_some()));
    fs::create_dir(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
    wait_for(|| store.stats().cached_bytes.load(Ordering::Relaxed) <= 1 << 20);
    assert!(messages[0].in_memory().is_none());
    assert_eq!((number(&messages[0]), number(&messages[3999])), (0, 3999));
}

#[tokio::test]
async fn a_message_that_changed_on_disk_is_reported_and_not_delivered() {
    let directory = tempfile::tempdir().unwrap();
    let store = SpillStore::open(directory.path(), 1000).unwrap();
    let message = message(7, 2000);
    store.kept(&message);
    wait_for(|| message.in_memory().is_none());
    let path = segment_path(directory.path(), 1);
    let mut bytes = fs::read(&path).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&path, bytes).unwrap();
    let lost = message.load().unwrap_err();
    store.lost(&lost);
    let reason = store.failure().await;
    assert!(reason.contains("can't be read back"), "{reason}");
}

#[test]
fn what_queues_take_of_memory_is_what_is_in_the_cache_and_a_place_for_each_message() {
    let stats = SpillStats::default();
    stats.cached_bytes.store(1_000, Ordering::Relaxed);
    assert_eq!(stats.memory_bytes(10, 5_000_000), 1_000 + 10 * MESSAGE_COST_BYTES);
    // What is done with counts as cached for a while.
    assert_eq!(stats.memory_bytes(1, 300), 300 + MESSAGE_COST_BYTES);
    assert_eq!(stats.memory_bytes(0, 0), 0);
}
