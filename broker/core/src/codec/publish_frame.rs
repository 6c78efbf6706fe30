//! A PUBLISH encoded once and copied per subscriber. Pure.
//!
//! What differs between subscribers is patched while copying: the first byte, the Packet
//! Identifier and, for those who use them, Topic Alias and Subscription Identifiers.

use super::packet::Publish;
use super::primitive::{VARIABLE_BYTE_INTEGER_MAX, Writer, variable_byte_integer};
use super::{EncodeError, PacketType, PropertyId, SubscriptionIds};
use crate::types::{PacketId, ProtocolVersion, QoS, SubscriptionId};

/// The flags of a PUBLISH and its Packet Identifier: what is patched per subscriber.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublishHeader {
    /// DUP; must be false with QoS 0.
    pub dup: bool,
    /// QoS.
    pub qos: QoS,
    /// RETAIN.
    pub retain: bool,
    /// Packet Identifier: `Some` exactly when QoS is 1 or 2.
    pub packet_id: Option<PacketId>,
}

impl PublishHeader {
    /// The first byte of the packet.
    #[must_use]
    pub const fn first_byte(&self) -> u8 {
        PacketType::Publish.first_byte()
            | (self.dup as u8) << 3
            | self.qos.as_u8() << 1
            | self.retain as u8
    }
}

/// A Topic Alias of one Network Connection, for the topic of a PUBLISH.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopicAlias {
    /// From 1 to the receiver's Topic Alias Maximum.
    pub value: u16,
    /// Whether the receiver has been told what it stands for: the Topic Name is then left out.
    pub is_known: bool,
}

/// What a PUBLISH carries for one 5.0 subscriber alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReceiverProperties<'a> {
    /// Topic Alias.
    pub topic_alias: Option<TopicAlias>,
    /// Subscription Identifiers.
    pub subscription_ids: &'a [SubscriptionId],
}

impl ReceiverProperties<'_> {
    /// Their size in bytes.
    fn bytes(&self) -> usize {
        let ids = self.subscription_ids.iter();
        let ids_bytes: usize = ids.map(|id| 1 + length_bytes(id.get() as usize)).sum();
        ids_bytes + if self.topic_alias.is_some() { 3 } else { 0 }
    }

    fn write(&self, writer: &mut Writer<'_>) {
        writer.u16_property(PropertyId::TopicAlias, self.topic_alias.map(|alias| alias.value));
        SubscriptionIds::from_slice(self.subscription_ids).write(writer);
    }
}

/// Room for a fixed header: the first byte and a four-byte remaining length.
const HEADER_BYTES_MAX: usize = 5;

/// An encoded PUBLISH that serves every subscriber of one protocol version, and of QoS 0 or of
/// QoS 1 and 2 alike. Reusable: [`Self::encode`] keeps the allocation.
#[derive(Debug, Clone, Default)]
pub struct PublishFrame {
    /// Free room, then the frame: the header is put right before the body.
    bytes: Vec<u8>,
    start: usize,
    /// Where the Packet Identifier stands in the frame; 0 for none.
    packet_id_at: usize,
    /// Where the Property Length stands in `bytes`; 0 in 3.1.1.
    property_length_at: usize,
    /// Where the properties stand in `bytes`, and how long they are.
    properties_at: usize,
    properties_bytes: usize,
}

impl PublishFrame {
    /// An empty frame, to be filled by [`Self::encode`].
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Encodes a message into this frame, in place of what was there.
    ///
    /// Room for a Packet Identifier is made when `publish.qos` is 1 or 2. Its value, DUP and
    /// RETAIN do not matter here. Topic Alias and Subscription Identifiers are taken as given:
    /// leave them out when they differ between the subscribers.
    ///
    /// # Errors
    /// [`EncodeError`]; the frame is then empty and must not be appended.
    pub fn encode(
        &mut self,
        publish: &Publish<'_>,
        version: ProtocolVersion,
    ) -> Result<(), EncodeError> {
        let result = self.try_encode(publish, version);
        if result.is_err() {
            self.bytes.clear();
            self.start = 0;
        }
        result
    }

