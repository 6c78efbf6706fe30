//! Messages to clients: windows, queues, limits, expiry, what is told of them.

use broker_policy::AclType;

use super::rig::*;
use crate::codec::UserProperties;
use crate::codec::packet::*;
use crate::engine::*;
use crate::types::ConnectionId;

fn with_receive_maximum(client_id: &str, receive_maximum: u16) -> Connect<'_> {
    let properties = ConnectProperties {
        receive_maximum: Some(receive_maximum),
        session_expiry_seconds: Some(60),
        ..ConnectProperties::default()
    };
    Connect { clean_start: false, properties, ..connect(client_id) }
}

fn publish_many(rig: &mut Rig, from: ConnectionId, payloads: &[&str]) {
    for payload in payloads {
        rig.send(from, &Packet::Publish(publish("t", AtLeastOnce, 1, payload)));
        rig.received(from);
    }
}

#[test]
fn no_more_than_the_clients_receive_maximum_is_in_flight() {
    let mut rig = Rig::new();
    let (a, b) = (rig.connect(with_receive_maximum("a", 2)), rig.client("b"));
    rig.subscribe(a, "t", AtLeastOnce);
    publish_many(&mut rig, b, &["1", "2", "3", "4"]);
    assert_eq!(rig.received(a), [r#"PUBLISH t q1 #1 "1""#, r#"PUBLISH t q1 #2 "2""#]);
    assert_eq!(rig.engine.counters().queued_messages, 2);
    rig.send(a, &Packet::PubAck(ack(2)));
    assert_eq!(rig.received(a), [r#"PUBLISH t q1 #3 "3""#]);
    rig.send(a, &Packet::PubAck(ack(1)));
    rig.send(a, &Packet::PubAck(ack(3)));
    assert_eq!(rig.received(a), [r#"PUBLISH t q1 #4 "4""#]);
    assert_eq!((rig.engine.counters().queued_messages, rig.engine.counters().queued_bytes), (0, 0));
}

#[test]
fn the_queue_of_an_offline_session_is_bounded_and_keeps_the_oldest() {
    let config = EngineConfig { queue_messages_max: 2, ..EngineConfig::default() };
    let mut rig = Rig::with(config, open_policy());
    let (a, b) = (rig.connect(returning("a")), rig.client("b"));
    rig.subscribe(a, "t", AtLeastOnce);
    rig.lose(a);
    publish_many(&mut rig, b, &["1", "2", "3"]);
    rig.send(b, &Packet::Publish(publish("t", AtMostOnce, 0, "lost")));
    assert_eq!(rig.engine.counters().dropped.queue_full, 1);
    let a = rig.open();
    rig.send(a, &Packet::Connect(returning("a")));
    let expected = ["CONNACK 0x00 present", r#"PUBLISH t q1 #1 "1""#, r#"PUBLISH t q1 #2 "2""#];
    assert_eq!(rig.received(a), expected);
}

#[test]
fn bytes_in_a_queue_are_bounded_too() {
    let config = EngineConfig { queue_bytes_max: 100, ..EngineConfig::default() };
    let mut rig = Rig::with(config, open_policy());
    let (a, b) = (rig.connect(returning("a")), rig.client("b"));
    rig.subscribe(a, "t", AtLeastOnce);
    rig.lose(a);
    publish_many(&mut rig, b, &["x".repeat(60).as_str(), "y".repeat(60).as_str(), "z"]);
    assert_eq!(rig.engine.counters().dropped.queue_full, 1);
    assert_eq!(rig.engine.counters().queued_messages, 2);
}

#[test]
fn what_was_not_acknowledged_is_sent_again_in_order_with_dup() {
    let mut rig = Rig::new();
    let (a, b) = (rig.connect(returning("a")), rig.client("b"));
    rig.subscribe(a, "t", ExactlyOnce);
    publish_many(&mut rig, b, &["1", "2"]);
    rig.send(b, &Packet::Publish(publish("t", ExactlyOnce, 2, "3")));
    rig.send(b, &Packet::Publish(publish("t", ExactlyOnce, 3, "4")));
    assert_eq!(rig.received(a).len(), 4);
    rig.send(a, &Packet::PubAck(ack(1)));
    rig.send(a, &Packet::PubRec(ack(3)));
    rig.lose(a);
    publish_many(&mut rig, b, &["5"]);
    let a = rig.open();
    rig.send(a, &Packet::Connect(returning("a")));
    let expected = [
        "CONNACK 0x00 present",
        r#"PUBLISH t q1 #2 dup "2""#,
        "PUBREL #3",
        r#"PUBLISH t q2 #4 dup "4""#,
        r#"PUBLISH t q1 #5 "5""#,
    ];
    assert_eq!(rig.received(a), expected);
}

#[test]
fn redelivery_respects_a_smaller_window() {
    let mut rig = Rig::new();
    let (a, b) = (rig.connect(with_receive_maximum("a", 10)), rig.client("b"));
    rig.subscribe(a, "t", AtLeastOnce);
    publish_many(&mut rig, b, &["1", "2", "3"]);
    rig.lose(a);
    let a = rig.connect(with_receive_maximum("a", 1));
    publish_many(&mut rig, b, &["4"]);
    let mut seen = Vec::new();
    for id in 1..=4 {
        rig.send(a, &Packet::PubAck(ack(id)));
        seen.extend(rig.received(a));
    }
    let expected =
        [r#"PUBLISH t q1 #2 dup "2""#, r#"PUBLISH t q1 #3 dup "3""#, r#"PUBLISH t q1 #4 "4""#];
    assert_eq!(seen, expected);
}

#[test]
fn a_message_expires_while_it_waits_and_its_interval_shrinks() {
    let mut rig = Rig::new();
    let (a, b) = (rig.connect(returning("a")), rig.client("b"));
    rig.subscribe(a, "t", AtLeastOnce);
    rig.lose(a);
    for (id, seconds) in [(1, 10), (2, 20)] {
        let properties = PublishProperties {
            message_expiry_seconds: Some(seconds),
            ..PublishProperties::default()
        };
        let publish = Publish { properties, ..publish("t", AtLeastOnce, id, "x") };
        rig.send(b, &Packet::Publish(publish));
    }
    rig.wait(12_000);
    let a = rig.open();
    rig.send(a, &Packet::Connect(returning("a")));
    assert_eq!(rig.received(a), ["CONNACK 0x00 present", r#"PUBLISH t q1 #1 expiry=8 "x""#]);
    assert_eq!(rig.engine.counters().dropped.expired, 1);
}

#[test]
fn properties_pass_through_and_311_does_without_them() {
    let mut rig = Rig::new();
    let (a, b) = (rig.client("a"), rig.connect(Connect { version: V311, ..connect("b") }));
    rig.subscribe(a, "t", AtMostOnce);
    rig.subscribe(b, "t", AtMostOnce);
    let properties = PublishProperties {
        content_type: Some("text/plain"),
        message_expiry_seconds: Some(5),
        topic_alias: Some(3),
        user_properties: UserProperties::from_pairs(&[("k", "v")]),
        ..PublishProperties::default()
    };
    let publish = Publish { properties, ..publish("t", AtLeastOnce, 1, "x") };
    rig.send(a, &Packet::Publish(publish));
    assert_eq!(rig.received(a)[0], r#"PUBLISH t q0 expiry=5 type=text/plain "x""#);
    assert_eq!(rig.received(b), [r#"PUBLISH t q0 "x""#]);
}

#[test]
fn a_message_larger_than_the_client_accepts_is_dropped_for_it() {
    let mut rig = Rig::new();
    let properties =
        ConnectProperties { packet_bytes_max: Some(30), ..ConnectProperties::default() };
    let a = rig.connect(Connect { properties, ..connect("a") });
    let b = rig.client("b");
    rig.subscribe(a, "t", AtLeastOnce);
    rig.subscribe(b, "t", AtLeastOnce);
    let long = "x".repeat(40);
    rig.send(b, &Packet::Publish(publish("t", AtLeastOnce, 1, &long)));
    rig.send(b, &Packet::Publish(publish("t", AtLeastOnce, 2, "short")));
    assert_eq!(rig.received(a), [r#"PUBLISH t q1 #1 "short""#]);
    assert_eq!(rig.received(b).len(), 4);
    assert_eq!(rig.engine.counters().dropped.too_large, 1);
}

#[test]
fn a_client_that_does_not_read_loses_qos_0_only() {
    let config = EngineConfig { output_bytes_soft_max: 1000, ..EngineConfig::default() };
    let mut rig = Rig::with(config, open_policy());
    let (a, b) = (rig.client("a"), rig.client("b"));
    rig.subscribe(a, "t", AtLeastOnce);
    let long = "x".repeat(600);
    for id in 1..=4 {
        rig.send(b, &Packet::Publish(publish("t", AtMostOnce, 0, &long)));
        rig.send(b, &Packet::Publish(publish("t", AtLeastOnce, id, &long)));
    }
    assert_eq!(rig.engine.counters().dropped.slow_consumer, 3);
    assert_eq!(rig.engine.counters().queued_messages, 3);
    let mut touched = Vec::new();
    rig.engine.take_touched(&mut touched);
    assert_eq!(rig.received(a).len(), 2);
    rig.engine.take_touched(&mut touched);
    assert_eq!(touched.last(), Some(&a));
    assert_eq!(rig.received(a).len() + rig.received(a).len(), 3);
    assert_eq!(rig.received(a).len(), 0);
}

#[test]
fn a_client_that_does_not_read_answers_is_not_read_either() {
    let config = EngineConfig { output_bytes_soft_max: 100, ..EngineConfig::default() };
    let mut rig = Rig::with(config, open_policy());
    let a = rig.client("a");
    let pings = [0xC0, 0].repeat(500);
    assert_eq!(rig.engine.receive(rig.now, a, &pings), Intake::Paused);
    let mut answers = 0;
    loop {
        let count = rig.received(a).len();
        if count == 0 {
            break;
        }
        assert!(count <= 102, "{count}");
        answers += count;
    }
    assert_eq!(answers, 500);
    rig.settle();
    assert_eq!(rig.resumed, [a, a]);
}

#[test]
fn the_right_to_receive_is_checked_at_delivery() {
    let acls = [(AclType::PublishClientReceive, "t/secret", false)];
    let mut rig = Rig::with(EngineConfig::default(), policy(&["u"], &acls));
    let a = rig.connect(Connect { user_name: Some("u"), ..connect("a") });
    let b = rig.client("b");
    rig.subscribe(a, "t/#", AtMostOnce);
    rig.subscribe(b, "t/#", AtMostOnce);
    for topic in ["t/secret", "t/open", "t/secret"] {
        rig.send(b, &Packet::Publish(publish(topic, AtMostOnce, 0, "x")));
    }
    assert_eq!(rig.received(a), [r#"PUBLISH t/open q0 "x""#]);
    assert_eq!(rig.received(b).len(), 3);
    assert_eq!(rig.engine.counters().dropped.receive_denied, 2);
}

#[test]
fn an_idle_connection_owns_no_buffer() {
    let mut rig = Rig::new();
    let a = rig.client("a");
    rig.subscribe(a, "t", AtLeastOnce);
    rig.send(a, &Packet::Publish(publish("t", AtLeastOnce, 1, "x")));
    rig.send_bytes(a, &[0xC0]);
    rig.send_bytes(a, &[0]);
    rig.received(a);
    let connection = rig.engine.connections.get(a).unwrap();
    assert_eq!((connection.output.len(), connection.input.capacity()), (0, 0));
}

#[test]
fn what_is_kept_until_it_is_acknowledged_is_bounded_in_bytes_too() {
    let config = EngineConfig { queue_bytes_max: 200, ..EngineConfig::default() };
    let mut rig = Rig::with(config, open_policy());
    let (a, b) = (rig.connect(returning("a")), rig.client("b"));
    rig.subscribe(a, "t", AtLeastOnce);
    let payload = "x".repeat(60);
    publish_many(&mut rig, b, &[payload.as_str(); 8]);
    // 3 in flight, 3 in the queue.
    assert_eq!(rig.received(a).len(), 3);
    let counters = *rig.engine.counters();
    assert_eq!((counters.queued_messages, counters.dropped.queue_full), (3, 2));
    assert_eq!(counters.in_flight_bytes, counters.queued_bytes);
    for id in 1..=6 {
        rig.send(a, &Packet::PubAck(ack(id)));
    }
    assert_eq!(rig.received(a).len(), 3);
    let counters = *rig.engine.counters();
    assert_eq!((counters.in_flight_bytes, counters.queued_bytes), (0, 0));
    // A single message is sent whatever its size.
    publish_many(&mut rig, b, &["x".repeat(500).as_str()]);
    assert_eq!(rig.received(a).len(), 1);
}

#[test]
fn messages_in_flight_count_in_the_total_of_all_sessions() {
    let config = EngineConfig { queued_bytes_total_max: 300, ..EngineConfig::default() };
    let mut rig = Rig::with(config, open_policy());
    let (a, b, c) = (rig.connect(returning("a")), rig.client("b"), rig.connect(returning("c")));
    rig.subscribe(a, "t", ExactlyOnce);
    rig.subscribe(c, "t", AtLeastOnce);
    let payload = "x".repeat(60);
    publish_many(&mut rig, b, &[payload.as_str(); 4]);
    assert_eq!(rig.received(a).len() + rig.received(c).len(), 4);
    assert_eq!(rig.engine.counters().dropped.queue_full, 4);
    // They move with their sessions, and end with them.
    let before = rig.engine.counters().in_flight_bytes;
    let a = rig.connect_returning("a");
    assert_eq!(rig.engine.counters().in_flight_bytes, before);
    rig.received(a);
    for (at, id) in [(a, 1), (a, 2), (c, 1)] {
        rig.send(at, &Packet::PubAck(ack(id)));
    }
    rig.send(
        a,
        &Packet::Disconnect(Disconnect {
            session_expiry_seconds: Some(0),
            ..Disconnect::default()
        }),
    );
    rig.send(c, &Packet::PubAck(ack(2)));
    assert_eq!(rig.engine.counters().in_flight_bytes, 0);
}
