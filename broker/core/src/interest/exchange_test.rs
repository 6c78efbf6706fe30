//! The exchange, case by case.

use std::sync::Arc;

use super::*;
use crate::claim::WorkerIndex;
use crate::engine::{Destination, InterestChange, InterestSeq, RemoteInterest, SharedMembers};
use crate::types::{Millis, NodeId, QoS};

const PEER: NodeId = NodeId(7);
const FIRST_PEER: u8 = 32;

fn added(filter: &str) -> InterestChange {
    InterestChange::Added(Arc::from(filter))
}

fn removed(filter: &str) -> InterestChange {
    InterestChange::Removed(Arc::from(filter))
}

fn exchange(workers: u8) -> InterestExchange {
    InterestExchange::new(workers, FIRST_PEER, 0)
}

/// An exchange of one worker whose peer has acknowledged the empty snapshot.
fn linked() -> InterestExchange {
    let mut exchange = exchange(1);
    assert!(exchange.link_up(PEER));
    exchange.take_actions();
    exchange.handle(PEER, InterestMessage::Acknowledge { epoch: 1, seq: 0 });
    assert_eq!(exchange.take_actions(), []);
    exchange
}

fn confirm(seq: u64) -> InterestAction {
    InterestAction::Confirm { worker: WorkerIndex(0), seq: InterestSeq(seq) }
}

fn is_confirmed(actions: &[InterestAction], seq: u64) -> bool {
    actions.contains(&confirm(seq))
}

#[test]
fn a_lone_worker_on_a_lone_node_is_confirmed_at_once() {
    let mut exchange = exchange(1);
    exchange.changed(Millis(0), WorkerIndex(0), InterestSeq(1), &[added("a")]);
    assert!(is_confirmed(&exchange.take_actions(), 1));
    assert_eq!(exchange.next_timeout(), None);
}

#[test]
fn a_change_waits_for_the_other_workers() {
    let mut exchange = exchange(2);
    exchange.changed(Millis(0), WorkerIndex(0), InterestSeq(1), &[added("a")]);
    let changes: Arc<[RemoteInterest]> =
        Arc::from([RemoteInterest::Added(Destination::new(0).unwrap(), Arc::from("a"))]);
    let update = InterestAction::ToWorkers { update: 1, except: Some(WorkerIndex(0)), changes };
    assert_eq!(exchange.take_actions(), [update]);
    exchange.applied(WorkerIndex(1), 1);
    assert_eq!(exchange.take_actions(), [confirm(1)]);
}

#[test]
fn a_change_waits_for_the_peer_and_a_second_holder_of_the_filter_for_the_same() {
    let mut exchange = linked();
    exchange.changed(Millis(0), WorkerIndex(0), InterestSeq(1), &[added("a")]);
    assert!(!is_confirmed(&exchange.take_actions(), 1));
    exchange.handle(PEER, InterestMessage::Acknowledge { epoch: 1, seq: 1 });
    assert_eq!(exchange.take_actions(), [confirm(1)]);
}

#[test]
fn what_another_worker_holds_already_is_not_told_again_but_waits_for_its_acknowledgement() {
    let mut exchange = exchange(2);
    assert!(exchange.link_up(PEER));
    exchange.take_actions();
    exchange.changed(Millis(0), WorkerIndex(0), InterestSeq(1), &[added("a")]);
    exchange.applied(WorkerIndex(1), 1);
    exchange.take_actions();
    exchange.changed(Millis(0), WorkerIndex(1), InterestSeq(1), &[added("a")]);
    exchange.applied(WorkerIndex(0), 2);
    let actions = exchange.take_actions();
    let is_told = |action: &InterestAction| matches!(action, InterestAction::ToPeer { .. });
    assert!(!actions.iter().any(is_told), "{actions:?}");
    exchange.handle(PEER, InterestMessage::Acknowledge { epoch: 1, seq: 1 });
    assert_eq!(exchange.take_actions().len(), 2, "both are confirmed");
}

