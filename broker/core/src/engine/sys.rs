//! What the broker says of itself: topics below `$SYS`, for sessions of this engine.
//!
//! Every engine of a node is given the same values and every node has its own, so nothing is
//! forwarded; groups, whose members may be anywhere, get none.

use std::sync::Arc;

use super::Engine;
use super::outgoing::Outgoing;
use crate::codec::EncodeError;
use crate::codec::packet::{Publish, PublishProperties};
use crate::router::Message;
use crate::types::{Millis, QoS};

/// First level of the topics that the broker writes. The policy lets no client write there, but for
/// the state of its bridges, which it never tells itself.
pub const SYS_PREFIX: &str = "$SYS";

/// A value of the broker, under a topic below [`SYS_PREFIX`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SysValue {
    /// Topic Name.
    pub topic: Arc<str>,
    /// The payload, as text.
    pub text: String,
}

impl SysValue {
    /// As a new Subscription gets it: like a retained message.
    ///
    /// # Errors
    /// [`EncodeError`]: topic and text don't fit into a packet.
    pub fn to_message(&self) -> Result<Message, EncodeError> {
        Message::new(&self.publish(), Millis::NEVER)
    }

    fn publish(&self) -> Publish<'_> {
        Publish {
            dup: false,
            qos: QoS::ExactlyOnce,
            retain: true,
            topic: &self.topic,
            packet_id: None,
            properties: PublishProperties::default(),
            payload: self.text.as_bytes(),
        }
    }
}

impl Engine {
    /// Values of the broker have changed: whoever is subscribed to them here, and may, gets them.
    /// What waits for clients is counted, for the next time.
    pub fn publish_sys(&mut self, now: Millis, values: &[SysValue]) {
        (self.counters.output_packets, self.counters.output_bytes) = self.connections.waiting();
        for value in values {
            let publish = value.publish();
            let route = self.router.take_route(&value.topic, &self.sessions);
            let mut outgoing = Outgoing::new(&publish, Millis::NEVER);
            self.deliver_to_all(now, &mut outgoing, None, &route);
            self.router.put_route(route);
        }
    }
}
