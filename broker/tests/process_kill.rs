//! One broker that stands alone, killed again and again under load: what it acknowledged stays.
#![allow(clippy::unwrap_used, reason = "a test ends where something unexpected happens")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use support::alone::Alone;
use support::durable::{Publisher, Subscriber, check_complete, until_received};
use support::eventually;

/// Times that the broker is killed.
const KILLS: u64 = 100;

/// Messages acknowledged between a start and the kill after it, at most: each time another count,
/// so that the kill meets another moment.
const BETWEEN_MAX: u64 = 100;

#[test]
fn a_broker_killed_a_hundred_times_under_load_loses_nothing_that_it_acknowledged() {
    let mut broker = Alone::new("durability = \"local\"");
    broker.start();
    let (stop_subscriber, stop) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
    let subscriber = Subscriber::start(broker.role("subscriber", &stop_subscriber), "load/#");
    let publishers = [1, 2].map(|qos| {
        let (client_id, topic) = [("one", "load/1"), ("two", "load/2")][usize::from(qos) - 1];
        Publisher::start(broker.role(client_id, &stop), topic, qos)
    });
    let counts = publishers.each_ref().map(|publisher| Arc::clone(&publisher.acknowledged));
    let count = || counts.each_ref().map(|count| count.load(Ordering::Relaxed));
    for kill in 0..KILLS {
        let before = count();
        let more = 1 + kill * 37 % BETWEEN_MAX;
        // Of both kinds.
        eventually("messages are acknowledged", || {
            let now = count();
            (0..2).all(|kind| now[kind] >= before[kind] + more).then_some(())
        });
        broker.kill();
        broker.start();
    }
    stop.store(true, Ordering::Relaxed);
    let last = publishers.map(Publisher::finish);
    until_received(&subscriber.received, "load/1", last[0]);
    until_received(&subscriber.received, "load/2", last[1]);
    assert!(subscriber.resumed.load(Ordering::Relaxed) >= KILLS / 2, "it was really cut off");
    stop_subscriber.store(true, Ordering::Relaxed);
    let received = subscriber.finish();
    check_complete(&received["load/1"], last[0]);
    check_complete(&received["load/2"], last[1]);
    assert_eq!(received["load/2"].len() as u64, last[1], "QoS 2: once each");
    eprintln!("{KILLS} kills, {last:?} messages acknowledged, none lost");
}

#[test]
fn what_is_damaged_on_the_disk_is_set_aside_and_the_broker_serves() {
    let mut broker = Alone::new("durability = \"local\"");
    broker.start();
    let stop = Arc::<AtomicBool>::default();
    let publisher = Publisher::start(broker.role("p", &stop), "t", 2);
    let acknowledged = Arc::<AtomicU64>::clone(&publisher.acknowledged);
    let flows = |more: u64| {
        let before = acknowledged.load(Ordering::Relaxed);
        eventually("messages are acknowledged", || {
            (acknowledged.load(Ordering::Relaxed) > before + more).then_some(())
        });
    };
    flows(50);
    broker.kill();
    let data = broker.folder.path().join("data");
    let segment = data.join("log").read_dir().unwrap().next().unwrap().unwrap().path();
    let mut bytes = std::fs::read(&segment).unwrap();
    let middle = bytes.iter().rposition(|byte| *byte != 0).unwrap() / 2;
    bytes[middle..middle + 64].fill(0xAA);
    std::fs::write(&segment, &bytes).unwrap();
    broker.start();
    flows(50);
    let lines = broker.lines.lock().unwrap().join("\n");
    assert!(lines.contains("damaged and set aside"), "{lines}");
    let kept = data.join("damaged-1/log").join(segment.file_name().unwrap());
    assert_eq!(std::fs::read(kept).unwrap(), bytes);
    stop.store(true, Ordering::Relaxed);
    publisher.finish();
}

#[test]
fn with_durability_memory_a_session_goes_with_the_process_and_the_log_stays_empty_of_it() {
    let mut broker = Alone::new("durability = \"memory\"");
    broker.start();
    let stop = Arc::<AtomicBool>::default();
    let publisher = Publisher::start(broker.role("p", &stop), "t", 1);
    let acknowledged = Arc::<AtomicU64>::clone(&publisher.acknowledged);
    eventually("messages are acknowledged", || {
        (acknowledged.load(Ordering::Relaxed) > 10).then_some(())
    });
    broker.kill();
    broker.start();
    let present = eventually("it is let in", || {
        let mut client = support::client::Client::try_plain(broker.address).ok()?;
        client.try_send(&support::client::connect("other", None, b"", false)).ok()?;
        Some(client.receive()?.body[0])
    });
    assert_eq!(present, 0);
    stop.store(true, Ordering::Relaxed);
    publisher.finish();
}
