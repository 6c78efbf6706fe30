//! Topic Aliases that the server sets.

use std::collections::HashMap;

use proptest::prelude::*;

use super::rig::*;
use crate::codec::packet::*;
use crate::codec::{DecodeLimits, Decoded, Sender, decode};
use crate::engine::EngineConfig;
use crate::types::{ConnectionId, QoS};

fn aliasing(client_id: &str, topic_alias_maximum: u16) -> Connect<'_> {
    let properties = ConnectProperties {
        topic_alias_maximum: Some(topic_alias_maximum),
        ..returning(client_id).properties
    };
    Connect { properties, ..returning(client_id) }
}

fn send(rig: &mut Rig, from: ConnectionId, topics: &[&str]) {
    for topic in topics {
        rig.send(from, &Packet::Publish(publish(topic, AtMostOnce, 0, "x")));
    }
}

/// A rig with a publisher and a subscriber to everything.
fn pair(config: EngineConfig, subscriber: Connect<'_>) -> (Rig, ConnectionId, ConnectionId) {
    let mut rig = Rig::with(config, open_policy());
    let from = rig.client("from");
    let to = rig.connect(subscriber);
    rig.subscribe(to, "#", ExactlyOnce);
    (rig, from, to)
}

#[test]
fn the_first_message_of_a_topic_tells_its_alias_and_later_ones_send_nothing_else() {
    let (mut rig, from, to) = pair(EngineConfig::default(), aliasing("to", 2));
    send(&mut rig, from, &["room/1", "room/1", "room/2", "room/1", "room/3"]);
    let expected = [
        r#"PUBLISH room/1 q0 alias=1 "x""#,
        r#"PUBLISH  q0 alias=1 "x""#,
        r#"PUBLISH room/2 q0 alias=2 "x""#,
        r#"PUBLISH  q0 alias=1 "x""#,
        r#"PUBLISH room/3 q0 "x""#,
    ];
    assert_eq!(rig.received(to), expected);
    rig.send(from, &Packet::Publish(publish("room/2", ExactlyOnce, 1, "x")));
    assert_eq!(rig.received(to), [r#"PUBLISH  q2 #1 alias=2 "x""#]);
}

/// [MQTT-3.1.2-26] [MQTT-3.1.2-27]
#[test]
fn a_client_that_takes_no_aliases_gets_none() {
    for version in [V311, V5] {
        let (mut rig, from, to) =
            pair(EngineConfig::default(), Connect { version, ..connect("to") });
        send(&mut rig, from, &["room/1", "room/1"]);
        assert_eq!(rig.received(to), [r#"PUBLISH room/1 q0 "x""#; 2]);
    }
    let config = EngineConfig { topic_alias_maximum_outbound: 0, ..EngineConfig::default() };
    let (mut rig, from, to) = pair(config, aliasing("to", 9));
    send(&mut rig, from, &["room/1", "room/1"]);
    assert_eq!(rig.received(to), [r#"PUBLISH room/1 q0 "x""#; 2]);
}

/// [MQTT-3.3.2-7]
#[test]
fn an_alias_ends_with_its_connection() {
    let (mut rig, from, to) = pair(EngineConfig::default(), aliasing("to", 2));
    rig.send(from, &Packet::Publish(publish("room/1", QoS::AtLeastOnce, 1, "x")));
    rig.send(from, &Packet::Publish(publish("room/1", QoS::AtLeastOnce, 2, "y")));
    let expected = [r#"PUBLISH room/1 q1 #1 alias=1 "x""#, r#"PUBLISH  q1 #2 alias=1 "y""#];
    assert_eq!(rig.received(to), expected);
    rig.lose(to);
    let to = rig.connect_returning("to");
    let expected = [
        "CONNACK 0x00 present",
        r#"PUBLISH room/1 q1 #1 dup "x""#,
        r#"PUBLISH room/1 q1 #2 dup "y""#,
    ];
    assert_eq!(rig.received(to), expected);
}

#[test]
fn an_alias_is_left_out_where_only_it_is_too_much_and_what_is_not_sent_sets_none() {
    // A PUBLISH of "room/1234" with "x" has 2 + 11 + 1 + 1 bytes; a CONNACK has 13.
    for (most, is_sent) in [(15, true), (14, false)] {
        let mut connect = aliasing("to", 2);
        connect.properties.packet_bytes_max = Some(most);
        let mut rig = Rig::new();
        let from = rig.client("from");
        let to = rig.open();
        rig.send(to, &Packet::Connect(connect));
        rig.send(to, &subscribe(1, "#", ExactlyOnce));
        rig.received(to);
        send(&mut rig, from, &["room/1234", "room/1234"]);
        let expected = vec![r#"PUBLISH room/1234 q0 "x""#; if is_sent { 2 } else { 0 }];
        assert_eq!(rig.received(to), expected);
    }
}

proptest! {
    /// [MQTT-3.1.2-26]
    #[test]
    fn a_receiver_that_follows_aliases_sees_every_topic(
        topics in prop::collection::vec((0..12_u8, 0..3_u8), 1..200),
        client_max in 0..6_u16,
        own_max in 0..6_u16,
    ) {
        let config =
            EngineConfig { topic_alias_maximum_outbound: own_max, ..EngineConfig::default() };
        let (mut rig, from, to) = pair(config, aliasing("to", client_max));
        let mut sent = Vec::new();
        for (number, &(topic, qos)) in (1..).zip(&topics) {
            let topic = format!("topic/{topic}");
            let qos = QoS::from_u8(qos).unwrap();
            let id = if qos == AtMostOnce { 0 } else { number };
            rig.send(from, &Packet::Publish(publish(&topic, qos, id, &topic)));
            sent.push(topic);
        }
        let limits = DecodeLimits { sender: Sender::Server, ..DecodeLimits::default() };
        let (bytes, mut at, mut known, mut seen) = (rig.bytes(to), 0, HashMap::new(), Vec::new());
        while at < bytes.len() {
            let Ok(Decoded::Packet { packet, consumed }) = decode(&bytes[at..], Some(V5), &limits)
            else {
                panic!("half a packet");
            };
            at += consumed;
            let Packet::Publish(publish) = packet else { panic!("{packet:?}") };
            let mut topic = publish.topic;
            if let Some(alias) = publish.properties.topic_alias {
                prop_assert!(alias <= client_max.min(own_max));
                if topic.is_empty() {
                    topic = known[&alias];
                }
                known.insert(alias, topic);
            }
            prop_assert_eq!(topic.as_bytes(), publish.payload);
            seen.push(topic.to_owned());
        }
        prop_assert_eq!(seen, sent);
    }
}
