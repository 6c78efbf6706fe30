//! CONNECT. Spec: MQTT 5.0 section 3.1, MQTT 3.1.1 section 3.1. Pure.

use super::publish::{check_payload, check_topic};
use crate::codec::primitive::{Reader, Writer};
use crate::codec::property::{Allowed, PropertyReader};
use crate::codec::{
    DecodeError, DecodeLimits, EncodeError, PacketType, PropertyId, Sensitive, UserProperties,
};
use crate::types::{ProtocolVersion, QoS};

/// CONNECT: the first packet of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connect<'a> {
    /// The version that the client speaks, which all further packets follow.
    pub version: ProtocolVersion,
    /// Clean Start; Clean Session in 3.1.1, where a `true` also means that the session ends with
    /// the connection.
    pub clean_start: bool,
    /// Keep Alive in seconds; 0 turns it off.
    pub keep_alive_seconds: u16,
    /// Properties; defaults in 3.1.1.
    pub properties: ConnectProperties<'a>,
    /// Client Identifier; may be empty. (3.1.1 refuses an empty one without Clean Session with
    /// return code 2: the caller's decision, [MQTT-3.1.3-8].)
    pub client_id: &'a str,
    /// Will Message.
    pub will: Option<Will<'a>>,
    /// User Name.
    pub user_name: Option<&'a str>,
    /// Password.
    pub password: Option<Sensitive<'a>>,
}

/// Properties of CONNECT. Spec: MQTT 5.0 section 3.1.2.11.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ConnectProperties<'a> {
    /// Session Expiry Interval in seconds; absent means 0, `u32::MAX` never.
    pub session_expiry_seconds: Option<u32>,
    /// Receive Maximum, at least 1; absent means 65,535.
    pub receive_maximum: Option<u16>,
    /// Maximum Packet Size in bytes, at least 1; absent means no limit.
    pub packet_bytes_max: Option<u32>,
    /// Topic Alias Maximum; absent means 0.
    pub topic_alias_maximum: Option<u16>,
    /// Request Response Information; absent means false.
    pub request_response_information: Option<bool>,
    /// Request Problem Information; absent means true.
    pub request_problem_information: Option<bool>,
    /// User Properties.
    pub user_properties: UserProperties<'a>,
    /// Authentication Method.
    pub authentication_method: Option<&'a str>,
    /// Authentication Data; only with a method.
    pub authentication_data: Option<Sensitive<'a>>,
}

/// The Will Message of a CONNECT. Spec: MQTT 5.0 section 3.1.3.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Will<'a> {
    /// Will Topic, a valid Topic Name.
    pub topic: &'a str,
    /// Will Payload.
    pub payload: &'a [u8],
    /// Will QoS.
    pub qos: QoS,
    /// Will Retain.
    pub retain: bool,
    /// Will Properties; defaults in 3.1.1.
    pub properties: WillProperties<'a>,
}

/// Will Properties. Spec: MQTT 5.0 section 3.1.3.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WillProperties<'a> {
    /// Will Delay Interval in seconds; absent means 0.
    pub delay_seconds: Option<u32>,
    /// Payload Format Indicator: true for UTF-8 text; absent means unspecified bytes.
    pub payload_is_utf8: Option<bool>,
    /// Message Expiry Interval in seconds.
    pub message_expiry_seconds: Option<u32>,
    /// Content Type.
    pub content_type: Option<&'a str>,
    /// Response Topic, a valid Topic Name.
    pub response_topic: Option<&'a str>,
    /// Correlation Data.
    pub correlation_data: Option<&'a [u8]>,
    /// User Properties.
    pub user_properties: UserProperties<'a>,
}

const PROTOCOL_NAME: &[u8] = b"MQTT";
/// The Protocol Name of MQTT 3.1, protocol level 3.
const PROTOCOL_NAME_V31: &[u8] = b"MQIsdp";

