//! The meta group in situations that only virtual time brings about exactly.

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use broker::cluster::meta::{MetaRole, ProposeError};
use broker_core::cluster_state::Command;
use broker_core::types::Millis;
use openraft::AsyncRuntime;
use openraft_rt_sim::SimRuntime;

use crate::cluster::Cluster;
use crate::count::Tally;
use crate::environment::{sleep, spawn};
use crate::history::History;
use crate::liveness::within;
use crate::membership;
use crate::network::Network;
use crate::node::{Node, crash, start};
use crate::random::Random;

const TIME: Duration = Duration::from_secs(30);

async fn brokers(count: usize) -> (Cluster, Vec<Arc<Node>>) {
    let network = Network::new(Random::new(1, "network"), Tally::default());
    let history = History::new(Vec::new(), Tally::default());
    let cluster = Cluster::new(network, history, count, &mut Random::new(1, "places"));
    for place in 0..count {
        start(&cluster, place).await;
    }
    let nodes = cluster.nodes();
    (cluster, nodes)
}

async fn eventually(what: &str, is_met: impl Fn() -> bool) {
    let missing = within(TIME, || (!is_met()).then(|| what.to_owned())).await;
    assert_eq!(missing, None);
}

async fn found(node: &Node) {
    node.meta.bootstrap().await.unwrap();
    eventually("a leader", || node.meta.status().role == MetaRole::Leader).await;
}

fn command() -> Command {
    Command::ExpireRetained { now: Millis(0), messages_max: 1 }
}

#[test]
fn what_was_proposed_before_another_was_given_up_does_not_take_effect_after_it() {
    SimRuntime::with_seed(1).block_on(async {
        let (_cluster, nodes) = brokers(1).await;
        let meta = &nodes[0].meta;
        let first = meta.propose(&command());
        sleep(Duration::from_secs(3)).await;
        let second = meta.propose(&command());
        assert_eq!(first.await, Err(ProposeError::Unavailable));
        found(&nodes[0]).await;
        assert_eq!(second.await, Err(ProposeError::Unavailable));
        assert!(meta.propose(&command()).await.is_ok());
    });
}

#[test]
fn a_change_of_voters_that_was_left_half_done_is_finished() {
    SimRuntime::with_seed(1).block_on(async {
        let (_cluster, nodes) = brokers(2).await;
        let (leader, other) = (&nodes[0], &nodes[1]);
        found(leader).await;
        eventually("a link", || leader.meta.status().leader == Some(leader.id)).await;
        let mut added = None;
        for _ in 0..100 {
            added = leader.meta.add_learner(other.id, &other.name, None).await.ok();
            if added.is_some() {
                break;
            }
            sleep(Duration::from_millis(50)).await;
        }
        assert!(added.is_some(), "{:?}", leader.meta.status());
        let is_settled = || leader.meta.status().is_membership_settled;
        eventually("the learner", is_settled).await;
        {
            // Whoever asked for the change goes as soon as it is under way.
            let mut promoting = Box::pin(leader.meta.promote(other.id, None));
            let poll =
                std::future::poll_fn(|context| Poll::Ready(promoting.as_mut().poll(context)));
            assert!(poll.await.is_pending());
        }
        eventually("both sets of voters", || !is_settled()).await;
        eventually("the new set of voters", is_settled).await;
        let status = leader.meta.status();
        assert!(status.member(other.id).is_some_and(|member| member.is_voter), "{status:?}");
    });
}

#[test]
fn a_leader_that_starts_again_at_once_leads_in_a_later_term() {
    SimRuntime::with_seed(1).block_on(async {
        let (cluster, nodes) = brokers(2).await;
        found(&nodes[0]).await;
        spawn(membership::keep(cluster.clone()));
        eventually("two voters", || membership::is_settled(&cluster)).await;
        let before = nodes[0].meta.status();
        assert_eq!(before.role, MetaRole::Leader);
        crash(&cluster, 0, true, "the test ends it", Duration::ZERO);
        start(&cluster, 0).await;
        eventually("a leader", || membership::leader(&cluster).is_some()).await;
        let (_, after) = membership::leader(&cluster).unwrap();
        assert!(after.term > before.term, "{after:?}");
    });
}
