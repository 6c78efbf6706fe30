//! Shared Subscriptions of durable sessions, alone and beside those of others.

use super::bus::Bus;
use super::rig::*;
use crate::codec::packet::*;
use crate::engine::SharedSubscriptionStrategy as Strategy;
use crate::types::ConnectionId;

const FILTER: &str = "$share/g/#";

fn send(rig: &mut Rig, publisher: ConnectionId, count: u16) {
    for id in 1..=count {
        rig.send(publisher, &Packet::Publish(publish("t", AtLeastOnce, id, &id.to_string())));
    }
    let expected: Vec<String> = (1..=count).map(|id| format!("PUBACK #{id}")).collect();
    assert_eq!(rig.received(publisher), expected);
}

fn member(rig: &mut Rig, connect: Connect<'_>) -> ConnectionId {
    let at = rig.connect(connect);
    rig.subscribe(at, FILTER, ExactlyOnce);
    at
}

/// Two nodes, each with a member that is durable and one that is not.
fn mixed(strategy: Strategy) -> (Bus, [(usize, ConnectionId); 4]) {
    let mut bus = Bus::durable(2, strategy);
    let names = [(0, "d0"), (0, "l0"), (1, "d1"), (1, "l1")];
    let members = names.map(|(engine, name)| {
        let connect = if name.starts_with('d') { returning(name) } else { connect(name) };
        let at = bus.rigs[engine].connect(connect);
        bus.subscribe(engine, at, FILTER, AtLeastOnce);
        (engine, at)
    });
    (bus, members)
}

/// Publishes with QoS 1; gives how many messages each member was sent.
fn spread(
    bus: &mut Bus,
    members: &[(usize, ConnectionId); 4],
    from: (usize, ConnectionId),
    topics: impl Iterator<Item = String>,
) -> [usize; 4] {
    for topic in topics {
        let message = publish(&topic, AtLeastOnce, 1, "x");
        bus.rigs[from.0].send(from.1, &Packet::Publish(message));
        bus.carry();
        assert_eq!(bus.rigs[from.0].received(from.1), ["PUBACK #1"]);
    }
    members.map(|(engine, at)| bus.rigs[engine].received(at).len())
}

fn same_topic(count: usize) -> impl Iterator<Item = String> {
    (0..count).map(|_| "t".to_owned())
}

#[test]
fn in_turn_members_of_both_kinds_get_as_many_messages() {
    let (mut bus, members) = mixed(Strategy::RoundRobin);
    let publisher = (1, bus.rigs[1].client("p"));
    assert_eq!(spread(&mut bus, &members, publisher, same_topic(40)), [10; 4]);
}

#[test]
fn at_random_members_of_both_kinds_get_some_and_each_message_goes_to_one() {
    let (mut bus, members) = mixed(Strategy::Random);
    let publisher = (0, bus.rigs[0].client("p"));
    let counts = spread(&mut bus, &members, publisher, same_topic(200));
    assert_eq!(counts.iter().sum::<usize>(), 200);
    assert!(counts.iter().all(|count| *count > 25), "{counts:?}");
}

#[test]
fn by_hash_a_topic_has_its_member_whoever_publishes_and_of_many_everyone_has_some() {
    let (mut bus, members) = mixed(Strategy::HashTopic);
    let publishers = [(0, bus.rigs[0].client("p0")), (1, bus.rigs[1].client("p1"))];
    let mut all = [0; 4];
    for number in 0..40 {
        let mut counts = [0; 4];
        for publisher in publishers {
            let topics = (0..3).map(|_| format!("t/{number}"));
            let more = spread(&mut bus, &members, publisher, topics);
            counts = std::array::from_fn(|at| counts[at] + more[at]);
        }
        assert_eq!(counts.iter().filter(|count| **count > 0).count(), 1, "{counts:?}");
        all = std::array::from_fn(|at| all[at] + counts[at]);
    }
    assert_eq!(all.iter().sum::<usize>(), 240);
    assert!(all.iter().all(|count| *count > 0), "{all:?}");
}

#[test]
fn by_client_a_publisher_has_its_member_and_of_many_everyone_has_some() {
    let (mut bus, members) = mixed(Strategy::HashClient);
    let mut all = [0; 4];
    for number in 0..40 {
        let publisher = (number % 2, bus.rigs[number % 2].client(&format!("p{number}")));
        let topics = (0..3).map(|topic| format!("t/{topic}"));
        let counts = spread(&mut bus, &members, publisher, topics);
        assert_eq!(counts.iter().filter(|count| **count > 0).count(), 1, "{counts:?}");
        all = std::array::from_fn(|at| all[at] + counts[at]);
    }
    assert!(all.iter().all(|count| *count > 0), "{all:?}");
}

