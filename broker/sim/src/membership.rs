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

/// Whether the members are those that are to be, all with a vote.
pub(crate) fn is_settled(cluster: &Cluster) -> bool {
    leader(cluster).is_some_and(|(_, status)| {
        let wanted = cluster.wanted();
        status.is_membership_settled
            && status.members.len() == wanted.len()
            && status.members.iter().all(|m| m.is_voter && wanted.contains(&m.node))
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
    Remove(NodeId),
}

async fn step(cluster: &Cluster, leader: &Node, status: &MetaStatus) {
    let Some(step) = next_step(cluster, status) else { return };
    let expected = status.membership_log_index;
    let (what, taken) = match &step {
        Step::Add(node, name) => {
            (format!("{node} is added"), leader.meta.add_learner(*node, name, expected).await)
        }
        Step::Promote(node) => {
            (format!("{node} is given a vote"), leader.meta.promote(*node, expected).await)
        }
        Step::Remove(node) => {
            (format!("{node} is removed"), leader.meta.remove(*node, expected).await)
        }
    };
    if taken.is_ok() {
        cluster.history.note(Event::Membership(what));
    }
}

fn next_step(cluster: &Cluster, status: &MetaStatus) -> Option<Step> {
    if !status.is_membership_settled {
        return None;
    }
    let wanted = cluster.wanted();
    let learner = status.members.iter().find(|m| !m.is_voter && wanted.contains(&m.node));
    if let Some(learner) = learner {
        return Some(Step::Promote(learner.node));
    }
    // First those who are to go: they count among the voters, and are gone for good.
    if let Some(gone) = status.members.iter().find(|m| !wanted.contains(&m.node)) {
        return Some(Step::Remove(gone.node));
    }
    let nodes = cluster.nodes();
    let new = nodes.iter().find(|node| status.member(node.id).is_none())?;
    Some(Step::Add(new.id, new.name.clone()))
}