const ALLOWED: Allowed = Allowed::new(&[
    PropertyId::SessionExpiryInterval,
    PropertyId::ReceiveMaximum,
    PropertyId::MaximumPacketSize,
    PropertyId::TopicAliasMaximum,
    PropertyId::RequestResponseInformation,
    PropertyId::RequestProblemInformation,
    PropertyId::AuthenticationMethod,
    PropertyId::AuthenticationData,
]);

const WILL_ALLOWED: Allowed = Allowed::new(&[
    PropertyId::WillDelayInterval,
    PropertyId::PayloadFormatIndicator,
    PropertyId::MessageExpiryInterval,
    PropertyId::ContentType,
    PropertyId::ResponseTopic,
    PropertyId::CorrelationData,
]);

/// Connect Flags. Spec: MQTT 5.0 section 3.1.2.3.
#[derive(Clone, Copy)]
struct ConnectFlags(u8);

impl ConnectFlags {
    const CLEAN_START: u8 = 1 << 1;
    const WILL: u8 = 1 << 2;
    const WILL_QOS_SHIFT: u8 = 3;
    const WILL_RETAIN: u8 = 1 << 5;
    const PASSWORD: u8 = 1 << 6;
    const USER_NAME: u8 = 1 << 7;

    const fn has(self, flag: u8) -> bool {
        self.0 & flag != 0
    }

    const fn will_qos_bits(self) -> u8 {
        self.0 >> Self::WILL_QOS_SHIFT & 0b11
    }

    fn read(reader: &mut Reader<'_>, version: ProtocolVersion) -> Result<Self, DecodeError> {
        let flags = Self(reader.u8("connect flags")?);
        if flags.has(1) {
            // [MQTT-3.1.2-3]
            return Err(DecodeError::ReservedBits { field: "connect flags" });
        }
        let problem = if flags.will_qos_bits() == 3 {
            // [MQTT-3.1.2-12]
            return Err(DecodeError::FieldMalformed { field: "will qos", value: 3 });
        } else if !flags.has(Self::WILL) && flags.will_qos_bits() != 0 {
            // [MQTT-3.1.2-11]
            "will qos is set without a will"
        } else if !flags.has(Self::WILL) && flags.has(Self::WILL_RETAIN) {
            // [MQTT-3.1.2-13]
            "will retain is set without a will"
        } else if !version.is_v5() && flags.has(Self::PASSWORD) && !flags.has(Self::USER_NAME) {
            // MQTT 3.1.1 [MQTT-3.1.2-22]; 5.0 allows it.
            "a password needs a user name in mqtt 3.1.1"
        } else {
            return Ok(flags);
        };
        Err(DecodeError::Inconsistent { problem })
    }
}

/// The version of a CONNECT that may be malformed further on, to choose the form of its refusal.
///
/// `None` when the protocol name or level cannot be read or the version is not supported.
#[must_use]
pub fn connect_version(buf: &[u8]) -> Option<ProtocolVersion> {
    let mut reader = Reader::new(buf);
    let first_byte = reader.u8("first byte").ok()?;
    reader.variable_byte_integer("remaining length").ok()?;
    let version = read_version(&mut reader).ok()?;
    (first_byte == PacketType::Connect.first_byte()).then_some(version)
}

fn read_version(reader: &mut Reader<'_>) -> Result<ProtocolVersion, DecodeError> {
    let name = reader.binary("protocol name")?;
    if name != PROTOCOL_NAME && name != PROTOCOL_NAME_V31 {
        return Err(DecodeError::ProtocolName);
    }
    match reader.u8("protocol version")? {
        3 if name == PROTOCOL_NAME_V31 => Ok(ProtocolVersion::V31),
        4 if name == PROTOCOL_NAME => Ok(ProtocolVersion::V311),
        5 if name == PROTOCOL_NAME => Ok(ProtocolVersion::V5),
        level => Err(DecodeError::UnsupportedProtocolVersion { level }),
    }
}

