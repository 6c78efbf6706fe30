//! A QoS 1 or 2 message that was sent after a SUBACK and acknowledged reaches the session that had
//! subscribed, also one without durability, where both brokers are well. Source: ARCHITECTURE.md.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use broker_core::types::NodeId;

use super::Invariant;
use crate::count::{Count, Tally};
use crate::environment::elapsed;
use crate::event::{Client, Event, MessageId};
use crate::network::Network;
use crate::oracle::Oracle;

/// How long a message may take from its acknowledgement on.
const WAY: Duration = Duration::from_secs(2);

/// How long both brokers must have been well before it was sent: links that have come up have told
/// all interest by then.
const WELL: Duration = Duration::from_secs(3);

/// A client that listens.
#[derive(Debug)]
struct Listener {
    node: NodeId,
    prefix: &'static str,
    since: Duration,
    received: BTreeSet<MessageId>,
}

/// A message that is to have come by then.
#[derive(Debug)]
struct Due {
    at: Duration,
    sent: Duration,
    publisher_node: NodeId,
    listener: Client,
    message: MessageId,
}

/// Who listens, and what is due.
pub(super) struct LiveIsDelivered {
    network: Network,
    tally: Tally,
    /// Where each client is connected.
    nodes: BTreeMap<Client, NodeId>,
    listeners: BTreeMap<Client, Listener>,
    /// When each message was sent, and where; those that are sent again are left out.
    sent: BTreeMap<MessageId, (Duration, NodeId)>,
    due: Vec<Due>,
}

impl LiveIsDelivered {
    pub(super) const fn new(network: Network, tally: Tally) -> Self {
        Self {
            network,
            tally,
            nodes: BTreeMap::new(),
            listeners: BTreeMap::new(),
            sent: BTreeMap::new(),
            due: Vec::new(),
        }
    }

    fn acknowledged(&mut self, message: &MessageId) {
        let Some((sent, publisher_node)) = self.sent.remove(message) else { return };
        for (client, listener) in &self.listeners {
            if message.topic.starts_with(listener.prefix) && listener.since < sent {
                self.due.push(Due {
                    at: elapsed() + WAY,
                    sent,
                    publisher_node,
                    listener: client.clone(),
                    message: message.clone(),
                });
            }
        }
    }

    /// Looks at what should have come by now.
    fn look(&mut self) -> Result<(), String> {
        let now = elapsed();
        for due in self.due.extract_if(.., |due| due.at <= now) {
            let listener = self.listeners.get(&due.listener);
            let Some(listener) = listener.filter(|listener| listener.since < due.sent) else {
                continue;
            };
            let well = now - due.sent + WELL;
            let nodes = [listener.node, due.publisher_node];
            if !nodes.into_iter().all(|node| self.network.is_well(node, well)) {
                continue;
            }
            self.tally.count(Count::LiveChecked);
            if !listener.received.contains(&due.message) {
                let (message, client) = (&due.message, &due.listener);
                return Err(format!("{message} has not reached {client}"));
            }
        }
        Ok(())
    }
}

impl Invariant for LiveIsDelivered {
    fn name(&self) -> &'static str {
        "live_is_delivered"
    }

    fn observe(&mut self, event: &Event) -> Result<(), String> {
        match event {
            Event::Connected { client, node, .. } => {
                self.nodes.insert(client.clone(), *node);
            }
            Event::Lost { client } => {
                self.nodes.remove(client);
                self.listeners.remove(client);
            }
            Event::Listens { client, node, prefix } => {
                let (since, received) = (elapsed(), BTreeSet::new());
                let listener = Listener { node: *node, prefix, since, received };
                self.listeners.insert(client.clone(), listener);
            }
            Event::Sent { client, message, .. } => {
                if let Some(node) = self.nodes.get(client) {
                    self.sent.insert(message.clone(), (elapsed(), *node));
                }
            }
            Event::SentAgain { message, .. } => {
                self.sent.remove(message);
            }
            Event::Acknowledged { message, .. } => self.acknowledged(message),
            Event::Received { client, message, .. } => {
                if let Some(listener) = self.listeners.get_mut(client) {
                    listener.received.insert(message.clone());
                }
            }
            _ => {}
        }
        self.look()
    }

    fn end(&mut self, _oracle: &Oracle) -> Result<(), String> {
        self.look()
    }
}
