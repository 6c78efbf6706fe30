//! Shared Subscriptions on one engine. Spec: MQTT 5.0 section 4.8.2.

use std::sync::Arc;

use broker_policy::AclType;

use super::rig::*;
use crate::codec::ReasonCode;
use crate::codec::packet::*;
use crate::engine::*;
use crate::types::{ConnectionId, QoS};

const FILTER: &str = "$share/g/t/+";

fn send(rig: &mut Rig, from: ConnectionId, qos: QoS, payload: &str) {
    rig.send(from, &Packet::Publish(publish("t/x", qos, u16::from(qos != AtMostOnce), payload)));
    rig.received(from);
}

/// Payloads that a client has been sent since the last call.
fn payloads(rig: &mut Rig, at: ConnectionId) -> Vec<String> {
    let packets = rig.received(at);
    let publishes = packets.iter().filter(|packet| packet.starts_with("PUBLISH "));
    publishes.map(|packet| packet.split('"').nth(1).unwrap().to_owned()).collect()
}

fn with_window(client_id: &str, receive_maximum: u16) -> Connect<'_> {
    let properties = ConnectProperties {
        receive_maximum: Some(receive_maximum),
        ..ConnectProperties::default()
    };
    Connect { properties, ..connect(client_id) }
}

/// A returning client with a window of one message.
fn narrow_returning(client_id: &str) -> Connect<'_> {
    let properties = ConnectProperties {
        session_expiry_seconds: Some(3600),
        receive_maximum: Some(1),
        ..ConnectProperties::default()
    };
    Connect { clean_start: false, properties, ..connect(client_id) }
}

#[test]
fn members_get_messages_in_turn_and_other_subscribers_all_of_them() {
    let mut rig = Rig::new();
    let (a, b) = (rig.client("a"), rig.connect(Connect { version: V311, ..connect("b") }));
    let (whole, publisher) = (rig.client("whole"), rig.client("publisher"));
    let options = SubscriptionOptions { qos: AtLeastOnce, ..SubscriptionOptions::default() };
    rig.send(a, &subscribe_with(1, FILTER, options, Some(7)));
    assert_eq!(rig.received(a), ["SUBACK #1 0x01"]);
    rig.subscribe(b, FILTER, AtMostOnce);
    rig.subscribe(whole, "t/#", AtMostOnce);
    for payload in ["1", "2", "3", "4"] {
        send(&mut rig, publisher, AtLeastOnce, payload);
    }
    let (of_a, of_b) = (rig.received(a), rig.received(b));
    assert_eq!((of_a.len(), of_b.len()), (2, 2));
    assert!(of_a[0].starts_with("PUBLISH t/x q1 #1 sub=7 "), "{of_a:?}");
    assert!(of_b[0].starts_with("PUBLISH t/x q0 \""), "{of_b:?}");
    assert_ne!(of_a[0].split('"').nth(1), of_b[0].split('"').nth(1));
    assert_eq!(payloads(&mut rig, whole), ["1", "2", "3", "4"]);
}

#[test]
fn groups_of_other_names_and_filters_each_get_a_copy() {
    let mut rig = Rig::new();
    let (a, b) = (rig.client("a"), rig.client("b"));
    for (id, filter) in [(1, FILTER), (2, "$share/h/t/+"), (3, "$share/g/t/x"), (4, "t/x")] {
        rig.send(a, &subscribe(id, filter, AtMostOnce));
    }
    rig.received(a);
    send(&mut rig, b, AtMostOnce, "x");
    assert_eq!(payloads(&mut rig, a).len(), 4);
    rig.send(a, &unsubscribe(5, FILTER));
    assert_eq!(rig.received(a), ["UNSUBACK #5 0x00"]);
    send(&mut rig, b, AtMostOnce, "x");
    assert_eq!(payloads(&mut rig, a).len(), 3);
}

