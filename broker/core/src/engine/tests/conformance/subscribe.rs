//! Chapters 3.8 to 3.11: SUBSCRIBE, SUBACK, UNSUBSCRIBE, UNSUBACK.

use broker_policy::AclType;

use super::super::rig::*;
use crate::codec::UserProperties;
use crate::codec::packet::*;
use crate::engine::EngineConfig;
use crate::types::{PacketId, QoS};

fn options(qos: QoS) -> SubscriptionOptions {
    SubscriptionOptions { qos, ..SubscriptionOptions::default() }
}

fn subscribe_all<'a>(id: u16, filters: &[(&'a str, QoS)]) -> Packet<'a> {
    let filters: Vec<_> = filters
        .iter()
        .map(|&(filter, qos)| SubscribeFilter { filter, options: options(qos) })
        .collect();
    Packet::Subscribe(Subscribe {
        packet_id: PacketId::new(id).unwrap(),
        subscription_id: None,
        user_properties: UserProperties::NONE,
        filters: SubscribeFilters::from_slice(filters.leak()),
    })
}

fn unsubscribe_all<'a>(id: u16, filters: &[&'a str]) -> Packet<'a> {
    let filters: &[&str] = filters.to_vec().leak();
    Packet::Unsubscribe(Unsubscribe {
        packet_id: PacketId::new(id).unwrap(),
        user_properties: UserProperties::NONE,
        filters: UnsubscribeFilters::from_slice(filters),
    })
}

