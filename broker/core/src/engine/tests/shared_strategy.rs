//! The strategies of Shared Subscriptions, on one engine and over several.

use std::collections::BTreeSet;

use super::bus::*;
use super::rig::*;
use crate::codec::packet::*;
use crate::engine::SharedSubscriptionStrategy as Strategy;
use crate::types::ConnectionId;

const FILTER: &str = "$share/g/#";

/// Three nodes with two members each.
fn cluster(strategy: Strategy) -> (Bus, Vec<(usize, ConnectionId)>) {
    let mut bus = Bus::new(3, strategy);
    let mut members = Vec::new();
    for engine in 0..3 {
        for number in 0..2 {
            let at = bus.rigs[engine].client(&format!("member-{engine}-{number}"));
            bus.subscribe(engine, at, FILTER, AtLeastOnce);
            members.push((engine, at));
        }
    }
    (bus, members)
}

/// Publishes on an engine; gives the members, by their numbers, that were sent something.
fn publish_on(
    bus: &mut Bus,
    members: &[(usize, ConnectionId)],
    from: (usize, ConnectionId),
    topic: &str,
) -> Vec<usize> {
    bus.rigs[from.0].send(from.1, &Packet::Publish(publish(topic, AtMostOnce, 0, "x")));
    bus.carry();
    let count =
        |bus: &mut Bus, (engine, at): (usize, ConnectionId)| bus.rigs[engine].received(at).len();
    let hits =
        |(number, member): (usize, &(usize, ConnectionId))| vec![number; count(bus, *member)];
    members.iter().enumerate().flat_map(hits).collect()
}

#[test]
fn in_turn_each_member_of_the_cluster_gets_every_sixth_message() {
    let (mut bus, members) = cluster(Strategy::RoundRobin);
    let publisher = (1, bus.rigs[1].client("publisher"));
    for _ in 0..2 {
        let mut hit = BTreeSet::new();
        for _ in 0..6 {
            hit.extend(publish_on(&mut bus, &members, publisher, "t"));
        }
        assert_eq!(hit.len(), 6);
    }
}

#[test]
fn at_random_everyone_gets_some_and_each_message_goes_to_one() {
    let (mut bus, members) = cluster(Strategy::Random);
    let publisher = (0, bus.rigs[0].client("publisher"));
    let mut counts = [0; 6];
    for _ in 0..300 {
        let hit = publish_on(&mut bus, &members, publisher, "t");
        assert_eq!(hit.len(), 1);
        counts[hit[0]] += 1;
    }
    assert!(counts.iter().all(|count| *count > 20), "{counts:?}");
}

#[test]
fn local_members_come_first_and_others_when_there_are_none() {
    let (mut bus, members) = cluster(Strategy::LocalFirst);
    let publisher = (1, bus.rigs[1].client("publisher"));
    let hit: Vec<_> = (0..4).flat_map(|_| publish_on(&mut bus, &members, publisher, "t")).collect();
    assert_eq!(hit.iter().filter(|number| **number == 2).count(), 2, "{hit:?}");
    assert_eq!(hit.iter().filter(|number| **number == 3).count(), 2, "{hit:?}");
    for number in [2, 3] {
        bus.lose(1, members[number].1);
    }
    let left = [members[0], members[1], members[4], members[5]];
    let hit: BTreeSet<_> =
        (0..4).flat_map(|_| publish_on(&mut bus, &left, publisher, "t")).collect();
    assert_eq!(hit.len(), 4);
}

#[test]
fn a_sticky_group_changes_its_member_only_when_that_leaves() {
    let (mut bus, mut members) = cluster(Strategy::Sticky);
    let publishers: Vec<_> = (0..3).map(|n| (n, bus.rigs[n].client("publisher"))).collect();
    let hits = |bus: &mut Bus, members: &[(usize, ConnectionId)]| -> BTreeSet<usize> {
        let all = publishers.iter().flat_map(|from| publish_on(bus, members, *from, "t"));
        all.collect()
    };
    let hit = hits(&mut bus, &members);
    assert_eq!(hit.len(), 1, "all nodes mean the same one");
    let stuck = *hit.first().unwrap();
    for engine in 0..3 {
        let at = bus.rigs[engine].client("late");
        bus.subscribe(engine, at, FILTER, AtLeastOnce);
        members.push((engine, at));
    }
    assert_eq!(hits(&mut bus, &members), hit);
    let (engine, at) = members.remove(stuck);
    bus.lose(engine, at);
    assert_eq!(publish_on(&mut bus, &members, publishers[0], "t").len(), 1);
}

#[test]
fn a_topic_means_the_same_member_wherever_it_is_published() {
    let (mut bus, members) = cluster(Strategy::HashTopic);
    let publishers: Vec<_> = (0..3).map(|n| (n, bus.rigs[n].client("publisher"))).collect();
    let mut seen = BTreeSet::new();
    for number in 0..40 {
        let topic = format!("device/{number}");
        let all = publishers.iter().flat_map(|at| publish_on(&mut bus, &members, *at, &topic));
        let hit: BTreeSet<_> = all.collect();
        assert_eq!(hit.len(), 1, "{topic}");
        seen.extend(hit);
    }
    assert_eq!(seen.len(), 6, "topics spread over the members");
}

#[test]
fn a_publisher_means_the_same_member_whatever_the_topic() {
    let (mut bus, members) = cluster(Strategy::HashClient);
    let mut seen = BTreeSet::new();
    for number in 0..40 {
        let client_id = format!("publisher-{number}");
        let mut hit = BTreeSet::new();
        for engine in 0..2 {
            let from = (engine, bus.rigs[engine].client(&client_id));
            for topic in ["a", "b/c"] {
                hit.extend(publish_on(&mut bus, &members, from, topic));
            }
        }
        assert_eq!(hit.len(), 1, "{client_id}");
        seen.extend(hit);
    }
    assert_eq!(seen.len(), 6, "publishers spread over the members");
}
