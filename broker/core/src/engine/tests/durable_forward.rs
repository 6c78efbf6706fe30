//! What durable sessions elsewhere get from the log is not forwarded to them as well.

use super::rig::*;
use super::two_engines::{carry, other, subscribe_at};
use crate::codec::packet::*;
use crate::types::{ConnectionId, QoS};

/// Two nodes with one state.
fn pair() -> (Rig, Rig) {
    let mut left = Rig::durable();
    let mut right = left.peer(2);
    left.answers.interest = false;
    right.answers.interest = false;
    (left, right)
}

/// Publishes at the left; says whether that is forwarded, and carries it.
fn is_forwarded(left: &mut Rig, right: &mut Rig, publisher: ConnectionId, qos: QoS) -> bool {
    let id = if qos == AtMostOnce { 0 } else { 1 };
    left.send(publisher, &Packet::Publish(publish("t", qos, id, "x")));
    right.hear_from(left);
    let is_forwarded = left.engine.pending_forwards() & (1 << other().get()) != 0;
    carry(left, right);
    is_forwarded
}

#[test]
fn a_message_that_durable_sessions_alone_want_is_not_forwarded_to_their_node() {
    let (mut left, mut right) = pair();
    let publisher = left.client("p");
    let durable = right.connect(returning("d"));
    subscribe_at(&mut right, &mut left, durable, "t");
    assert!(!is_forwarded(&mut left, &mut right, publisher, AtLeastOnce));
    assert_eq!(right.received(durable), ["PUBLISH t q1 #1 \"x\""]);
    assert!(is_forwarded(&mut left, &mut right, publisher, AtMostOnce));
    assert_eq!(right.received(durable), ["PUBLISH t q0 \"x\""]);
    // Somebody who is not durable.
    let live = right.client("l");
    subscribe_at(&mut right, &mut left, live, "t");
    assert!(is_forwarded(&mut left, &mut right, publisher, AtLeastOnce));
    assert_eq!(right.received(live), ["PUBLISH t q1 #1 \"x\""]);
    assert_eq!(right.received(durable), ["PUBLISH t q1 #2 \"x\""]);
    right.lose(live);
    carry(&mut left, &mut right);
    assert!(!is_forwarded(&mut left, &mut right, publisher, AtLeastOnce));
    assert_eq!(left.received(publisher).len(), 3, "each is acknowledged");
}

#[test]
fn what_a_durable_session_gets_as_qos_0_is_forwarded() {
    let (mut left, mut right) = pair();
    let publisher = left.client("p");
    let durable = right.connect(returning("d"));
    right.send(durable, &subscribe(1, "t", AtMostOnce));
    carry(&mut right, &mut left);
    assert_eq!(right.received(durable), ["SUBACK #1 0x00"]);
    assert!(is_forwarded(&mut left, &mut right, publisher, AtLeastOnce));
    assert_eq!(right.received(durable), ["PUBLISH t q0 \"x\""]);
    // From now on as QoS 1: by the log alone.
    subscribe_at(&mut right, &mut left, durable, "t");
    assert!(!is_forwarded(&mut left, &mut right, publisher, AtLeastOnce));
    assert_eq!(right.received(durable), ["PUBLISH t q1 #1 \"x\""]);
}
