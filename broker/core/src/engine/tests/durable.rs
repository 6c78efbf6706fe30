//! Durable sessions: kept by the replicated state, served by whatever engine has the connection.

use super::rig::*;
use crate::codec::encode;
use crate::codec::packet::*;
use crate::engine::*;
use crate::types::{ConnectionId, QoS};

/// A durable subscriber to `t`, and a publisher.
fn subscribed(qos: QoS) -> (Rig, ConnectionId, ConnectionId) {
    let mut rig = Rig::durable();
    let subscriber = rig.connect(returning("s"));
    rig.subscribe(subscriber, "t", qos);
    let publisher = rig.client("p");
    (rig, subscriber, publisher)
}

fn publish_packet<'a>(topic: &'a str, qos: QoS, id: u16, payload: &'a str) -> Packet<'a> {
    Packet::Publish(publish(topic, qos, id, payload))
}

#[test]
fn puback_leaves_when_the_message_is_committed_and_the_subscriber_gets_it_then() {
    let (mut rig, subscriber, publisher) = subscribed(AtLeastOnce);
    rig.answers.sessions = false;
    rig.send(publisher, &publish_packet("t", AtLeastOnce, 1, "x"));
    assert!(rig.received(publisher).is_empty());
    assert!(rig.received(subscriber).is_empty());
    rig.answers.sessions = true;
    rig.commit_held();
    assert_eq!(rig.received(publisher), ["PUBACK #1"]);
    assert_eq!(rig.received(subscriber), ["PUBLISH t q1 #1 \"x\""]);
    assert_eq!(rig.store().totals().messages, 1);
    rig.send(subscriber, &Packet::PubAck(ack(1)));
    assert_eq!(rig.store().totals().messages, 0);
}

#[test]
fn qos_0_and_sessions_that_end_with_their_connection_never_reach_the_log() {
    let mut rig = Rig::durable();
    rig.answers.sessions = false;
    let subscriber = rig.client("s");
    rig.subscribe(subscriber, "t", AtLeastOnce);
    let publisher = rig.client("p");
    rig.send(publisher, &publish_packet("t", AtLeastOnce, 1, "x"));
    rig.send(publisher, &publish_packet("t", ExactlyOnce, 2, "y"));
    assert_eq!(rig.received(publisher), ["PUBACK #1", "PUBREC #2"]);
    assert!(!rig.has_held());
    rig.answers.sessions = true;
    let durable = rig.connect(returning("d"));
    rig.subscribe(durable, "t", AtLeastOnce);
    rig.answers.sessions = false;
    rig.send(publisher, &publish_packet("t", AtMostOnce, 0, "z"));
    assert_eq!(rig.received(durable), ["PUBLISH t q0 \"z\""]);
    assert!(!rig.has_held());
}

#[test]
fn a_copy_of_the_state_that_may_be_old_leaves_it_to_the_state_who_wants_a_message() {
    for filter in ["t", "$share/g/t"] {
        let mut rig = Rig::durable();
        let mut other = rig.peer(2);
        let publisher = rig.client("p");
        rig.store().require_confirmation();
        rig.answers.sessions = false;
        rig.send(publisher, &publish_packet("t", AtLeastOnce, 1, "x"));
        assert!(rig.received(publisher).is_empty());
        let subscriber = other.connect(returning("s"));
        other.subscribe(subscriber, filter, AtLeastOnce);
        rig.answers.sessions = true;
        rig.commit_held();
        assert_eq!(rig.received(publisher), ["PUBACK #1"]);
        assert_eq!(rig.store().totals().messages, 1, "{filter}");
    }
}

