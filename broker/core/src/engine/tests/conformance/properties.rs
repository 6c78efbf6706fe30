//! Chapter 3.3.2.3 and others: which properties are passed on, and which are not sent unasked.

use super::super::rig::*;
use crate::codec::packet::*;
use crate::codec::{DecodeLimits, Decoded, Sender, UserProperties, decode};
use crate::engine::EngineConfig;
use broker_policy::AclType;

/// The only packet in these bytes.
fn packet(bytes: &[u8]) -> Packet<'_> {
    let limits = DecodeLimits { sender: Sender::Server, ..DecodeLimits::default() };
    match decode(bytes, Some(V5), &limits) {
        Ok(Decoded::Packet { packet, consumed }) if consumed == bytes.len() => packet,
        other => panic!("{other:?}"),
    }
}

const PAIRS: [(&str, &str); 4] = [("b", "2"), ("a", "1"), ("b", "0"), ("", "")];

#[test]
fn what_a_publisher_says_of_its_message_reaches_subscribers_unaltered() {
    let mut rig = Rig::new();
    let (a, b) = (rig.client("a"), rig.client("b"));
    rig.subscribe(a, "t", AtMostOnce);
    for payload_is_utf8 in [Some(false), Some(true)] {
        let properties = PublishProperties {
            payload_is_utf8,
            response_topic: Some("answers/\u{feff}é"),
            correlation_data: Some(&[0, 1, 255]),
            user_properties: UserProperties::from_pairs(&PAIRS),
            content_type: Some("text/plain"),
            ..PublishProperties::default()
        };
        let sent = Publish { properties, ..publish("t", AtMostOnce, 0, "x") };
        rig.send(b, &Packet::Publish(sent));
        let bytes = rig.bytes(a);
        let Packet::Publish(received) = packet(&bytes) else { panic!() };
        let received = received.properties;
        assert_eq!(received.payload_is_utf8, payload_is_utf8);
        assert_eq!(received.response_topic, properties.response_topic);
        assert_eq!(received.correlation_data, properties.correlation_data);
        assert_eq!(received.content_type, properties.content_type);
        assert_eq!(received.user_properties.iter().collect::<Vec<_>>(), PAIRS);
    }
}

#[test]
fn a_will_keeps_its_user_properties_in_their_order() {
    let mut rig = Rig::new();
    let watcher = rig.client("watcher");
    rig.subscribe(watcher, "will/a", AtMostOnce);
    let user_properties = UserProperties::from_pairs(&PAIRS);
    let properties = WillProperties { user_properties, ..WillProperties::default() };
    let will = Some(Will { properties, ..will("will/a", 0) });
    let a = rig.connect(Connect { will, ..connect("a") });
    rig.lose(a);
    let bytes = rig.bytes(watcher);
    let Packet::Publish(received) = packet(&bytes) else { panic!() };
    assert_eq!(received.properties.user_properties.iter().collect::<Vec<_>>(), PAIRS);
}

#[test]
fn topic_aliases_stay_within_what_the_client_allows() {
    for allowed in [None, Some(0), Some(1)] {
        let mut rig = Rig::new();
        let properties =
            ConnectProperties { topic_alias_maximum: allowed, ..ConnectProperties::default() };
        let a = rig.connect(Connect { properties, ..connect("a") });
        let b = rig.client("b");
        rig.subscribe(a, "#", AtMostOnce);
        for topic in ["t/1", "t/2", "t/3", "t/1", "t/2", "t/3"] {
            let properties =
                PublishProperties { topic_alias: Some(3), ..PublishProperties::default() };
            let sent = Publish { properties, ..publish(topic, AtMostOnce, 0, "x") };
            rig.send(b, &Packet::Publish(sent));
            let bytes = rig.bytes(a);
            let Packet::Publish(received) = packet(&bytes) else { panic!() };
            let alias = received.properties.topic_alias.unwrap_or(0);
            assert!(alias <= allowed.unwrap_or(0), "{allowed:?}: {alias}");
        }
    }
}

#[test]
fn response_information_is_not_sent_unasked() {
    for asked in [None, Some(false)] {
        let mut rig = Rig::new();
        let properties =
            ConnectProperties { request_response_information: asked, ..Default::default() };
        let id = rig.open();
        rig.send(id, &Packet::Connect(Connect { properties, ..connect("a") }));
        let bytes = rig.bytes(id);
        let Packet::ConnAck(connack) = packet(&bytes) else { panic!() };
        assert_eq!(connack.properties.response_information, None);
        assert_eq!(connack.properties.authentication_method, None);
    }
}

#[test]
fn without_problem_information_acknowledgements_carry_a_code_and_nothing_else() {
    let acls =
        [(AclType::PublishClientSend, "no/#", false), (AclType::SubscribePattern, "no/#", false)];
    let mut rig = Rig::with(EngineConfig::default(), policy(&["u"], &acls));
    let properties =
        ConnectProperties { request_problem_information: Some(false), ..Default::default() };
    let a = rig.connect(Connect { user_name: Some("u"), properties, ..connect("a") });
    rig.send(a, &Packet::Publish(publish("no/t", AtLeastOnce, 1, "x")));
    assert_eq!(rig.bytes(a)[..], [0x40, 3, 0, 1, 0x87]);
    rig.send(a, &Packet::Publish(publish("no/t", ExactlyOnce, 2, "x")));
    assert_eq!(rig.bytes(a)[..], [0x50, 3, 0, 2, 0x87]);
    rig.send(a, &Packet::PubRel(ack(9)));
    assert_eq!(rig.bytes(a)[..], [0x70, 3, 0, 9, 0x92]);
    rig.send(a, &Packet::PubRec(ack(9)));
    assert_eq!(rig.bytes(a)[..], [0x62, 3, 0, 9, 0x92]);
    rig.send(a, &subscribe(3, "no/t", AtMostOnce));
    assert_eq!(rig.bytes(a)[..], [0x90, 4, 0, 3, 0, 0x87]);
    rig.send(a, &unsubscribe(4, "no/t"));
    assert_eq!(rig.bytes(a)[..], [0xB0, 4, 0, 4, 0, 0x11]);
}