#[test]
fn a_filter_is_taken_back_when_its_last_worker_drops_it() {
    let mut exchange = exchange(2);
    assert!(exchange.link_up(PEER));
    for worker in [0, 1] {
        exchange.changed(Millis(0), WorkerIndex(worker), InterestSeq(1), &[added("a")]);
    }
    exchange.take_actions();
    exchange.changed(Millis(0), WorkerIndex(0), InterestSeq(2), &[removed("a")]);
    let is_told = |action: &InterestAction| matches!(action, InterestAction::ToPeer { .. });
    assert!(!exchange.take_actions().iter().any(is_told));
    assert!(!exchange.has_filters(WorkerIndex(0)) && exchange.has_filters(WorkerIndex(1)));
    exchange.changed(Millis(0), WorkerIndex(1), InterestSeq(2), &[removed("a")]);
    let delta = InterestMessage::Delta { epoch: 1, seq: 2, changes: vec![removed("a")] };
    assert!(
        exchange.take_actions().contains(&InterestAction::ToPeer { node: PEER, message: delta })
    );
}

#[test]
fn a_silent_peer_is_waited_for_a_second_and_then_not_until_it_has_caught_up() {
    let mut exchange = linked();
    exchange.changed(Millis(0), WorkerIndex(0), InterestSeq(1), &[added("a")]);
    exchange.take_actions();
    assert_eq!(exchange.next_timeout(), Some(Millis(ACKNOWLEDGE_MILLIS_MAX)));
    exchange.handle_timeout(Millis(ACKNOWLEDGE_MILLIS_MAX - 1));
    assert_eq!(exchange.take_actions(), []);
    exchange.handle_timeout(Millis(ACKNOWLEDGE_MILLIS_MAX));
    let given_up = InterestAction::GivenUp { nodes: vec![PEER] };
    assert_eq!(exchange.take_actions(), [given_up, confirm(1)]);

    exchange.changed(Millis(2_000), WorkerIndex(0), InterestSeq(2), &[added("b")]);
    assert!(is_confirmed(&exchange.take_actions(), 2), "a gone peer holds nobody up");
    exchange.handle(PEER, InterestMessage::Acknowledge { epoch: 1, seq: 1 });
    exchange.changed(Millis(2_001), WorkerIndex(0), InterestSeq(3), &[added("c")]);
    assert!(is_confirmed(&exchange.take_actions(), 3), "it is still behind");
    exchange.handle(PEER, InterestMessage::Acknowledge { epoch: 1, seq: 3 });
    exchange.changed(Millis(2_002), WorkerIndex(0), InterestSeq(4), &[added("d")]);
    assert!(!is_confirmed(&exchange.take_actions(), 4), "it counts again");
}

#[test]
fn acknowledgements_of_an_earlier_link_count_for_nothing() {
    let mut exchange = linked();
    exchange.link_down(PEER);
    assert!(exchange.link_up(PEER));
    exchange.changed(Millis(0), WorkerIndex(0), InterestSeq(1), &[added("a")]);
    exchange.take_actions();
    exchange.handle(PEER, InterestMessage::Acknowledge { epoch: 1, seq: 9 });
    assert_eq!(exchange.take_actions(), []);
    exchange.handle(PEER, InterestMessage::Acknowledge { epoch: 2, seq: 1 });
    assert_eq!(exchange.take_actions(), [confirm(1)]);
}

