//! Retained messages for new Subscriptions.

use broker_policy::AclType;

use super::rig::*;
use crate::codec::packet::*;
use crate::engine::EngineConfig;
use crate::retained::RetainedMessage;
use crate::types::{ConnectionId, Millis, QoS};

fn store(rig: &mut Rig, topics: &[&str], qos: QoS) {
    let keeper = rig.client("keeper");
    for (id, topic) in topics.iter().enumerate() {
        let id = if qos == AtMostOnce { 0 } else { id as u16 + 1 };
        let publish = Publish { retain: true, ..publish(topic, qos, id, "x") };
        rig.send(keeper, &Packet::Publish(publish));
        if qos == ExactlyOnce {
            rig.send(keeper, &Packet::PubRel(ack(id)));
        }
    }
    rig.lose(keeper);
}

fn subscribe_retained(
    rig: &mut Rig,
    at: ConnectionId,
    filter: &str,
    retain_handling: RetainHandling,
) -> Vec<String> {
    let options = SubscriptionOptions { qos: AtLeastOnce, retain_handling, ..Default::default() };
    rig.send(at, &subscribe_with(1, filter, options, Some(4)));
    rig.received(at)
}

#[test]
fn a_new_subscription_gets_what_is_retained_after_its_suback() {
    let mut rig = Rig::new();
    store(&mut rig, &["t/a", "t/b", "u"], ExactlyOnce);
    let a = rig.client("a");
    let expected = [
        "SUBACK #1 0x01",
        r#"PUBLISH t/a q1 #1 retain sub=4 "x""#,
        r#"PUBLISH t/b q1 #2 retain sub=4 "x""#,
    ];
    let send = RetainHandling::SendAtSubscribe;
    assert_eq!(subscribe_retained(&mut rig, a, "t/+", send), expected);
    assert_eq!(subscribe_retained(&mut rig, a, "t/+", send).len(), 3);
}

#[test]
fn retain_handling_decides_whether_it_does() {
    let mut rig = Rig::new();
    store(&mut rig, &["t"], AtMostOnce);
    let a = rig.client("a");
    let suback = "SUBACK #1 0x01";
    let message = r#"PUBLISH t q0 retain sub=4 "x""#;
    for (handling, expected) in [
        (RetainHandling::DoNotSend, vec![suback]),
        (RetainHandling::SendAtNewSubscription, vec![suback]),
        (RetainHandling::SendAtSubscribe, vec![suback, message]),
    ] {
        assert_eq!(subscribe_retained(&mut rig, a, "t", handling), expected);
    }
    rig.send(a, &unsubscribe(2, "t"));
    rig.received(a);
    let handling = RetainHandling::SendAtNewSubscription;
    assert_eq!(subscribe_retained(&mut rig, a, "t", handling), [suback, message]);
}

#[test]
fn an_empty_message_takes_the_retained_one_away() {
    let mut rig = Rig::new();
    store(&mut rig, &["t"], AtMostOnce);
    let a = rig.client("a");
    let empty = Publish { retain: true, ..publish("t", AtMostOnce, 0, "") };
    rig.send(a, &Packet::Publish(empty));
    assert!(rig.retained.0.lock().unwrap().is_empty());
}

