//! Two engines that forward to each other.

use std::sync::Arc;

use super::rig::*;
use crate::codec::packet::*;
use crate::engine::*;
use crate::types::ConnectionId;

/// Destination of the other engine, in both.
pub(super) fn other() -> Destination {
    Destination::new(5).unwrap()
}

/// Carries interest and messages both ways until there is nothing to carry.
pub(super) fn carry(left: &mut Rig, right: &mut Rig) {
    for _ in 0..3 {
        carry_one_way(left, right);
        carry_one_way(right, left);
    }
}

fn carry_one_way(from: &mut Rig, to: &mut Rig) {
    for effect in std::mem::take(&mut from.effects) {
        if let Effect::Interest { seq, changes } = effect {
            let changes = changes.into_iter().map(|change| change.at(other(), None));
            to.engine.set_remote_interest(changes);
            from.engine.interest_confirmed(from.now, seq);
        }
    }
    assert_eq!(from.engine.pending_forwards() & !(1 << other().get()), 0);
    loop {
        let batch = from.engine.take_forward(other());
        if batch.is_empty() {
            break;
        }
        to.engine.deliver(to.now, &batch);
        from.engine.recycle_forward(batch);
    }
}

fn pair() -> (Rig, Rig) {
    let (mut left, mut right) = (Rig::new(), Rig::new());
    left.answers.interest = false;
    right.answers.interest = false;
    (left, right)
}

pub(super) fn subscribe_at(rig: &mut Rig, peer: &mut Rig, at: ConnectionId, filter: &str) {
    rig.send(at, &subscribe(1, filter, ExactlyOnce));
    carry(rig, peer);
    assert_eq!(rig.received(at), ["SUBACK #1 0x02"]);
}

#[test]
fn a_message_reaches_subscribers_of_the_other_engine_once() {
    let (mut left, mut right) = pair();
    let (a, b, c) = (left.client("a"), right.client("b"), right.client("c"));
    subscribe_at(&mut right, &mut left, b, "t/#");
    subscribe_at(&mut right, &mut left, b, "t/+");
    subscribe_at(&mut right, &mut left, c, "t/x");
    subscribe_at(&mut left, &mut right, a, "t/x");
    let properties = PublishProperties {
        message_expiry_seconds: Some(9),
        content_type: Some("text/plain"),
        ..PublishProperties::default()
    };
    let publish = Publish { properties, ..publish("t/x", ExactlyOnce, 1, "x") };
    left.send(a, &Packet::Publish(publish));
    right.now = right.now.plus(2000);
    carry(&mut left, &mut right);
    let there = r#"PUBLISH t/x q2 #1 expiry=7 type=text/plain "x""#;
    assert_eq!(right.received(b), [there]);
    assert_eq!(right.received(c), [there]);
    let here = r#"PUBLISH t/x q2 #1 expiry=9 type=text/plain "x""#;
    assert_eq!(left.received(a), [here, "PUBREC #1"]);
    carry(&mut left, &mut right);
    assert_eq!((right.received(b).len(), left.received(a).len()), (0, 0));
    assert_eq!(left.engine.counters().forwards_sent, 1);
    assert_eq!(right.engine.counters().forwards_received, 1);
}

#[test]
fn nobody_anywhere_is_told_to_the_publisher_and_somebody_elsewhere_too() {
    let (mut left, mut right) = pair();
    let (a, b) = (left.client("a"), right.client("b"));
    left.send(a, &Packet::Publish(publish("t", AtLeastOnce, 1, "x")));
    subscribe_at(&mut right, &mut left, b, "t");
    left.send(a, &Packet::Publish(publish("t", AtLeastOnce, 2, "x")));
    right.send(b, &unsubscribe(2, "t"));
    carry(&mut right, &mut left);
    left.send(a, &Packet::Publish(publish("t", AtLeastOnce, 3, "x")));
    assert_eq!(left.received(a), ["PUBACK #1 0x10", "PUBACK #2", "PUBACK #3 0x10"]);
}

#[test]
fn a_peer_that_is_gone_wants_nothing() {
    let mut rig = Rig::new();
    let filters = ["t", "t/+", "#"].map(Arc::<str>::from);
    let added = filters.map(|filter| RemoteInterest::Added(other(), filter));
    rig.engine.set_remote_interest(added);
    let a = rig.client("a");
    rig.subscribe(a, "t", AtMostOnce);
    rig.send(a, &Packet::Publish(publish("t", AtMostOnce, 0, "x")));
    assert_eq!(rig.engine.pending_forwards(), 1 << other().get());
    assert!(!rig.engine.take_forward(other()).is_empty());
    assert!(rig.engine.take_forward(other()).is_empty());
    rig.engine.set_remote_interest([RemoteInterest::Cleared(other())]);
    rig.send(a, &Packet::Publish(publish("t", AtMostOnce, 0, "x")));
    assert_eq!(rig.engine.pending_forwards(), 0);
    assert_eq!(rig.received(a).len(), 2);
}

#[test]
fn a_broken_batch_is_counted_and_harms_nobody() {
    let mut rig = Rig::new();
    let a = rig.client("a");
    rig.subscribe(a, "#", AtMostOnce);
    for batch in [&b"\x09"[..], b"\x02\xff", b"\x02\x00\x30\x05"] {
        rig.engine.deliver(rig.now, batch);
    }
    assert_eq!(rig.engine.counters().dropped.forward_malformed, 3);
    assert_eq!(rig.received(a), [""; 0]);
}

#[test]
fn much_in_one_pass_is_forwarded_in_several_batches_that_links_carry() {
    let (mut left, mut right) = pair();
    let (a, b) = (left.client("a"), right.client("b"));
    subscribe_at(&mut right, &mut left, b, "t");
    let payloads: Vec<String> =
        (0..20u8).map(|n| char::from(b'a' + n).to_string().repeat(700_000)).collect();
    for payload in &payloads {
        left.send(a, &Packet::Publish(publish("t", AtLeastOnce, 1, payload)));
    }
    let (mut batches, mut seen) = (0, String::new());
    loop {
        let batch = left.engine.take_forward(other());
        if batch.is_empty() {
            break;
        }
        assert!(batch.len() <= FORWARD_BATCH_BYTES_MAX, "{}", batch.len());
        batches += 1;
        for message in crate::forward::read_batch(&batch) {
            seen.push(char::from(message.unwrap().publish.payload[0]));
        }
    }
    assert_eq!(seen, "abcdefghijklmnopqrst");
    assert_eq!(batches, 4);
    assert_eq!(left.engine.pending_forwards(), 0);
}
