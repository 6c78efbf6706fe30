//! CONNACK. Spec: MQTT 5.0 section 3.2, MQTT 3.1.1 section 3.2. Pure.

use super::Context;
use super::publish_ack::read_reason_code;
use crate::codec::primitive::{Reader, Writer};
use crate::codec::property::{Allowed, PropertyReader};
use crate::codec::{
    DecodeError, EncodeError, PacketType, PropertyId, ReasonCode, Sensitive, UserProperties,
};
use crate::types::{ProtocolVersion, QoS};

/// CONNACK: the answer to CONNECT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ConnAck<'a> {
    /// Session Present; false whenever the reason code is a failure, and left out in 3.1.
    pub session_present: bool,
    /// Connect Reason Code; translated from and to the return codes 0 to 5 in 3.1.1.
    pub reason_code: ReasonCode,
    /// Properties; left out in 3.1.1.
    pub properties: ConnAckProperties<'a>,
}

/// Properties of CONNACK. Spec: MQTT 5.0 section 3.2.2.3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ConnAckProperties<'a> {
    /// Session Expiry Interval in seconds, when it differs from the client's wish.
    pub session_expiry_seconds: Option<u32>,
    /// Receive Maximum, at least 1; absent means 65,535.
    pub receive_maximum: Option<u16>,
    /// Maximum QoS, 0 or 1; absent means 2.
    pub maximum_qos: Option<QoS>,
    /// Retain Available; absent means true.
    pub retain_available: Option<bool>,
    /// Maximum Packet Size in bytes, at least 1; absent means no limit.
    pub packet_bytes_max: Option<u32>,
    /// Assigned Client Identifier.
    pub assigned_client_id: Option<&'a str>,
    /// Topic Alias Maximum; absent means 0.
    pub topic_alias_maximum: Option<u16>,
    /// Reason String.
    pub reason_string: Option<&'a str>,
    /// User Properties.
    pub user_properties: UserProperties<'a>,
    /// Wildcard Subscription Available; absent means true.
    pub wildcard_subscription_available: Option<bool>,
    /// Subscription Identifiers Available; absent means true.
    pub subscription_ids_available: Option<bool>,
    /// Shared Subscription Available; absent means true.
    pub shared_subscription_available: Option<bool>,
    /// Server Keep Alive in seconds, which replaces the client's.
    pub server_keep_alive_seconds: Option<u16>,
    /// Response Information.
    pub response_information: Option<&'a str>,
    /// Server Reference.
    pub server_reference: Option<&'a str>,
    /// Authentication Method.
    pub authentication_method: Option<&'a str>,
    /// Authentication Data.
    pub authentication_data: Option<Sensitive<'a>>,
    /// Order in which they are written; not part of the packet's meaning.
    pub order: PropertyOrder,
}

/// Order in which the properties of CONNACK are written: any is right, and some clients' tests
/// compare bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PropertyOrder {
    /// By identifier, as the specification lists them.
    #[default]
    Listed,
    /// As Mosquitto does.
    Mosquitto,
}

const ALLOWED: Allowed = Allowed::new(&[
    PropertyId::SessionExpiryInterval,
    PropertyId::ReceiveMaximum,
    PropertyId::MaximumQoS,
    PropertyId::RetainAvailable,
    PropertyId::MaximumPacketSize,
    PropertyId::AssignedClientIdentifier,
    PropertyId::TopicAliasMaximum,
    PropertyId::ReasonString,
    PropertyId::WildcardSubscriptionAvailable,
    PropertyId::SubscriptionIdentifiersAvailable,
    PropertyId::SharedSubscriptionAvailable,
    PropertyId::ServerKeepAlive,
    PropertyId::ResponseInformation,
    PropertyId::ServerReference,
    PropertyId::AuthenticationMethod,
    PropertyId::AuthenticationData,
]);

impl<'a> ConnAck<'a> {
    /// A refusal without properties.
    #[must_use]
    pub fn refusal(reason_code: ReasonCode) -> Self {
        Self { reason_code, ..Self::default() }
    }

