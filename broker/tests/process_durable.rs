//! What durable sessions have, on the disk of a broker that stands alone.
#![allow(clippy::unwrap_used, reason = "a test ends where something unexpected happens")]

mod support;

use broker_core::codec::encode;
use broker_core::codec::packet::{
    Connect, ConnectProperties, Packet, Publish, PublishAck, PublishProperties, Subscribe,
    SubscribeFilter, SubscribeFilters, SubscriptionOptions,
};
use broker_core::codec::{ReasonCode, UserProperties};
use broker_core::types::ProtocolVersion::V5;
use broker_core::types::{PacketId, QoS};
use support::alone::Alone;
use support::client::{Client, PUBACK, PUBLISH};
use support::eventually;

fn send(client: &mut Client, packet: &Packet<'_>) {
    let mut bytes = Vec::new();
    encode(packet, V5, &mut bytes).unwrap();
    client.send(&bytes);
}

/// Connects a client whose session outlives the connection.
fn connect(broker: &Alone, client_id: &str) -> Client {
    let mut client = eventually("the broker listens", || Client::try_plain(broker.address).ok());
    let properties =
        ConnectProperties { session_expiry_seconds: Some(3600), ..ConnectProperties::default() };
    let connect = Connect {
        version: V5,
        clean_start: false,
        keep_alive_seconds: 0,
        properties,
        client_id,
        will: None,
        user_name: None,
        password: None,
    };
    send(&mut client, &Packet::Connect(connect));
    assert_eq!(client.receive().unwrap().body[1], 0);
    client
}

fn subscribe(client: &mut Client, filter: &str) {
    let options = SubscriptionOptions { qos: QoS::AtLeastOnce, ..SubscriptionOptions::default() };
    let filters = [SubscribeFilter { filter, options }];
    let subscribe = Subscribe {
        packet_id: PacketId::MIN,
        subscription_id: None,
        user_properties: UserProperties::NONE,
        filters: SubscribeFilters::from_slice(&filters),
    };
    send(client, &Packet::Subscribe(subscribe));
    client.receive().unwrap();
}

/// Publishes with QoS 1; gives the reason code of PUBACK.
fn publish(client: &mut Client, topic: &str, payload: &[u8]) -> u8 {
    let publish = Publish {
        dup: false,
        qos: QoS::AtLeastOnce,
        retain: false,
        topic,
        packet_id: Some(PacketId::MIN),
        properties: PublishProperties::default(),
        payload,
    };
    send(client, &Packet::Publish(publish));
    let answer = client.receive().unwrap();
    assert_eq!(answer.kind(), PUBACK);
    answer.body.get(2).copied().unwrap_or(0)
}

#[test]
fn the_largest_packet_that_is_permitted_is_kept_over_a_kill() {
    let packet = 40 << 20;
    let mut broker =
        Alone::new(&format!("[mqtt]\npacket_bytes_max = {packet}\noutput_bytes_max = {packet}\n"));
    broker.start();
    let mut subscriber = connect(&broker, "s");
    subscribe(&mut subscriber, "t");
    drop(subscriber);
    let mut publisher = connect(&broker, "p");
    let payload: Vec<u8> = (0..packet - 100).map(|at| (at % 251) as u8).collect();
    assert_eq!(publish(&mut publisher, "t", b"before"), 0);
    assert_eq!(publish(&mut publisher, "t", &payload), 0);
    broker.kill();
    broker.start();
    let mut subscriber = connect(&broker, "s");
    for expected in [b"before", &payload[..]] {
        let received = subscriber.receive().unwrap();
        assert_eq!(received.kind(), PUBLISH);
        assert!(received.body.ends_with(expected), "{} bytes", received.body.len());
        let id = u16::from_be_bytes([received.body[3], received.body[4]]);
        let ack = PublishAck::new(PacketId::new(id).unwrap(), ReasonCode::Success);
        send(&mut subscriber, &Packet::PubAck(ack));
    }
}

#[test]
fn a_delayed_message_that_is_acknowledged_comes_after_a_kill() {
    let mut broker = Alone::new("");
    broker.start();
    let mut subscriber = connect(&broker, "s");
    subscribe(&mut subscriber, "t");
    let mut publisher = connect(&broker, "p");
    assert_eq!(publish(&mut publisher, "$delayed/2/t", b"later"), 0);
    broker.kill();
    broker.start();
    let mut subscriber = connect(&broker, "s");
    let received = subscriber.receive().unwrap();
    assert_eq!(received.kind(), PUBLISH);
    assert!(received.body.ends_with(b"later"));
}