    fn try_encode(
        &mut self,
        publish: &Publish<'_>,
        version: ProtocolVersion,
    ) -> Result<(), EncodeError> {
        self.bytes.clear();
        self.bytes.extend_from_slice(&[0; HEADER_BYTES_MAX]);
        let mut writer = Writer::new(&mut self.bytes);
        writer.text("publish topic name", publish.topic);
        let after_topic = writer.position();
        let has_packet_id = publish.qos != QoS::AtMostOnce;
        if has_packet_id {
            writer.u16(0);
        }
        (self.property_length_at, self.properties_at, self.properties_bytes) = (0, 0, 0);
        if version.is_v5() {
            self.property_length_at = writer.position();
            let block = writer.begin_block();
            publish.properties.write(&mut writer);
            self.properties_bytes = writer.end_block(block);
            self.properties_at = writer.position() - self.properties_bytes;
        }
        writer.raw(publish.payload);
        let remaining_length = writer.position() - HEADER_BYTES_MAX;
        if remaining_length > VARIABLE_BYTE_INTEGER_MAX {
            writer.fail(EncodeError::PacketTooLarge { bytes: remaining_length });
        }
        writer.finish()?;
        let (length, length_bytes) = variable_byte_integer(remaining_length);
        self.start = HEADER_BYTES_MAX - length_bytes - 1;
        self.bytes[self.start] = publish.header().first_byte();
        self.bytes[self.start + 1..HEADER_BYTES_MAX].copy_from_slice(&length[..length_bytes]);
        self.packet_id_at = if has_packet_id { after_topic - self.start } else { 0 };
        Ok(())
    }

    /// The frame with Packet Identifier 0 and the first byte of the message it was made of.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or_default()
    }

    /// Size of the packet in bytes, to compare with a client's Maximum Packet Size.
    #[must_use]
    pub fn packet_bytes(&self) -> usize {
        self.as_bytes().len()
    }

    /// Whether the frame serves QoS 1 and 2; otherwise it serves QoS 0.
    #[must_use]
    pub const fn has_packet_id(&self) -> bool {
        self.packet_id_at != 0
    }

    /// Appends the packet for one subscriber: one copy and at most three patched bytes.
    ///
    /// `header.qos` must suit [`Self::has_packet_id`].
    #[inline]
    pub fn append_to(&self, header: PublishHeader, out: &mut Vec<u8>) {
        debug_assert_eq!(self.has_packet_id(), header.qos != QoS::AtMostOnce);
        debug_assert_eq!(self.has_packet_id(), header.packet_id.is_some());
        let start = out.len();
        out.extend_from_slice(self.as_bytes());
        if let Some(first) = out.get_mut(start) {
            *first = header.first_byte();
        }
        self.patch_packet_id(header, &mut out[start..], self.packet_id_at);
    }

    /// As [`Self::append_to`] for a 5.0 subscriber, with properties of its own.
    ///
    /// # Errors
    /// [`EncodeError::PacketTooLarge`]; `out` is then as before.
    pub fn append_with(
        &self,
        header: PublishHeader,
        own: &ReceiverProperties<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        debug_assert!(self.property_length_at != 0, "mqtt 3.1.1 has no properties");
        let own_bytes = own.bytes();
        let properties_bytes = self.properties_bytes + own_bytes;
        let packet_id_bytes = if self.has_packet_id() { 2 } else { 0 };
        let after_topic = self.property_length_at.saturating_sub(packet_id_bytes);
        let topic = match own.topic_alias {
            Some(TopicAlias { is_known: true, .. }) => &[0, 0],
            _ => self.bytes.get(HEADER_BYTES_MAX..after_topic).unwrap_or_default(),
        };
        let rest = self.bytes.get(self.properties_at..).unwrap_or_default();
        let body_bytes = topic.len() + packet_id_bytes;
        let remaining_length = body_bytes + length_bytes(properties_bytes) + own_bytes + rest.len();
        if remaining_length > VARIABLE_BYTE_INTEGER_MAX {
            return Err(EncodeError::PacketTooLarge { bytes: remaining_length });
        }
        let mut writer = Writer::new(out);
        writer.u8(header.first_byte());
        writer.variable_byte_integer(remaining_length);
        writer.raw(topic);
        if self.has_packet_id() {
            writer.u16(header.packet_id.map_or(0, PacketId::get));
        }
        writer.variable_byte_integer(properties_bytes);
        own.write(&mut writer);
        writer.raw(rest);
        writer.finish()
    }

    #[inline]
    fn patch_packet_id(&self, header: PublishHeader, frame: &mut [u8], at: usize) {
        if let (true, Some(packet_id)) = (self.has_packet_id(), header.packet_id)
            && let Some(bytes) = frame.get_mut(at..at + 2)
        {
            bytes.copy_from_slice(&packet_id.get().to_be_bytes());
        }
    }
}

const fn length_bytes(value: usize) -> usize {
    variable_byte_integer(value).1
}