#[test]
fn no_local_is_a_protocol_error_and_retained_messages_are_not_sent() {
    let mut rig = Rig::new();
    let (a, b) = (rig.client("a"), rig.client("b"));
    let retained = Publish { retain: true, ..publish("t/x", AtMostOnce, 0, "kept") };
    rig.send(b, &Packet::Publish(retained));
    rig.subscribe(a, FILTER, AtLeastOnce);
    assert_eq!(rig.received(a), [""; 0]);
    rig.send(a, &subscribe(1, "t/x", AtLeastOnce));
    assert_eq!(payloads(&mut rig, a), ["kept"]);
    let bytes = b"\x82\x12\x00\x02\x00\x00\x0c$share/g/t/+\x04";
    rig.send_bytes(b, bytes);
    assert_eq!(rig.received(b), ["DISCONNECT 0x82"]);
}

#[test]
fn the_right_to_subscribe_is_that_of_the_whole_filter() {
    let acls = [
        (AclType::SubscribePattern, "#", false),
        (AclType::SubscribePattern, "$share/+/denied/#", false),
        (AclType::SubscribeLiteral, "$share/g/literal", false),
    ];
    let mut rig = Rig::with(EngineConfig::default(), policy(&["u"], &acls));
    let a = rig.connect(Connect { user_name: Some("u"), ..connect("a") });
    for (filter, code) in [
        ("t", "0x87"),
        ("$share/g/t", "0x00"),
        ("$share/g/denied/x", "0x87"),
        ("$share/g/literal", "0x87"),
        ("$share/h/literal", "0x00"),
    ] {
        rig.send(a, &subscribe(1, filter, AtMostOnce));
        assert_eq!(rig.received(a), [format!("SUBACK #1 {code}")], "{filter}");
    }
}

#[test]
fn a_member_that_may_not_receive_from_the_topic_is_passed_over() {
    let acls = [(AclType::PublishClientReceive, "t/x", false)];
    let mut rig = Rig::with(EngineConfig::default(), policy(&["u"], &acls));
    let a = rig.connect(Connect { user_name: Some("u"), ..connect("a") });
    let (b, publisher) = (rig.client("b"), rig.client("publisher"));
    rig.subscribe(a, FILTER, AtMostOnce);
    rig.subscribe(b, FILTER, AtMostOnce);
    for _ in 0..3 {
        send(&mut rig, publisher, AtMostOnce, "x");
    }
    assert_eq!((payloads(&mut rig, a).len(), payloads(&mut rig, b).len()), (0, 3));
    rig.send(b, &unsubscribe(2, FILTER));
    send(&mut rig, publisher, AtMostOnce, "x");
    assert_eq!(payloads(&mut rig, a), [""; 0]);
    assert_eq!(rig.engine.counters().dropped.receive_denied, 1);
}

#[test]
fn suback_waits_for_others_to_know_how_many_members_there_are() {
    let mut rig = Rig::new();
    rig.answers.interest = false;
    let (a, b) = (rig.client("a"), rig.client("b"));
    rig.send(a, &subscribe(1, FILTER, AtMostOnce));
    rig.send(b, &subscribe(1, FILTER, AtMostOnce));
    assert_eq!((rig.received(a), rig.received(b)), (vec![], vec![]));
    let shared = |seq, connected| Effect::Interest {
        seq: InterestSeq(seq),
        changes: vec![InterestChange::Shared {
            filter: Arc::from(FILTER),
            members: SharedMembers { connected, offline: 0, ..SharedMembers::NONE },
        }],
    };
    assert_eq!(rig.effects, [shared(1, 1), shared(2, 2)]);
    rig.engine.interest_confirmed(rig.now, InterestSeq(1));
    assert_eq!((rig.received(a).len(), rig.received(b).len()), (1, 0));
    rig.engine.interest_confirmed(rig.now, InterestSeq(2));
    assert_eq!(rig.received(b), ["SUBACK #1 0x00"]);
    rig.lose(b);
    rig.send(a, &unsubscribe(2, FILTER));
    let told: Vec<_> =
        rig.effects.iter().filter(|effect| matches!(effect, Effect::Interest { .. })).collect();
    assert_eq!(told[2..], [&shared(3, 1), &shared(4, 0)]);
    assert!(rig.engine.interest().is_empty());
}

