//! A client that looks whether a node takes messages: one, of QoS 1.

use std::sync::Arc;
use std::time::Duration;

use broker_core::types::{PacketId, QoS};
use openraft::AsyncRuntime;
use openraft_rt_sim::SimRuntime;

use super::connection::{Connection, Identity, Numbers, Outgoing};
use super::packet::Incoming;
use crate::cluster::Cluster;
use crate::event::{Event, MessageId};
use crate::node::Node;
use crate::random::Random;

/// What it publishes to: durable sessions have subscribed to that.
const TOPIC: &str = "t/probe";

/// How long the PUBACK may take.
const PUBACK_MAX: Duration = Duration::from_secs(5);

/// Publishes the message of this number at a node.
///
/// # Errors
/// What the node did instead of acknowledging it.
pub(crate) async fn probe(
    cluster: &Cluster,
    node: &Node,
    seq: u64,
    random: &mut Random,
    numbers: &Numbers,
) -> Result<MessageId, String> {
    let client = Arc::from("probe");
    let identity = Identity { client: Arc::clone(&client), expiry_seconds: None };
    let opened = Connection::open_at(cluster, node, &identity, random, numbers).await;
    let Some(mut connection) = opened else {
        return Err(format!("{} lets nobody publish", node.id));
    };
    let message = MessageId { topic: Arc::from(TOPIC), seq };
    let (qos, packet_id) = (QoS::AtLeastOnce, PacketId::MIN);
    let sent = Event::Sent { client: Arc::clone(&client), message: message.clone(), qos };
    cluster.history.note(sent);
    let (is_retained, dup) = (false, false);
    connection.publish(&Outgoing { topic: TOPIC, seq, qos, is_retained, dup, packet_id });
    match SimRuntime::timeout(PUBACK_MAX, answer(&mut connection)).await {
        Ok(Some(0..0x80)) => {
            cluster.history.note(Event::Acknowledged { client, message: message.clone() });
            Ok(message)
        }
        Ok(Some(reason)) => {
            let answer = Event::Refused { client, message: message.clone(), reason };
            cluster.history.note(answer);
            Err(format!("{} refuses {message} (0x{reason:02x})", node.id))
        }
        Ok(None) => Err(format!("{} closes the connection of who publishes", node.id)),
        Err(_) => Err(format!("{} has no answer to {message}", node.id)),
    }
}

/// The PUBACK's Reason Code; `None` when the connection is gone before it.
async fn answer(connection: &mut Connection) -> Option<u8> {
    loop {
        if let Incoming::PubAck { reason, .. } = connection.receive().await? {
            return Some(reason);
        }
    }
}
