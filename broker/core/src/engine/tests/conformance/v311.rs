//! What MQTT 3.1.1 asks where 5.0 asks it in other words, or not at all.

use super::super::rig::*;
use crate::codec::packet::*;
use crate::types::{ConnectionId, QoS};

fn lasting(client_id: &str) -> Connect<'_> {
    Connect { version: V311, clean_start: false, ..connect(client_id) }
}

fn clean(client_id: &str) -> Connect<'_> {
    Connect { version: V311, ..connect(client_id) }
}

fn publish_all(rig: &mut Rig, from: ConnectionId, messages: &[(QoS, &str)]) {
    for (number, &(qos, payload)) in messages.iter().enumerate() {
        let id = if qos == AtMostOnce { 0 } else { number as u16 + 1 };
        rig.send(from, &Packet::Publish(publish("t", qos, id, payload)));
        rig.send(from, &Packet::PubRel(ack(number as u16 + 1)));
    }
    rig.received(from);
}

#[test]
fn a_session_without_clean_session_keeps_what_comes_meanwhile() {
    let mut rig = Rig::new();
    let (a, b) = (rig.connect(lasting("a")), rig.connect(clean("b")));
    rig.subscribe(a, "t", ExactlyOnce);
    rig.lose(a);
    publish_all(&mut rig, b, &[(AtLeastOnce, "1"), (ExactlyOnce, "2")]);
    rig.wait(1_000_000_000);
    let a = rig.open();
    rig.send(a, &Packet::Connect(lasting("a")));
    let expected = ["CONNACK 0x00 present", r#"PUBLISH t q1 #1 "1""#, r#"PUBLISH t q2 #2 "2""#];
    assert_eq!(rig.received(a), expected);
}

#[test]
fn what_is_unacknowledged_is_sent_again_in_its_order() {
    let mut rig = Rig::new();
    let (a, b) = (rig.connect(lasting("a")), rig.connect(clean("b")));
    rig.subscribe(a, "t", ExactlyOnce);
    let messages = [(AtLeastOnce, "1"), (ExactlyOnce, "2"), (ExactlyOnce, "3"), (AtLeastOnce, "4")];
    publish_all(&mut rig, b, &messages);
    assert_eq!(rig.received(a).len(), 4);
    rig.send(a, &Packet::PubRec(ack(2)));
    assert_eq!(rig.received(a), ["PUBREL #2"]);
    rig.lose(a);
    let a = rig.open();
    rig.send(a, &Packet::Connect(lasting("a")));
    let expected = [
        "CONNACK 0x00 present",
        r#"PUBLISH t q1 #1 dup "1""#,
        "PUBREL #2",
        r#"PUBLISH t q2 #3 dup "3""#,
        r#"PUBLISH t q1 #4 dup "4""#,
    ];
    assert_eq!(rig.received(a), expected);
}

#[test]
fn a_clean_session_finds_nothing_and_leaves_nothing_but_what_is_retained() {
    let mut rig = Rig::new();
    let a = rig.connect(lasting("a"));
    rig.subscribe(a, "t", AtLeastOnce);
    rig.lose(a);
    for _ in 0..2 {
        let a = rig.open();
        rig.send(a, &Packet::Connect(clean("a")));
        assert_eq!(rig.received(a), ["CONNACK 0x00"]);
        assert_eq!(rig.engine.counters().subscriptions, 0);
        rig.subscribe(a, "t", AtLeastOnce);
        let kept = Publish { retain: true, ..publish("kept", AtLeastOnce, 1, "x") };
        rig.send(a, &Packet::Publish(kept));
        rig.lose(a);
        assert_eq!(rig.engine.counters().sessions, 0);
    }
    let b = rig.connect(clean("b"));
    rig.send(b, &subscribe(1, "kept", AtLeastOnce));
    assert_eq!(rig.received(b), ["SUBACK #1 0x01", r#"PUBLISH kept q1 #1 retain "x""#]);
}

#[test]
fn errors_and_a_take_over_close_without_a_packet() {
    let mut rig = Rig::new();
    let old = rig.connect(clean("a"));
    let new = rig.connect(clean("a"));
    assert!(rig.is_closed(old) && rig.received(old).is_empty());
    rig.send(new, &Packet::Connect(clean("a")));
    assert!(rig.is_closed(new) && rig.received(new).is_empty());
}

#[test]
fn each_packet_is_answered_under_its_identifier() {
    let mut rig = Rig::new();
    let a = rig.connect(clean("a"));
    let answers = [
        (Packet::Publish(publish("t", AtLeastOnce, 5, "x")), "PUBACK #5"),
        (Packet::Publish(publish("t", ExactlyOnce, 6, "x")), "PUBREC #6"),
        (Packet::Publish(publish("t", ExactlyOnce, 6, "x")), "PUBREC #6"),
        (Packet::PubRel(ack(6)), "PUBCOMP #6"),
        (subscribe(7, "u/+", ExactlyOnce), "SUBACK #7 0x02"),
        (unsubscribe(8, "u/x"), "UNSUBACK #8"),
        (unsubscribe(9, "u/+"), "UNSUBACK #9"),
        (Packet::PingReq, "PINGRESP"),
    ];
    for (packet, expected) in answers {
        rig.send(a, &packet);
        assert_eq!(rig.received(a), [expected]);
    }
    assert_eq!(rig.engine.counters().subscriptions, 0);
}

#[test]
fn a_will_goes_with_disconnect_and_is_published_without_it() {
    let mut rig = Rig::new();
    let watcher = rig.connect(clean("watcher"));
    rig.subscribe(watcher, "will/a", AtMostOnce);
    let with_will = Connect { will: Some(will("will/a", 0)), ..clean("a") };
    let a = rig.connect(with_will);
    rig.send(a, &Packet::Disconnect(Disconnect::default()));
    assert!(rig.is_closed(a));
    rig.lose(a);
    assert_eq!(rig.received(watcher), [""; 0]);
    let a = rig.connect(with_will);
    rig.lose(a);
    assert_eq!(rig.received(watcher), [r#"PUBLISH will/a q0 "gone""#]);
}