#[test]
fn a_full_window_is_passed_over_and_when_all_are_full_messages_wait() {
    let mut rig = Rig::new();
    let a = rig.connect(with_window("a", 1));
    let (b, publisher) = (rig.connect(with_window("b", 3)), rig.client("publisher"));
    rig.subscribe(a, FILTER, AtLeastOnce);
    rig.subscribe(b, FILTER, AtLeastOnce);
    for number in 0..6 {
        send(&mut rig, publisher, AtLeastOnce, &number.to_string());
    }
    assert_eq!((payloads(&mut rig, a).len(), payloads(&mut rig, b).len()), (1, 3));
    assert_eq!(rig.engine.counters().queued_messages, 2);
    for id in 1..=3 {
        rig.send(b, &Packet::PubAck(ack(id)));
    }
    rig.send(a, &Packet::PubAck(ack(1)));
    assert_eq!(payloads(&mut rig, a).len() + payloads(&mut rig, b).len(), 2);
}

#[test]
fn an_offline_member_gets_messages_only_while_nobody_is_connected() {
    let mut rig = Rig::new();
    let (a, b) = (rig.connect(returning("a")), rig.client("b"));
    let publisher = rig.client("publisher");
    rig.subscribe(a, FILTER, AtLeastOnce);
    rig.subscribe(b, FILTER, AtLeastOnce);
    rig.lose(a);
    for payload in ["1", "2", "3"] {
        send(&mut rig, publisher, AtLeastOnce, payload);
    }
    assert_eq!(payloads(&mut rig, b), ["1", "2", "3"]);
    for id in 1..=3 {
        rig.send(b, &Packet::PubAck(ack(id)));
    }
    rig.lose(b);
    send(&mut rig, publisher, AtLeastOnce, "4");
    send(&mut rig, publisher, AtMostOnce, "lost");
    assert_eq!(rig.engine.counters().queued_messages, 1);
    let a = rig.connect_returning("a");
    assert_eq!(payloads(&mut rig, a), ["4"]);
}