    pub(super) fn decode(
        reader: &mut Reader<'a>,
        context: Context<'_>,
    ) -> Result<Self, DecodeError> {
        let packet = context.packet;
        let flags = reader.u8("connect acknowledge flags")?;
        if flags > 1 {
            return Err(DecodeError::ReservedBits { field: "connect acknowledge flags" });
        }
        // In 3.1 the byte is reserved.
        let session_present = flags == 1 && !context.version.is_v31();
        let (reason_code, properties) = match context.version {
            ProtocolVersion::V5 => {
                let reason_code = read_reason_code(reader, packet)?;
                (reason_code, ConnAckProperties::decode(reader)?)
            }
            _ => {
                let value = reader.u8("connect return code")?;
                let reason_code = ReasonCode::from_connect_return_code(value)
                    .ok_or(DecodeError::ReasonCodeNotAllowed { packet, value })?;
                (reason_code, ConnAckProperties::default())
            }
        };
        if session_present && reason_code != ReasonCode::Success {
            let problem = "session present is set in a refusal";
            return Err(DecodeError::Inconsistent { problem });
        }
        Ok(Self { session_present, reason_code, properties })
    }

    /// Appends the packet.
    ///
    /// # Errors
    /// [`EncodeError`]; `out` is then as before.
    pub fn encode(&self, version: ProtocolVersion, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let first_byte = PacketType::ConnAck.first_byte();
        // A reserved byte in 3.1.
        let flags = u8::from(self.session_present && !version.is_v31());
        if !version.is_v5() {
            let return_code = self.reason_code.as_connect_return_code();
            out.extend_from_slice(&[first_byte, 2, flags, return_code]);
            return Ok(());
        }
        let mut writer = Writer::new(out);
        writer.u8(first_byte);
        let body = writer.begin_block();
        writer.raw(&[flags, self.reason_code.as_u8()]);
        self.properties.write(&mut writer);
        writer.end_block(body);
        writer.finish()
    }
}

