//! A client that looks what a new Subscription finds retained on one node.

use std::sync::Arc;
use std::time::Duration;

use broker_core::types::QoS;

use super::connection::{Connection, Identity, Numbers};
use super::packet::Incoming;
use crate::cluster::Cluster;
use crate::environment::sleep;
use crate::event::{Event, MessageId};
use crate::node::Node;
use crate::random::Random;
use crate::scenario::RETAINED_PREFIX;

/// Quiet after which no more is expected.
const QUIET: Duration = Duration::from_millis(500);

/// Reads what a node has retained; false when it doesn't let the client in.
pub(crate) async fn read_retained(
    cluster: &Cluster,
    node: &Node,
    random: &mut Random,
    numbers: &Numbers,
) -> bool {
    let client = Arc::from(format!("reader-{}", node.id));
    let identity = Identity { client, is_durable: false };
    let opened = Connection::open_at(cluster, node, &identity, random, numbers).await;
    let Some(mut connection) = opened else { return false };
    connection.subscribe(&[RETAINED_PREFIX], QoS::AtMostOnce);
    let mut found: Vec<MessageId> = Vec::new();
    loop {
        let packet = tokio::select! {
            biased;
            packet = connection.receive() => packet,
            () = sleep(QUIET) => break,
        };
        match packet {
            None => return false,
            Some(Incoming::Publish { message, .. }) => found.push(message),
            Some(_) => {}
        }
    }
    found.sort();
    cluster.history.note(Event::Retained { node: node.id, found });
    true
}