impl<'a> Connect<'a> {
    pub(super) fn decode(
        reader: &mut Reader<'a>,
        limits: &DecodeLimits,
    ) -> Result<Self, DecodeError> {
        let version = read_version(reader)?;
        let flags = ConnectFlags::read(reader, version)?;
        let keep_alive_seconds = reader.u16("keep alive")?;
        let properties = match version {
            ProtocolVersion::V5 => ConnectProperties::decode(reader)?,
            _ => ConnectProperties::default(),
        };
        let client_id = reader.text("client identifier")?;
        let will = match flags.has(ConnectFlags::WILL) {
            true => Some(Will::decode(reader, flags, version, limits)?),
            false => None,
        };
        let user_name = match flags.has(ConnectFlags::USER_NAME) {
            true => Some(reader.text("user name")?),
            false => None,
        };
        let password = match flags.has(ConnectFlags::PASSWORD) {
            true => Some(Sensitive(reader.binary("password")?)),
            false => None,
        };
        let clean_start = flags.has(ConnectFlags::CLEAN_START);
        Ok(Self {
            version,
            clean_start,
            keep_alive_seconds,
            properties,
            client_id,
            will,
            user_name,
            password,
        })
    }

    /// Appends the packet in its own version.
    ///
    /// # Errors
    /// [`EncodeError`]; `out` is then as before.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let mut writer = Writer::new(out);
        writer.u8(PacketType::Connect.first_byte());
        let body = writer.begin_block();
        let name = if self.version.is_v31() { PROTOCOL_NAME_V31 } else { PROTOCOL_NAME };
        writer.binary("protocol name", name);
        writer.u8(self.version.level());
        writer.u8(self.flags().0);
        writer.u16(self.keep_alive_seconds);
        if self.version.is_v5() {
            self.properties.write(&mut writer);
        }
        writer.text("client identifier", self.client_id);
        if let Some(will) = &self.will {
            if self.version.is_v5() {
                will.properties.write(&mut writer);
            }
            writer.text("will topic", will.topic);
            writer.binary("will payload", will.payload);
        }
        if let Some(user_name) = self.user_name {
            writer.text("user name", user_name);
        }
        if let Some(password) = self.password {
            writer.binary("password", password.0);
        }
        writer.end_block(body);
        writer.finish()
    }

    fn flags(&self) -> ConnectFlags {
        let mut flags = 0;
        if self.clean_start {
            flags |= ConnectFlags::CLEAN_START;
        }
        if let Some(will) = &self.will {
            flags |= ConnectFlags::WILL | will.qos.as_u8() << ConnectFlags::WILL_QOS_SHIFT;
            if will.retain {
                flags |= ConnectFlags::WILL_RETAIN;
            }
        }
        if self.password.is_some() {
            flags |= ConnectFlags::PASSWORD;
        }
        if self.user_name.is_some() {
            flags |= ConnectFlags::USER_NAME;
        }
        ConnectFlags(flags)
    }
}