#[test]
fn messages_stick_to_one_member_of_either_kind_until_it_leaves() {
    let (mut bus, members) = mixed(Strategy::Sticky);
    let publishers = [(0, bus.rigs[0].client("p0")), (1, bus.rigs[1].client("p1"))];
    let mut left = members.to_vec();
    while left.len() > 1 {
        let mut counts = [0; 4];
        for publisher in publishers {
            let more = spread(&mut bus, &members, publisher, same_topic(5));
            counts = std::array::from_fn(|at| counts[at] + more[at]);
        }
        let stuck: Vec<usize> = (0..4).filter(|at| counts[*at] > 0).collect();
        assert!(stuck.len() <= publishers.len(), "{counts:?}");
        for at in stuck {
            let (engine, connection) = members[at];
            bus.rigs[engine].send(connection, &unsubscribe(9, FILTER));
            bus.carry();
            bus.rigs[engine].received(connection);
            left.retain(|member| *member != members[at]);
        }
        members.iter().for_each(|(engine, at)| drop(bus.rigs[*engine].received(*at)));
    }
}

#[test]
fn members_of_either_kind_on_the_publishers_node_come_first() {
    let (mut bus, members) = mixed(Strategy::LocalFirst);
    let publisher = (0, bus.rigs[0].client("p"));
    assert_eq!(spread(&mut bus, &members, publisher, same_topic(20)), [10, 10, 0, 0]);
    for (engine, at) in &members[..2] {
        bus.lose(*engine, *at);
    }
    let counts = spread(&mut bus, &members, publisher, same_topic(20));
    let [.., durable, live] = counts;
    assert!(durable >= 10 && live >= 10, "{counts:?}, some handed on by those that left");
}

#[test]
fn connected_durable_members_take_turns() {
    let mut rig = Rig::durable();
    let members = ["a", "b"].map(|name| member(&mut rig, returning(name)));
    let publisher = rig.client("p");
    send(&mut rig, publisher, 4);
    assert_eq!(members.map(|member| rig.received(member).len()), [2, 2]);
}

#[test]
fn members_that_are_all_away_keep_what_comes_by_the_strategy() {
    for (strategy, expected) in [(Strategy::RoundRobin, [3, 3]), (Strategy::Sticky, [6, 0])] {
        let mut bus = Bus::durable(1, strategy);
        let rig = &mut bus.rigs[0];
        rig.answers.interest = true;
        for name in ["a", "b"] {
            let at = member(rig, returning(name));
            rig.lose(at);
        }
        let publisher = rig.client("p");
        send(rig, publisher, 6);
        let kept = ["a", "b"].map(|name| {
            let again = rig.connect_returning(name);
            rig.received(again).len() - 1
        });
        assert_eq!(kept, expected, "{strategy:?}");
    }
}

#[test]
fn a_connected_member_that_is_not_durable_comes_before_an_absent_one_that_is() {
    let mut rig = Rig::durable();
    let durable = member(&mut rig, returning("a"));
    rig.lose(durable);
    let other = member(&mut rig, connect("b"));
    let publisher = rig.client("p");
    send(&mut rig, publisher, 3);
    assert_eq!(rig.received(other).len(), 3);
    assert_eq!(rig.store().totals().messages, 0);
}

#[test]
fn a_member_that_has_gone_before_its_message_is_committed_does_not_get_it_while_another_is_there() {
    let mut rig = Rig::durable();
    let durable = member(&mut rig, returning("a"));
    let live = member(&mut rig, connect("b"));
    let publisher = rig.client("p");
    send(&mut rig, publisher, 1);
    rig.received(live);
    rig.received(durable);
    rig.answers.sessions = false;
    rig.lose(durable);
    for id in 1..=2 {
        rig.send(publisher, &Packet::Publish(publish("t", AtLeastOnce, id, "late")));
    }
    rig.answers.sessions = true;
    rig.commit_held();
    let got = rig.received(live);
    assert_eq!(got.iter().filter(|packet| packet.contains("late")).count(), 2, "{got:?}");
    assert!(rig.store().totals().messages == 0);
}

