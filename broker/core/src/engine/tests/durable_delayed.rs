//! `$delayed/<seconds>/<topic>` of QoS 1 and 2, kept by the replicated state.

use broker_policy::AclType;

use super::rig::*;
use crate::codec::packet::*;
use crate::engine::*;
use crate::shard::DelayLimits;
use crate::types::{ConnectionId, NodeId, ProtocolVersion, QoS};

fn config() -> EngineConfig {
    let kept = DelayLimits { messages_max: 3, bytes_max: 10_000 };
    let delayed = DelayedLimits { messages_max: 1, bytes_max: 10_000, seconds_max: 3600, kept };
    EngineConfig { delayed, ..EngineConfig::default() }
}

/// A rig with a durable subscriber and another one, and a publisher.
fn rig() -> (Rig, [ConnectionId; 2], ConnectionId) {
    let mut rig = Rig::durable_with(config());
    let durable = rig.connect(returning("d"));
    rig.subscribe(durable, "#", AtLeastOnce);
    let live = rig.client("l");
    rig.subscribe(live, "#", AtLeastOnce);
    let publisher = rig.client("p");
    (rig, [durable, live], publisher)
}

fn delay(rig: &mut Rig, from: ConnectionId, topic: &str, qos: QoS) {
    rig.send(from, &Packet::Publish(publish(topic, qos, 1, "x")));
}

#[test]
fn a_delayed_message_is_acknowledged_once_it_is_kept_and_comes_when_its_time_has_come() {
    let (mut rig, receivers, publisher) = rig();
    rig.answers.sessions = false;
    delay(&mut rig, publisher, "$delayed/5/t", AtLeastOnce);
    assert!(rig.received(publisher).is_empty());
    rig.answers.sessions = true;
    rig.commit_held();
    assert_eq!(rig.received(publisher), ["PUBACK #1"]);
    assert_eq!(rig.engine.counters().delayed_messages, 0, "the engine has nothing of it");
    assert_eq!(rig.store().totals().delayed_messages, 1);
    assert_eq!(rig.store().next_due(), Some(rig.now.plus(5000)));
    rig.now = rig.now.plus(4999);
    rig.expire();
    assert!(receivers.iter().all(|at| rig.received(*at).is_empty()));
    rig.now = rig.now.plus(1);
    rig.expire();
    for receiver in receivers {
        assert_eq!(rig.received(receiver), [r#"PUBLISH t q1 #1 "x""#]);
    }
    assert_eq!((rig.store().totals().delayed_bytes, rig.store().next_due()), (0, None));
}

#[test]
fn another_broker_publishes_it_when_the_first_one_has_gone() {
    let (mut first, _, publisher) = rig();
    delay(&mut first, publisher, "$delayed/5/t", ExactlyOnce);
    let mut second = first.peer(2);
    drop(first.engine);
    let durable = second.connect_returning("d");
    let live = second.client("other");
    second.subscribe(live, "t", AtMostOnce);
    second.now = second.now.plus(5000);
    second.expire();
    second.expire();
    let expected = ["CONNACK 0x00 present", r#"PUBLISH t q1 #1 "x""#];
    assert_eq!(second.received(durable), expected);
    assert_eq!(second.received(live), [r#"PUBLISH t q0 "x""#]);
}

#[test]
fn what_finds_no_room_is_refused_and_counted() {
    let (mut rig, _, publisher) = rig();
    for expected in ["PUBACK #1", "PUBACK #1", "PUBACK #1", "PUBACK #1 0x97"] {
        delay(&mut rig, publisher, "$delayed/5/t", AtLeastOnce);
        assert_eq!(rig.received(publisher), [expected]);
    }
    delay(&mut rig, publisher, "$delayed/5/t", ExactlyOnce);
    assert_eq!(rig.received(publisher), ["PUBREC #1 0x97"]);
    let old = rig.connect(Connect { version: ProtocolVersion::V311, ..connect("old") });
    delay(&mut rig, old, "$delayed/5/t", AtLeastOnce);
    assert_eq!(rig.received(old), ["PUBACK #1"], "3.1.1 has no word for it");
    assert_eq!(rig.engine.counters().dropped.delayed_refused, 3);
    rig.now = rig.now.plus(5000);
    rig.expire();
    let large = "x".repeat(6_000);
    for expected in ["PUBACK #1", "PUBACK #1 0x97"] {
        rig.send(publisher, &Packet::Publish(publish("$delayed/5/t", AtLeastOnce, 1, &large)));
        assert_eq!(rig.received(publisher), [expected]);
    }
}

#[test]
fn the_right_is_asked_again_and_the_message_may_expire_meanwhile() {
    let mut rig = Rig::with(config(), policy(&["u"], &[]));
    rig.join(NodeId(1), Default::default(), Default::default());
    let subscriber = rig.client("s");
    rig.subscribe(subscriber, "#", AtLeastOnce);
    let publisher = rig.connect(Connect { user_name: Some("u"), ..connect("p") });
    let properties =
        PublishProperties { message_expiry_seconds: Some(4), ..PublishProperties::default() };
    let short = Publish { properties, ..publish("$delayed/5/t", AtLeastOnce, 1, "short") };
    rig.send(publisher, &Packet::Publish(short));
    delay(&mut rig, publisher, "$delayed/5/no", AtLeastOnce);
    delay(&mut rig, publisher, "$delayed/6/yes", AtLeastOnce);
    let no = [(AclType::PublishClientSend, "no", false)];
    rig.state.as_mut().unwrap().policy = policy(&["u"], &no);
    rig.now = rig.now.plus(5000);
    rig.expire();
    let dropped = rig.engine.counters().dropped;
    assert_eq!((dropped.expired, dropped.publish_denied), (1, 1));
    // Its user is deleted.
    rig.state.as_mut().unwrap().policy = policy(&["other"], &[]);
    rig.now = rig.now.plus(1000);
    rig.expire();
    assert_eq!(rig.engine.counters().dropped.publish_denied, 2);
    assert!(rig.received(subscriber).is_empty());
    assert_eq!(rig.store().totals().delayed_messages, 0);
}

#[test]
fn it_is_retained_when_its_time_has_come() {
    let (mut rig, receivers, publisher) = rig();
    let kept = Publish { retain: true, ..publish("$delayed/5/kept", AtLeastOnce, 1, "x") };
    rig.send(publisher, &Packet::Publish(kept));
    assert_eq!(rig.received(publisher), ["PUBACK #1"]);
    assert!(rig.retained.0.lock().unwrap().is_empty());
    rig.now = rig.now.plus(5000);
    rig.expire();
    assert!(rig.retained.0.lock().unwrap().contains_key("kept"));
    assert!(receivers.iter().all(|at| rig.received(*at).len() == 1));
}

#[test]
fn a_qos_2_message_that_comes_again_elsewhere_is_kept_once() {
    let (mut first, ..) = rig();
    let publisher = first.connect(returning("q"));
    delay(&mut first, publisher, "$delayed/5/t", ExactlyOnce);
    assert_eq!(first.received(publisher), ["PUBREC #1"]);
    // Its PUBREC is lost with the broker.
    let mut second = first.peer_with(2, config());
    let again = second.connect_returning("q");
    let repeated = Publish { dup: true, ..publish("$delayed/5/t", ExactlyOnce, 1, "x") };
    second.send(again, &Packet::Publish(repeated));
    assert_eq!(second.received(again), ["CONNACK 0x00 present", "PUBREC #1"]);
    assert_eq!(second.store().totals().delayed_messages, 1);
}