#[test]
fn what_a_member_has_not_acknowledged_goes_to_another_when_its_session_ends() {
    let mut rig = Rig::new();
    let (a, publisher) = (rig.connect(with_window("a", 3)), rig.client("publisher"));
    rig.subscribe(a, FILTER, ExactlyOnce);
    for (qos, payload) in
        [(AtLeastOnce, "done"), (AtLeastOnce, "1"), (ExactlyOnce, "sent"), (ExactlyOnce, "2")]
    {
        rig.send(publisher, &Packet::Publish(publish("t/x", qos, 9, payload)));
        rig.send(publisher, &Packet::PubRel(ack(9)));
    }
    assert_eq!(payloads(&mut rig, a), ["done", "1", "sent"]);
    rig.send(a, &Packet::PubAck(ack(1)));
    assert_eq!(payloads(&mut rig, a), ["2"]);
    rig.send(publisher, &Packet::Publish(publish("t/x", ExactlyOnce, 9, "3")));
    let b = rig.client("b");
    rig.subscribe(b, FILTER, ExactlyOnce);
    rig.lose(a);
    // "sent" and "2" were sent with QoS 2: nobody else may get them. [MQTT-4.8.2-5]
    assert_eq!(rig.received(b), [r#"PUBLISH t/x q1 #1 "1""#, r#"PUBLISH t/x q2 #2 "3""#]);
    assert_eq!(rig.engine.counters().shared_redispatched, 2);
    rig.lose(b);
    assert_eq!(rig.engine.counters().dropped.no_shared_member, 1);
}

#[test]
fn unsubscribing_gives_away_what_waits_and_keeps_what_is_sent() {
    let mut rig = Rig::new();
    let a = rig.connect(with_window("a", 1));
    let publisher = rig.client("publisher");
    rig.subscribe(a, FILTER, AtLeastOnce);
    send(&mut rig, publisher, AtLeastOnce, "1");
    send(&mut rig, publisher, AtLeastOnce, "2");
    let b = rig.client("b");
    rig.subscribe(b, FILTER, AtLeastOnce);
    rig.send(a, &unsubscribe(2, FILTER));
    assert_eq!(rig.received(a), [r#"PUBLISH t/x q1 #1 "1""#, "UNSUBACK #2 0x00"]);
    assert_eq!(payloads(&mut rig, b), ["2"]);
    assert_eq!(rig.engine.counters().queued_bytes, 0);
    rig.lose(a);
    assert_eq!(payloads(&mut rig, b), ["1"], "the client has never acknowledged it");
}

#[test]
fn a_message_that_a_member_refuses_goes_to_nobody_else() {
    let mut rig = Rig::new();
    let (a, publisher) = (rig.client("a"), rig.client("publisher"));
    rig.subscribe(a, FILTER, ExactlyOnce);
    send(&mut rig, publisher, AtLeastOnce, "1");
    send(&mut rig, publisher, ExactlyOnce, "2");
    let b = rig.client("b");
    rig.subscribe(b, FILTER, ExactlyOnce);
    let refusal = ReasonCode::UnspecifiedError;
    rig.send(a, &Packet::PubAck(ack_with(1, refusal)));
    rig.send(a, &Packet::PubRec(ack_with(2, refusal)));
    rig.lose(a);
    assert_eq!(rig.received(b), [""; 0]);
    assert_eq!(rig.engine.counters().shared_redispatched, 0);
}

#[test]
fn what_was_sent_waits_for_a_member_that_comes_back_and_what_was_not_does_not() {
    let mut rig = Rig::new();
    let (a, publisher) = (rig.connect(narrow_returning("a")), rig.client("publisher"));
    rig.subscribe(a, FILTER, AtLeastOnce);
    send(&mut rig, publisher, AtLeastOnce, "1");
    send(&mut rig, publisher, AtLeastOnce, "2");
    assert_eq!(payloads(&mut rig, a), ["1"]);
    let b = rig.client("b");
    rig.subscribe(b, FILTER, AtLeastOnce);
    rig.lose(a);
    assert_eq!(payloads(&mut rig, b), ["2"]);
    let a = rig.open();
    rig.send(a, &Packet::Connect(narrow_returning("a")));
    assert_eq!(rig.received(a)[1..], [r#"PUBLISH t/x q1 #1 dup "1""#]);
    assert_eq!(payloads(&mut rig, b), [""; 0]);
}

#[test]
fn a_session_that_moves_takes_its_messages_along_and_gives_them_away_when_it_ends() {
    let mut rig = Rig::new();
    let (a, publisher) = (rig.connect(narrow_returning("a")), rig.client("publisher"));
    rig.subscribe(a, FILTER, AtLeastOnce);
    send(&mut rig, publisher, AtLeastOnce, "1");
    send(&mut rig, publisher, AtLeastOnce, "2");
    let a = rig.open();
    rig.send(a, &Packet::Connect(narrow_returning("a")));
    assert_eq!(rig.received(a)[1..], [r#"PUBLISH t/x q1 #1 dup "1""#]);
    let b = rig.client("b");
    rig.subscribe(b, FILTER, AtLeastOnce);
    rig.connect(connect("a"));
    assert_eq!(payloads(&mut rig, b), ["1", "2"]);
    assert_eq!(rig.engine.counters().queued_messages, 0);
}

#[test]
fn messages_to_nobody_are_told_to_the_publisher() {
    let mut rig = Rig::new();
    let (a, publisher) = (rig.client("a"), rig.client("publisher"));
    rig.subscribe(a, FILTER, AtMostOnce);
    rig.send(publisher, &Packet::Publish(publish("t/x", AtLeastOnce, 1, "x")));
    rig.send(a, &unsubscribe(2, FILTER));
    rig.send(publisher, &Packet::Publish(publish("t/x", AtLeastOnce, 2, "x")));
    assert_eq!(rig.received(publisher), ["PUBACK #1", "PUBACK #2 0x10"]);
}
