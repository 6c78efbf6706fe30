//! Chapter 3.3: the flags of PUBLISH and what is retained; 4.6 and 4.7: order, and comparing topics.

use super::super::rig::*;
use crate::codec::packet::*;
use crate::retained::RetainedMessage;
use crate::types::QoS;

fn retained(rig: &Rig) -> Vec<(QoS, Vec<u8>)> {
    let store = rig.retained.0.lock().unwrap();
    let publish = |message: &RetainedMessage| message.publish().unwrap().payload.to_vec();
    store.values().map(|message| (message.qos(), publish(message))).collect()
}

#[test]
fn a_retained_message_is_replaced_by_the_next_one_and_by_no_other() {
    let mut rig = Rig::new();
    let a = rig.client("a");
    let steps = [
        (true, AtLeastOnce, "first", Some((AtLeastOnce, "first"))),
        (false, AtMostOnce, "passing", Some((AtLeastOnce, "first"))),
        (false, AtMostOnce, "", Some((AtLeastOnce, "first"))),
        (true, ExactlyOnce, "second", Some((ExactlyOnce, "second"))),
        (true, AtMostOnce, "third", Some((AtMostOnce, "third"))),
        (true, AtMostOnce, "", None),
        (true, AtMostOnce, "", None),
        (false, AtMostOnce, "passing", None),
    ];
    for (retain, qos, payload, expected) in steps {
        let id = if qos == AtMostOnce { 0 } else { 1 };
        let packet = Publish { retain, ..publish("t", qos, id, payload) };
        rig.send(a, &Packet::Publish(packet));
        rig.send(a, &Packet::PubRel(ack(1)));
        let expected: Vec<_> =
            expected.into_iter().map(|(qos, payload)| (qos, payload.into())).collect();
        assert_eq!(retained(&rig), expected, "after {payload:?}");
    }
}

#[test]
fn dup_says_what_this_server_does_and_not_what_the_publisher_did() {
    let mut rig = Rig::new();
    let (a, b) = (rig.client("a"), rig.client("b"));
    rig.subscribe(a, "t", ExactlyOnce);
    for (id, qos) in [(1, AtLeastOnce), (2, ExactlyOnce)] {
        let packet = Publish { dup: true, ..publish("t", qos, id, "x") };
        rig.send(b, &Packet::Publish(packet));
    }
    assert_eq!(rig.received(a), [r#"PUBLISH t q1 #1 "x""#, r#"PUBLISH t q2 #2 "x""#]);
}

#[test]
fn messages_of_one_publisher_arrive_in_their_order() {
    for qos in [AtMostOnce, AtLeastOnce, ExactlyOnce] {
        let mut rig = Rig::new();
        let properties =
            ConnectProperties { receive_maximum: Some(2), ..ConnectProperties::default() };
        let a = rig.connect(Connect { properties, ..connect("a") });
        let b = rig.client("b");
        rig.subscribe(a, "t/#", qos);
        for number in 1..=9 {
            let id = if qos == AtMostOnce { 0 } else { number };
            let topic = if number % 2 == 0 { "t/even" } else { "t/odd" };
            rig.send(b, &Packet::Publish(publish(topic, qos, id, &number.to_string())));
            rig.send(b, &Packet::PubRel(ack(number)));
        }
        let mut order = String::new();
        for id in 1..=9 {
            let seen = rig.received(a);
            order.extend(seen.iter().filter_map(|text| text.rsplit('"').nth(1)));
            match qos {
                AtMostOnce => {}
                AtLeastOnce => rig.send(a, &Packet::PubAck(ack(id))),
                ExactlyOnce => {
                    rig.send(a, &Packet::PubRec(ack(id)));
                    rig.send(a, &Packet::PubComp(ack(id)));
                }
            }
        }
        assert_eq!(order, "123456789", "{qos:?}");
    }
}

#[test]
fn topics_are_compared_as_they_are() {
    let mut rig = Rig::new();
    let topics =
        ["é", "e\u{301}", "É", "a", "A", "a/", "/a", "a//b", "a/b", "\u{feff}a", "a ", "%61"];
    let mut subscribers = Vec::new();
    for (number, topic) in topics.iter().enumerate() {
        let id = rig.client(&number.to_string());
        rig.subscribe(id, topic, AtMostOnce);
        subscribers.push(id);
    }
    let publisher = rig.client("publisher");
    for (topic, &subscriber) in topics.iter().zip(&subscribers) {
        rig.send(publisher, &Packet::Publish(publish(topic, AtMostOnce, 0, "x")));
        for &other in &subscribers {
            let expected = usize::from(other == subscriber);
            assert_eq!(rig.received(other).len(), expected, "{topic:?}");
        }
    }
}

#[test]
fn aliases_up_to_the_announced_maximum_are_accepted() {
    let mut rig = Rig::new();
    let a = rig.client("a");
    rig.subscribe(a, "#", AtMostOnce);
    let with = |alias| PublishProperties { topic_alias: Some(alias), ..Default::default() };
    for alias in 1..=crate::engine::TOPIC_ALIAS_MAXIMUM {
        let topic = format!("t/{alias}");
        let first = Publish { properties: with(alias), ..publish(&topic, AtMostOnce, 0, "x") };
        rig.send(a, &Packet::Publish(first));
        rig.send(a, &Packet::Publish(Publish { topic: "", ..first }));
        let expected = format!(r#"PUBLISH {topic} q0 "x""#);
        assert_eq!(rig.received(a), [expected.clone(), expected]);
    }
}
