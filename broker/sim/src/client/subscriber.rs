//! A client with a durable session that subscribes, and remembers which QoS 2 messages it has.

use std::collections::BTreeSet;
use std::sync::Arc;

use broker_core::codec::Packet;
use broker_core::types::{PacketId, QoS};

use super::connection::{Connection, Identity, Numbers};
use super::packet::Incoming;
use crate::cluster::Cluster;
use crate::environment::sleep;
use crate::event::{Client, Event};
use crate::random::Random;

/// Who subscribes to what.
#[derive(Debug, Clone)]
pub(crate) struct SubscriberPlan {
    pub(crate) client: Client,
    /// It subscribes to all that begins with one of these.
    pub(crate) prefixes: &'static [&'static str],
    pub(crate) qos: QoS,
}

struct Subscriber {
    cluster: Cluster,
    plan: SubscriberPlan,
    random: Random,
    is_subscribed: bool,
    had_session: bool,
    /// QoS 2 messages that were received and not released.
    unreleased: BTreeSet<PacketId>,
}

/// Takes messages for as long as it is polled.
pub(crate) async fn subscribe(
    cluster: Cluster,
    plan: SubscriberPlan,
    random: Random,
    numbers: Numbers,
) {
    let identity = Identity { client: Arc::clone(&plan.client), is_durable: true };
    let mut subscriber = Subscriber {
        cluster,
        plan,
        random,
        is_subscribed: false,
        had_session: false,
        unreleased: BTreeSet::new(),
    };
    loop {
        let cluster = subscriber.cluster.clone();
        let connection =
            Connection::open(&cluster, &identity, &mut subscriber.random, &numbers).await;
        subscriber.run(connection).await;
        // Some of the messages find it away.
        let away = subscriber.random.millis(1, 1500);
        sleep(away).await;
    }
}

impl Subscriber {
    async fn run(&mut self, mut connection: Connection) {
        if !connection.session_present {
            if self.had_session {
                let client = Arc::clone(&self.plan.client);
                self.cluster.history.note(Event::SessionLost { client });
            }
            self.unreleased.clear();
        }
        self.had_session = true;
        if !self.is_subscribed {
            connection.subscribe(self.plan.prefixes, self.plan.qos);
        }
        loop {
            let look = self.random.millis(10, 200);
            tokio::select! {
                biased;
                packet = connection.receive() => match packet {
                    Some(packet) => self.take(&mut connection, packet),
                    None => return,
                },
                () = sleep(look) => {
                    if connection.is_to_break() && !self.cluster.is_ending() {
                        return;
                    }
                }
            }
        }
    }

    fn take(&mut self, connection: &mut Connection, packet: Incoming) {
        match packet {
            Incoming::SubAck { is_granted: true } => {
                self.is_subscribed = true;
                for prefix in self.plan.prefixes {
                    let client = Arc::clone(&self.plan.client);
                    self.cluster.history.note(Event::Subscribed { client, prefix });
                }
            }
            Incoming::Publish { message, qos, is_retained, packet_id } => {
                let is_new = match (qos, packet_id) {
                    (QoS::ExactlyOnce, Some(id)) => self.unreleased.insert(id),
                    _ => true,
                };
                if is_new {
                    let client = Arc::clone(&self.plan.client);
                    let event = Event::Received { client, message, qos, is_retained };
                    self.cluster.history.note(event);
                }
                match (qos, packet_id) {
                    (QoS::AtLeastOnce, Some(id)) => connection.acknowledge(Packet::PubAck, id),
                    (QoS::ExactlyOnce, Some(id)) => connection.acknowledge(Packet::PubRec, id),
                    _ => {}
                }
            }
            Incoming::PubRel { packet_id } => {
                self.unreleased.remove(&packet_id);
                connection.acknowledge(Packet::PubComp, packet_id);
            }
            _ => {}
        }
    }
}
