//! Three voters over three to seven brokers: the others have a copy of all state, and a vote moves
//! to one of them while messages are acknowledged.
#![allow(clippy::unwrap_used, reason = "a test ends where something unexpected happens")]

mod support;

use broker_admin_api::{
    BrokerState, BrokerStatus, DemoteRequest, NodeId, PromoteRequest, Role as Part,
    TransferRequest, path,
};

use support::broker::Broker;
use support::eventually;
use support::load::Load;

/// Brokers, and clients that publish to each other through them.
struct World {
    brokers: Vec<Broker>,
    load: Load,
}

impl World {
    fn start(size: usize) -> Self {
        let brokers = Broker::cluster_with_voters(size, 3);
        // Each at another broker first, the last ones among them, which have no vote.
        let places = [size - 1, 0, size - 1].map(|first| {
            let place = |at: usize| brokers[(first + at) % size].process.listener("plain");
            (0..size).map(place).collect()
        });
        let load = Load::start(places);
        Self { brokers, load }
    }

    fn leader(&self) -> BrokerStatus {
        eventually("one broker leads", || {
            let statuses = self.brokers.iter().map(Broker::status);
            statuses.filter(|status| status.raft.role == Part::Leader).max_by_key(|s| s.raft.term)
        })
    }

    /// Has whoever leads take a step.
    fn step(&self, path: &str, body: &impl serde::Serialize) {
        let body = serde_json::to_string(body).unwrap();
        eventually(&format!("{path} {body}"), || {
            let leader = self.leader().name;
            let leader = self.brokers.iter().find(|broker| broker.status().name == leader)?;
            (leader.call("POST", path, &body).0 == 200).then_some(())
        });
        self.load.flows();
    }

    fn promote(&self, ordinal: usize) {
        let (node_id, expected_membership_log_index) = (self.node_id(ordinal), None);
        self.step(path::VOTERS, &PromoteRequest { node_id, expected_membership_log_index });
    }

    fn demote(&self, ordinal: usize) {
        let (node_id, expected_membership_log_index) = (self.node_id(ordinal), None);
        self.step(path::DEMOTE, &DemoteRequest { node_id, expected_membership_log_index });
    }

    fn node_id(&self, ordinal: usize) -> NodeId {
        self.brokers[ordinal].status().node_id
    }

    fn voters(&self) -> Vec<String> {
        let members = self.leader().raft.members;
        let mut voters: Vec<String> =
            members.into_iter().filter(|member| member.voter).map(|member| member.name).collect();
        voters.sort();
        voters
    }

    fn kill(&mut self, ordinal: usize) {
        let mut killed = self.brokers.remove(ordinal);
        killed.process.signal("KILL");
        killed.process.wait();
        self.load.flows();
    }
}

/// The vote of the second broker goes to the last, the leader's as well; then one voter is killed
/// that the others could not do without if a moved vote did not count.
fn votes_move(size: usize) {
    let mut world = World::start(size);
    world.load.flows();
    assert_eq!(world.voters(), ["fleet-0", "fleet-1", "fleet-2"]);
    for broker in &world.brokers {
        assert_eq!(broker.status().state, BrokerState::Serving, "with a vote or without");
    }
    let last = size - 1;
    world.promote(last);
    world.demote(1);
    let part = world.brokers[1].status().raft.role;
    assert_eq!(part, Part::Learner, "it follows on");
    let to = Some(world.node_id(last));
    world.step(path::TRANSFER, &TransferRequest { to });
    eventually("the last broker leads", || {
        (world.brokers[last].status().raft.role == Part::Leader).then_some(())
    });
    if size > 4 {
        world.promote(3);
        world.demote(0);
        assert_eq!(world.voters(), ["fleet-2", "fleet-3", &*format!("fleet-{last}")]);
    }
    world.kill(2);
    world.load.finish();
}

#[test]
fn a_vote_moves_between_four_brokers_while_messages_are_acknowledged() {
    votes_move(4);
}

#[test]
fn votes_move_between_five_brokers_while_messages_are_acknowledged() {
    votes_move(5);
}

#[test]
fn votes_move_between_seven_brokers_while_messages_are_acknowledged() {
    votes_move(7);
}

#[test]
fn a_vote_leaves_one_of_three_brokers_and_comes_back_while_messages_are_acknowledged() {
    let mut world = World::start(3);
    world.load.flows();
    let leader = world.leader().name;
    let other = world.brokers.iter().rposition(|broker| broker.status().name != leader).unwrap();
    world.demote(other);
    assert_eq!(world.voters().len(), 2);
    world.promote(other);
    assert_eq!(world.voters().len(), 3);
    world.kill((other + 1) % 3);
    world.load.finish();
}
