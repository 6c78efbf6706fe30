//! A client's Network Connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use broker_core::codec::packet::{
    Connect, ConnectProperties, Packet, Publish, PublishAck, PublishProperties, Subscribe,
    SubscribeFilter, SubscribeFilters, SubscriptionOptions,
};
use broker_core::codec::{ReasonCode, UserProperties, encode};
use broker_core::types::{NodeId, PacketId, ProtocolVersion, QoS};
use bytes::Bytes;
use openraft::AsyncRuntime;
use openraft_rt_sim::{SimInstant, SimRuntime};
use tokio::sync::mpsc;

use super::packet::Incoming;
use crate::cluster::Cluster;
use crate::environment::{now, sleep, sleep_until, spawn};
use crate::event::{Client, Event};
use crate::node::Node;
use crate::random::Random;
use crate::worker::FromClient;

/// Pieces of bytes that wait for a client.
const QUEUE_MAX: usize = 4096;

/// How long a client waits for its CONNACK.
const CONNACK_TIMEOUT: Duration = Duration::from_secs(10);

/// A Session Expiry Interval longer than any simulation, in seconds.
pub(crate) const FOREVER_SECONDS: u32 = 100_000;

/// At one of so many looks a client closes its connection, for no reason.
const BREAK_LOOKS: u64 = 150;

/// So many connections of a hundred stay open at the server for a while after the client has left.
const LINGER_PERCENT: u64 = 30;

/// For how long, at most.
const LINGER_MILLIS_MAX: u64 = 4_000;

/// Numbers the connections of one simulation.
pub(crate) type Numbers = Arc<AtomicU64>;

/// Who connects, and how.
#[derive(Debug, Clone)]
pub(super) struct Identity {
    pub(super) client: Client,
    /// Session Expiry Interval; `None`: the session begins anew each time.
    pub(super) expiry_seconds: Option<u32>,
}

/// An open connection, CONNACK received.
pub(super) struct Connection {
    cluster: Cluster,
    client: Client,
    number: u64,
    to_worker: mpsc::Sender<FromClient>,
    bytes: mpsc::Receiver<Bytes>,
    buffer: Vec<u8>,
    /// When the last bytes arrive that are on their way.
    last: Option<SimInstant>,
    random: Random,
    is_open: bool,
    /// Where it leads to.
    pub(super) node: NodeId,
    pub(super) session_present: bool,
}

/// A PUBLISH packet.
pub(super) struct Outgoing<'a> {
    pub(super) topic: &'a str,
    pub(super) seq: u64,
    pub(super) qos: QoS,
    pub(super) is_retained: bool,
    pub(super) dup: bool,
    pub(super) packet_id: PacketId,
}

impl Connection {
    /// Connects to any node that lets clients in, as often as it takes.
    pub(super) async fn open(
        cluster: &Cluster,
        identity: &Identity,
        random: &mut Random,
        numbers: &Numbers,
    ) -> Self {
        loop {
            let place = random.place(cluster.size());
            if let Some(node) = cluster.node(place)
                && let Some(connection) =
                    Self::open_at(cluster, &node, identity, random, numbers).await
            {
                return connection;
            }
            sleep(random.millis(50, 400)).await;
        }
    }

    /// Connects to this node; `None` when it doesn't let the client in.
    pub(super) async fn open_at(
        cluster: &Cluster,
        node: &Node,
        identity: &Identity,
        random: &mut Random,
        numbers: &Numbers,
    ) -> Option<Self> {
        if !node.gate.is_open() {
            return None;
        }
        let number = numbers.fetch_add(1, Ordering::Relaxed);
        let (sender, bytes) = mpsc::channel(QUEUE_MAX);
        let mut connection = Self {
            cluster: cluster.clone(),
            client: Arc::clone(&identity.client),
            number,
            to_worker: node.workers[random.place(node.workers.len())].clone(),
            bytes,
            buffer: Vec::new(),
            last: None,
            random: Random::new(random.number(), "connection"),
            is_open: false,
            node: node.id,
            session_present: false,
        };
        connection.post(FromClient::Open { connection: number, bytes: sender });
        connection.connect(identity);
        let answer = SimRuntime::timeout(CONNACK_TIMEOUT, connection.receive()).await;
        match answer {
            Ok(Some(Incoming::ConnAck { reason: 0, session_present })) => {
                let client = Arc::clone(&identity.client);
                cluster.history.note(Event::Connected { client, node: node.id, session_present });
                connection.is_open = true;
                connection.session_present = session_present;
                Some(connection)
            }
            _ => None,
        }
    }

