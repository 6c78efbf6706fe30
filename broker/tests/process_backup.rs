//! A backup of one cluster founds another one; what can't be restored is refused and harms nothing.
#![allow(clippy::unwrap_used, reason = "a test ends where something unexpected happens")]

mod support;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use broker_admin_api::{BrokerState, ErrorBody, Reason, Restored, Role, path};
use broker_core::shard::shard_of;

use support::broker::Broker;
use support::client::{CONNACK, Client, connect};
use support::durable::{self, Places, Publisher, until_flows};
use support::eventually;
use support::pki::Pki;
use support::process::PROGRAM;

const FOREIGN_ALLOWED: &str = "/v1/cluster/restore?allow_foreign=true";

fn backup(broker: &Broker) -> Vec<u8> {
    let (code, backup) = broker.call_bytes("GET", path::BACKUP, b"");
    assert_eq!(code, 200, "{}", String::from_utf8_lossy(&backup));
    backup
}

fn refused(broker: &Broker, path: &str, backup: &[u8]) -> ErrorBody {
    let (code, answer) = broker.call_bytes("POST", path, backup);
    let body: ErrorBody = serde_json::from_slice(&answer)
        .unwrap_or_else(|error| panic!("{code} {}: {error}", String::from_utf8_lossy(&answer)));
    assert_eq!(code, body.reason.http_status());
    body
}

fn restored(broker: &Broker, path: &str, backup: &[u8]) -> Restored {
    let (code, answer) = broker.call_bytes("POST", path, backup);
    assert_eq!(code, 200, "{}", String::from_utf8_lossy(&answer));
    serde_json::from_slice(&answer).unwrap()
}

/// A client with a session that outlives the connection, and whether there was one.
fn durable(broker: &Broker) -> (Client, bool) {
    enter(broker, "away")
}

fn enter(broker: &Broker, client_id: &str) -> (Client, bool) {
    let mut client = Client::plain(broker.process.listener("plain"));
    client.send(&connect(client_id, Some("pump"), b"secret", false));
    let connack = client.expect(CONNACK).body;
    assert_eq!(connack[1], 0, "{connack:?}");
    (client, connack[0] == 1)
}

/// A broker with a user, a retained message, and a session for which a message waits.
fn full() -> Broker {
    let broker = Broker::founded();
    let (mut away, _) = durable(&broker);
    away.subscribe("news", 1);
    drop(away);
    let mut publisher = broker.plain("publisher");
    assert_eq!(publisher.publish_acknowledged("news", b"hello"), 0);
    publisher.send(&support::client::packet(0x33, b"\x00\x04kept\x00\x01\x00for ever"));
    publisher.expect(support::client::PUBACK);
    broker
}

/// It has what [`full`] had, and works.
fn has_all(broker: &Broker) {
    let mut reader = eventually("clients are let in", || {
        let mut client = Client::try_plain(broker.process.listener("plain")).ok()?;
        (client.connect("reader", Some("pump"), b"secret") == 0).then_some(client)
    });
    reader.subscribe("kept", 0);
    assert_eq!(reader.message().1, b"for ever");
    let (mut away, was_there) = durable(broker);
    assert!(was_there, "the session");
    assert_eq!(away.acknowledged_message(), b"hello");
    assert_eq!(reader.publish_acknowledged("news", b"later"), 0);
    assert_eq!(away.acknowledged_message(), b"later");
}

#[test]
fn a_cluster_is_founded_from_a_backup_with_all_it_had_and_keeps_it() {
    let before = full();
    let backup = backup(&before);
    let applied = before.status().raft.last_applied_index.unwrap();
    drop(before);
    let mut broker = Broker::start();
    let restored = restored(&broker, path::RESTORE, &backup);
    assert!(restored.backup.contains_secrets && restored.backup.log_index <= applied);
    assert_eq!(restored.backup.written_by, "fleet-0");
    assert_eq!(restored.members.len(), 1);
    let status = broker.status();
    assert_eq!((status.raft.role, status.node_id), (Role::Leader, restored.members[0].node_id));
    has_all(&broker);
    broker.process.signal("KILL");
    broker.process.wait();
    broker.restart();
    eventually("it serves again", || (broker.status().state == BrokerState::Serving).then_some(()));
    broker.plain("reader").ping();
}

