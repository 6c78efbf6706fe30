//! SUBSCRIBE and UNSUBSCRIBE.

use std::sync::Arc;

use broker_policy::AclType;

use super::rig::*;
use crate::codec::UserProperties;
use crate::codec::packet::*;
use crate::engine::*;

fn options(qos: crate::types::QoS) -> SubscriptionOptions {
    SubscriptionOptions { qos, ..SubscriptionOptions::default() }
}

#[test]
fn overlapping_subscriptions_give_one_copy_with_the_highest_qos_and_all_identifiers() {
    let mut rig = Rig::new();
    let (a, b) = (rig.client("a"), rig.connect(Connect { version: V311, ..connect("b") }));
    for (id, filter, qos) in [(1, "t/#", AtLeastOnce), (2, "t/+", ExactlyOnce)] {
        rig.send(a, &subscribe_with(id, filter, options(qos), Some(100 + u32::from(id))));
        rig.send(b, &subscribe(id, filter, qos));
    }
    rig.send(a, &subscribe(3, "t/x", AtMostOnce));
    rig.received(a);
    rig.received(b);
    rig.send(b, &Packet::Publish(publish("t/x", ExactlyOnce, 1, "x")));
    let mut packets = rig.received(a);
    if packets == [r#"PUBLISH t/x q2 #1 sub=102 sub=101 "x""#] {
        packets = vec![r#"PUBLISH t/x q2 #1 sub=101 sub=102 "x""#.into()];
    }
    assert_eq!(packets, [r#"PUBLISH t/x q2 #1 sub=101 sub=102 "x""#]);
    assert_eq!(rig.received(b), [r#"PUBLISH t/x q2 #1 "x""#, "PUBREC #1"]);
}

#[test]
fn no_local_keeps_own_messages_away_unless_another_subscription_wants_them() {
    let mut rig = Rig::new();
    let (a, b) = (rig.client("a"), rig.client("b"));
    let no_local = SubscriptionOptions { no_local: true, ..options(AtMostOnce) };
    rig.send(a, &subscribe_with(1, "t/#", no_local, Some(1)));
    rig.received(a);
    rig.send(a, &Packet::Publish(publish("t/x", AtMostOnce, 0, "own")));
    assert_eq!(rig.received(a), [""; 0]);
    rig.send(b, &Packet::Publish(publish("t/x", AtMostOnce, 0, "other")));
    assert_eq!(rig.received(a), [r#"PUBLISH t/x q0 sub=1 "other""#]);
    rig.send(a, &subscribe_with(2, "t/x", options(AtMostOnce), Some(2)));
    rig.received(a);
    rig.send(a, &Packet::Publish(publish("t/x", AtMostOnce, 0, "own")));
    assert_eq!(rig.received(a), [r#"PUBLISH t/x q0 sub=2 "own""#]);
}

#[test]
fn retain_as_published_keeps_the_flag() {
    let mut rig = Rig::new();
    let (a, b) = (rig.client("a"), rig.client("b"));
    let as_published = SubscriptionOptions { retain_as_published: true, ..options(AtMostOnce) };
    rig.send(a, &subscribe_with(1, "t", as_published, None));
    rig.subscribe(b, "t", AtMostOnce);
    rig.received(a);
    let retained = Publish { retain: true, ..publish("t", AtMostOnce, 0, "x") };
    rig.send(b, &Packet::Publish(retained));
    assert_eq!(rig.received(a), [r#"PUBLISH t q0 retain "x""#]);
    assert_eq!(rig.received(b), [r#"PUBLISH t q0 "x""#]);
}

#[test]
fn suback_leaves_when_everyone_knows_of_the_filter() {
    let mut rig = Rig::new();
    rig.answers.interest = false;
    let (a, b) = (rig.client("a"), rig.client("b"));
    rig.send(a, &subscribe(1, "t", AtMostOnce));
    rig.send(b, &subscribe(1, "t", AtMostOnce));
    rig.send(b, &subscribe(2, "u", AtMostOnce));
    assert_eq!((rig.received(a), rig.received(b)), (vec![], vec![]));
    let added = |filter: &str| vec![InterestChange::Added(Arc::from(filter))];
    let expected = [
        Effect::Interest { seq: InterestSeq(1), changes: added("t") },
        Effect::Interest { seq: InterestSeq(2), changes: added("u") },
    ];
    assert_eq!(rig.effects, expected);
    rig.engine.interest_confirmed(rig.now, InterestSeq(1));
    assert_eq!(rig.received(a), ["SUBACK #1 0x00"]);
    assert_eq!(rig.received(b), ["SUBACK #1 0x00"]);
    rig.engine.interest_confirmed(rig.now, InterestSeq(2));
    assert_eq!(rig.received(b), ["SUBACK #2 0x00"]);
    // Known already: nothing to wait for.
    rig.send(a, &subscribe(2, "u", AtMostOnce));
    assert_eq!(rig.received(a), ["SUBACK #2 0x00"]);
}

#[test]
fn interest_goes_with_the_last_subscription() {
    let mut rig = Rig::new();
    let (a, b) = (rig.client("a"), rig.client("b"));
    rig.subscribe(a, "t", AtMostOnce);
    rig.subscribe(b, "t", AtMostOnce);
    assert_eq!(rig.engine.interest(), [Arc::from("t")]);
    rig.send(a, &unsubscribe(2, "t"));
    assert_eq!(rig.received(a), ["UNSUBACK #2 0x00"]);
    rig.answers.interest = false;
    rig.lose(b);
    let changes = vec![InterestChange::Removed(Arc::from("t"))];
    assert_eq!(rig.effects[1..], [Effect::Interest { seq: InterestSeq(2), changes }]);
    assert!(rig.engine.interest().is_empty());
}

#[test]
fn filters_are_refused_one_by_one() {
    let acls = [
        (AclType::SubscribePattern, "secret/#", false),
        (AclType::UnsubscribePattern, "keep/#", false),
    ];
    let config = EngineConfig { subscriptions_max: 1, ..EngineConfig::default() };
    let mut rig = Rig::with(config, policy(&["u"], &acls));
    let a = rig.connect(Connect { user_name: Some("u"), ..connect("a") });
    let deep = "a/".repeat(200);
    for (filter, code) in [
        ("secret/x", "0x87"),
        (deep.as_str(), "0x8f"),
        ("keep/x", "0x01"),
        ("keep/x", "0x02"),
        ("other", "0x97"),
    ] {
        let qos = if code == "0x02" { ExactlyOnce } else { AtLeastOnce };
        rig.send(a, &subscribe(1, filter, qos));
        assert_eq!(rig.received(a), [format!("SUBACK #1 {code}")], "{filter}");
    }
    for (filter, code) in [("keep/x", "0x87"), ("other", "0x11")] {
        rig.send(a, &unsubscribe(1, filter));
        assert_eq!(rig.received(a), [format!("UNSUBACK #1 {code}")], "{filter}");
    }
    let old = rig.connect(Connect { version: V311, user_name: Some("u"), ..connect("old") });
    rig.send(old, &subscribe(1, "secret/x", AtLeastOnce));
    rig.send(old, &unsubscribe(2, "other"));
    assert_eq!(rig.received(old), ["SUBACK #1 0x80", "UNSUBACK #2"]);
    assert_eq!(rig.engine.counters().subscriptions, 1);
}

#[test]
fn a_wildcard_does_not_reach_topics_of_the_server() {
    let mut rig = Rig::new();
    let (a, b) = (rig.client("a"), rig.client("b"));
    rig.subscribe(a, "#", AtMostOnce);
    rig.subscribe(a, "+/x", AtMostOnce);
    rig.subscribe(b, "$data/x", AtMostOnce);
    rig.send(a, &Packet::Publish(publish("$data/x", AtMostOnce, 0, "x")));
    assert_eq!(rig.received(a), [""; 0]);
    assert_eq!(rig.received(b).len(), 1);
}

/// A SUBSCRIBE and an UNSUBSCRIBE of all these filters.
fn of_many<'a>(filters: &'a [&'a str]) -> (Packet<'a>, Packet<'a>) {
    let packet_id = crate::types::PacketId::MIN;
    let user_properties = UserProperties::NONE;
    let asked: Vec<_> = filters
        .iter()
        .map(|filter| SubscribeFilter { filter, options: options(AtMostOnce) })
        .collect();
    let subscribe = Subscribe {
        packet_id,
        subscription_id: None,
        user_properties,
        filters: SubscribeFilters::from_slice(asked.leak()),
    };
    let filters = UnsubscribeFilters::from_slice(filters);
    (
        Packet::Subscribe(subscribe),
        Packet::Unsubscribe(Unsubscribe { packet_id, user_properties, filters }),
    )
}

#[test]
fn a_packet_with_more_filters_than_a_session_may_hold_is_not_looked_at_to_its_end() {
    let config = EngineConfig { subscriptions_max: 3, ..EngineConfig::default() };
    let mut rig = Rig::with(config, open_policy());
    let a = rig.client("a");
    let (subscribe, unsubscribe) = of_many(&["t", "t", "t", "t", "u"]);
    rig.send(a, &subscribe);
    assert_eq!(rig.received(a), ["SUBACK #1 0x00 0x00 0x00 0x97 0x97"]);
    assert_eq!(rig.engine.counters().subscriptions, 1);
    rig.send(a, &unsubscribe);
    assert_eq!(rig.received(a), ["UNSUBACK #1 0x00 0x11 0x11 0x83 0x83"]);
}

#[test]
fn a_filter_that_a_packet_repeats_gets_what_is_retained_once() {
    let mut rig = Rig::new();
    let (a, b) = (rig.client("a"), rig.client("b"));
    let retained = Publish { retain: true, ..publish("t", AtMostOnce, 0, "x") };
    rig.send(b, &Packet::Publish(retained));
    rig.send(a, &of_many(&["t", "#", "t", "t"]).0);
    let message = r#"PUBLISH t q0 retain "x""#;
    assert_eq!(rig.received(a), ["SUBACK #1 0x00 0x00 0x00 0x00", message, message]);
}
