//! The operator's part: founds the cluster, adds and promotes brokers, takes out those whose disk is
//! lost. One step at a time, each derived from what the leader reports.

use std::sync::Arc;
use std::time::Duration;

use broker::cluster::meta::{MetaRole, MetaStatus};
use broker_core::types::NodeId;

use crate::cluster::Cluster;
use crate::environment::sleep;
use crate::event::Event;
use crate::node::Node;

/// Between two steps.
const PAUSE: Duration = Duration::from_millis(250);

/// Brings the membership to what it is to be, for as long as it is polled.
pub(crate) async fn keep(cluster: Cluster) {
    found(&cluster).await;
    loop {
        sleep(PAUSE).await;
        if let Some((leader, status)) = leader(&cluster) {
            step(&cluster, &leader, &status).await;
        }
    }
}

/// The broker that leads, with what it reports.
pub(crate) fn leader(cluster: &Cluster) -> Option<(Arc<Node>, MetaStatus)> {
    let nodes = cluster.nodes().into_iter().map(|node| {
        let status = node.meta.status();
        (node, status)
    });
    let leads = |(_, status): &(Arc<Node>, MetaStatus)| status.role == MetaRole::Leader;
    nodes.filter(leads).max_by_key(|(_, status)| status.term)
}

/// Whether the members are those that are to be, each with a vote or without as it is to be.
pub(crate) fn is_settled(cluster: &Cluster) -> bool {
    leader(cluster).is_some_and(|(_, status)| {
        let wanted = cluster.wanted();
        status.is_membership_settled
            && status.members.len() == wanted.len()
            && status.members.iter().all(|m| wanted.contains(&(m.node, m.is_voter)))
    })
}

async fn found(cluster: &Cluster) {
    loop {
        if leader(cluster).is_some() {
            return;
        }
        if let Some(node) = cluster.node(0)
            && node.meta.bootstrap().await.is_ok()
        {
            return cluster.history.note(Event::Membership(format!("{} founds it", node.id)));
        }
        sleep(PAUSE).await;
    }
}

enum Step {
    Add(NodeId, String),
    Promote(NodeId),
    Demote(NodeId),
    Remove(NodeId),
    /// The leader is to go or to follow: another one is to lead first.
    HandOver(NodeId),
}

async fn step(cluster: &Cluster, leader: &Node, status: &MetaStatus) {
    let Some(step) = next_step(cluster, leader, status) else { return };
    let expected = status.membership_log_index;
    let (what, taken) = match &step {
        Step::Add(node, name) => {
            (format!("{node} is added"), leader.meta.add_learner(*node, name, expected).await)
        }
        Step::Promote(node) => {
            (format!("{node} is given a vote"), leader.meta.promote(*node, expected).await)
        }
        Step::Demote(node) => {
            (format!("{node} loses its vote"), leader.meta.demote(*node, expected).await)
        }
        Step::Remove(node) => {
            (format!("{node} is removed"), leader.meta.remove(*node, expected).await)
        }
        Step::HandOver(to) => {
            let asked = leader.meta.transfer_leader(Some(*to)).await;
            (format!("{to} is to lead"), asked.map(|_| status.clone()))
        }
    };
    if taken.is_ok() {
        cluster.history.note(Event::Membership(what));
    }
}

/// First those who are gone for good: they count among the voters. A vote is given before another
/// one is taken.
fn next_step(cluster: &Cluster, leader: &Node, status: &MetaStatus) -> Option<Step> {
    if !status.is_membership_settled {
        return None;
    }
    let wanted = cluster.wanted();
    let is_wanted = |node: NodeId| wanted.iter().any(|(id, _)| *id == node);
    let is_to_vote = |node: NodeId| wanted.contains(&(node, true));
    if let Some(learner) = status.members.iter().find(|m| !m.is_voter && is_to_vote(m.node)) {
        return Some(Step::Promote(learner.node));
    }
    let hand_over = |step, node| match node == leader.id {
        true => status
            .members
            .iter()
            .find(|m| m.is_voter && is_to_vote(m.node))
            .map(|successor| Step::HandOver(successor.node)),
        false => Some(step),
    };
    if let Some(gone) = status.members.iter().find(|m| !is_wanted(m.node)) {
        return hand_over(Step::Remove(gone.node), gone.node);
    }
    let nodes = cluster.nodes();
    let is_new = |node: &&Arc<Node>| is_wanted(node.id) && status.member(node.id).is_none();
    // One that is to vote is waited for before another one loses its vote.
    if let Some(new) = nodes.iter().find(is_new) {
        return Some(Step::Add(new.id, new.name.clone()));
    }
    let voters = status.members.iter().filter(|m| m.is_voter).count();
    let surplus = status.members.iter().find(|m| m.is_voter && !is_to_vote(m.node));
    let surplus = surplus.filter(|_| voters > wanted.iter().filter(|(_, votes)| *votes).count())?;
    hand_over(Step::Demote(surplus.node), surplus.node)
}
