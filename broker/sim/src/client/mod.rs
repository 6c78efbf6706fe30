//! MQTT clients: models of what a client does and remembers, over simulated connections to any node.

mod absence;
mod connection;
mod leaver;
mod listener;
mod packet;
mod probe;
mod publisher;
mod reader;
mod subscriber;
mod wanderer;

pub(crate) use connection::{FOREVER_SECONDS, Numbers};
pub(crate) use leaver::leave;
pub(crate) use listener::listen;
pub(crate) use probe::probe;
pub(crate) use publisher::{PublisherPlan, Topic, publish};
pub(crate) use reader::read_retained;
pub(crate) use subscriber::{SubscriberPlan, subscribe};
pub(crate) use wanderer::wander;

use std::sync::Arc;

use crate::event::MessageId;

/// Name and number of the message that a PUBLISH carries.
fn message_of(topic: &str, payload: &[u8]) -> MessageId {
    let text = std::str::from_utf8(payload).unwrap_or_default();
    MessageId { topic: Arc::from(topic), seq: text.parse().unwrap_or(0) }
}
