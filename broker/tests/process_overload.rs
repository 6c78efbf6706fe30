//! A broker whose memory becomes scarce.
#![allow(clippy::unwrap_used, reason = "a test ends where something unexpected happens")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use support::broker::Broker;
use support::client::Client;
use support::eventually;

const MIB: u64 = 1024 * 1024;
const SERVER_BUSY: u8 = 0x89;
/// More publishers than it takes to fill the budget.
const PUBLISHERS_MAX: usize = 200;

/// A broker that may use 192 MiB, and whose queues alone could take more.
fn broker() -> Broker {
    Broker::founded_with(|raw| {
        raw.limits.memory_bytes_max = 192 * MIB;
        raw.sessions.queued_bytes_max = 512 * MIB;
        raw.sessions.queued_bytes_total_max = 4096 * MIB;
    })
}

/// Publishes until memory is scarce, half a megabyte at a time and each acknowledged, so that the
/// broker looks in between; then goes on in small steps, which take far longer to the next mark than
/// the broker takes to look again, until it is not read any more.
fn fill_to_the_first_mark(
    broker: &Broker,
    is_held_back: &Arc<AtomicBool>,
) -> std::thread::JoinHandle<Client> {
    let payload = vec![b'x'; 500_000];
    let mut heavy = broker.plain("heavy");
    while broker.metric("memory_pressure") == 0 {
        heavy.publish_acknowledged("news", &payload);
    }
    let is_held_back = Arc::clone(is_held_back);
    std::thread::spawn(move || {
        while !is_held_back.load(Ordering::Relaxed) {
            heavy.publish_acknowledged("news", &payload[..20_000]);
        }
        heavy
    })
}

/// A publisher that sends as much as the broker reads, up to 16 MB; `None` when it is not let in.
fn publisher(broker: &Broker, number: usize) -> Option<std::thread::JoinHandle<Client>> {
    let mut client = Client::plain(broker.process.listener("plain"));
    match client.connect(&format!("publisher-{number}"), Some("pump"), b"secret") {
        0 => {}
        code => {
            assert_eq!(code, SERVER_BUSY);
            return None;
        }
    }
    Some(std::thread::spawn(move || {
        let payload = vec![b'x'; 1_000_000];
        for _ in 0..16 {
            let body = [&[0, 4][..], b"news", &[0, 1, 0], &payload].concat();
            if client.try_send(&support::client::packet(0x32, &body)).is_err() {
                break;
            }
        }
        client
    }))
}

#[test]
fn scarce_memory_stops_the_heaviest_publishers_then_refuses_newcomers_and_passes() {
    let broker = broker();
    assert_eq!(broker.metric(r#"memory_bytes{of="budget"}"#), 192 * MIB);
    assert!(broker.metric("open_files_max") > 0);
    let mut watch = broker.plain("watch");
    let mut reader = broker.plain("reader");
    reader.subscribe("news", 1);
    // The reader reads nothing, so all that is published for it waits.
    let is_held_back = Arc::new(AtomicBool::new(false));
    let mut publishers = vec![fill_to_the_first_mark(&broker, &is_held_back)];
    broker.process.log("memory is scarce: the heaviest publishers are not read");
    let held_back = r#"publishers_held_back_total{reason="memory"}"#;
    eventually("the heaviest publisher waits", || (broker.metric(held_back) > 0).then_some(()));
    is_held_back.store(true, Ordering::Relaxed);
    // Nobody is refused before that, and the others are served.
    assert_eq!(broker.metric(r#"limits_applied_total{limit="memory"}"#), 0);
    broker.plain("newcomer").ping();
    watch.ping();
    assert_eq!(broker.metric("memory_pressure"), 1);
    let refused = (0..PUBLISHERS_MAX).any(|number| match publisher(&broker, number) {
        Some(running) => {
            publishers.push(running);
            false
        }
        None => true,
    });
    assert!(refused, "nobody was refused");
    broker.process.log("memory is very scarce: new clients are refused");
    assert!(broker.metric(r#"limits_applied_total{limit="memory"}"#) > 0);
    assert_eq!(broker.metric("memory_pressure"), 2);
    // Who is in is served.
    watch.ping();

    let reading = std::thread::spawn(move || {
        while reader.receive().is_some_and(|packet| {
            let Some(topic) = (packet.kind() == support::client::PUBLISH).then_some(2 + 4) else {
                return true;
            };
            let id = [packet.body[topic], packet.body[topic + 1]];
            reader.try_send(&[0x40, 2, id[0], id[1]]).is_ok()
        }) {}
    });
    broker.process.log("memory is not scarce any more");
    eventually("newcomers come in again", || {
        let mut client = Client::plain(broker.process.listener("plain"));
        (client.connect("late", Some("pump"), b"secret") == 0).then_some(())
    });
    assert!(broker.metric("memory_pressure_changes_total") >= 2);
    watch.ping();
    drop(broker);
    for publisher in publishers {
        drop(publisher.join());
    }
    drop(reading.join());
}