impl<'a> ConnAckProperties<'a> {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let mut all = Self::default();
        let mut reader = PropertyReader::new(reader, PacketType::ConnAck, ALLOWED)?;
        while let Some(id) = reader.next()? {
            match id {
                PropertyId::SessionExpiryInterval => all.session_expiry_seconds = reader.u32(id)?,
                PropertyId::ReceiveMaximum => all.receive_maximum = reader.u16_nonzero(id)?,
                PropertyId::MaximumQoS => {
                    let is_one = reader.bool(id)?;
                    all.maximum_qos =
                        is_one.map(|one| QoS::from_u8(one.into()).unwrap_or_default());
                }
                PropertyId::RetainAvailable => all.retain_available = reader.bool(id)?,
                PropertyId::MaximumPacketSize => all.packet_bytes_max = reader.u32_nonzero(id)?,
                PropertyId::AssignedClientIdentifier => all.assigned_client_id = reader.text(id)?,
                PropertyId::TopicAliasMaximum => all.topic_alias_maximum = reader.u16(id)?,
                PropertyId::ReasonString => all.reason_string = reader.text(id)?,
                PropertyId::WildcardSubscriptionAvailable => {
                    all.wildcard_subscription_available = reader.bool(id)?;
                }
                PropertyId::SubscriptionIdentifiersAvailable => {
                    all.subscription_ids_available = reader.bool(id)?;
                }
                PropertyId::SharedSubscriptionAvailable => {
                    all.shared_subscription_available = reader.bool(id)?;
                }
                PropertyId::ServerKeepAlive => all.server_keep_alive_seconds = reader.u16(id)?,
                PropertyId::ResponseInformation => all.response_information = reader.text(id)?,
                PropertyId::ServerReference => all.server_reference = reader.text(id)?,
                PropertyId::AuthenticationMethod => all.authentication_method = reader.text(id)?,
                _ => all.authentication_data = reader.binary(id)?.map(Sensitive),
            }
        }
        all.user_properties = reader.user_properties();
        Ok(all)
    }

    /// The same as Mosquitto says it: in its order, and without what it leaves out.
    #[must_use]
    pub fn as_mosquitto(self) -> Self {
        Self {
            order: PropertyOrder::Mosquitto,
            topic_alias_maximum: self.topic_alias_maximum.filter(|&maximum| maximum > 0),
            receive_maximum: self.receive_maximum.filter(|&maximum| maximum < u16::MAX),
            shared_subscription_available: None,
            ..self
        }
    }

    fn write(&self, writer: &mut Writer<'_>) {
        if self.order == PropertyOrder::Mosquitto {
            return self.write_as_mosquitto(writer);
        }
        let block = writer.begin_block();
        writer.u32_property(PropertyId::SessionExpiryInterval, self.session_expiry_seconds);
        writer.u16_property(PropertyId::ReceiveMaximum, self.receive_maximum);
        // [MQTT-3.2.2-9] allows 0 and 1: QoS 2 is said by leaving it out.
        let maximum_qos = self.maximum_qos.filter(|&qos| qos != QoS::ExactlyOnce);
        let is_one = maximum_qos.map(|qos| qos == QoS::AtLeastOnce);
        writer.bool_property(PropertyId::MaximumQoS, is_one);
        writer.bool_property(PropertyId::RetainAvailable, self.retain_available);
        writer.u32_property(PropertyId::MaximumPacketSize, self.packet_bytes_max);
        writer.text_property(PropertyId::AssignedClientIdentifier, self.assigned_client_id);
        writer.u16_property(PropertyId::TopicAliasMaximum, self.topic_alias_maximum);
        writer.text_property(PropertyId::ReasonString, self.reason_string);
        self.user_properties.write(writer);
        let wildcard = self.wildcard_subscription_available;
        writer.bool_property(PropertyId::WildcardSubscriptionAvailable, wildcard);
        let ids = self.subscription_ids_available;
        writer.bool_property(PropertyId::SubscriptionIdentifiersAvailable, ids);
        let shared = self.shared_subscription_available;
        writer.bool_property(PropertyId::SharedSubscriptionAvailable, shared);
        writer.u16_property(PropertyId::ServerKeepAlive, self.server_keep_alive_seconds);
        writer.text_property(PropertyId::ResponseInformation, self.response_information);
        writer.text_property(PropertyId::ServerReference, self.server_reference);
        writer.text_property(PropertyId::AuthenticationMethod, self.authentication_method);
        let data = self.authentication_data.map(|data| data.0);
        writer.binary_property(PropertyId::AuthenticationData, data);
        writer.end_block(block);
    }

    /// What Mosquitto sends, in its order; behind it what it never does.
    fn write_as_mosquitto(&self, writer: &mut Writer<'_>) {
        let block = writer.begin_block();
        writer.u16_property(PropertyId::TopicAliasMaximum, self.topic_alias_maximum);
        writer.u16_property(PropertyId::ServerKeepAlive, self.server_keep_alive_seconds);
        writer.text_property(PropertyId::AssignedClientIdentifier, self.assigned_client_id);
        writer.text_property(PropertyId::AuthenticationMethod, self.authentication_method);
        let data = self.authentication_data.map(|data| data.0);
        writer.binary_property(PropertyId::AuthenticationData, data);
        writer.bool_property(PropertyId::RetainAvailable, self.retain_available);
        writer.u32_property(PropertyId::MaximumPacketSize, self.packet_bytes_max);
        writer.u16_property(PropertyId::ReceiveMaximum, self.receive_maximum);
        let maximum_qos = self.maximum_qos.filter(|&qos| qos != QoS::ExactlyOnce);
        let is_one = maximum_qos.map(|qos| qos == QoS::AtLeastOnce);
        writer.bool_property(PropertyId::MaximumQoS, is_one);
        writer.u32_property(PropertyId::SessionExpiryInterval, self.session_expiry_seconds);
        let wildcard = self.wildcard_subscription_available;
        writer.bool_property(PropertyId::WildcardSubscriptionAvailable, wildcard);
        let ids = self.subscription_ids_available;
        writer.bool_property(PropertyId::SubscriptionIdentifiersAvailable, ids);
        let shared = self.shared_subscription_available;
        writer.bool_property(PropertyId::SharedSubscriptionAvailable, shared);
        writer.text_property(PropertyId::ReasonString, self.reason_string);
        self.user_properties.write(writer);
        writer.text_property(PropertyId::ResponseInformation, self.response_information);
        writer.text_property(PropertyId::ServerReference, self.server_reference);
        writer.end_block(block);
    }
}
