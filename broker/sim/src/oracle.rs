//! What the clients know: what was acknowledged to them, and what came. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use broker_core::types::QoS;

use crate::event::{Client, Due, Event, MessageId};

/// What became of one message, as its publisher sees it.
#[derive(Debug, Clone)]
pub(crate) struct Fate {
    pub(crate) qos: QoS,
    /// Number of the event that it was first sent at.
    pub(crate) sent: u64,
    pub(crate) is_acknowledged: bool,
}

/// The clients' knowledge.
#[derive(Debug, Default)]
pub(crate) struct Oracle {
    events: u64,
    messages: BTreeMap<MessageId, Fate>,
    /// By client and prefix: number of the event that the Subscription was confirmed at.
    subscriptions: BTreeMap<(Client, &'static str), u64>,
    received: BTreeSet<(Client, MessageId)>,
    /// What a node has retained at the end.
    pub(crate) retained: Vec<(broker_core::types::NodeId, Vec<MessageId>)>,
}

impl Oracle {
    pub(crate) fn observe(&mut self, event: &Event) {
        self.events += 1;
        match event {
            Event::Sent { message, qos, .. } => {
                let fate = Fate { qos: *qos, sent: self.events, is_acknowledged: false };
                self.messages.insert(message.clone(), fate);
            }
            Event::Acknowledged { message, .. } => {
                if let Some(fate) = self.messages.get_mut(message) {
                    fate.is_acknowledged = true;
                }
            }
            Event::Returned { client, due, .. } if *due != Due::Kept => {
                self.subscriptions.retain(|(who, _), _| who != client);
            }
            Event::Subscribed { client, prefix } => {
                let events = self.events;
                self.subscriptions.entry((Arc::clone(client), prefix)).or_insert(events);
            }
            Event::Received { client, message, is_retained: false, .. } => {
                self.received.insert((Arc::clone(client), message.clone()));
            }
            Event::Retained { node, found } => self.retained.push((*node, found.clone())),
            _ => {}
        }
    }

    /// Whether a client has had a message, as one that came for its Subscription.
    pub(crate) fn has_received(&self, client: &str, message: &MessageId) -> bool {
        self.received.contains(&(Arc::from(client), message.clone()))
    }

    /// The QoS of a message that was sent.
    pub(crate) fn qos(&self, message: &MessageId) -> Option<QoS> {
        self.messages.get(message).map(|fate| fate.qos)
    }

    /// Messages with what became of them.
    pub(crate) fn messages(&self) -> impl Iterator<Item = (&MessageId, &Fate)> {
        self.messages.iter()
    }

    /// Messages of this QoS that were acknowledged and have not come to a durable session whose
    /// Subscription was confirmed before they were sent. `is_meant` leaves out who may not have
    /// them.
    pub(crate) fn missing(&self, qos: QoS) -> Vec<(Client, MessageId)> {
        let mut missing = Vec::new();
        for (message, fate) in &self.messages {
            if !fate.is_acknowledged || fate.qos != qos {
                continue;
            }
            for ((client, prefix), since) in &self.subscriptions {
                let is_meant = message.topic.starts_with(prefix)
                    && *since < fate.sent
                    && crate::policy::may_receive(client, &message.topic);
                let received = (Arc::clone(client), message.clone());
                if is_meant && !self.received.contains(&received) {
                    missing.push(received);
                }
            }
        }
        missing
    }
}
