//! Three brokers as processes where a quorum is lost for a while, and where many connections want
//! the same client id.
#![allow(clippy::unwrap_used, reason = "a test ends where something unexpected happens")]

mod support;

use broker_admin_api::path;
use broker_config::{Durability, PartitionPolicy, RawDurabilityRule};

use support::broker::Broker;
use support::client::{
    CONNACK, Client, DISCONNECT, PUBACK, PUBLISH, Packet, connect, connect_with_will, packet,
};
use support::eventually;
use support::process::request;

fn readiness(broker: &Broker) -> (u16, String) {
    let device = broker.pki.device();
    request(broker.process.admin, &device, "GET", path::READYZ, "").unwrap()
}

#[test]
fn a_broker_that_no_quorum_reaches_sends_its_clients_away_until_one_does() {
    let brokers = Broker::cluster(3);
    let (alone, others) = brokers.split_first().unwrap();
    let mut client = alone.plain("c");
    for other in others {
        other.process.signal("STOP");
    }
    assert_eq!(client.expect(DISCONNECT).body[0], 0x8B);
    let (code, why) = eventually("not ready", || {
        let answer = readiness(alone);
        (answer.0 == 503).then_some(answer)
    });
    assert!(code == 503 && why.contains("fenced"), "{why}");
    for other in others {
        other.process.signal("CONT");
    }
    eventually("ready again", || (readiness(alone).0 == 200).then_some(()));
    eventually("clients come in again", || {
        let mut client = Client::try_plain(alone.process.listener("plain")).ok()?;
        (client.connect("c", Some("pump"), b"secret") == 0).then_some(())
    });
}

#[test]
fn of_many_connections_with_one_client_id_one_stays() {
    let brokers = Broker::cluster(3);
    let connect_to = |broker: &Broker| {
        let mut client = Client::plain(broker.process.listener("plain"));
        client.send(&connect("device", Some("pump"), b"secret", false));
        client
    };
    // All at once: nobody waits for its answer.
    let clients: Vec<Client> = (0..8).flat_map(|_| brokers.iter().map(connect_to)).collect();
    let answered = clients.into_iter().map(|mut client| {
        std::thread::spawn(move || {
            let is_granted = |packet: &Packet| packet.kind() == CONNACK && packet.body[1] == 0;
            client.receive().is_some_and(|packet| is_granted(&packet)).then_some(client)
        })
    });
    let answered: Vec<_> = answered.collect();
    let mut granted: Vec<Client> =
        answered.into_iter().filter_map(|client| client.join().unwrap()).collect();
    assert!(!granted.is_empty());
    eventually("one connection is left", || {
        let open: u64 = brokers.iter().map(|broker| broker.status().connections).sum();
        (open == 1).then_some(())
    });
    let sessions: u64 = brokers.iter().map(|broker| broker.status().sessions).sum();
    assert_eq!(sessions, 1);
    // It is the one that a ping comes back to.
    let mut alive = 0;
    for client in &mut granted {
        let told = client.try_send(&[0xC0, 0]).is_ok().then(|| client.receive()).flatten();
        match told {
            Some(packet) if packet.kind() == DISCONNECT => assert_eq!(packet.body[0], 0x8E),
            Some(_) => alive += 1,
            None => {}
        }
    }
    assert_eq!(alive, 1);
}

/// A broker that serves whatever it may in a partition, alone for long enough.
fn serving_alone() -> Vec<Broker> {
    let brokers = Broker::cluster_with(3, |raw| raw.partition_policy = PartitionPolicy::Serve);
    for other in &brokers[1..] {
        other.process.signal("STOP");
    }
    brokers[0]
        .process
        .log("no leader is heard: this broker serves what needs no quorum (partition_policy)");
    brokers
}

/// Connects; the reason code of the answer.
fn enter(broker: &Broker, client_id: &str, clean: bool) -> (u8, Client) {
    let mut client = Client::plain(broker.process.listener("plain"));
    client.send(&connect(client_id, Some("pump"), b"secret", clean));
    let connack = client.expect(CONNACK);
    (connack.body[1], client)
}

/// PUBLISH of QoS 1 by a 5.0 client; the reason code of its PUBACK.
fn publish(client: &mut Client, topic: &str, retain: bool) -> u8 {
    let length = (topic.len() as u16).to_be_bytes();
    let body = [&length[..], topic.as_bytes(), &[0, 1, 0], b"x"].concat();
    client.send(&packet(0x32 | u8::from(retain), &body));
    client.expect(PUBACK).body.get(2).copied().unwrap_or(0)
}