#[test]
fn retained_messages_wait_for_the_window_and_go_on_where_they_stopped() {
    let mut rig = Rig::new();
    let topics: Vec<String> = (0..9).map(|n| format!("t/{n}")).collect();
    let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
    store(&mut rig, &topics, AtLeastOnce);
    let properties = ConnectProperties { receive_maximum: Some(2), ..ConnectProperties::default() };
    let a = rig.connect(Connect { properties, ..connect("a") });
    let mut seen = subscribe_retained(&mut rig, a, "t/#", RetainHandling::SendAtSubscribe);
    assert_eq!(seen.len(), 3);
    for id in 1..=9 {
        rig.send(a, &Packet::PubAck(ack(id)));
        seen.extend(rig.received(a));
    }
    let expected: Vec<_> =
        (0..9).map(|n| format!(r#"PUBLISH t/{n} q1 #{} retain sub=4 "x""#, n + 1)).collect();
    assert_eq!(seen[1..], expected);
}

#[test]
fn retained_messages_wait_for_a_slow_reader() {
    let config = EngineConfig { output_bytes_soft_max: 200, ..EngineConfig::default() };
    let mut rig = Rig::with(config, open_policy());
    let topics: Vec<String> = (0..99).map(|n| format!("t/{n:02}")).collect();
    let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
    store(&mut rig, &topics, AtMostOnce);
    let a = rig.client("a");
    let mut seen = subscribe_retained(&mut rig, a, "t/#", RetainHandling::SendAtSubscribe);
    loop {
        let more = rig.received(a);
        if more.is_empty() {
            break;
        }
        assert!(more.len() < 30);
        seen.extend(more);
    }
    assert_eq!(seen.len(), 100);
    assert_eq!(rig.engine.counters().dropped.slow_consumer, 0);
}

#[test]
fn the_right_to_receive_and_the_expiry_hold_for_them() {
    let acls = [(AclType::PublishClientReceive, "t/b", false)];
    let mut rig = Rig::with(EngineConfig::default(), policy(&["u"], &acls));
    store(&mut rig, &["t/a", "t/b"], AtMostOnce);
    let keeper = rig.client("keeper");
    let properties =
        PublishProperties { message_expiry_seconds: Some(10), ..PublishProperties::default() };
    let publish = Publish { retain: true, properties, ..publish("t/c", AtMostOnce, 0, "x") };
    rig.send(keeper, &Packet::Publish(publish));
    let a = rig.connect(Connect { user_name: Some("u"), ..connect("a") });
    rig.wait(4000);
    let send = RetainHandling::SendAtSubscribe;
    let expected = [
        "SUBACK #1 0x01",
        r#"PUBLISH t/a q0 retain sub=4 "x""#,
        r#"PUBLISH t/c q0 retain expiry=6 sub=4 "x""#,
    ];
    assert_eq!(subscribe_retained(&mut rig, a, "t/+", send), expected);
    rig.wait(6000);
    assert_eq!(subscribe_retained(&mut rig, a, "t/+", send).len(), 2);
}

#[test]
fn a_search_among_many_topics_leaves_the_engine_to_others_and_goes_on_by_itself() {
    let mut rig = Rig::new();
    let topics: Vec<String> = (0..9000).map(|n| format!("t/{n:04}")).collect();
    for topic in topics.iter().map(String::as_str).chain(["u/last"]) {
        let publish = Publish { retain: true, ..publish(topic, AtMostOnce, 0, "x") };
        let message = RetainedMessage::new(&publish, Millis::NEVER).unwrap();
        rig.retained.0.lock().unwrap().insert(topic.into(), message);
    }
    let (a, b) = (rig.client("a"), rig.client("b"));
    let filters = ["+/last", "+/0000", "+/8999"];
    for filter in filters {
        let send = RetainHandling::SendAtSubscribe;
        assert_eq!(subscribe_retained(&mut rig, a, filter, send), ["SUBACK #1 0x01"], "{filter}");
    }
    let mut passes = 0;
    let mut found = Vec::new();
    while let Some(at) = rig.engine.next_timeout().filter(|at| *at <= rig.now) {
        rig.engine.handle_timeout(at);
        found.extend(rig.received(a));
        rig.send(b, &Packet::PingReq);
        assert_eq!(rig.received(b), ["PINGRESP"]);
        passes += 1;
    }
    let expected = [
        r#"PUBLISH u/last q0 retain sub=4 "x""#,
        r#"PUBLISH t/0000 q0 retain sub=4 "x""#,
        r#"PUBLISH t/8999 q0 retain sub=4 "x""#,
    ];
    assert_eq!(found, expected);
    assert!((6..=8).contains(&passes), "{passes}");
}