#[test]
fn a_backup_that_is_made_while_messages_come_ends_at_one_of_them_for_all_sessions() {
    let sessions = ["away-0", "away-1", "away-2"];
    let shards = sessions.map(shard_of);
    assert!(shards[0] != shards[1] && shards[1] != shards[2], "they are in several shards");
    let before = Broker::founded();
    for client_id in sessions {
        enter(&before, client_id).0.subscribe("news", 1);
    }
    let stop = Arc::<AtomicBool>::default();
    let role = durable::Role {
        client_id: "publisher",
        username: Some("pump"),
        places: Places::new(Mutex::new(vec![before.process.listener("plain")])),
        stop: Arc::clone(&stop),
    };
    let publisher = Publisher::start(role, "news", 1);
    let come = || publisher.acknowledged.load(Ordering::Relaxed);
    eventually("messages come", || (come() > 100).then_some(()));
    let backups: Vec<Vec<u8>> = (0..4)
        .map(|_| {
            let backup = backup(&before);
            until_flows(&[&publisher.acknowledged]);
            backup
        })
        .collect();
    stop.store(true, Ordering::Relaxed);
    publisher.finish();
    drop(before);
    let mut last_of_all = 0;
    for backup in backups {
        let broker = Broker::start();
        restored(&broker, path::RESTORE, &backup);
        let mut marker = eventually("clients are let in", || {
            let mut client = Client::try_plain(broker.process.listener("plain")).ok()?;
            (client.connect("marker", Some("pump"), b"secret") == 0).then_some(client)
        });
        assert_eq!(marker.publish_acknowledged("news", b"end"), 0);
        let lasts = sessions.map(|client_id| last_of(&broker, client_id));
        assert!(lasts[0] > 100 && lasts.iter().all(|last| *last == lasts[0]), "{lasts:?}");
        // Between two of them messages have come: each is of a moment of its own.
        assert!(lasts[0] > last_of_all, "{lasts:?} behind {last_of_all}");
        last_of_all = lasts[0];
    }
}

/// How many messages a session has, one number behind the other.
fn last_of(broker: &Broker, client_id: &str) -> u64 {
    let (mut client, was_there) = enter(broker, client_id);
    assert!(was_there, "the session");
    for last in 0.. {
        let payload = client.acknowledged_message();
        if payload == b"end" {
            return last;
        }
        assert_eq!(payload, (last + 1_u64).to_be_bytes());
    }
    0
}

#[test]
fn a_backup_is_the_same_on_a_learner_and_founds_a_cluster_that_grows() {
    let brokers = Broker::cluster_with_voters(4, 3);
    brokers[0].plain("publisher").publish_acknowledged("news", b"x");
    let applied = |broker: &Broker| broker.status().raft.last_applied_index;
    eventually("the learner has all", || {
        (applied(&brokers[3]) == applied(&brokers[0])).then_some(())
    });
    let backup = backup(&brokers[3]);
    let revision = brokers[0].status().policy.applied_revision;
    drop(brokers);
    let next = Broker::cluster_founded_by(3, |first| {
        assert_eq!(restored(first, path::RESTORE, &backup).backup.written_by, "fleet-3");
    });
    for broker in &next {
        eventually("each has the rights of before", || {
            (broker.status().policy.enforced_revision == revision).then_some(())
        });
    }
}

#[test]
fn what_can_not_be_restored_is_refused_and_the_broker_stays_empty() {
    let whole = backup(&full());
    let empty = Broker::start();
    let cut = &whole[..whole.len() - 40];
    let mut flipped = whole.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    let mut newer = whole.clone();
    newer[14] = 9;
    for (wrong, said) in [
        (cut, "its end is missing"),
        (&flipped[..], "damaged"),
        (&newer[..], "format 9"),
        (b"{}", "no backup"),
        (b"", "no backup"),
    ] {
        let body = refused(&empty, path::RESTORE, wrong);
        assert_eq!(body.reason, Reason::InvalidBackup);
        assert!(body.message.contains(said), "{}", body.message);
        assert_eq!(empty.status().state, BrokerState::Uninitialised);
    }
    let body = refused(&empty, "/v1/cluster/restore?allow_foregin=true", &whole);
    assert!(body.message.contains("allow_foregin"), "{}", body.message);
    let body = refused(&empty, path::BACKUP, b"");
    assert_eq!(body.reason, Reason::MethodNotAllowed);
    // It can be founded anew all the same; then a backup would replace what it has.
    empty.found();
    let body = refused(&empty, path::RESTORE, &whole);
    assert_eq!(body.reason, Reason::AlreadyInitialised);
    assert!(body.message.contains("foundedFrom"), "{}", body.message);
}

#[test]
fn a_backup_of_another_cluster_is_restored_only_where_that_is_asked_for() {
    let backup = backup(&full());
    let folder = tempfile::tempdir().unwrap();
    let pki = Pki::new(folder.path(), 1);
    let other = Broker::stranger(Path::new(PROGRAM), folder, pki, 0, "01KANOTHER", &[]);
    let body = refused(&other, path::RESTORE, &backup);
    assert_eq!(body.reason, Reason::ForeignBackup);
    assert!(body.message.contains("01KANOTHER") && body.message.contains("allow_foreign=true"));
    assert_eq!(other.status().state, BrokerState::Uninitialised);
    restored(&other, FOREIGN_ALLOWED, &backup);
    assert_eq!(other.status().cluster_id, "01KANOTHER");
    has_all(&other);
}

#[test]
fn a_broker_that_belongs_to_no_cluster_has_no_backup() {
    let empty = Broker::start();
    let body = refused_get(&empty);
    assert_eq!(body.reason, Reason::Unavailable);
    assert!(body.message.contains("ask another one"), "{}", body.message);
}

fn refused_get(broker: &Broker) -> ErrorBody {
    let (code, answer) = broker.call_bytes("GET", path::BACKUP, b"");
    assert_eq!(code, 503);
    serde_json::from_slice(&answer).unwrap()
}
