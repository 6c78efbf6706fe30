//! A session on its way to another worker or node. Pure data.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::codec::packet::SubscriptionOptions;
use crate::router::Message;
use crate::types::{ClientId, PacketId, QoS, SubscriptionId};

/// Everything a session is made of. Spec: MQTT 5.0 section 4.1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SessionState {
    /// Whose it is.
    pub client_id: ClientId,
    /// The user it acts as.
    pub username: Option<Arc<str>>,
    /// Session Expiry Interval in seconds; `u32::MAX` for never.
    pub expiry_seconds: u32,
    /// Its Subscriptions.
    pub subscriptions: Vec<SubscriptionState>,
    /// QoS 1 and 2 messages sent and not completely acknowledged, in the order of sending.
    pub in_flight: Vec<InFlightState>,
    /// The Packet Identifier for the next message, so that none in use is given again.
    pub next_packet_id: PacketId,
    /// Messages that wait to be sent, in order.
    pub queue: Vec<DeliveryState>,
    /// QoS 2 messages received and not released.
    pub inbound_qos2: Vec<PacketId>,
}

/// Bytes counted for a message beside its own: what the encoding and the identifiers take.
const DELIVERY_BYTES: usize = 64;

impl SessionState {
    /// Drops messages until those left take no more than `bytes_max`: first the oldest that wait,
    /// then, where that is not enough, the latest in flight. Gives how many were dropped.
    pub fn drop_messages_beyond(&mut self, bytes_max: usize) -> usize {
        let in_flight = self.in_flight.iter().filter_map(|entry| entry.delivery.as_ref());
        let mut bytes: usize = self.queue.iter().chain(in_flight).map(DeliveryState::bytes).sum();
        let queue_dropped = self
            .queue
            .iter()
            .take_while(|delivery| {
                let is_beyond = bytes > bytes_max;
                bytes -= if is_beyond { delivery.bytes() } else { 0 };
                is_beyond
            })
            .count();
        self.queue.drain(..queue_dropped);
        let before = self.in_flight.len();
        while bytes > bytes_max
            && let Some(at) = self.in_flight.iter().rposition(|entry| entry.delivery.is_some())
        {
            let entry = self.in_flight.remove(at);
            bytes -= entry.delivery.as_ref().map_or(0, DeliveryState::bytes);
        }
        queue_dropped + before - self.in_flight.len()
    }
}

impl DeliveryState {
    fn bytes(&self) -> usize {
        self.message.bytes() + self.share.as_ref().map_or(0, |share| share.len()) + DELIVERY_BYTES
    }
}

/// A Subscription.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SubscriptionState {
    /// Topic Filter.
    pub filter: Arc<str>,
    /// Its options.
    pub options: SubscriptionOptions,
    /// Its identifier.
    pub id: Option<SubscriptionId>,
}

/// A message on its way to the client.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeliveryState {
    /// The message.
    pub message: Arc<Message>,
    /// QoS of the delivery.
    pub qos: QoS,
    /// RETAIN of the delivery.
    pub retain: bool,
    /// Identifiers of the Subscriptions that it matched.
    pub subscription_ids: Vec<SubscriptionId>,
    /// The Shared Subscription that it was given to the session for, whose other members get it
    /// should the session end before the client has it.
    pub share: Option<Arc<str>>,
}

/// A message that the client has not completely acknowledged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InFlightState {
    /// Its Packet Identifier.
    pub packet_id: PacketId,
    /// The message, until a PUBREC makes it unneeded; then PUBREL is what is sent again.
    pub delivery: Option<DeliveryState>,
}
