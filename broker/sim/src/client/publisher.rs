//! A client that publishes, and remembers what was not acknowledged yet.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use broker_core::codec::Packet;
use broker_core::types::{PacketId, QoS};

use super::connection::{Connection, FOREVER_SECONDS, Identity, Numbers, Outgoing};
use super::packet::Incoming;
use crate::cluster::Cluster;
use crate::environment::{elapsed, sleep};
use crate::event::{Client, Event, MessageId};
use crate::random::Random;

/// Silence of the server, with messages unacknowledged, after which the client connects anew.
const SILENCE_MAX: Duration = Duration::from_secs(12);

/// Packet Identifiers that a client takes in turn: few, so that they are used again.
const PACKET_IDS: u16 = 40;

/// Longest time away of a client that leaves, in milliseconds.
const AWAY_MILLIS_MAX: u64 = 4_000;

/// A topic of one publisher.
#[derive(Debug, Clone)]
pub(crate) struct Topic {
    pub(crate) name: Arc<str>,
    pub(crate) qos: QoS,
    pub(crate) is_retained: bool,
}

/// Who publishes what.
#[derive(Debug, Clone)]
pub(crate) struct PublisherPlan {
    pub(crate) client: Client,
    pub(crate) topics: Vec<Topic>,
    /// Most messages under way.
    pub(crate) window: usize,
    /// Milliseconds between two messages, at most.
    pub(crate) pause: u64,
    /// In so many of a hundred cases it leaves as soon as it has sent a message, and comes again
    /// after a while.
    pub(crate) leaves_percent: u64,
}

/// A message under way.
struct Unacknowledged {
    message: MessageId,
    qos: QoS,
    is_retained: bool,
    packet_id: PacketId,
    /// QoS 2: PUBREC has come, PUBCOMP not.
    is_received: bool,
}

struct Publisher {
    cluster: Cluster,
    plan: PublisherPlan,
    random: Random,
    under_way: VecDeque<Unacknowledged>,
    /// Messages so far, by topic.
    counts: Vec<u64>,
    last_id: u16,
    had_session: bool,
}

/// Publishes until the cluster's end, and until then all is acknowledged.
pub(crate) async fn publish(
    cluster: Cluster,
    plan: PublisherPlan,
    random: Random,
    numbers: Numbers,
) {
    let expiry_seconds = Some(FOREVER_SECONDS);
    let identity = Identity { client: Arc::clone(&plan.client), expiry_seconds };
    let mut publisher = Publisher {
        cluster,
        counts: vec![0; plan.topics.len()],
        plan,
        random,
        under_way: VecDeque::new(),
        last_id: 0,
        had_session: false,
    };
    publisher.cluster.publisher_begins();
    while !publisher.is_done() {
        let cluster = publisher.cluster.clone();
        let connection =
            Connection::open(&cluster, &identity, &mut publisher.random, &numbers).await;
        publisher.run(connection).await;
    }
    publisher.cluster.publisher_ends();
}

impl Publisher {
    fn is_done(&self) -> bool {
        self.cluster.is_ending() && self.under_way.is_empty()
    }

    /// One connection's time.
    async fn run(&mut self, mut connection: Connection) {
        if self.had_session && !connection.session_present {
            let client = Arc::clone(&self.plan.client);
            self.cluster.history.note(Event::SessionLost { client });
        }
        self.had_session = true;
        self.send_again(&mut connection);
        let mut heard = elapsed();
        while !self.is_done() {
            let pause = self.random.millis(1, self.plan.pause);
            tokio::select! {
                biased;
                packet = connection.receive() => match packet {
                    Some(packet) => {
                        heard = elapsed();
                        self.take(&mut connection, &packet);
                    }
                    None => return,
                },
                () = sleep(pause) => {
                    if self.under_way.is_empty() {
                        heard = elapsed();
                    }
                    if connection.is_to_break() || elapsed() - heard > SILENCE_MAX {
                        return;
                    }
                    if !self.cluster.is_ending() && self.under_way.len() < self.plan.window {
                        self.publish_next(&mut connection);
                        if self.random.percent(self.plan.leaves_percent) {
                            drop(connection);
                            return sleep(self.random.millis(0, AWAY_MILLIS_MAX)).await;
                        }
                    }
                }
            }
        }
    }

