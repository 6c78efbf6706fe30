//! Messages and wills inside an operation: borrowed, so that they are copied once. Pure data.

use serde::de::Deserializer;
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};

use crate::router::Message;
use crate::types::{Millis, QoS};

/// A message as it stands in an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageForm<'a> {
    qos: QoS,
    retain: bool,
    expires_at: Millis,
    #[serde(borrow, serialize_with = "write_bytes", deserialize_with = "read_bytes")]
    frame: &'a [u8],
}

fn write_bytes<S: Serializer>(bytes: &&[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bytes(bytes)
}

fn read_bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<&'de [u8], D::Error> {
    <&[u8]>::deserialize(deserializer)
}

impl<'a> MessageForm<'a> {
    /// The form of a message.
    #[must_use]
    pub fn of(message: &'a Message) -> Self {
        let (qos, retain) = (message.qos(), message.retain());
        Self { qos, retain, expires_at: message.expires_at(), frame: message.frame() }
    }

    /// The message.
    #[must_use]
    pub fn message(&self) -> Message {
        Message::from_frame(self.qos, self.retain, self.expires_at, self.frame)
    }
}

/// A Will Message as it stands in an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WillForm<'a> {
    /// The message; its expiry starts when it is published.
    #[serde(borrow)]
    pub message: MessageForm<'a>,
    /// Its Message Expiry Interval in seconds.
    pub message_expiry_seconds: Option<u32>,
    /// Will Delay Interval in seconds.
    pub delay_seconds: u32,
}
