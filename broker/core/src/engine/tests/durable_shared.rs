//! Shared Subscriptions of durable sessions, alone and beside those of others.

use super::rig::*;
use crate::codec::packet::*;

fn send(rig: &mut Rig, publisher: crate::types::ConnectionId, count: u16) {
    for id in 1..=count {
        rig.send(publisher, &Packet::Publish(publish("t", AtLeastOnce, id, &id.to_string())));
    }
    let expected: Vec<String> = (1..=count).map(|id| format!("PUBACK #{id}")).collect();
    assert_eq!(rig.received(publisher), expected);
}

#[test]
fn connected_durable_members_take_turns() {
    let mut rig = Rig::durable();
    let members = ["a", "b"].map(|name| rig.connect(returning(name)));
    for member in members {
        rig.subscribe(member, "$share/g/t", AtLeastOnce);
    }
    let publisher = rig.client("p");
    send(&mut rig, publisher, 4);
    for member in members {
        assert_eq!(rig.received(member).len(), 2);
    }
}

#[test]
fn members_that_are_all_away_keep_what_comes() {
    let mut rig = Rig::durable();
    let member = rig.connect(returning("a"));
    rig.subscribe(member, "$share/g/t", AtLeastOnce);
    rig.lose(member);
    let publisher = rig.client("p");
    send(&mut rig, publisher, 3);
    let again = rig.connect_returning("a");
    assert_eq!(rig.received(again).len(), 1 + 3);
}

#[test]
fn a_connected_member_that_is_not_durable_comes_before_an_absent_one_that_is() {
    let mut rig = Rig::durable();
    let durable = rig.connect(returning("a"));
    rig.subscribe(durable, "$share/g/t", AtLeastOnce);
    rig.lose(durable);
    let other = rig.client("b");
    rig.subscribe(other, "$share/g/t", AtLeastOnce);
    let publisher = rig.client("p");
    send(&mut rig, publisher, 3);
    assert_eq!(rig.received(other).len(), 3);
    assert_eq!(rig.store().totals().messages, 0);
}
