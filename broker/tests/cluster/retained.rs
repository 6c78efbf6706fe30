//! Retained messages over the nodes of a cluster.

use std::ops::ControlFlow;
use std::time::Duration;

use broker::cluster::meta::MetaTiming;
use broker_core::cluster_state::{Command, Outcome};
use broker_core::codec::packet::{Publish, PublishProperties};
use broker_core::retained::{RetainedChange, RetainedMessage, RetainedSource};
use broker_core::shard::{MessageForm, Operation, OperationOutcome};
use broker_core::types::{Millis, QoS};

use crate::meta::{found, join, propose, three};
use crate::node::{Cluster, DEADLINE, Node, eventually};

pub(crate) fn retain(topic: &str, payload: &[u8], expires_at: Millis) -> Command {
    let publish = Publish {
        dup: false,
        qos: QoS::AtMostOnce,
        retain: true,
        topic,
        packet_id: None,
        properties: PublishProperties::default(),
        payload,
    };
    let message = RetainedMessage::new(&publish, expires_at).unwrap();
    Command::Retain(RetainedChange { topic: topic.into(), message: Some(message) })
}

pub(crate) fn payload_of(node: &Node, topic: &str) -> Option<Vec<u8>> {
    let message = node.meta.retained().message(topic)?;
    Some(message.publish().unwrap().payload.to_vec())
}

fn count(node: &Node, filter: &str) -> usize {
    let mut count = 0;
    let mut budget = usize::MAX;
    let _ = node.meta.retained().for_each_match(filter, None, Millis(0), &mut budget, &mut |_| {
        count += 1;
        ControlFlow::Continue(())
    });
    count
}

/// Of the size of the largest packet that brokers of a cluster take, with others before it.
#[tokio::test]
async fn the_largest_packet_is_committed_by_way_of_a_follower_and_reaches_all() {
    let cluster = Cluster::new(3);
    let nodes = three(&cluster).await;
    let payload = vec![7; 7 << 20];
    let mut proposed = Vec::new();
    for (topic, payload) in [("small", &payload[..20_000]), ("large", &payload)] {
        let Command::Retain(change) = retain(topic, payload, Millis::NEVER) else { return };
        let message = change.message.unwrap();
        let operation = Operation::Publish {
            publisher: None,
            shards: 0,
            groups: Vec::new(),
            is_retained: true,
            message: MessageForm::of(&message),
        };
        let mut operations = Vec::new();
        assert!(operation.encode(&mut operations));
        proposed.push(nodes[2].meta.propose_sessions(Millis(1), operations.into()));
    }
    for outcomes in proposed {
        assert_eq!(outcomes.await.unwrap().outcomes, [OperationOutcome::Done]);
    }
    for node in &nodes {
        eventually("it is everywhere", || count(node, "+") == 2).await;
        assert!(payload_of(node, "large").unwrap() == payload);
    }
}

#[tokio::test]
async fn many_messages_share_log_entries_and_the_last_of_a_topic_stays() {
    let cluster = Cluster::new(3);
    let nodes = three(&cluster).await;
    let before = nodes[2].meta.status().last_log_index.unwrap();
    // By way of a follower: each topic is written three times, in order.
    let mut proposed = Vec::new();
    for round in 0..3u8 {
        for topic in 0..500 {
            let command = retain(&format!("t/{topic}"), &[round], Millis::NEVER);
            proposed.push(nodes[2].meta.propose(&command));
        }
    }
    for outcome in proposed {
        assert_eq!(outcome.await.unwrap().outcome, Outcome::Retained);
    }
    for node in &nodes {
        eventually("messages", || count(node, "t/+") == 500).await;
        let is_last = |topic| payload_of(node, &format!("t/{topic}")) == Some(vec![2]);
        eventually("last payloads", || (0..500).all(is_last)).await;
    }
    let entries = nodes[0].meta.status().last_log_index.unwrap() - before;
    assert!(entries < 100, "{entries} log entries for 1500 messages");
}

#[tokio::test]
async fn a_new_node_gets_a_snapshot_in_parts_and_a_restarted_one_reads_its_own() {
    let timing = MetaTiming { snapshot_entries: 20, kept_entries: 2, ..MetaTiming::default() };
    let cluster = Cluster::with_timing(2, timing);
    let a = cluster.start(0).await;
    found(&a).await;
    let payload = vec![7; 100_000];
    for topic in 0..60 {
        propose(&a, retain(&format!("t/{topic}"), &payload, Millis::NEVER)).await;
    }
    let has_purged = |status: &broker::cluster::meta::MetaStatus| status.purged_index > Some(20);
    a.wait_for("purge", has_purged).await;
    let b = cluster.start(1).await;
    join(&a, &b).await;
    eventually("messages", || count(&b, "t/+") == 60).await;
    assert_eq!(payload_of(&b, "t/3"), Some(payload.clone()));
    assert!(b.meta.status().purged_index > Some(20), "it got the log instead of a snapshot");

    a.kill().await;
    b.kill().await;
    let (a, b) = (cluster.start(0).await, cluster.start(1).await);
    for node in [&a, &b] {
        eventually("messages", || count(node, "t/+") == 60).await;
    }
    propose(&b, retain("t/60", b"x", Millis::NEVER)).await;
    eventually("message", || count(&a, "t/+") == 61).await;
}

#[tokio::test]
async fn a_follower_that_was_away_gets_more_log_than_fits_one_frame() {
    let cluster = Cluster::new(3);
    let [a, b, c] = three(&cluster).await;
    c.kill().await;
    let payload = vec![7; 500_000];
    for topic in 0..40 {
        propose(&a, retain(&format!("t/{topic}"), &payload, Millis::NEVER)).await;
    }
    let c = cluster.start(2).await;
    eventually("messages", || count(&c, "t/+") == 40).await;
    assert_eq!(c.meta.status().purged_index, None);
    eventually("messages", || count(&b, "t/+") == 40).await;
}

#[tokio::test]
async fn expired_messages_give_their_room_back() {
    let timing = MetaTiming { expiry_interval: Duration::from_millis(20), ..MetaTiming::default() };
    let cluster = Cluster::with_timing(1, timing);
    let a = cluster.start(0).await;
    found(&a).await;
    propose(&a, retain("stays", b"x", Millis::NEVER)).await;
    propose(&a, retain("goes", b"x", Millis(1))).await;
    let retained = a.meta.retained();
    eventually("expiry", || retained.totals().messages == 1).await;
    assert_eq!(payload_of(&a, "stays"), Some(b"x".to_vec()));
    assert!(a.meta.wait_for(DEADLINE, |status| status.is_caught_up).await);
}