    fn connect(&mut self, identity: &Identity) {
        self.send(&Packet::Connect(Connect {
            version: ProtocolVersion::V5,
            clean_start: identity.expiry_seconds.is_none(),
            keep_alive_seconds: 0,
            properties: ConnectProperties {
                session_expiry_seconds: identity.expiry_seconds,
                ..ConnectProperties::default()
            },
            client_id: &identity.client,
            will: None,
            user_name: Some(&identity.client),
            password: None,
        }));
    }

    fn post(&mut self, message: FromClient) {
        let soonest = now() + self.random.millis(1, 10);
        let at = self.last.map_or(soonest, |last| last.max(soonest));
        self.last = Some(at);
        let to_worker = self.to_worker.clone();
        spawn(async move {
            sleep_until(at).await;
            // A node that has ended takes nothing.
            drop(to_worker.try_send(message));
        });
    }

    pub(super) fn send(&mut self, packet: &Packet<'_>) {
        let mut bytes = Vec::new();
        if let Err(error) = encode(packet, ProtocolVersion::V5, &mut bytes) {
            self.cluster.history.violate(format!("a client can't encode {packet:?}: {error}"));
        }
        self.post(FromClient::Bytes { connection: self.number, bytes: bytes.into() });
    }

    pub(super) fn publish(&mut self, publish: &Outgoing<'_>) {
        let payload = publish.seq.to_string();
        self.send(&Packet::Publish(Publish {
            dup: publish.dup,
            qos: publish.qos,
            retain: publish.is_retained,
            topic: publish.topic,
            packet_id: Some(publish.packet_id),
            properties: PublishProperties::default(),
            payload: payload.as_bytes(),
        }));
    }

    /// Subscribes to all that begins with one of these.
    pub(super) fn subscribe(&mut self, prefixes: &[&str], qos: QoS) {
        let filters: Vec<String> = prefixes.iter().map(|prefix| format!("{prefix}#")).collect();
        let options = SubscriptionOptions { qos, ..SubscriptionOptions::default() };
        let filter = |filter| SubscribeFilter { filter, options };
        let filters: Vec<_> = filters.iter().map(|text| filter(text)).collect();
        self.send(&Packet::Subscribe(Subscribe {
            packet_id: PacketId::MIN,
            subscription_id: None,
            user_properties: UserProperties::default(),
            filters: SubscribeFilters::from_slice(&filters),
        }));
    }

    /// PUBACK, PUBREC, PUBREL or PUBCOMP.
    pub(super) fn acknowledge(
        &mut self,
        packet: fn(PublishAck<'static>) -> Packet<'static>,
        id: PacketId,
    ) {
        self.send(&packet(PublishAck::new(id, ReasonCode::Success)));
    }

    /// The next packet; `None` once the connection is gone. Cancel-safe.
    pub(super) async fn receive(&mut self) -> Option<Incoming> {
        loop {
            match Incoming::decode(&self.buffer) {
                Ok(Some((packet, consumed))) => {
                    self.buffer.drain(..consumed);
                    return Some(packet);
                }
                Ok(None) => {}
                Err(error) => {
                    let client = &self.client;
                    self.cluster.history.violate(format!("{client} can't read a packet: {error}"));
                    return None;
                }
            }
            let bytes = self.bytes.recv().await?;
            self.buffer.extend_from_slice(&bytes);
        }
    }

    /// Whether the client closes the connection at this look, for no reason.
    pub(super) fn is_to_break(&mut self) -> bool {
        self.random.below(BREAK_LOOKS) == 0
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // At the simulation's end nothing runs that could take it.
        if SimInstant::try_now().is_none() {
            return;
        }
        // The server of a client that has lost its network may know of it later than others do.
        if self.random.percent(LINGER_PERCENT) {
            self.last = Some(now() + self.random.millis(0, LINGER_MILLIS_MAX));
        }
        self.post(FromClient::Close { connection: self.number });
        if self.is_open {
            self.cluster.history.note(Event::Lost { client: Arc::clone(&self.client) });
        }
    }
}
