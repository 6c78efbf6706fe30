//! A client without a durable session that subscribes, listens for a while, and goes.

use std::sync::Arc;
use std::time::Duration;

use broker_core::codec::Packet;
use broker_core::types::QoS;

use super::connection::{Connection, Identity, Numbers};
use super::packet::Incoming;
use crate::cluster::Cluster;
use crate::environment::{elapsed, sleep};
use crate::event::{Client, Event};
use crate::random::Random;

/// What it listens to.
const PREFIX: &str = "t/";

/// Comes and goes for as long as it is polled.
pub(crate) async fn listen(cluster: Cluster, client: Client, mut random: Random, numbers: Numbers) {
    let identity = Identity { client, expiry_seconds: None };
    loop {
        let connection = Connection::open(&cluster, &identity, &mut random, &numbers).await;
        let until = elapsed() + random.millis(1000, 9000);
        stay(&cluster, &identity.client, connection, until).await;
        sleep(random.millis(10, 1000)).await;
    }
}

async fn stay(cluster: &Cluster, client: &Client, mut connection: Connection, until: Duration) {
    connection.subscribe(&[PREFIX], QoS::AtLeastOnce);
    loop {
        let left = until.saturating_sub(elapsed());
        let packet = tokio::select! {
            biased;
            packet = connection.receive() => packet,
            () = sleep(left) => return,
        };
        match packet {
            None => return,
            Some(Incoming::SubAck { is_granted: true }) => {
                let (client, node) = (Arc::clone(client), connection.node);
                cluster.history.note(Event::Listens { client, node, prefix: PREFIX });
            }
            Some(Incoming::Publish { message, qos, is_retained, packet_id }) => {
                let client = Arc::clone(client);
                cluster.history.note(Event::Received { client, message, qos, is_retained });
                if let Some(id) = packet_id {
                    connection.acknowledge(Packet::PubAck, id);
                }
            }
            Some(_) => {}
        }
    }
}
