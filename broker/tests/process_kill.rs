//! One broker that stands alone, killed again and again under load: what it acknowledged stays.
#![allow(clippy::unwrap_used, reason = "a test ends where something unexpected happens")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use support::alone::Alone;
use support::client::{Client, PUBACK, PUBLISH, connect, packet};
use support::durable::{Publisher, Subscriber, check_complete, until_received};
use support::eventually;
use support::metrics::number;

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

/// CONNECT of MQTT 5.0 with a Session Expiry Interval and a will, of QoS 1, with its delay.
fn connect_with_will(client_id: &str, expiry_seconds: u32, will: Option<(&str, u32)>) -> Vec<u8> {
    let text = |value: &str| [&(value.len() as u16).to_be_bytes()[..], value.as_bytes()].concat();
    let flags = if will.is_some() { 0x04 | 0x08 } else { 0 };
    let mut body = [&text("MQTT")[..], &[5, flags, 0, 60, 5, 0x11]].concat();
    body.extend(expiry_seconds.to_be_bytes());
    body.extend(text(client_id));
    if let Some((topic, delay_seconds)) = will {
        body.extend([5, 0x18]);
        body.extend(delay_seconds.to_be_bytes());
        body.extend(text(topic));
        body.extend(text("gone"));
    }
    packet(0x10, &body)
}

/// A client that is let in, with whether its session was there.
fn enter(broker: &Alone, connect: &[u8]) -> (Client, bool) {
    eventually("it is let in", || {
        let mut client = Client::try_plain(broker.address).ok()?;
        client.try_send(connect).ok()?;
        let connack = client.receive()?;
        assert_eq!(connack.body[1], 0, "{connack:?}");
        Some((client, connack.body[0] == 1))
    })
}

#[test]
fn a_killed_broker_has_its_delayed_wills_its_retained_messages_and_its_expiring_sessions() {
    let mut broker = Alone::new("durability = \"local\"");
    broker.start();
    let watch = || connect_with_will("watch", 3600, None);
    let (mut watcher, _) = enter(&broker, &watch());
    watcher.subscribe("will/#", 1);
    drop(watcher);
    // One whose delay runs when the broker is killed, and one that is connected then.
    let (left, _) = enter(&broker, &connect_with_will("left", 3600, Some(("will/left", 1))));
    drop(left);
    let (_stays, _) = enter(&broker, &connect_with_will("stays", 3600, Some(("will/stays", 1))));
    // Two whose sessions are to end soon, away and connected.
    let (brief, _) = enter(&broker, &connect_with_will("brief", 1, None));
    drop(brief);
    let (_short, _) = enter(&broker, &connect_with_will("short", 1, None));
    let (mut publisher, _) = enter(&broker, &connect("publisher", None, b"", true));
    for number in 0..50 {
        let topic = format!("kept/{number}");
        let body = [&(topic.len() as u16).to_be_bytes()[..], topic.as_bytes(), &[0, 1, 0], b"kept"];
        publisher.send(&packet(0x33, &body.concat()));
        publisher.expect(PUBACK);
    }
    broker.kill();
    broker.start();

    let (mut reader, _) = enter(&broker, &connect("reader", None, b"", true));
    reader.subscribe("kept/#", 0);
    let mut kept: Vec<String> = (0..50).map(|_| reader.message().0).collect();
    kept.sort_unstable();
    kept.dedup();
    assert_eq!(kept.len(), 50);
    let (mut watcher, is_present) = enter(&broker, &watch());
    assert!(is_present);
    let mut wills = [(); 2].map(|()| {
        let will = watcher.expect(PUBLISH);
        let length = usize::from(u16::from_be_bytes([will.body[0], will.body[1]]));
        String::from_utf8(will.body[2..2 + length].to_vec()).unwrap()
    });
    wills.sort_unstable();
    assert_eq!(wills, ["will/left", "will/stays"]);
    // The watcher's and those of the wills are left.
    eventually("the sessions have ended", || {
        (number(broker.metrics, "durable_sessions") == 3).then_some(())
    });
    let (_brief, is_present) = enter(&broker, &connect_with_will("brief", 1, None));
    assert!(!is_present);
}

#[test]
fn damaged_small_files_are_set_aside_and_nothing_else_is_lost() {
    for (file, said) in [("identity.json", "made anew from the log"), ("starts", "count of starts")]
    {
        for damage in [&b"\xFF\0{"[..], b""] {
            let mut broker = Alone::new("durability = \"local\"");
            broker.start();
            let watch = connect_with_will("watch", 3600, None);
            let (mut watcher, _) = enter(&broker, &watch);
            watcher.subscribe("t", 1);
            drop(watcher);
            assert_eq!(number(broker.metrics, "damaged_set_aside"), 0);
            let (mut publisher, _) = enter(&broker, &connect("publisher", None, b"", true));
            assert_eq!(publisher.publish_acknowledged("t", b"kept"), 0);
            broker.kill();
            let data = broker.folder.path().join("data");
            std::fs::write(data.join(file), damage).unwrap();
            broker.start();
            let (mut watcher, is_present) = enter(&broker, &watch);
            assert!(is_present, "{file}");
            assert_eq!(watcher.acknowledged_message(), b"kept");
            let lines = broker.lines.lock().unwrap().join("\n");
            assert!(lines.contains(said), "{lines}");
            assert_eq!(std::fs::read(data.join("damaged-1").join(file)).unwrap(), damage);
            assert_eq!(number(broker.metrics, "damaged_set_aside"), 1);
            // It is mended: another start finds nothing to say, and what was said last is kept.
            let (mut publisher, _) = enter(&broker, &connect("publisher", None, b"", true));
            drop(watcher);
            assert_eq!(publisher.publish_acknowledged("t", b"later"), 0);
            broker.kill();
            broker.start();
            let (mut watcher, is_present) = enter(&broker, &watch);
            assert!(is_present, "{file}");
            let left = (0..2).map(|_| watcher.acknowledged_message()).find(|m| m == b"later");
            assert!(left.is_some());
            assert!(!data.join("damaged-2").exists());
        }
    }
}

#[test]
fn a_damaged_identity_without_a_log_that_says_whose_it_is_begins_anew() {
    let mut broker = Alone::new("durability = \"local\"");
    broker.start();
    let (mut client, _) = enter(&broker, &connect_with_will("a", 3600, None));
    client.ping();
    broker.kill();
    let data = broker.folder.path().join("data");
    std::fs::write(data.join("identity.json"), "?").unwrap();
    for segment in data.join("log").read_dir().unwrap() {
        std::fs::write(segment.unwrap().path(), [0xAA; 4096]).unwrap();
    }
    broker.start();
    let (_client, is_present) = enter(&broker, &connect_with_will("a", 3600, None));
    assert!(!is_present);
    let lines = broker.lines.lock().unwrap().join("\n");
    assert!(lines.contains("the identity and the log are damaged and set aside"), "{lines}");
    assert_eq!(number(broker.metrics, "damaged_set_aside"), 2);
}
