//! The meta group in situations that only virtual time brings about exactly.

use std::sync::Arc;
use std::time::Duration;

use broker::cluster::meta::{MetaRole, ProposeError};
use broker_core::cluster_state::Command;
use broker_core::types::Millis;
use openraft::AsyncRuntime;
use openraft_rt_sim::SimRuntime;

use crate::cluster::Cluster;
use crate::environment::sleep;
use crate::history::History;
use crate::liveness::within;
use crate::network::Network;
use crate::node::{Node, start};
use crate::random::Random;

const TIME: Duration = Duration::from_secs(30);

async fn brokers(count: usize) -> (Cluster, Vec<Arc<Node>>) {
    let network = Network::new(Random::new(1, "network"));
    let history = History::new(Vec::new());
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