impl<'a> ConnectProperties<'a> {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let mut all = Self::default();
        let mut reader = PropertyReader::new(reader, PacketType::Connect, ALLOWED)?;
        while let Some(id) = reader.next()? {
            match id {
                PropertyId::SessionExpiryInterval => all.session_expiry_seconds = reader.u32(id)?,
                PropertyId::ReceiveMaximum => all.receive_maximum = reader.u16_nonzero(id)?,
                PropertyId::MaximumPacketSize => all.packet_bytes_max = reader.u32_nonzero(id)?,
                PropertyId::TopicAliasMaximum => all.topic_alias_maximum = reader.u16(id)?,
                PropertyId::RequestResponseInformation => {
                    all.request_response_information = reader.bool(id)?;
                }
                PropertyId::RequestProblemInformation => {
                    all.request_problem_information = reader.bool(id)?;
                }
                PropertyId::AuthenticationMethod => all.authentication_method = reader.text(id)?,
                _ => all.authentication_data = reader.binary(id)?.map(Sensitive),
            }
        }
        all.user_properties = reader.user_properties();
        if all.authentication_data.is_some() && all.authentication_method.is_none() {
            let problem = "authentication data needs an authentication method";
            return Err(DecodeError::NotAllowed { problem });
        }
        Ok(all)
    }

    fn write(&self, writer: &mut Writer<'_>) {
        let block = writer.begin_block();
        writer.u32_property(PropertyId::SessionExpiryInterval, self.session_expiry_seconds);
        writer.u16_property(PropertyId::ReceiveMaximum, self.receive_maximum);
        writer.u32_property(PropertyId::MaximumPacketSize, self.packet_bytes_max);
        writer.u16_property(PropertyId::TopicAliasMaximum, self.topic_alias_maximum);
        let response = self.request_response_information;
        writer.bool_property(PropertyId::RequestResponseInformation, response);
        let problem = self.request_problem_information;
        writer.bool_property(PropertyId::RequestProblemInformation, problem);
        self.user_properties.write(writer);
        writer.text_property(PropertyId::AuthenticationMethod, self.authentication_method);
        let data = self.authentication_data.map(|data| data.0);
        writer.binary_property(PropertyId::AuthenticationData, data);
        writer.end_block(block);
    }
}

impl<'a> Will<'a> {
    fn decode(
        reader: &mut Reader<'a>,
        flags: ConnectFlags,
        version: ProtocolVersion,
        limits: &DecodeLimits,
    ) -> Result<Self, DecodeError> {
        let properties = match version {
            ProtocolVersion::V5 => WillProperties::decode(reader, limits)?,
            _ => WillProperties::default(),
        };
        let topic = reader.text_with_null("will topic")?;
        check_topic(topic, "will topic", limits)?;
        let payload = reader.binary("will payload")?;
        if limits.payload_format_checked && properties.payload_is_utf8 == Some(true) {
            check_payload(payload, "will payload")?;
        }
        let qos = QoS::from_u8(flags.will_qos_bits()).unwrap_or_default();
        let retain = flags.has(ConnectFlags::WILL_RETAIN);
        Ok(Self { topic, payload, qos, retain, properties })
    }
}

impl<'a> WillProperties<'a> {
    fn decode(reader: &mut Reader<'a>, limits: &DecodeLimits) -> Result<Self, DecodeError> {
        let mut all = Self::default();
        let mut reader = PropertyReader::new(reader, PacketType::Connect, WILL_ALLOWED)?;
        while let Some(id) = reader.next()? {
            match id {
                PropertyId::WillDelayInterval => all.delay_seconds = reader.u32(id)?,
                PropertyId::PayloadFormatIndicator => all.payload_is_utf8 = reader.bool(id)?,
                PropertyId::MessageExpiryInterval => all.message_expiry_seconds = reader.u32(id)?,
                PropertyId::ContentType => all.content_type = reader.text(id)?,
                PropertyId::ResponseTopic => all.response_topic = Some(reader.topic(id, limits)?),
                _ => all.correlation_data = reader.binary(id)?,
            }
        }
        all.user_properties = reader.user_properties();
        Ok(all)
    }

    fn write(&self, writer: &mut Writer<'_>) {
        let block = writer.begin_block();
        writer.u32_property(PropertyId::WillDelayInterval, self.delay_seconds);
        writer.bool_property(PropertyId::PayloadFormatIndicator, self.payload_is_utf8);
        writer.u32_property(PropertyId::MessageExpiryInterval, self.message_expiry_seconds);
        writer.text_property(PropertyId::ContentType, self.content_type);
        writer.text_property(PropertyId::ResponseTopic, self.response_topic);
        writer.binary_property(PropertyId::CorrelationData, self.correlation_data);
        self.user_properties.write(writer);
        writer.end_block(block);
    }
}