    /// What was not acknowledged is sent again, in order. [MQTT-4.4.0-1]
    fn send_again(&self, connection: &mut Connection) {
        for unacknowledged in &self.under_way {
            if unacknowledged.is_received {
                connection.acknowledge(Packet::PubRel, unacknowledged.packet_id);
            } else {
                let client = Arc::clone(&self.plan.client);
                let message = unacknowledged.message.clone();
                self.cluster.history.note(Event::SentAgain { client, message });
                connection.publish(&unacknowledged.packet(true));
            }
        }
    }

    fn publish_next(&mut self, connection: &mut Connection) {
        let at = self.random.place(self.plan.topics.len());
        let topic = self.plan.topics[at].clone();
        self.counts[at] += 1;
        let message = MessageId { topic: topic.name, seq: self.counts[at] };
        let unacknowledged = Unacknowledged {
            message: message.clone(),
            qos: topic.qos,
            is_retained: topic.is_retained,
            packet_id: self.next_id(),
            is_received: false,
        };
        let client = Arc::clone(&self.plan.client);
        self.cluster.history.note(Event::Sent { client, message, qos: topic.qos });
        connection.publish(&unacknowledged.packet(false));
        self.under_way.push_back(unacknowledged);
    }

    fn next_id(&mut self) -> PacketId {
        loop {
            self.last_id = self.last_id % PACKET_IDS + 1;
            let id = PacketId::new(self.last_id).unwrap_or(PacketId::MIN);
            if self.under_way.iter().all(|message| message.packet_id != id) {
                return id;
            }
        }
    }

    fn take(&mut self, connection: &mut Connection, packet: &Incoming) {
        match packet {
            Incoming::PubAck { packet_id, reason } => {
                self.answered(*packet_id, *reason);
                self.forget(*packet_id, QoS::AtLeastOnce);
            }
            Incoming::PubRec { packet_id, reason } => {
                self.answered(*packet_id, *reason);
                if *reason >= 0x80 {
                    return self.forget(*packet_id, QoS::ExactlyOnce);
                }
                if let Some(message) = self.find(*packet_id, QoS::ExactlyOnce) {
                    message.is_received = true;
                }
                connection.acknowledge(Packet::PubRel, *packet_id);
            }
            Incoming::PubComp { packet_id } => self.forget(*packet_id, QoS::ExactlyOnce),
            _ => {}
        }
    }

    fn find(&mut self, packet_id: PacketId, qos: QoS) -> Option<&mut Unacknowledged> {
        self.under_way
            .iter_mut()
            .find(|message| message.packet_id == packet_id && message.qos == qos)
    }

    fn forget(&mut self, packet_id: PacketId, qos: QoS) {
        self.under_way.retain(|message| message.packet_id != packet_id || message.qos != qos);
    }

    /// Notes the first answer to a message.
    fn answered(&self, packet_id: PacketId, reason: u8) {
        let client = Arc::clone(&self.plan.client);
        let is_it = |message: &&Unacknowledged| message.packet_id == packet_id;
        let Some(found) = self.under_way.iter().find(is_it) else { return };
        if found.is_received {
            return;
        }
        let message = found.message.clone();
        self.cluster.history.note(match reason {
            0x80.. => Event::Refused { client, message, reason },
            _ => Event::Acknowledged { client, message },
        });
    }
}

impl Unacknowledged {
    fn packet(&self, dup: bool) -> Outgoing<'_> {
        Outgoing {
            topic: &self.message.topic,
            seq: self.message.seq,
            qos: self.qos,
            is_retained: self.is_retained,
            dup,
            packet_id: self.packet_id,
        }
    }
}