#[test]
fn a_group_that_has_the_message_already_gets_none_from_the_state() {
    let mut rig = Rig::durable();
    let mut other = rig.peer(2);
    let member = rig.client("live");
    rig.subscribe(member, "$share/g/t", AtLeastOnce);
    let publisher = rig.client("p");
    rig.store().require_confirmation();
    rig.answers.sessions = false;
    rig.send(publisher, &publish_packet("t", AtLeastOnce, 1, "x"));
    assert_eq!(rig.received(member), [r#"PUBLISH t q1 #1 "x""#]);
    let subscriber = other.connect(returning("s"));
    other.subscribe(subscriber, "$share/g/t", AtLeastOnce);
    rig.answers.sessions = true;
    rig.commit_held();
    assert_eq!(rig.received(publisher), ["PUBACK #1"]);
    assert_eq!(rig.store().totals().messages, 0);
}

#[test]
fn a_copy_that_is_confirmed_counts_until_its_time_is_over() {
    let mut rig = Rig::durable();
    let publisher = rig.client("p");
    rig.store().require_confirmation();
    rig.store().confirm_until(rig.now.plus(800));
    rig.answers.sessions = false;
    rig.send(publisher, &publish_packet("t", AtLeastOnce, 1, "x"));
    assert!(!rig.has_held());
    assert_eq!(rig.received(publisher).len(), 1);
    rig.wait(800);
    rig.send(publisher, &publish_packet("t", AtLeastOnce, 2, "y"));
    assert!(rig.has_held());
    assert!(rig.received(publisher).is_empty());
}

#[test]
fn what_is_not_committed_is_not_acknowledged() {
    for (outcome, qos, expected) in [
        (SessionsOutcome::Unknown, AtLeastOnce, vec!["PUBACK #1 0x83"]),
        (SessionsOutcome::Refused, AtLeastOnce, vec!["PUBACK #1 0x97"]),
        (SessionsOutcome::Refused, ExactlyOnce, vec!["PUBREC #1 0x97"]),
        (SessionsOutcome::Unknown, ExactlyOnce, vec![]),
    ] {
        let (mut rig, subscriber, publisher) = subscribed(ExactlyOnce);
        rig.answers.sessions = false;
        rig.send(publisher, &publish_packet("t", qos, 1, "x"));
        rig.answer_held(&outcome);
        assert_eq!(rig.received(publisher), expected, "{outcome:?}");
        // Nobody knows what became of it: the client is to ask again, with the same identifier.
        assert_eq!(rig.is_closed(publisher), expected.is_empty());
        assert!(rig.received(subscriber).is_empty());
    }
}

#[test]
fn a_311_publisher_is_disconnected_when_its_message_is_not_proposed() {
    for outcome in [SessionsOutcome::Unknown, SessionsOutcome::Refused] {
        let mut rig = Rig::durable();
        let subscriber = rig.connect(returning("s"));
        rig.subscribe(subscriber, "t", AtLeastOnce);
        let publisher = rig.connect(Connect { version: V311, ..connect("p") });
        rig.answers.sessions = false;
        rig.send(publisher, &publish_packet("t", AtLeastOnce, 1, "x"));
        rig.answer_held(&outcome);
        assert!(rig.received(publisher).is_empty());
        assert!(rig.is_closed(publisher), "it sends the message again");
    }
}

#[test]
fn an_acknowledgement_that_is_lost_goes_with_the_next_one() {
    let (mut rig, subscriber, publisher) = subscribed(AtLeastOnce);
    for id in 1..=2 {
        rig.send(publisher, &publish_packet("t", AtLeastOnce, id, "x"));
    }
    rig.received(subscriber);
    rig.answers.sessions = false;
    rig.send(subscriber, &Packet::PubAck(ack(1)));
    rig.answer_held(&SessionsOutcome::Unknown);
    rig.answers.sessions = true;
    assert_eq!(rig.store().totals().messages, 2);
    rig.send(subscriber, &Packet::PubAck(ack(2)));
    assert_eq!(rig.store().totals().messages, 0);
}

#[test]
fn a_large_message_is_proposed_alone_and_in_its_order() {
    let (mut rig, subscriber, publisher) = subscribed(AtLeastOnce);
    rig.answers.sessions = false;
    let large = "x".repeat(300_000);
    let mut bytes = Vec::new();
    for (id, payload) in [(1, "a"), (2, large.as_str()), (3, "b"), (4, "c")] {
        encode(&publish_packet("t", AtLeastOnce, id, payload), V5, &mut bytes).unwrap();
    }
    rig.send_bytes(publisher, &bytes);
    let proposed = rig.effects.iter().filter_map(|effect| match effect {
        Effect::ProposeSessions { operations, .. } => Some(operations.len()),
        _ => None,
    });
    let proposed: Vec<usize> = proposed.collect();
    let [first, second, third] = proposed[..] else { panic!("{proposed:?}") };
    assert!(first < 100 && (300_000..300_100).contains(&second) && third < 200, "{proposed:?}");
    rig.answers.sessions = true;
    rig.commit_held();
    let acks = ["PUBACK #1", "PUBACK #2", "PUBACK #3", "PUBACK #4"];
    assert_eq!(rig.received(publisher), acks);
    assert_eq!(rig.received(subscriber).len(), 4);
}

#[test]
fn acknowledgements_keep_the_order_of_the_messages() {
    let (mut rig, _, publisher) = subscribed(AtLeastOnce);
    rig.answers.sessions = false;
    rig.send(publisher, &publish_packet("t", AtLeastOnce, 1, "x"));
    rig.send(publisher, &publish_packet("nobody", AtLeastOnce, 2, "y"));
    assert!(rig.received(publisher).is_empty());
    rig.commit_held();
    assert_eq!(rig.received(publisher), ["PUBACK #1", "PUBACK #2 0x10"]);
}

#[test]
fn a_pubrec_that_is_repeated_keeps_the_order_of_the_messages() {
    let (mut rig, _, publisher) = subscribed(ExactlyOnce);
    rig.send(publisher, &publish_packet("t", ExactlyOnce, 7, "x"));
    assert_eq!(rig.received(publisher), ["PUBREC #7"]);
    rig.answers.sessions = false;
    rig.send(publisher, &publish_packet("t", ExactlyOnce, 6, "y"));
    let repeated = Publish { dup: true, ..publish("t", ExactlyOnce, 7, "x") };
    rig.send(publisher, &Packet::Publish(repeated));
    assert!(rig.received(publisher).is_empty());
    rig.commit_held();
    assert_eq!(rig.received(publisher), ["PUBREC #6", "PUBREC #7"]);
}

#[test]
fn messages_wait_for_an_absent_client_and_come_in_order() {
    let mut rig = Rig::durable();
    let subscriber = rig.connect(returning("s"));
    rig.subscribe(subscriber, "t", AtLeastOnce);
    rig.lose(subscriber);
    let publisher = rig.client("p");
    for id in 1..=100u16 {
        rig.send(publisher, &publish_packet("t", AtLeastOnce, id, &id.to_string()));
    }
    let properties = ConnectProperties {
        session_expiry_seconds: Some(3600),
        receive_maximum: Some(10),
        ..ConnectProperties::default()
    };
    let id = rig.open();
    rig.send(id, &Packet::Connect(Connect { properties, ..returning("s") }));
    let mut received = rig.received(id);
    assert_eq!(received.remove(0), "CONNACK 0x00 present");
    assert_eq!(received.len(), 10, "the client's window");
    for number in 1..=100u16 {
        let packet = received.remove(0);
        assert_eq!(packet, format!("PUBLISH t q1 #{number} \"{number}\""));
        rig.send(id, &Packet::PubAck(ack(number)));
        received.extend(rig.received(id));
    }
    assert_eq!(rig.store().totals().messages, 0);
}

#[test]
fn another_node_goes_on_with_the_same_identifiers_and_dup() {
    let mut a = Rig::durable();
    let mut b = a.peer(2);
    let subscriber = a.connect(returning("s"));
    a.subscribe(subscriber, "t", ExactlyOnce);
    let publisher = b.client("p");
    for (id, qos) in [(1, AtLeastOnce), (2, ExactlyOnce), (3, ExactlyOnce), (4, AtLeastOnce)] {
        b.send(publisher, &publish_packet("t", qos, id, &id.to_string()));
    }
    a.hear_from(&mut b);
    assert_eq!(a.received(subscriber).len(), 4);
    a.send(subscriber, &Packet::PubRec(ack(2)));
    assert_eq!(a.received(subscriber), ["PUBREL #2"]);
    a.send(subscriber, &Packet::PubAck(ack(1)));
    // Node `a` is gone without a word; the client comes to `b`.
    let again = b.connect_returning("s");
    assert_eq!(
        b.received(again),
        [
            "CONNACK 0x00 present",
            "PUBREL #2",
            "PUBLISH t q2 #3 dup \"3\"",
            "PUBLISH t q1 #4 dup \"4\"",
        ]
    );
    b.send(again, &Packet::PubComp(ack(2)));
    b.send(again, &Packet::PubAck(ack(4)));
    b.send(again, &Packet::PubRec(ack(3)));
    b.send(again, &Packet::PubComp(ack(3)));
    assert_eq!(b.store().totals().messages, 0);
    // What the first node still hears of the client counts no more.
    a.send(subscriber, &Packet::PubAck(ack(4)));
    a.send(subscriber, &Packet::PubRec(ack(3)));
    assert!(a.is_closed(subscriber));
    assert!(b.store().contains("s"));
}

#[test]
fn pubrel_leaves_when_pubrec_is_committed() {
    let (mut rig, subscriber, publisher) = subscribed(ExactlyOnce);
    rig.send(publisher, &publish_packet("t", ExactlyOnce, 1, "x"));
    assert_eq!(rig.received(subscriber), ["PUBLISH t q2 #1 \"x\""]);
    rig.answers.sessions = false;
    rig.send(subscriber, &Packet::PubRec(ack(1)));
    assert!(rig.received(subscriber).is_empty());
    rig.answers.sessions = true;
    rig.commit_held();
    assert_eq!(rig.received(subscriber), ["PUBREL #1"]);
    rig.send(subscriber, &Packet::PubComp(ack(1)));
    assert_eq!(rig.store().totals().messages, 0);
}

#[test]
fn a_qos_2_message_that_comes_again_elsewhere_is_delivered_once() {
    let mut a = Rig::durable();
    let mut b = a.peer(2);
    let subscriber = b.connect(returning("s"));
    b.subscribe(subscriber, "t", ExactlyOnce);
    let publisher = a.connect(returning("p"));
    a.send(publisher, &publish_packet("t", ExactlyOnce, 7, "x"));
    // Its PUBREC is lost with the node.
    let again = b.connect_returning("p");
    assert_eq!(b.received(again), ["CONNACK 0x00 present"]);
    b.hear_from(&mut a);
    let repeated = Publish { dup: true, ..publish("t", ExactlyOnce, 7, "x") };
    b.send(again, &Packet::Publish(repeated));
    assert_eq!(b.received(again), ["PUBREC #7"]);
    assert_eq!(b.received(subscriber), ["PUBLISH t q2 #1 \"x\""]);
    b.answers.sessions = false;
    b.send(again, &Packet::PubRel(ack(7)));
    assert!(b.received(again).is_empty(), "PUBCOMP waits for the state to forget it");
    b.answers.sessions = true;
    b.commit_held();
    assert_eq!(b.received(again), ["PUBCOMP #7"]);
    b.send(again, &publish_packet("t", ExactlyOnce, 7, "another"));
    assert_eq!(b.received(subscriber), ["PUBLISH t q2 #2 \"another\""]);
}

#[test]
fn a_full_session_is_told_to_a_v5_publisher_and_counted() {
    let mut rig = Rig::durable();
    rig.state.as_mut().unwrap().limits.messages_max = 2;
    let subscriber = rig.connect(returning("s"));
    rig.subscribe(subscriber, "t", AtLeastOnce);
    rig.lose(subscriber);
    let publisher = rig.client("p");
    for id in 1..=3 {
        rig.send(publisher, &publish_packet("t", AtLeastOnce, id, "x"));
    }
    assert_eq!(rig.received(publisher), ["PUBACK #1", "PUBACK #2", "PUBACK #3 0x97"]);
    rig.send(publisher, &publish_packet("t", ExactlyOnce, 4, "x"));
    assert_eq!(rig.received(publisher), ["PUBREC #4 0x97"]);
    // The refused exchange is over: its identifier is free.
    rig.send(publisher, &publish_packet("nobody", ExactlyOnce, 4, "x"));
    assert_eq!(rig.received(publisher), ["PUBREC #4 0x10"]);
    assert_eq!(rig.engine.counters().dropped.queue_full, 2);
    let old = Connect { version: V311, ..connect("old") };
    let old = rig.connect(old);
    rig.send(old, &publish_packet("t", AtLeastOnce, 1, "x"));
    assert_eq!(rig.received(old), ["PUBACK #1"], "3.1.1 has no word for it");
}

#[test]
fn retained_messages_of_a_new_subscription_go_through_the_session() {
    let mut rig = Rig::durable();
    let publisher = rig.client("p");
    for number in 1..=200u16 {
        let topic = format!("r/{number:03}");
        let retained = Publish { retain: true, ..publish(&topic, AtLeastOnce, number, "x") };
        rig.send(publisher, &Packet::Publish(retained));
    }
    rig.received(publisher);
    let subscriber = rig.connect(returning("s"));
    rig.send(subscriber, &subscribe(1, "r/+", AtLeastOnce));
    let mut received = rig.received(subscriber);
    assert_eq!(received.remove(0), "SUBACK #1 0x01");
    for number in 1..=200u16 {
        let packet = received.remove(0);
        assert_eq!(packet, format!("PUBLISH r/{number:03} q1 #{number} retain \"x\""));
        rig.send(subscriber, &Packet::PubAck(ack(number)));
        received.extend(rig.received(subscriber));
    }
    assert_eq!(rig.store().totals().messages, 0);
}

#[test]
fn a_retained_message_for_a_durable_session_is_one_proposal() {
    let (mut rig, subscriber, publisher) = subscribed(AtLeastOnce);
    rig.answers.propose = false;
    let retained = Publish { retain: true, ..publish("t", AtLeastOnce, 1, "x") };
    rig.send(publisher, &Packet::Publish(retained));
    assert_eq!(rig.received(publisher), ["PUBACK #1"]);
    assert!(rig.retained.0.lock().unwrap().contains_key("t"));
    assert_eq!(rig.received(subscriber), ["PUBLISH t q1 #1 \"x\""]);
}

#[test]
fn a_will_reaches_those_in_the_state_and_all_others_once() {
    let mut rig = Rig::durable();
    let durable = rig.connect(returning("durable"));
    rig.subscribe(durable, "will", AtLeastOnce);
    let other = rig.client("other");
    rig.subscribe(other, "will", AtLeastOnce);
    let will = Will { qos: AtLeastOnce, ..will("will", 0) };
    let leaving = rig.connect(Connect { will: Some(will), ..returning("leaving") });
    rig.lose(leaving);
    assert_eq!(rig.received(durable), ["PUBLISH will q1 #1 \"gone\""]);
    assert_eq!(rig.received(other), ["PUBLISH will q1 #1 \"gone\""]);
    // One of a session that is not durable.
    let leaving = rig.connect(Connect { will: Some(will), ..connect("leaving too") });
    rig.lose(leaving);
    assert_eq!(rig.received(durable), ["PUBLISH will q1 #2 \"gone\""]);
    assert_eq!(rig.received(other), ["PUBLISH will q1 #2 \"gone\""]);
}

#[test]
fn a_message_that_expires_in_the_queue_is_not_sent() {
    let mut rig = Rig::durable();
    let subscriber = rig.connect(returning("s"));
    rig.subscribe(subscriber, "t", AtLeastOnce);
    rig.lose(subscriber);
    let publisher = rig.client("p");
    let properties =
        PublishProperties { message_expiry_seconds: Some(5), ..PublishProperties::default() };
    let expiring = Publish { properties, ..publish("t", AtLeastOnce, 1, "short") };
    rig.send(publisher, &Packet::Publish(expiring));
    rig.send(publisher, &publish_packet("t", AtLeastOnce, 2, "long"));
    rig.wait(5000);
    let again = rig.connect_returning("s");
    let expected = ["CONNACK 0x00 present", "PUBLISH t q1 #2 \"long\""];
    assert_eq!(rig.received(again), expected);
    rig.send(again, &Packet::PubAck(ack(2)));
    assert_eq!(rig.store().totals().messages, 0);
}

#[test]
fn what_the_broker_says_of_itself_is_sent_and_not_kept() {
    let mut rig = Rig::durable();
    let subscriber = rig.connect(returning("s"));
    rig.subscribe(subscriber, "$SYS/#", AtLeastOnce);
    let value = SysValue { topic: "$SYS/broker/uptime".into(), text: "1".to_owned() };
    rig.engine.publish_sys(rig.now, std::slice::from_ref(&value));
    let received = rig.received(subscriber);
    assert!(received[0].starts_with("PUBLISH $SYS/broker/uptime q0"), "{received:?}");
    assert_eq!(rig.store().totals().messages, 0);
}
