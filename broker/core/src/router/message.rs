//! An Application Message at rest: in a queue, in flight, retained, or on its way to another node.
//!
//! Pure. Below sessions, retained messages and forwarding.

use std::fmt;

use serde::de::{Deserializer, Visitor};
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};

use crate::codec::packet::{Packet, Publish};
use crate::codec::{DecodeLimits, Decoded, EncodeError, Sender, decode, encode};
use crate::types::{Millis, ProtocolVersion, QoS};

/// Limits for frames that this broker or a peer has encoded from a packet it accepted.
pub(crate) const FRAME_LIMITS: DecodeLimits = DecodeLimits {
    packet_bytes_max: DecodeLimits::PACKET_BYTES_MAX,
    topic_levels_max: usize::MAX,
    payload_format_checked: false,
    sender: Sender::Client,
};

/// An Application Message that outlives the packet it came in.
///
/// It is kept as the MQTT 5.0 PUBLISH of QoS 0 that would carry it, without the properties that
/// belong to one hop (Topic Alias, Subscription Identifier) and without the Message Expiry
/// Interval, which is kept as a point in time.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    qos: QoS,
    retain: bool,
    expires_at: Millis,
    #[serde(serialize_with = "write_frame", deserialize_with = "read_frame")]
    frame: Box<[u8]>,
}

fn write_frame<S: Serializer>(frame: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bytes(frame)
}

/// At once, not byte by byte: a message may be megabytes long.
fn read_frame<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Box<[u8]>, D::Error> {
    struct Frame;

    impl Visitor<'_> for Frame {
        type Value = Box<[u8]>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("bytes")
        }

        fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Self::Value, E> {
            Ok(bytes.into())
        }
    }

    deserializer.deserialize_bytes(Frame)
}

impl Message {
    /// Keeps the message of a PUBLISH. `expires_at` is [`Millis::NEVER`] for a message without
    /// Message Expiry Interval.
    ///
    /// # Errors
    /// [`EncodeError`] when the parts do not fit into a packet together.
    pub fn new(publish: &Publish<'_>, expires_at: Millis) -> Result<Self, EncodeError> {
        let mut frame = Vec::with_capacity(publish.topic.len() + publish.payload.len() + 16);
        encode_at_rest(publish, &mut frame)?;
        let (qos, retain) = (publish.qos, publish.retain);
        Ok(Self { qos, retain, expires_at, frame: frame.into() })
    }

    /// The same message with another end of its Message Expiry Interval.
    pub(crate) fn expiring_at(self, expires_at: Millis) -> Self {
        Self { expires_at, ..self }
    }

    /// A message of the bytes that [`Self::frame`] gave.
    pub(crate) fn from_frame(qos: QoS, retain: bool, expires_at: Millis, frame: &[u8]) -> Self {
        Self { qos, retain, expires_at, frame: frame.into() }
    }

    /// The PUBLISH packet that it is kept as.
    pub(crate) const fn frame(&self) -> &[u8] {
        &self.frame
    }

    /// QoS it was published with.
    #[must_use]
    pub const fn qos(&self) -> QoS {
        self.qos
    }

    /// RETAIN as it was published.
    #[must_use]
    pub const fn retain(&self) -> bool {
        self.retain
    }

    /// When the Message Expiry Interval ends; [`Millis::NEVER`] without one.
    #[must_use]
    pub const fn expires_at(&self) -> Millis {
        self.expires_at
    }

    /// Bytes of topic, properties and payload, and a few more.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.frame.len()
    }

    /// The message as a PUBLISH with its own QoS and RETAIN, without Packet Identifier and Message
    /// Expiry Interval; `None` for bytes from elsewhere that hold none.
    #[must_use]
    pub fn publish(&self) -> Option<Publish<'_>> {
        let publish = decode_at_rest(&self.frame)?;
        Some(Publish { qos: self.qos, retain: self.retain, ..publish })
    }

    /// Topic Name; empty for bytes from elsewhere that hold none.
    #[must_use]
    pub fn topic(&self) -> &str {
        self.publish().map_or("", |publish| publish.topic)
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("topic", &self.topic())
            .field("qos", &self.qos)
            .field("retain", &self.retain)
            .field("expires_at", &self.expires_at)
            .field("bytes", &self.bytes())
            .finish()
    }
}

/// Appends the message in the form described at [`Message`].
pub(crate) fn encode_at_rest(publish: &Publish<'_>, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let mut publish = *publish;
    publish.dup = false;
    publish.qos = QoS::AtMostOnce;
    publish.retain = false;
    publish.packet_id = None;
    publish.properties.topic_alias = None;
    publish.properties.message_expiry_seconds = None;
    publish.properties.subscription_ids = Default::default();
    encode(&Packet::Publish(publish), ProtocolVersion::V5, out)
}

/// Reads what [`encode_at_rest`] wrote; `None` for anything else.
pub(crate) fn decode_at_rest(frame: &[u8]) -> Option<Publish<'_>> {
    match decode(frame, Some(ProtocolVersion::V5), &FRAME_LIMITS) {
        Ok(Decoded::Packet { packet: Packet::Publish(publish), consumed })
            if consumed == frame.len() =>
        {
            Some(publish)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_written_as_it_always_was() {
        let frame = vec![0x30, 3, 0, 1, b't'];
        let message = Message::from_frame(QoS::AtLeastOnce, true, Millis(7), &frame);
        let written = postcard::to_stdvec(&message).unwrap();
        let fields = (QoS::AtLeastOnce, true, Millis(7), frame);
        assert_eq!(written, postcard::to_stdvec(&fields).unwrap(), "the bytes one by one");
        assert_eq!(postcard::from_bytes::<Message>(&written).unwrap(), message);
    }
}
