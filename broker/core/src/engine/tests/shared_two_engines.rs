//! Shared Subscriptions over two engines, and what happens when one knows less than the other.

use super::bus::*;
use super::rig::*;
use crate::codec::packet::*;
use crate::engine::*;
use crate::types::ConnectionId;

const FILTER: &str = "$share/g/t";

fn bus() -> Bus {
    Bus::new(2, SharedSubscriptionStrategy::RoundRobin)
}

fn send(bus: &mut Bus, engine: usize, from: ConnectionId, payload: &str) {
    bus.rigs[engine].send(from, &Packet::Publish(publish("t", AtLeastOnce, 1, payload)));
}

fn counters(bus: &Bus, engine: usize) -> Counters {
    *bus.rigs[engine].engine.counters()
}

#[test]
fn a_member_that_left_meanwhile_is_replaced_by_one_on_the_other_engine() {
    let mut bus = bus();
    let there = bus.rigs[1].client("there");
    bus.subscribe(1, there, FILTER, AtLeastOnce);
    let (here, publisher) = (bus.rigs[0].client("here"), bus.rigs[0].client("publisher"));
    send(&mut bus, 0, publisher, "x");
    bus.subscribe_first(0, here, FILTER);
    bus.rigs[0].received(here);
    bus.rigs[1].lose(there);
    bus.carry();
    assert_eq!(bus.rigs[0].received(here), [r#"PUBLISH t q1 #1 "x""#]);
    assert_eq!((counters(&bus, 0).forwards_sent, counters(&bus, 1).forwards_sent), (1, 1));
    assert_eq!(counters(&bus, 1).dropped, Dropped::default());
}

#[test]
fn a_message_that_nobody_has_a_member_for_comes_to_rest() {
    let mut bus = bus();
    let (left, right) = (bus.rigs[0].client("left"), bus.rigs[1].client("right"));
    bus.subscribe(1, right, FILTER, AtLeastOnce);
    let publisher = bus.rigs[0].client("publisher");
    send(&mut bus, 0, publisher, "x");
    bus.subscribe_first(0, left, FILTER);
    bus.rigs[1].lose(right);
    bus.rigs[0].lose(left);
    while bus.carry_messages() {}
    let dropped = |engine| counters(&bus, engine).dropped.no_shared_member;
    assert_eq!((dropped(0), dropped(1)), (0, 1));
    assert_eq!((counters(&bus, 0).forwards_sent, counters(&bus, 1).forwards_sent), (2, 1));
}

#[test]
fn a_message_for_a_group_that_was_never_heard_of_is_counted_as_dropped() {
    let mut bus = bus();
    let there = bus.rigs[1].client("there");
    bus.subscribe(1, there, FILTER, AtLeastOnce);
    let publisher = bus.rigs[0].client("publisher");
    send(&mut bus, 0, publisher, "x");
    bus.rigs[1].lose(there);
    bus.carry();
    assert_eq!(counters(&bus, 1).dropped.no_shared_member, 1);
}

#[test]
fn members_elsewhere_take_what_full_windows_here_do_not() {
    let mut bus = bus();
    let properties = ConnectProperties { receive_maximum: Some(1), ..ConnectProperties::default() };
    let here = bus.rigs[0].connect(Connect { properties, ..connect("here") });
    let there = bus.rigs[1].client("there");
    bus.subscribe(0, here, FILTER, AtLeastOnce);
    bus.subscribe(1, there, FILTER, AtLeastOnce);
    let publisher = bus.rigs[0].client("publisher");
    for number in 0..6 {
        send(&mut bus, 0, publisher, &number.to_string());
    }
    bus.carry();
    assert_eq!(bus.rigs[0].received(here).len(), 1);
    assert_eq!(bus.rigs[1].received(there).len(), 5);
}

#[test]
fn what_an_ended_session_leaves_goes_to_the_other_engine() {
    let mut bus = bus();
    let here = bus.rigs[0].client("here");
    bus.subscribe(0, here, FILTER, AtLeastOnce);
    let publisher = bus.rigs[0].client("publisher");
    for payload in ["1", "2"] {
        send(&mut bus, 0, publisher, payload);
    }
    assert_eq!(bus.rigs[0].received(here).len(), 2);
    let there = bus.rigs[1].client("there");
    bus.subscribe(1, there, FILTER, AtLeastOnce);
    bus.lose(0, here);
    let expected = [r#"PUBLISH t q1 #1 "1""#, r#"PUBLISH t q1 #2 "2""#];
    assert_eq!(bus.rigs[1].received(there), expected);
    assert_eq!(counters(&bus, 0).shared_redispatched, 2);
}

#[test]
fn a_destination_that_cannot_be_reached_has_no_members_but_keeps_its_filters() {
    let mut bus = bus();
    let (here, there) = (bus.rigs[0].client("here"), bus.rigs[1].client("there"));
    bus.subscribe(0, here, FILTER, AtLeastOnce);
    bus.subscribe(1, there, FILTER, AtLeastOnce);
    let publisher = bus.rigs[0].client("publisher");
    let destination = Destination::new(33).unwrap();
    let cleared = RemoteInterest::SharedCleared(destination);
    let added = RemoteInterest::Added(destination, "u".into());
    bus.rigs[0].engine.set_remote_interest([added, cleared]);
    for _ in 0..4 {
        send(&mut bus, 0, publisher, "x");
    }
    assert_eq!(bus.rigs[0].received(here).len(), 4);
    assert_eq!(bus.rigs[0].engine.pending_forwards(), 0);
    bus.rigs[0].send(publisher, &Packet::Publish(publish("u", AtMostOnce, 0, "x")));
    assert_eq!(bus.rigs[0].engine.pending_forwards(), 1 << 33);
}
