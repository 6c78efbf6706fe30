//! A node whose disk is nearly full: what must be kept is turned down, all else goes on.

use super::rig::*;
use crate::codec::packet::*;
use crate::engine::*;
use crate::shard::DelayLimits;
use crate::types::{ConnectionId, ProtocolVersion, QoS};

/// A durable subscriber that is away, one that is not durable, and a publisher.
fn rig() -> (Rig, ConnectionId, ConnectionId) {
    let kept = DelayLimits { messages_max: 9, bytes_max: 10_000 };
    let delayed = DelayedLimits { messages_max: 9, bytes_max: 10_000, seconds_max: 60, kept };
    let mut rig = Rig::durable_with(EngineConfig { delayed, ..EngineConfig::default() });
    let durable = rig.connect(returning("d"));
    rig.subscribe(durable, "kept/#", AtLeastOnce);
    rig.lose(durable);
    let live = rig.client("l");
    rig.subscribe(live, "#", AtLeastOnce);
    let publisher = rig.client("p");
    (rig, live, publisher)
}

fn send(rig: &mut Rig, from: ConnectionId, topic: &str, qos: QoS, retain: bool) -> Vec<String> {
    rig.send(from, &Packet::Publish(Publish { retain, ..publish(topic, qos, 1, "x") }));
    rig.received(from)
}

#[test]
fn what_must_be_kept_is_refused_while_the_disk_is_full_and_taken_again_later() {
    let (mut rig, _, publisher) = rig();
    rig.store().set_disk_low(true);
    assert_eq!(send(&mut rig, publisher, "kept/t", AtLeastOnce, false), ["PUBACK #1 0x97"]);
    assert_eq!(send(&mut rig, publisher, "kept/t", ExactlyOnce, false), ["PUBREC #1 0x97"]);
    assert_eq!(send(&mut rig, publisher, "other", AtLeastOnce, true), ["PUBACK #1 0x97"]);
    let delayed = send(&mut rig, publisher, "$delayed/5/t", AtLeastOnce, false);
    assert_eq!(delayed, ["PUBACK #1 0x97"]);
    assert_eq!(rig.store().totals().messages, 0);
    assert_eq!(rig.engine.counters().dropped.disk_full, 4);

    rig.store().set_disk_low(false);
    assert_eq!(send(&mut rig, publisher, "kept/t", AtLeastOnce, false), ["PUBACK #1"]);
    assert_eq!(rig.store().totals().messages, 1);
}

#[test]
fn a_client_of_3_1_1_is_not_told_that_a_message_is_kept_which_is_not() {
    let (mut rig, ..) = rig();
    rig.store().set_disk_low(true);
    let old = rig.connect(Connect { version: ProtocolVersion::V311, ..connect("old") });
    assert_eq!(send(&mut rig, old, "kept/t", AtLeastOnce, false), [""; 0]);
    assert!(rig.is_closed(old));
}

#[test]
fn what_need_not_be_kept_goes_on_and_messages_are_fetched_from_a_full_disk() {
    let (mut rig, live, publisher) = rig();
    send(&mut rig, publisher, "kept/before", AtLeastOnce, false);
    rig.received(live);
    rig.store().set_disk_low(true);
    assert_eq!(send(&mut rig, publisher, "other", AtLeastOnce, false), ["PUBACK #1"]);
    assert_eq!(send(&mut rig, publisher, "kept/t", AtMostOnce, false), [""; 0]);
    assert_eq!(rig.received(live), [r#"PUBLISH other q1 #2 "x""#, r#"PUBLISH kept/t q0 "x""#]);
    let empty = Publish { retain: true, ..publish("other", AtLeastOnce, 1, "") };
    rig.send(publisher, &Packet::Publish(empty));
    assert_eq!(rig.received(publisher), ["PUBACK #1"], "it makes room");
    let durable = rig.connect_returning("d");
    let expected = ["CONNACK 0x00 present", r#"PUBLISH kept/before q1 #1 "x""#];
    assert_eq!(rig.received(durable), expected);
    rig.send(durable, &Packet::PubAck(ack(1)));
    assert_eq!(rig.store().totals().messages, 0);
}
