//! A client without a durable session that comes and goes, and whose identifier another one has too.

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

/// Comes and goes for as long as it is polled.
pub(crate) async fn wander(cluster: Cluster, client: Client, mut random: Random, numbers: Numbers) {
    let identity = Identity { client, expiry_seconds: None };
    loop {
        let connection = Connection::open(&cluster, &identity, &mut random, &numbers).await;
        let until = elapsed() + random.millis(100, 4000);
        stay(&cluster, &identity.client, connection, until).await;
        sleep(random.millis(10, 1500)).await;
    }
}

async fn stay(cluster: &Cluster, client: &Client, mut connection: Connection, until: Duration) {
    connection.subscribe(&[""], QoS::AtLeastOnce);
    loop {
        let left = until.saturating_sub(elapsed());
        let packet = tokio::select! {
            biased;
            packet = connection.receive() => packet,
            () = sleep(left) => return,
        };
        match packet {
            None => return,
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