#[test]
fn a_broker_told_to_serve_lets_clients_in_that_need_no_quorum_and_no_others() {
    let brokers = serving_alone();
    let alone = &brokers[0];
    let (code, mut subscriber) = enter(alone, "subscriber", true);
    assert_eq!(code, 0);
    subscriber.subscribe("news", 0);
    let (code, mut first) = enter(alone, "device", true);
    assert_eq!(code, 0);
    let (code, mut publisher) = enter(alone, "device", true);
    assert_eq!(code, 0);
    assert_eq!(first.expect(DISCONNECT).body[0], 0x8E, "one connection per client id");
    publisher.send(&packet(0x30, b"\0\x04news\0x"));
    assert!(subscriber.expect(PUBLISH).body.ends_with(b"x"));
    assert_eq!(enter(alone, "durable", false).0, 0x88, "its session could not be kept");
    assert!(publish(&mut publisher, "kept", true) >= 0x80, "nothing can be retained");
    for other in &brokers[1..] {
        other.process.signal("CONT");
    }
    alone.process.log("this broker serves with the cluster again");
    eventually("it serves with the cluster", || {
        (enter(alone, "durable", false).0 == 0).then_some(())
    });
    // The cluster hears who is here: a newer connection elsewhere takes the identifier over.
    eventually("the other broker lets clients in", || {
        (enter(&brokers[1], "device", true).0 == 0).then_some(())
    });
    assert_eq!(publisher.expect(DISCONNECT).body[0], 0x8E);
}

#[test]
fn the_will_of_a_client_that_went_while_there_was_no_quorum_comes_when_there_is_one() {
    let brokers = Broker::cluster_with(3, |raw| raw.partition_policy = PartitionPolicy::Serve);
    let (_, mut watcher) = enter(&brokers[0], "watcher", false);
    watcher.subscribe("wills", 1);
    let (_, mut publisher) = enter(&brokers[0], "publisher", true);
    let mut mourned = Client::plain(brokers[0].process.listener("plain"));
    mourned.send(&connect_with_will("mourned", "wills", b"gone", 0));
    assert_eq!(mourned.expect(CONNACK).body[1], 0);
    for other in &brokers[1..] {
        other.process.signal("STOP");
    }
    // Something is on its way when the client goes: its end waits behind that, and is given up with
    // it. Were it first, the log would have it, and the quorum commit it later.
    publisher.send(&packet(0x33, b"\0\x04kept\0\x01\0x"));
    publisher.ping();
    drop(mourned);
    assert!(publisher.expect(PUBACK).body[2] >= 0x80, "nothing can be retained");
    assert!(publish(&mut publisher, "kept", true) >= 0x80, "still nothing");
    for other in &brokers[1..] {
        other.process.signal("CONT");
    }
    assert_eq!(watcher.acknowledged_message(), b"gone");
    // It counts as connected nowhere: nothing more comes of it.
    assert!(publish(&mut publisher, "wills", false) < 0x80);
    assert_eq!(watcher.acknowledged_message(), b"x");
}

#[test]
fn without_a_quorum_a_topic_of_durability_memory_is_acknowledged_and_another_one_is_not() {
    let brokers = Broker::cluster_with(3, |raw| {
        raw.partition_policy = PartitionPolicy::Serve;
        let (filter, durability) = ("telemetry/#".to_owned(), Durability::Memory);
        raw.durability_rules = vec![RawDurabilityRule { filter, durability }];
    });
    let (code, mut reader) = enter(&brokers[0], "reader", false);
    assert_eq!(code, 0);
    reader.subscribe("#", 1);
    drop(reader);
    let (_, mut slow) = enter(&brokers[0], "slow", true);
    let (_, mut quick) = enter(&brokers[0], "quick", true);
    assert!(publish(&mut slow, "orders/1", false) < 0x80);
    for other in &brokers[1..] {
        other.process.signal("STOP");
    }
    assert!(publish(&mut quick, "telemetry/1", false) < 0x80);
    assert!(publish(&mut quick, "telemetry/2", true) < 0x80, "a retained one, too");
    assert!(publish(&mut slow, "orders/2", false) >= 0x80);
    for other in &brokers[1..] {
        other.process.signal("CONT");
    }
    eventually("a message is committed again", || {
        (publish(&mut slow, "orders/3", false) < 0x80).then_some(())
    });
}
