//! Chapters 4.3, 4.4 and 4.9: acknowledgements, sending again, and the window.

use super::super::rig::*;
use crate::codec::ReasonCode;
use crate::codec::packet::*;

fn narrow(client_id: &str) -> Connect<'_> {
    let properties = ConnectProperties {
        receive_maximum: Some(1),
        session_expiry_seconds: Some(60),
        ..ConnectProperties::default()
    };
    Connect { clean_start: false, properties, ..connect(client_id) }
}

#[test]
fn after_puback_the_same_identifier_is_a_new_message() {
    let mut rig = Rig::new();
    let (a, b) = (rig.client("a"), rig.client("b"));
    rig.subscribe(a, "t", AtMostOnce);
    for dup in [false, true, false] {
        let packet = Publish { dup, ..publish("t", AtLeastOnce, 7, "x") };
        rig.send(b, &Packet::Publish(packet));
        assert_eq!(rig.received(b), ["PUBACK #7"]);
        assert_eq!(rig.received(a), [r#"PUBLISH t q0 "x""#]);
    }
}

#[test]
fn a_qos_2_message_is_sent_in_four_steps_under_one_identifier() {
    let mut rig = Rig::new();
    let (a, b) = (rig.connect(narrow("a")), rig.client("b"));
    rig.subscribe(a, "t", ExactlyOnce);
    rig.send(b, &Packet::Publish(publish("t", ExactlyOnce, 1, "x")));
    rig.send(b, &Packet::Publish(publish("t", ExactlyOnce, 2, "y")));
    assert_eq!(rig.received(a), [r#"PUBLISH t q2 #1 "x""#]);
    rig.send(a, &Packet::PubRec(ack(1)));
    assert_eq!(rig.received(a), ["PUBREL #1"]);
    rig.lose(a);
    let a = rig.open();
    rig.send(a, &Packet::Connect(narrow("a")));
    assert_eq!(rig.received(a), ["CONNACK 0x00 present", "PUBREL #1"]);
    rig.send(a, &Packet::PubComp(ack(1)));
    assert_eq!(rig.received(a), [r#"PUBLISH t q2 #2 "y""#]);
}

#[test]
fn a_message_that_was_sent_does_not_expire_any_more() {
    let mut rig = Rig::new();
    let (a, b) = (rig.connect(returning("a")), rig.client("b"));
    rig.subscribe(a, "t", ExactlyOnce);
    let properties =
        PublishProperties { message_expiry_seconds: Some(5), ..PublishProperties::default() };
    let packet = Publish { properties, ..publish("t", ExactlyOnce, 1, "x") };
    rig.send(b, &Packet::Publish(packet));
    assert_eq!(rig.received(a), [r#"PUBLISH t q2 #1 expiry=5 "x""#]);
    rig.wait(10_000);
    rig.send(a, &Packet::PubRec(ack(1)));
    assert_eq!(rig.received(a), ["PUBREL #1"]);
    // The publisher's exchange goes on too.
    rig.received(b);
    rig.send(b, &Packet::PubRel(ack(1)));
    assert_eq!(rig.received(b), ["PUBCOMP #1"]);
}

#[test]
fn what_was_refused_is_not_sent_again() {
    let mut rig = Rig::new();
    let (a, b) = (rig.connect(returning("a")), rig.client("b"));
    rig.subscribe(a, "t", ExactlyOnce);
    rig.send(b, &Packet::Publish(publish("t", AtLeastOnce, 1, "x")));
    rig.send(b, &Packet::Publish(publish("t", ExactlyOnce, 2, "y")));
    rig.received(a);
    let refusal = ReasonCode::UnspecifiedError;
    rig.send(a, &Packet::PubAck(ack_with(1, refusal)));
    rig.send(a, &Packet::PubRec(ack_with(2, refusal)));
    rig.lose(a);
    let a = rig.open();
    rig.send(a, &Packet::Connect(returning("a")));
    assert_eq!(rig.received(a), ["CONNACK 0x00 present"]);
}

#[test]
fn nothing_is_sent_again_while_the_connection_is_open() {
    let mut rig = Rig::new();
    let (a, b) = (rig.connect(returning("a")), rig.client("b"));
    rig.subscribe(a, "t", AtLeastOnce);
    rig.send(b, &Packet::Publish(publish("t", AtLeastOnce, 1, "x")));
    assert_eq!(rig.received(a), [r#"PUBLISH t q1 #1 "x""#]);
    rig.wait(1_000_000_000);
    rig.send(a, &Packet::PingReq);
    assert_eq!(rig.received(a), ["PINGRESP"]);
}

#[test]
fn a_full_window_delays_messages_and_nothing_else() {
    let mut rig = Rig::new();
    let (a, b) = (rig.connect(narrow("a")), rig.client("b"));
    rig.subscribe(a, "t", AtLeastOnce);
    for id in 1..=3 {
        rig.send(b, &Packet::Publish(publish("t", AtLeastOnce, id, "x")));
    }
    assert_eq!(rig.received(a), [r#"PUBLISH t q1 #1 "x""#]);
    let answers = [
        (Packet::PingReq, "PINGRESP"),
        (subscribe(1, "u", AtMostOnce), "SUBACK #1 0x00"),
        (unsubscribe(2, "u"), "UNSUBACK #2 0x00"),
        (Packet::Publish(publish("v", AtLeastOnce, 3, "x")), "PUBACK #3 0x10"),
        (Packet::Publish(publish("v", ExactlyOnce, 4, "x")), "PUBREC #4 0x10"),
        (Packet::PubRel(ack(4)), "PUBCOMP #4"),
    ];
    for (packet, expected) in answers {
        rig.send(a, &packet);
        assert_eq!(rig.received(a), [expected]);
    }
    rig.send(a, &Packet::PubAck(ack(1)));
    assert_eq!(rig.received(a), [r#"PUBLISH t q1 #2 "x""#]);
}

#[test]
fn pubrel_packets_leave_in_the_order_of_their_pubrec() {
    let mut rig = Rig::new();
    let (a, b) = (rig.connect(returning("a")), rig.client("b"));
    rig.subscribe(a, "t", ExactlyOnce);
    for id in 1..=3 {
        rig.send(b, &Packet::Publish(publish("t", ExactlyOnce, id, "x")));
    }
    assert_eq!(rig.received(a).len(), 3);
    for id in [2, 3, 1] {
        rig.send(a, &Packet::PubRec(ack(id)));
    }
    assert_eq!(rig.received(a), ["PUBREL #2", "PUBREL #3", "PUBREL #1"]);
}

#[test]
fn a_qos_2_message_waits_for_the_member_of_a_group_that_it_was_sent_to() {
    let mut rig = Rig::new();
    let filter = "$share/g/t";
    let (a, publisher) = (rig.connect(returning("a")), rig.client("publisher"));
    rig.subscribe(a, filter, ExactlyOnce);
    rig.send(publisher, &Packet::Publish(publish("t", ExactlyOnce, 1, "x")));
    assert_eq!(rig.received(a), [r#"PUBLISH t q2 #1 "x""#]);
    let b = rig.client("b");
    rig.subscribe(b, filter, ExactlyOnce);
    rig.lose(a);
    rig.wait(3_000_000);
    let a = rig.open();
    rig.send(a, &Packet::Connect(returning("a")));
    assert_eq!(rig.received(a), ["CONNACK 0x00 present", r#"PUBLISH t q2 #1 dup "x""#]);
    assert_eq!(rig.received(b), [""; 0]);
}