#[test]
fn a_peers_filters_are_acknowledged_when_the_workers_route_by_them() {
    let mut exchange = exchange(2);
    let snapshot = |epoch, filters: &[&str]| InterestMessage::Snapshot {
        epoch,
        seq: 4,
        first: true,
        last: true,
        filters: filters.iter().map(|filter| Arc::from(*filter)).collect(),
        filters_qos0: Vec::new(),
        groups: Vec::new(),
    };
    exchange.handle(PEER, snapshot(5, &["a", "b"]));
    assert_eq!(exchange.take_actions().len(), 1);
    exchange.applied(WorkerIndex(0), 1);
    assert_eq!(exchange.take_actions(), []);
    assert!(!exchange.is_heard(PEER));
    exchange.applied(WorkerIndex(1), 1);
    assert!(exchange.is_heard(PEER));
    let message = InterestMessage::Acknowledge { epoch: 5, seq: 4 };
    assert_eq!(exchange.take_actions(), [InterestAction::ToPeer { node: PEER, message }]);

    exchange.handle(PEER, snapshot(6, &["b", "c"]));
    let peer = Destination::new(FIRST_PEER).unwrap();
    let changes: Arc<[RemoteInterest]> = Arc::from([
        RemoteInterest::Removed(peer, Arc::from("a")),
        RemoteInterest::Added(peer, Arc::from("c")),
    ]);
    let update = InterestAction::ToWorkers { update: 2, except: None, changes };
    assert_eq!(exchange.take_actions(), [update], "only what differs");
    exchange.handle(PEER, snapshot(5, &[]));
    assert_eq!(exchange.take_actions(), [], "an earlier epoch");
}

#[test]
fn a_gap_is_answered_by_asking_for_everything() {
    let mut exchange = exchange(1);
    let delta = InterestMessage::Delta { epoch: 5, seq: 2, changes: vec![added("a")] };
    exchange.handle(PEER, delta);
    let message = InterestMessage::Resync { epoch: 5 };
    assert_eq!(exchange.take_actions(), [InterestAction::ToPeer { node: PEER, message }]);

    let mut asked = linked();
    asked.handle(PEER, InterestMessage::Resync { epoch: 1 });
    let actions = asked.take_actions();
    assert!(
        matches!(
            actions.as_slice(),
            [InterestAction::ToPeer { message: InterestMessage::Snapshot { epoch: 2, .. }, .. }]
        ),
        "{actions:?}"
    );
    asked.handle(PEER, InterestMessage::Resync { epoch: 1 });
    assert_eq!(asked.take_actions(), [], "answered already");
}

#[test]
fn a_peer_that_is_gone_is_routed_to_for_the_grace_and_its_number_is_given_again() {
    let mut exchange = exchange(1);
    let hello = |epoch| InterestMessage::Snapshot {
        epoch,
        seq: 0,
        first: true,
        last: true,
        filters: vec![Arc::from("a")],
        filters_qos0: Vec::new(),
        groups: Vec::new(),
    };
    exchange.handle(PEER, hello(1));
    exchange.applied(WorkerIndex(0), 1);
    exchange.take_actions();
    exchange.silent(Millis(0), PEER);
    exchange.handle_timeout(Millis(GRACE_MILLIS - 1));
    assert_eq!(exchange.take_actions(), []);
    assert_eq!(exchange.next_timeout(), Some(Millis(GRACE_MILLIS)));
    exchange.handle_timeout(Millis(GRACE_MILLIS));
    let peer = Destination::new(FIRST_PEER).unwrap();
    let changes: Arc<[RemoteInterest]> = Arc::from([RemoteInterest::Cleared(peer)]);
    let cleared = InterestAction::ToWorkers { update: 2, except: None, changes };
    assert_eq!(exchange.take_actions(), [cleared]);

    let other = NodeId(8);
    assert!(exchange.link_up(other));
    let second = Destination::new(FIRST_PEER + 1).unwrap();
    assert_eq!(exchange.node(second), Some(other), "a worker may still mean the old peer");
    exchange.applied(WorkerIndex(0), 2);
    assert!(exchange.link_up(NodeId(9)));
    assert_eq!(exchange.node(peer), Some(NodeId(9)));
}

