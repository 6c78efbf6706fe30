//! Maximum Packet Size: what explains an answer must not make it longer than the client accepts.

use broker_policy::AclType;

use super::super::rig::*;
use crate::codec::packet::*;
use crate::engine::*;

/// A client that accepts its CONNACK as it is today, and nothing longer.
fn narrow(rig: &mut Rig, client_id: &'static str) -> (ConnectionId, usize) {
    let asked = Connect { user_name: Some("u"), ..connect(client_id) };
    let id = rig.open();
    rig.send(id, &Packet::Connect(asked));
    let bytes_max = rig.bytes(id).len().min(32);
    rig.lose(id);
    let properties = ConnectProperties {
        packet_bytes_max: Some(u32::try_from(bytes_max).unwrap()),
        ..ConnectProperties::default()
    };
    let id = rig.open();
    rig.send(id, &Packet::Connect(Connect { properties, ..asked }));
    assert!(rig.bytes(id).len() <= bytes_max);
    (id, bytes_max)
}

#[test]
fn no_answer_is_longer_than_the_client_accepts() {
    let acls = [
        (AclType::PublishClientSend, "no/#", false),
        (AclType::SubscribePattern, "no/#", false),
        (AclType::UnsubscribePattern, "no/#", false),
    ];
    let mut rig = Rig::with(EngineConfig::default(), policy(&["u"], &acls));
    let (a, bytes_max) = narrow(&mut rig, "a");
    let topic = format!("no/{}", "t".repeat(200));
    let answers = [
        (Packet::Publish(publish(&topic, AtLeastOnce, 1, "x")), "PUBACK #1 0x87"),
        (Packet::Publish(publish(&topic, ExactlyOnce, 2, "x")), "PUBREC #2 0x87"),
        (Packet::PubRec(ack(9)), "PUBREL #9 0x92"),
        (Packet::PubRel(ack(9)), "PUBCOMP #9 0x92"),
        (subscribe(3, &topic, AtMostOnce), "SUBACK #3 0x87"),
        (unsubscribe(4, &topic), "UNSUBACK #4 0x87"),
        (Packet::Auth(Auth::default()), "DISCONNECT 0x82"),
    ];
    for (packet, expected) in answers {
        rig.send(a, &packet);
        let bytes = rig.engine.output(a).len();
        assert!(bytes <= bytes_max, "{expected}: {bytes} bytes, at most {bytes_max}");
        assert_eq!(rig.received(a), [expected]);
    }
}

#[test]
fn no_refusal_of_connect_is_longer_than_the_client_accepts() {
    let mut rig = Rig::new();
    let properties = ConnectProperties {
        packet_bytes_max: Some(8),
        authentication_method: Some("SCRAM"),
        ..ConnectProperties::default()
    };
    let id = rig.open();
    rig.send(id, &Packet::Connect(Connect { properties, ..connect("a") }));
    assert!(rig.engine.output(id).len() <= 8);
    assert_eq!(rig.received(id), ["CONNACK 0x8c"]);
}

/// A client that accepts packets of so many bytes, and comes in if they are enough for CONNACK.
fn with_limit(rig: &mut Rig, bytes_max: u32) -> ConnectionId {
    let properties = ConnectProperties {
        packet_bytes_max: Some(bytes_max),
        topic_alias_maximum: Some(2),
        request_response_information: Some(true),
        ..ConnectProperties::default()
    };
    let id = rig.open();
    let asked = Connect { user_name: Some("u"), properties, ..connect("a") };
    rig.send(id, &Packet::Connect(asked));
    id
}

#[test]
fn whatever_a_client_accepts_it_gets_nothing_longer_and_nothing_before_connack() {
    let acls = [(AclType::PublishClientSend, "no/#", false)];
    let config =
        EngineConfig { response_information: Some("answers/%c".into()), ..Default::default() };
    let mut first_that_came_in = None;
    for bytes_max in 1..=64 {
        let mut rig = Rig::with(config.clone(), policy(&["u"], &acls));
        let b = rig.client("b");
        let a = with_limit(&mut rig, bytes_max);
        if rig.is_closed(a) {
            assert!(rig.bytes(a).is_empty(), "at {bytes_max}");
            assert_eq!(first_that_came_in, None, "{bytes_max} is enough where less is");
            continue;
        }
        first_that_came_in.get_or_insert(bytes_max);
        let mut longest = rig.engine.output(a).len();
        assert!(rig.received(a)[0].starts_with("CONNACK 0x00"), "at {bytes_max}");
        let topics: Vec<String> = (1..20).map(|bytes| "no/".repeat(bytes)).collect();
        let mut packets = vec![
            Packet::Publish(publish("t", AtLeastOnce, 1, "x")),
            Packet::Publish(publish("t", ExactlyOnce, 2, "x")),
            Packet::Publish(publish("no/t", AtLeastOnce, 3, "x")),
            Packet::PubRec(ack(9)),
            Packet::PubRel(ack(9)),
            subscribe(4, "t", AtLeastOnce),
            unsubscribe(5, "none"),
            Packet::PingReq,
        ];
        packets.extend(topics.iter().map(|topic| unsubscribe(6, topic)));
        for packet in packets {
            rig.send(a, &packet);
            longest = longest.max(rig.bytes(a).len());
        }
        for length in 0..64 {
            let payload = "x".repeat(length);
            rig.send(b, &Packet::Publish(publish("t", AtLeastOnce, 1, &payload)));
            longest = longest.max(rig.bytes(a).len());
        }
        rig.send(a, &Packet::Auth(Auth::default()));
        longest = longest.max(rig.bytes(a).len());
        assert!(longest <= bytes_max as usize, "{longest} bytes, at most {bytes_max}");
    }
    // Flags, code, Receive Maximum and Maximum Packet Size: without them it would be told wrongly.
    assert_eq!(first_that_came_in, Some(13));
}

#[test]
fn a_client_that_accepts_no_connack_has_not_come_in_and_leaves_no_will() {
    let mut rig = Rig::new();
    let watcher = rig.client("watcher");
    rig.subscribe(watcher, "#", AtMostOnce);
    let properties =
        ConnectProperties { packet_bytes_max: Some(12), ..ConnectProperties::default() };
    let id = rig.open();
    let asked = Connect { properties, will: Some(will("gone", 0)), ..connect("a") };
    rig.send(id, &Packet::Connect(asked));
    assert!(rig.is_closed(id));
    assert_eq!(rig.engine.output(id), b"");
    assert_eq!(rig.received(watcher), [""; 0]);
    assert_eq!(rig.engine.counters().connects_refused, 1);
    assert_eq!(rig.engine.counters().connects_accepted, 1);
}
