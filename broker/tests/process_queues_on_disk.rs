//! More messages for sessions that are away than memory is to hold: they lie on the disk.
#![allow(clippy::unwrap_used, reason = "a test ends where something unexpected happens")]

mod support;

use std::fs;

use support::alone::Alone;
use support::client::{CONNACK, Client, PUBACK, connect, packet};
use support::eventually;
use support::metrics::number;

const SESSIONS: usize = 20;
const MESSAGES: usize = 200;
const BYTES: usize = 1000;

/// A client whose session is kept, and has nothing that waits.
fn returning(broker: &Alone, client_id: &str) -> Client {
    let mut client = returning_with(broker, client_id);
    client.ping();
    client
}

fn payload(session: usize, message: usize) -> Vec<u8> {
    format!("{session} {message} ").into_bytes().into_iter().chain([b'.'; BYTES]).collect()
}

/// Publishes to all sessions; waits for all acknowledgements at the end.
fn fill(publisher: &mut Client, messages: std::ops::Range<usize>) {
    for message in messages {
        for session in 0..SESSIONS {
            let topic = format!("t/{session}");
            let mut body = u16::try_from(topic.len()).unwrap().to_be_bytes().to_vec();
            body.extend(topic.as_bytes());
            body.extend([0, 1, 0]);
            body.extend(payload(session, message));
            publisher.send(&packet(0x32, &body));
        }
        for _ in 0..SESSIONS {
            let acknowledgement = publisher.expect(PUBACK);
            assert_eq!(acknowledgement.body.get(2).copied().unwrap_or(0), 0);
        }
    }
}

/// Takes the next messages of a session.
fn fetch(client: &mut Client, session: usize, messages: std::ops::Range<usize>) {
    for message in messages {
        assert!(client.acknowledged_message() == payload(session, message), "{session} {message}");
    }
}

#[test]
fn messages_on_the_disk_come_in_order_and_survive_kill_9() {
    let cache = "[sessions]\ndurable_cache_bytes = 300000";
    let mut broker = Alone::new(cache);
    broker.start();
    for session in 0..SESSIONS {
        let mut client = returning(&broker, &format!("s-{session}"));
        client.subscribe(&format!("t/{session}"), 1);
    }
    let mut publisher = returning(&broker, "publisher");
    fill(&mut publisher, 0..MESSAGES);
    let metric = |name: &str| number(broker.metrics, name);
    eventually("the cache is within its limit", || {
        (metric("durable_cache_bytes") <= 300_000).then_some(())
    });
    assert!(metric("durable_spilled_bytes_total") > 3_000_000);
    // Some of them at once, from the files.
    let mut client = returning_with(&broker, "s-3");
    fetch(&mut client, 3, 0..MESSAGES / 2);
    client.ping_behind_messages();
    drop(client);
    // What the client has acknowledged is kept a moment later; what is not by then comes again.
    let waiting = (SESSIONS * MESSAGES - MESSAGES / 2) as u64;
    eventually("the acknowledgements are kept", || {
        (metric("durable_queued{unit=\"messages\"}") == waiting).then_some(())
    });

    broker.kill();
    broker.start();
    let mut client = returning_with(&broker, "s-3");
    fetch(&mut client, 3, MESSAGES / 2..MESSAGES);
    for session in (0..SESSIONS).filter(|session| *session != 3) {
        let mut client = returning_with(&broker, &format!("s-{session}"));
        fetch(&mut client, session, 0..MESSAGES);
    }
    let mut publisher = returning(&broker, "publisher");
    fill(&mut publisher, MESSAGES..MESSAGES + 3);
    fetch(&mut client, 3, MESSAGES..MESSAGES + 3);
}

#[test]
fn a_broker_ends_when_a_message_on_its_disk_is_damaged_and_has_it_again_after_a_start() {
    let mut broker = Alone::new("[sessions]\ndurable_cache_bytes = 1");
    broker.start();
    let mut client = returning(&broker, "s-0");
    client.subscribe("t/0", 1);
    drop(client);
    let mut publisher = returning(&broker, "publisher");
    publisher.publish_acknowledged("t/0", &payload(0, 0));
    let folder = broker.folder.path().join("data/queues");
    let file = eventually("the message is on the disk", || {
        let file = fs::read_dir(&folder).ok()?.next()?.ok()?.path();
        (fs::metadata(&file).ok()?.len() > BYTES as u64).then_some(file)
    });
    let mut bytes = fs::read(&file).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&file, bytes).unwrap();
    let mut client = Client::plain(broker.address);
    client.send(&connect("s-0", None, b"", false));
    client.until_closed();
    broker.wait_for_end("can't be read back");
    broker.start();
    let mut client = returning_with(&broker, "s-0");
    fetch(&mut client, 0, 0..1);
}

/// As [`returning`]; what waits for the session stays to be received.
fn returning_with(broker: &Alone, client_id: &str) -> Client {
    eventually("the broker lets a client in", || {
        let mut client = Client::try_plain(broker.address).ok()?;
        client.try_send(&connect(client_id, None, b"", false)).ok()?;
        let answer = client.receive()?;
        (answer.kind() == CONNACK && answer.body[1] == 0).then_some(client)
    })
}
