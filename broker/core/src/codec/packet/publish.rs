//! PUBLISH. Spec: MQTT 5.0 section 3.3, MQTT 3.1.1 section 3.3. Pure.

use super::{Context, read_packet_id};
use crate::codec::primitive::{Reader, Writer};
use crate::codec::property::{Allowed, PropertyReader};
use crate::codec::{
    DecodeError, DecodeLimits, EncodeError, PacketType, PropertyId, PublishHeader, Sender,
    SubscriptionIds, UserProperties,
};
use crate::topic::TopicName;
use crate::types::{PacketId, ProtocolVersion, QoS};

/// PUBLISH: an Application Message on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Publish<'a> {
    /// DUP; never set with QoS 0.
    pub dup: bool,
    /// QoS.
    pub qos: QoS,
    /// RETAIN.
    pub retain: bool,
    /// Topic Name, valid; empty only when `properties.topic_alias` stands for it.
    pub topic: &'a str,
    /// Packet Identifier: `Some` exactly when QoS is 1 or 2.
    pub packet_id: Option<PacketId>,
    /// Properties; defaults in 3.1.1.
    pub properties: PublishProperties<'a>,
    /// Payload; may be empty.
    pub payload: &'a [u8],
}

/// Properties of PUBLISH. Spec: MQTT 5.0 section 3.3.2.3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PublishProperties<'a> {
    /// Payload Format Indicator: true for UTF-8 text; absent means unspecified bytes.
    pub payload_is_utf8: Option<bool>,
    /// Message Expiry Interval in seconds.
    pub message_expiry_seconds: Option<u32>,
    /// Topic Alias, at least 1; whether it is within the Topic Alias Maximum is the caller's check.
    pub topic_alias: Option<u16>,
    /// Response Topic, a valid Topic Name.
    pub response_topic: Option<&'a str>,
    /// Correlation Data.
    pub correlation_data: Option<&'a [u8]>,
    /// User Properties, in their order.
    pub user_properties: UserProperties<'a>,
    /// Subscription Identifiers; only from a server [MQTT-3.3.4-6].
    pub subscription_ids: SubscriptionIds<'a>,
    /// Content Type.
    pub content_type: Option<&'a str>,
}

const ALLOWED: Allowed = Allowed::new(&[
    PropertyId::PayloadFormatIndicator,
    PropertyId::MessageExpiryInterval,
    PropertyId::TopicAlias,
    PropertyId::ResponseTopic,
    PropertyId::CorrelationData,
    PropertyId::SubscriptionIdentifier,
    PropertyId::ContentType,
])
.repeatable(PropertyId::SubscriptionIdentifier);

impl<'a> Publish<'a> {
    #[inline]
    pub(super) fn decode(
        reader: &mut Reader<'a>,
        flags: u8,
        context: Context<'_>,
    ) -> Result<Self, DecodeError> {
        let (dup, retain) = (flags & 0b1000 != 0, flags & 1 != 0);
        // [MQTT-3.3.1-4]
        let qos = QoS::from_u8(flags >> 1 & 0b11)
            .ok_or(DecodeError::FieldMalformed { field: "publish qos", value: 3 })?;
        if dup && qos == QoS::AtMostOnce {
            // [MQTT-3.3.1-2]
            return Err(DecodeError::Inconsistent { problem: "dup is set with qos 0" });
        }
        let topic = reader.text_with_null("publish topic name")?;
        if !topic.is_empty() {
            check_topic(topic, "publish topic name", context.limits)?;
        }
        let packet_id = match qos {
            QoS::AtMostOnce => None,
            _ => Some(read_packet_id(reader, PacketType::Publish)?),
        };
        let properties = match context.version {
            ProtocolVersion::V5 => PublishProperties::decode(reader, context.limits)?,
            _ => PublishProperties::default(),
        };
        if topic.is_empty() && properties.topic_alias.is_none() {
            return Err(DecodeError::TopicMissing);
        }
        let payload = reader.take(reader.remaining(), "payload")?;
        if context.limits.payload_format_checked && properties.payload_is_utf8 == Some(true) {
            check_payload(payload, "publish payload")?;
        }
        Ok(Self { dup, qos, retain, topic, packet_id, properties, payload })
    }

