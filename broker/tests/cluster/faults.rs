//! Nodes that are killed and restarted while everyone proposes.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use broker::cluster::meta::{MetaGroup, MetaPhase, MetaRole, MetaTiming};
use broker_core::types::Millis;

use crate::meta::{propose, three};
use crate::node::{Cluster, Node, eventually};
use crate::retained::{payload_of, retain};

/// Last acknowledged value of each topic.
type Acknowledged = Arc<Mutex<BTreeMap<String, u64>>>;

/// Writes 1, 2, 3 and so on to a topic, each once the one before is acknowledged; a value whose
/// outcome is unknown is passed over. Ends with the node.
async fn write(meta: MetaGroup, topic: String, acknowledged: Acknowledged, stop: Arc<AtomicBool>) {
    let mut value = acknowledged.lock().unwrap().get(&topic).copied().unwrap_or(0);
    while !stop.load(Ordering::Relaxed) {
        // Leaves room for those of unknown outcome.
        value += 1;
        let command = retain(&topic, &value.to_le_bytes(), Millis::NEVER);
        if meta.propose(&command).await.is_ok() {
            acknowledged.lock().unwrap().insert(topic.clone(), value);
        } else if meta.status().failure.is_some() {
            return;
        }
    }
}

fn value_of(node: &Node, topic: &str) -> u64 {
    let payload = payload_of(node, topic).unwrap_or_default();
    payload.try_into().map_or(0, u64::from_le_bytes)
}

fn is_leader(node: &Node) -> bool {
    node.meta.status().role == MetaRole::Leader
}

#[tokio::test]
async fn what_was_acknowledged_is_neither_lost_nor_undone_while_nodes_are_killed() {
    // Often enough that snapshots, purges and restarts meet.
    let timing = MetaTiming { snapshot_entries: 50, kept_entries: 10, ..MetaTiming::default() };
    let cluster = Cluster::with_timing(3, timing);
    let mut nodes: Vec<Option<Node>> = three(&cluster).await.into_iter().map(Some).collect();
    let acknowledged = Acknowledged::default();
    let stop = Arc::new(AtomicBool::new(false));
    let mut writers = Vec::new();
    let start_writers = |node: &Node, writers: &mut Vec<_>| {
        for _ in 0..4 {
            // A topic has one writer for ever: an order among several would be anyone's guess.
            let topic = format!("t/{}", writers.len());
            let acknowledged = Arc::clone(&acknowledged);
            let writer = write(node.meta.clone(), topic, acknowledged, Arc::clone(&stop));
            writers.push(tokio::spawn(writer));
        }
    };
    for node in nodes.iter().flatten() {
        start_writers(node, &mut writers);
    }
    for round in 0..6 {
        let before = acknowledged.lock().unwrap().values().sum::<u64>();
        // The leader every other time.
        let leader = nodes.iter().position(|node| node.as_ref().is_some_and(is_leader));
        let victim = if round % 2 == 0 { leader.unwrap_or(0) } else { round * 2 % 3 };
        let node = nodes[victim].take().unwrap();
        node.kill().await;
        eventually("progress of the two", || {
            acknowledged.lock().unwrap().values().sum::<u64>() > before + 50
        })
        .await;
        let node = cluster.start(victim).await;
        node.wait_for("serving", |s| s.phase == MetaPhase::Serving).await;
        start_writers(&node, &mut writers);
        nodes[victim] = Some(node);
    }
    stop.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.await.unwrap();
    }
    let nodes: Vec<Node> = nodes.into_iter().flatten().collect();
    propose(&nodes[0], retain("end", &1u64.to_le_bytes(), Millis::NEVER)).await;
    let expected = acknowledged.lock().unwrap().clone();
    assert!(expected.len() >= 12);
    for node in &nodes {
        eventually("end", || value_of(node, "end") == 1).await;
        for (topic, value) in &expected {
            let found = value_of(node, topic);
            assert!(found >= *value, "{topic}: acknowledged {value}, found {found}");
        }
    }
    let states: Vec<_> = nodes.iter().map(|n| n.meta.retained().totals()).collect();
    assert!(states.iter().all(|totals| *totals == states[0]), "{states:?}");
}