#[test]
fn large_sets_travel_in_parts() {
    let mut exchange = exchange(1);
    let filters: Vec<InterestChange> =
        (0..40u32).map(|n| added(&format!("{n}/{}", "x".repeat(30_000)))).collect();
    exchange.changed(Millis(0), WorkerIndex(0), InterestSeq(1), &filters);
    exchange.take_actions();
    assert!(exchange.link_up(PEER));
    let mut peer = InterestExchange::new(1, FIRST_PEER, 0);
    let actions = exchange.take_actions();
    assert!(actions.len() > 2, "{} parts", actions.len());
    for action in actions {
        let InterestAction::ToPeer { message, .. } = action else { panic!("{action:?}") };
        peer.handle(NodeId(1), message);
    }
    assert_eq!(peer.filters(NodeId(1)).count(), 40);
}

fn shared(connected: u32) -> InterestChange {
    let members = SharedMembers { connected, offline: 0, ..SharedMembers::NONE };
    InterestChange::Shared { filter: Arc::from("$share/g/t"), members }
}

#[test]
fn peers_are_told_the_members_of_all_workers_together_and_workers_those_of_each() {
    let mut exchange = exchange(2);
    assert!(exchange.link_up(PEER));
    exchange.take_actions();
    let mut told = Vec::new();
    for (seq, worker, connected) in [(1, 0, 2), (1, 1, 1), (2, 0, 0)] {
        let changes = [shared(connected)];
        exchange.changed(Millis(0), WorkerIndex(worker), InterestSeq(seq), &changes);
        for action in exchange.take_actions() {
            match action {
                InterestAction::ToPeer {
                    message: InterestMessage::Delta { changes, .. }, ..
                } => {
                    told.extend(changes);
                }
                InterestAction::ToWorkers { except, changes, .. } => {
                    assert_eq!(except, Some(WorkerIndex(worker)));
                    let destination = Destination::new(worker).unwrap();
                    assert_eq!(*changes, [shared(connected).at(destination, None)]);
                }
                other => panic!("{other:?}"),
            }
        }
    }
    assert_eq!(told, [shared(2), shared(3), shared(1)]);
    assert_eq!(exchange.member("$share/g/t", 5, QoS::AtLeastOnce), Some((WorkerIndex(1), 0)));
}

/// What the workers are told of the peer's groups now.
fn of_peer(exchange: &mut InterestExchange) -> Vec<RemoteInterest> {
    let changes = exchange.take_actions().into_iter().filter_map(|action| match action {
        InterestAction::ToWorkers { changes, .. } => Some(changes.to_vec()),
        _ => None,
    });
    changes.flatten().collect()
}

#[test]
fn a_peer_that_cannot_be_reached_has_no_members_until_it_can() {
    let mut exchange = linked();
    let peer = Destination::new(FIRST_PEER).unwrap();
    let groups = vec![(
        Arc::from("$share/g/t"),
        SharedMembers { connected: 1, offline: 0, ..SharedMembers::NONE },
    )];
    let (epoch, seq, first, last) = (5, 0, true, true);
    let (filters, filters_qos0) = (vec![Arc::from("a")], Vec::new());
    let snapshot =
        InterestMessage::Snapshot { epoch, seq, first, last, filters, filters_qos0, groups };
    exchange.handle(PEER, snapshot);
    let filter = RemoteInterest::Added(peer, Arc::from("a"));
    assert_eq!(of_peer(&mut exchange), [filter, shared(1).at(peer, Some(PEER))]);
    exchange.link_down(PEER);
    assert_eq!(of_peer(&mut exchange), [RemoteInterest::SharedCleared(peer)]);
    let changes = vec![shared(2), added("b")];
    exchange.handle(PEER, InterestMessage::Delta { epoch, seq: 1, changes });
    assert_eq!(of_peer(&mut exchange), [RemoteInterest::Added(peer, Arc::from("b"))]);
    assert!(exchange.link_up(PEER));
    assert_eq!(of_peer(&mut exchange), [shared(2).at(peer, Some(PEER))]);
}
