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
use crate::policy::DENIED_PREFIX;
use crate::random::Random;
use crate::scenario::RETAINED_PREFIX;

/// Quiet behind the SUBACK after which no more is expected.
const QUIET: Duration = Duration::from_millis(500);

/// How long a SUBACK may take: a broker that has just come is waited for by those whose clients
/// subscribe.
const SUBACK_MAX: Duration = Duration::from_secs(2);

/// Reads what a node has retained; false when it doesn't let the client in, or not subscribe.
pub(crate) async fn read_retained(
    cluster: &Cluster,
    node: &Node,
    random: &mut Random,
    numbers: &Numbers,
) -> bool {
    let client = Arc::from(format!("reader-{}", node.id));
    let identity = Identity { client, expiry_seconds: None };
    let opened = Connection::open_at(cluster, node, &identity, random, numbers).await;
    let Some(mut connection) = opened else { return false };
    connection.subscribe(&[RETAINED_PREFIX, DENIED_PREFIX], QoS::AtMostOnce);
    let mut found: Vec<MessageId> = Vec::new();
    let mut is_subscribed = false;
    loop {
        let patience = if is_subscribed { QUIET } else { SUBACK_MAX };
        let packet = tokio::select! {
            biased;
            packet = connection.receive() => packet,
            () = sleep(patience) => break,
        };
        match packet {
            None => return false,
            Some(Incoming::Publish { message, .. }) => found.push(message),
            Some(Incoming::SubAck { is_granted }) => is_subscribed = is_granted,
            Some(_) => {}
        }
    }
    if !is_subscribed {
        return false;
    }
    found.sort();
    cluster.history.note(Event::Retained { node: node.id, found });
    true
}