#[test]
fn a_list_of_filters_is_answered_once_in_its_order() {
    let acls =
        [(AclType::SubscribePattern, "no/#", false), (AclType::UnsubscribePattern, "keep", false)];
    let mut rig = Rig::with(EngineConfig::default(), policy(&["u"], &acls));
    let a = rig.connect(Connect { user_name: Some("u"), ..connect("a") });
    let b = rig.client("b");
    let filters =
        [("t/2", ExactlyOnce), ("no/x", AtLeastOnce), ("t/1", AtLeastOnce), ("keep", AtMostOnce)];
    rig.send(a, &subscribe_all(11, &filters));
    assert_eq!(rig.received(a), ["SUBACK #11 0x02 0x87 0x01 0x00"]);
    for topic in ["t/1", "no/x", "t/2", "keep"] {
        rig.send(b, &Packet::Publish(publish(topic, AtMostOnce, 0, "x")));
    }
    let messages = [r#"PUBLISH t/1 q0 "x""#, r#"PUBLISH t/2 q0 "x""#, r#"PUBLISH keep q0 "x""#];
    assert_eq!(rig.received(a), messages);
    rig.send(a, &unsubscribe_all(12, &["none", "keep", "t/1"]));
    assert_eq!(rig.received(a), ["UNSUBACK #12 0x11 0x87 0x00"]);
    for topic in ["t/1", "t/2", "keep"] {
        rig.send(b, &Packet::Publish(publish(topic, AtMostOnce, 0, "x")));
    }
    assert_eq!(rig.received(a), messages[1..]);
}

#[test]
fn the_same_filter_twice_in_one_list_counts_as_the_last() {
    let mut rig = Rig::new();
    let a = rig.client("a");
    rig.send(a, &subscribe_all(1, &[("t", ExactlyOnce), ("t", AtMostOnce)]));
    assert_eq!(rig.received(a), ["SUBACK #1 0x02 0x00"]);
    rig.send(a, &Packet::Publish(publish("t", AtLeastOnce, 1, "x")));
    assert_eq!(rig.received(a), [r#"PUBLISH t q0 "x""#, "PUBACK #1"]);
    rig.send(a, &unsubscribe_all(2, &["t", "t"]));
    assert_eq!(rig.received(a), ["UNSUBACK #2 0x00 0x11"]);
}

#[test]
fn a_subscription_to_the_same_filter_replaces_the_older_one() {
    let mut rig = Rig::new();
    let (a, b) = (rig.client("a"), rig.client("b"));
    let no_local = SubscriptionOptions { no_local: true, ..options(ExactlyOnce) };
    rig.send(a, &subscribe_with(1, "t/+", no_local, Some(7)));
    rig.send(a, &subscribe_with(2, "t/+", options(AtLeastOnce), Some(8)));
    assert_eq!(rig.received(a), ["SUBACK #1 0x02", "SUBACK #2 0x01"]);
    rig.send(a, &Packet::Publish(publish("t/x", ExactlyOnce, 3, "own")));
    assert_eq!(rig.received(a), [r#"PUBLISH t/x q1 #1 sub=8 "own""#, "PUBREC #3"]);
    rig.send(a, &subscribe_with(3, "t/+", options(AtMostOnce), None));
    rig.received(a);
    rig.send(b, &Packet::Publish(publish("t/x", ExactlyOnce, 4, "x")));
    assert_eq!(rig.received(a), [r#"PUBLISH t/x q0 "x""#]);
    assert_eq!(rig.engine.counters().subscriptions, 1);
}

#[test]
fn messages_that_wait_survive_the_replacement_of_their_subscription() {
    let mut rig = Rig::new();
    let properties = ConnectProperties { receive_maximum: Some(1), ..ConnectProperties::default() };
    let a = rig.connect(Connect { properties, ..connect("a") });
    let b = rig.client("b");
    rig.subscribe(a, "t", AtLeastOnce);
    for (id, payload) in [(1, "sent"), (2, "waits")] {
        rig.send(b, &Packet::Publish(publish("t", AtLeastOnce, id, payload)));
    }
    assert_eq!(rig.received(a), [r#"PUBLISH t q1 #1 "sent""#]);
    rig.send(a, &subscribe(2, "t", ExactlyOnce));
    rig.send(b, &Packet::Publish(publish("t", AtLeastOnce, 3, "later")));
    assert_eq!(rig.received(a), ["SUBACK #2 0x02"]);
    for (id, payload) in [(1, "waits"), (2, "later")] {
        rig.send(a, &Packet::PubAck(ack(id)));
        assert_eq!(rig.received(a), [format!(r#"PUBLISH t q1 #{} "{payload}""#, id + 1)]);
    }
}

#[test]
fn a_message_has_the_lower_of_the_two_qos() {
    let all = [AtMostOnce, AtLeastOnce, ExactlyOnce];
    for version in [V311, V5] {
        for filter in ["t", "$share/g/t"] {
            for (granted, published) in all.iter().flat_map(|&g| all.map(|p| (g, p))) {
                let mut rig = Rig::new();
                let a = rig.connect(Connect { version, ..connect("a") });
                let b = rig.client("b");
                rig.subscribe(a, filter, granted);
                let id = published.as_u8().into();
                rig.send(b, &Packet::Publish(publish("t", published, id, "x")));
                let expected = match granted.as_u8().min(published.as_u8()) {
                    0 => r#"PUBLISH t q0 "x""#.to_owned(),
                    qos => format!(r#"PUBLISH t q{qos} #1 "x""#),
                };
                assert_eq!(rig.received(a), [expected], "{filter}: {granted:?}, {published:?}");
            }
        }
    }
}

#[test]
fn unsubscribe_removes_the_filter_that_is_the_same_and_no_other() {
    let mut rig = Rig::new();
    let a = rig.client("a");
    rig.subscribe(a, "t/+", AtMostOnce);
    for filter in ["t/#", "t/x", "+/+", "T/+", "t/+/", "#"] {
        rig.send(a, &unsubscribe(2, filter));
        assert_eq!(rig.received(a), ["UNSUBACK #2 0x11"], "{filter}");
    }
    rig.send(a, &Packet::Publish(publish("t/x", AtMostOnce, 0, "x")));
    assert_eq!(rig.received(a).len(), 1);
    rig.send(a, &unsubscribe(3, "t/+"));
    assert_eq!(rig.received(a), ["UNSUBACK #3 0x00"]);
    rig.send(a, &Packet::Publish(publish("t/x", AtMostOnce, 0, "x")));
    assert_eq!(rig.received(a), [""; 0]);
}

#[test]
fn what_was_sent_before_unsubscribe_is_completed() {
    let mut rig = Rig::new();
    let (a, b) = (rig.connect(returning("a")), rig.client("b"));
    rig.subscribe(a, "t", ExactlyOnce);
    rig.send(b, &Packet::Publish(publish("t", AtLeastOnce, 1, "x")));
    rig.send(b, &Packet::Publish(publish("t", ExactlyOnce, 2, "y")));
    assert_eq!(rig.received(a).len(), 2);
    rig.send(a, &unsubscribe(1, "t"));
    assert_eq!(rig.received(a), ["UNSUBACK #1 0x00"]);
    rig.send(a, &Packet::PubRec(ack(2)));
    assert_eq!(rig.received(a), ["PUBREL #2"]);
    rig.lose(a);
    let a = rig.open();
    rig.send(a, &Packet::Connect(returning("a")));
    let expected = ["CONNACK 0x00 present", r#"PUBLISH t q1 #1 dup "x""#, "PUBREL #2"];
    assert_eq!(rig.received(a), expected);
}
