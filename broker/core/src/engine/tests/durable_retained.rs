//! Retained messages and durable sessions: what is kept, what is refused, in which order.

use super::rig::*;
use crate::codec::encode;
use crate::codec::packet::*;
use crate::engine::*;
use crate::types::{ConnectionId, QoS};

const SECOND: u64 = 1_000;

fn retained<'a>(topic: &'a str, qos: QoS, id: u16, payload: &'a str) -> Packet<'a> {
    Packet::Publish(Publish { retain: true, ..publish(topic, qos, id, payload) })
}

fn retained_payload(rig: &Rig, topic: &str) -> Option<Vec<u8>> {
    let messages = rig.retained.0.lock().unwrap();
    messages.get(topic).map(|message| message.publish().unwrap().payload.to_vec())
}

/// All in one read.
fn send_together(rig: &mut Rig, from: ConnectionId, packets: &[Packet<'_>]) {
    let mut bytes = Vec::new();
    packets.iter().for_each(|packet| encode(packet, V5, &mut bytes).unwrap());
    rig.send_bytes(from, &bytes);
}

#[test]
fn a_retained_message_that_is_lost_on_its_way_to_a_new_subscription_is_looked_for_again() {
    for outcome in [SessionsOutcome::Refused, SessionsOutcome::Unknown] {
        let mut rig = Rig::durable();
        let publisher = rig.client("p");
        for topic in ["t/1", "t/2"] {
            rig.send(publisher, &retained(topic, AtLeastOnce, 1, "old"));
        }
        let subscriber = rig.connect(returning("s"));
        rig.answers.sessions = false;
        rig.send(subscriber, &subscribe(1, "t/+", AtLeastOnce));
        rig.commit_held();
        assert_eq!(rig.received(subscriber), ["SUBACK #1 0x01"]);
        rig.answer_held(&outcome);
        assert!(!rig.has_held(), "not at once: nothing says that it would be taken");
        // What the topic has by then is what the subscriber gets.
        rig.send(publisher, &retained("t/1", AtMostOnce, 0, "new"));
        assert_eq!(rig.received(subscriber), [r#"PUBLISH t/1 q0 "new""#]);
        rig.wait(SECOND);
        rig.answer_held(&outcome);
        rig.answers.sessions = true;
        rig.wait(SECOND);
        let expected = [r#"PUBLISH t/1 q0 retain "new""#, r#"PUBLISH t/2 q1 #1 retain "old""#];
        let mut received = rig.received(subscriber);
        received.sort();
        assert_eq!(received, expected);
        assert!(rig.engine.durable.as_ref().unwrap().is_settled());
    }
}

#[test]
fn a_subscription_that_has_ended_gets_none_of_the_retained_messages_that_were_lost() {
    for is_lost_first in [true, false] {
        let mut rig = Rig::durable();
        let publisher = rig.client("p");
        rig.send(publisher, &retained("t", AtLeastOnce, 1, "x"));
        let subscriber = rig.connect(returning("s"));
        rig.answers.sessions = false;
        rig.send(subscriber, &subscribe(1, "t", AtLeastOnce));
        rig.commit_held();
        if is_lost_first {
            rig.answer_held(&SessionsOutcome::Refused);
        }
        let deliver = std::mem::take(&mut rig.effects);
        rig.answers.sessions = true;
        rig.send(subscriber, &unsubscribe(2, "t"));
        rig.effects.extend(deliver);
        rig.answer_held(&SessionsOutcome::Refused);
        rig.wait(2 * SECOND);
        assert_eq!(rig.received(subscriber), ["SUBACK #1 0x01", "UNSUBACK #2 0x00"]);
    }
}

#[test]
fn of_two_retained_messages_in_one_read_the_later_one_stays_whatever_their_qos() {
    for (first, second) in [(AtLeastOnce, AtMostOnce), (AtMostOnce, AtLeastOnce)] {
        let mut rig = Rig::durable();
        let subscriber = rig.connect(returning("s"));
        rig.subscribe(subscriber, "t", AtLeastOnce);
        let publisher = rig.client("p");
        let packets = [retained("t", first, 1, "first"), retained("t", second, 1, "second")];
        send_together(&mut rig, publisher, &packets);
        assert_eq!(retained_payload(&rig, "t").unwrap(), b"second");
    }
}

#[test]
fn what_is_not_retained_is_proposed_with_what_comes_behind_a_retained_message() {
    let mut rig = Rig::durable();
    let subscriber = rig.connect(returning("s"));
    rig.subscribe(subscriber, "t", AtLeastOnce);
    let publisher = rig.client("p");
    rig.answers.sessions = false;
    let message = |id| Packet::Publish(publish("t", AtLeastOnce, id, "x"));
    let packets = [message(1), retained("other", AtMostOnce, 0, "x"), message(2)];
    send_together(&mut rig, publisher, &packets);
    let proposals = rig.effects.iter();
    let proposals = proposals.filter(|effect| matches!(effect, Effect::ProposeSessions { .. }));
    assert_eq!(proposals.count(), 1);
}

#[test]
fn a_retained_message_that_no_durable_session_could_keep_is_refused_as_a_whole() {
    let most = 100;
    let config = EngineConfig { durable_bytes_max: most, ..EngineConfig::default() };
    let mut rig = Rig::durable_with(config);
    rig.state.as_mut().unwrap().limits.bytes_total_max = most;
    let subscriber = rig.connect(returning("s"));
    rig.subscribe(subscriber, "t/#", AtLeastOnce);
    rig.lose(subscriber);
    let (v5, v311) = (rig.client("v5"), rig.connect(Connect { version: V311, ..connect("v3") }));
    let payload = "x".repeat(60);
    rig.send(v5, &retained("t/1", AtLeastOnce, 1, &payload));
    assert_eq!(rig.received(v5), ["PUBACK #1"]);
    for (qos, expected) in [(AtLeastOnce, "PUBACK #2 0x97"), (ExactlyOnce, "PUBREC #2 0x97")] {
        rig.send(v5, &retained("t/2", qos, 2, &payload));
        assert!(rig.received(v5)[0].starts_with(expected));
    }
    rig.send(v311, &retained("t/2", AtLeastOnce, 2, &payload));
    assert_eq!(rig.received(v311), ["PUBACK #2"], "3.1.1 has no word for it");
    assert_eq!(retained_payload(&rig, "t/2"), None);
    // One for which there is room, and one that nobody waits for, are none of it.
    rig.send(v5, &retained("t/3", AtLeastOnce, 3, "x"));
    rig.send(v5, &retained("other", AtLeastOnce, 4, &payload));
    assert_eq!(rig.received(v5), ["PUBACK #3", "PUBACK #4 0x10"]);
    assert!(retained_payload(&rig, "t/3").is_some() && retained_payload(&rig, "other").is_some());
    assert_eq!(rig.engine.counters().dropped.queue_full, 3);
}

#[test]
fn the_identifier_of_a_refused_qos_2_message_of_a_durable_publisher_is_free() {
    let config = EngineConfig { durable_messages_max: 1, ..EngineConfig::default() };
    let mut rig = Rig::durable_with(config);
    let subscriber = rig.connect(returning("s"));
    rig.subscribe(subscriber, "t", AtLeastOnce);
    let publisher = rig.connect(returning("p"));
    rig.send(publisher, &Packet::Publish(publish("t", AtLeastOnce, 1, "fills")));
    rig.send(publisher, &Packet::Publish(publish("t", ExactlyOnce, 2, "refused")));
    let received = rig.received(publisher);
    assert!(received[1].starts_with("PUBREC #2 0x97"), "{received:?}");
    rig.send(subscriber, &Packet::PubAck(ack(1)));
    rig.received(subscriber);
    rig.send(publisher, &Packet::Publish(publish("t", ExactlyOnce, 2, "another")));
    assert_eq!(rig.received(publisher), ["PUBREC #2"]);
    assert_eq!(rig.received(subscriber), [r#"PUBLISH t q1 #2 "another""#]);
}

#[test]
fn what_a_new_subscription_has_not_had_of_retained_messages_waits_for_the_next_connection() {
    let mut a = Rig::durable();
    let mut b = a.peer(2);
    let publisher = a.client("p");
    for number in 1..=200u16 {
        let qos = [AtLeastOnce, ExactlyOnce][usize::from(number % 2)];
        a.send(publisher, &retained(&format!("r/{number:03}"), qos, number, "x"));
    }
    let properties = ConnectProperties {
        session_expiry_seconds: Some(3600),
        receive_maximum: Some(10),
        ..ConnectProperties::default()
    };
    let subscriber = a.connect(Connect { properties, ..returning("s") });
    a.send(subscriber, &subscribe(1, "r/+", ExactlyOnce));
    assert_eq!(a.received(subscriber).len(), 11, "SUBACK, and as many as the window holds");
    a.lose(subscriber);
    b.hear_from(&mut a);
    let subscriber = b.open();
    b.send(subscriber, &Packet::Connect(returning("s")));
    let topics = b
        .received(subscriber)
        .into_iter()
        .filter_map(|packet| packet.strip_prefix("PUBLISH ").map(|rest| rest[..5].to_owned()));
    let expected: Vec<String> = (1..=200).map(|number| format!("r/{number:03}")).collect();
    assert_eq!(topics.collect::<Vec<_>>(), expected);
}