#[test]
fn what_a_durable_member_has_not_acknowledged_goes_to_a_live_one_when_it_goes() {
    let mut rig = Rig::durable();
    let properties = ConnectProperties {
        session_expiry_seconds: Some(3600),
        receive_maximum: Some(2),
        ..ConnectProperties::default()
    };
    let durable = member(&mut rig, Connect { properties, ..returning("a") });
    let publisher = rig.client("p");
    send(&mut rig, publisher, 3);
    rig.send(publisher, &Packet::Publish(publish("t", ExactlyOnce, 4, "4")));
    rig.send(publisher, &Packet::PubRel(ack(4)));
    let live = member(&mut rig, connect("b"));
    rig.send(durable, &Packet::PubAck(ack(1)));
    assert_eq!(rig.received(durable).len(), 3);
    rig.lose(durable);
    // The second and third were sent, the fourth was not.
    let expected = [r#"PUBLISH t q1 #1 "2""#, r#"PUBLISH t q1 #2 "3""#, r#"PUBLISH t q2 #3 "4""#];
    assert_eq!(rig.received(live), expected);
    assert_eq!(rig.store().totals().messages, 0);
    assert_eq!(rig.engine.counters().shared_redispatched, 3);
}

#[test]
fn a_member_that_unsubscribes_keeps_what_it_was_sent_and_others_get_the_rest() {
    let mut rig = Rig::durable();
    let properties = ConnectProperties {
        session_expiry_seconds: Some(3600),
        receive_maximum: Some(1),
        ..ConnectProperties::default()
    };
    let leaving = member(&mut rig, Connect { properties, ..returning("a") });
    let publisher = rig.client("p");
    send(&mut rig, publisher, 3);
    let live = member(&mut rig, connect("b"));
    rig.answers.sessions = false;
    rig.send(leaving, &unsubscribe(7, FILTER));
    assert_eq!(rig.received(leaving), [r#"PUBLISH t q1 #1 "1""#]);
    rig.send(leaving, &Packet::PubAck(ack(1)));
    assert!(rig.received(leaving).is_empty(), "what it has not been sent is no longer its own");
    rig.answers.sessions = true;
    rig.commit_held();
    assert_eq!(rig.received(leaving), ["UNSUBACK #7 0x00"]);
    assert_eq!(rig.received(live), [r#"PUBLISH t q1 #1 "2""#, r#"PUBLISH t q1 #2 "3""#]);
    // It goes on with what is its own.
    rig.subscribe(leaving, "own", AtLeastOnce);
    rig.send(publisher, &Packet::Publish(publish("own", AtLeastOnce, 9, "x")));
    assert_eq!(rig.received(leaving), [r#"PUBLISH own q1 #4 "x""#]);
}

#[test]
fn what_waits_for_a_session_that_ends_goes_to_a_live_member() {
    let mut rig = Rig::durable();
    let durable = member(&mut rig, returning("a"));
    rig.lose(durable);
    let publisher = rig.client("p");
    send(&mut rig, publisher, 2);
    let live = member(&mut rig, connect("b"));
    assert!(rig.received(live).is_empty());
    // It begins anew, and is no member any more.
    rig.connect(Connect { clean_start: true, ..returning("a") });
    assert_eq!(rig.received(live), [r#"PUBLISH t q1 #1 "1""#, r#"PUBLISH t q1 #2 "2""#]);
}

#[test]
fn what_a_live_member_has_not_acknowledged_is_kept_for_a_durable_one() {
    let mut rig = Rig::durable();
    let durable = member(&mut rig, returning("a"));
    rig.lose(durable);
    let live = member(&mut rig, connect("b"));
    let publisher = rig.client("p");
    send(&mut rig, publisher, 2);
    rig.send(live, &Packet::PubAck(ack(1)));
    rig.lose(live);
    let again = rig.connect_returning("a");
    assert_eq!(rig.received(again), ["CONNACK 0x00 present", r#"PUBLISH t q1 #1 "2""#]);
}

#[test]
fn a_will_reaches_one_member_of_a_group_of_both_kinds() {
    for is_there in [true, false] {
        let mut rig = Rig::durable();
        let durable = member(&mut rig, returning("a"));
        let live = member(&mut rig, connect("b"));
        if !is_there {
            rig.lose(durable);
        }
        let will = Will { qos: AtLeastOnce, ..will("will", 0) };
        let leaving = rig.connect(Connect { will: Some(will), ..returning("c") });
        rig.lose(leaving);
        let counts = (rig.received(durable).len(), rig.received(live).len());
        assert_eq!(counts, if is_there { (1, 0) } else { (0, 1) });
    }
}