    /// Appends the packet. To send one message to many subscribers, see
    /// [`crate::codec::PublishFrame`].
    ///
    /// # Errors
    /// [`EncodeError`]; `out` is then as before.
    pub fn encode(&self, version: ProtocolVersion, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        if self.qos != QoS::AtMostOnce && self.packet_id.is_none() {
            return Err(EncodeError::PacketIdMissing);
        }
        let mut writer = Writer::new(out);
        writer.u8(self.header().first_byte());
        let body = writer.begin_block_of(self.topic.len() + self.payload.len() + 5);
        writer.text("publish topic name", self.topic);
        if let (Some(packet_id), true) = (self.packet_id, self.qos != QoS::AtMostOnce) {
            writer.u16(packet_id.get());
        }
        if version.is_v5() {
            let block = writer.begin_block();
            self.properties.write(&mut writer);
            writer.end_block(block);
        }
        writer.raw(self.payload);
        writer.end_block(body);
        writer.finish()
    }

    /// The part that differs between the subscribers of one message.
    #[must_use]
    pub const fn header(&self) -> PublishHeader {
        PublishHeader {
            dup: self.dup,
            qos: self.qos,
            retain: self.retain,
            packet_id: self.packet_id,
        }
    }
}

impl<'a> PublishProperties<'a> {
    #[inline]
    fn decode(reader: &mut Reader<'a>, limits: &DecodeLimits) -> Result<Self, DecodeError> {
        if reader.rest().first() == Some(&0) {
            reader.u8("property length")?;
            return Ok(Self::default());
        }
        Self::decode_some(reader, limits)
    }

    #[inline(never)]
    fn decode_some(reader: &mut Reader<'a>, limits: &DecodeLimits) -> Result<Self, DecodeError> {
        let mut all = Self::default();
        let mut reader = PropertyReader::new(reader, PacketType::Publish, ALLOWED)?;
        while let Some(id) = reader.next()? {
            match id {
                PropertyId::PayloadFormatIndicator => all.payload_is_utf8 = reader.bool(id)?,
                PropertyId::MessageExpiryInterval => all.message_expiry_seconds = reader.u32(id)?,
                PropertyId::TopicAlias => {
                    let alias = reader.u16(id)?.filter(|&alias| alias != 0);
                    all.topic_alias = Some(alias.ok_or(DecodeError::TopicAliasZero)?);
                }
                PropertyId::ResponseTopic => all.response_topic = Some(reader.topic(id, limits)?),
                PropertyId::CorrelationData => all.correlation_data = reader.binary(id)?,
                _ => all.content_type = reader.text(id)?,
            }
        }
        all.user_properties = reader.user_properties();
        all.subscription_ids = reader.subscription_ids();
        if limits.sender == Sender::Client && !all.subscription_ids.is_empty() {
            // [MQTT-3.3.4-6]
            let problem = "a client must not publish with a subscription identifier";
            return Err(DecodeError::NotAllowed { problem });
        }
        Ok(all)
    }

    /// Everything that goes into the property block.
    pub(in crate::codec) fn write(&self, writer: &mut Writer<'_>) {
        writer.bool_property(PropertyId::PayloadFormatIndicator, self.payload_is_utf8);
        writer.u32_property(PropertyId::MessageExpiryInterval, self.message_expiry_seconds);
        writer.u16_property(PropertyId::TopicAlias, self.topic_alias);
        writer.text_property(PropertyId::ResponseTopic, self.response_topic);
        writer.binary_property(PropertyId::CorrelationData, self.correlation_data);
        self.user_properties.write(writer);
        self.subscription_ids.write(writer);
        writer.text_property(PropertyId::ContentType, self.content_type);
    }
}

pub(super) fn check_topic(
    topic: &str,
    field: &'static str,
    limits: &DecodeLimits,
) -> Result<(), DecodeError> {
    match TopicName::parse(topic, limits.topic_levels_max) {
        Ok(_) => Ok(()),
        Err(source) => Err(DecodeError::Topic { field, source }),
    }
}

pub(super) fn check_payload(payload: &[u8], field: &'static str) -> Result<(), DecodeError> {
    std::str::from_utf8(payload).map_err(|_| DecodeError::PayloadFormat { field })?;
    Ok(())
}

impl<'a> PropertyReader<'a> {
    /// The value of a property that is a Topic Name.
    pub(super) fn topic(
        &mut self,
        id: PropertyId,
        limits: &DecodeLimits,
    ) -> Result<&'a str, DecodeError> {
        let topic = self.text(id)?.unwrap_or_default();
        check_topic(topic, id.name(), limits)?;
        Ok(topic)
    }
}
