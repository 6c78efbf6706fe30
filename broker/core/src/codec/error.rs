//! Why bytes are not a packet that the peer may send, or a packet cannot become bytes. Pure.

use thiserror::Error;

use super::property::PropertyId;
use super::{PacketType, ReasonCode};
use crate::topic::TopicError;
use crate::types::ProtocolVersion;

/// A packet that ends the Network Connection. Spec: MQTT 5.0 section 4.13.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The four type bits name no Control Packet of this protocol version.
    #[error("packet type {packet_type} is reserved")]
    PacketTypeReserved {
        /// The upper four bits of the first byte.
        packet_type: u8,
    },
    /// The flag bits of the first byte differ from the value the specification fixes.
    #[error("{packet} fixed header flags {flags:#06b} are reserved")]
    FixedHeaderFlags {
        /// The packet.
        packet: PacketType,
        /// The lower four bits of the first byte.
        flags: u8,
    },
    /// A packet that this side of the connection must not send, or not at this time.
    #[error("{packet} is not expected here")]
    UnexpectedPacket {
        /// The packet.
        packet: PacketType,
    },
    /// The fixed header announces more bytes than accepted.
    #[error("packet of {packet_bytes} bytes exceeds the maximum of {packet_bytes_max}")]
    PacketTooLarge {
        /// Size of the whole packet with its fixed header.
        packet_bytes: usize,
        /// The limit in force.
        packet_bytes_max: usize,
    },
    /// A Variable Byte Integer longer than four bytes or not in its shortest form.
    #[error("{field} is not a valid variable byte integer")]
    VariableByteInteger {
        /// The field.
        field: &'static str,
    },
    /// The packet, or the property block, ends within this field.
    #[error("{field} is cut short by the remaining length")]
    Truncated {
        /// The field.
        field: &'static str,
    },
    /// Bytes follow the last field.
    #[error("{packet} has {bytes} bytes after its last field")]
    TrailingBytes {
        /// The packet.
        packet: PacketType,
        /// How many.
        bytes: usize,
    },
    /// Text that is not UTF-8, surrogates and overlong forms included. [MQTT-1.5.4-1]
    #[error("{field} is not valid utf-8")]
    Utf8 {
        /// The field.
        field: &'static str,
    },
    /// Text that holds U+0000. [MQTT-1.5.4-2]
    #[error("{field} contains the null character")]
    NullCharacter {
        /// The field.
        field: &'static str,
    },
    /// A Packet Identifier of zero. [MQTT-2.2.1-3]
    #[error("{packet} packet identifier is 0")]
    PacketIdZero {
        /// The packet.
        packet: PacketType,
    },
    /// Bits that the specification reserves are not at their fixed value.
    #[error("{field} has reserved bits set")]
    ReservedBits {
        /// The field.
        field: &'static str,
    },
    /// A value outside the field's range in a place where that makes the packet malformed.
    #[error("{field} must not be {value}")]
    FieldMalformed {
        /// The field.
        field: &'static str,
        /// What was sent.
        value: u32,
    },
    /// A well formed value that the protocol does not allow in this field.
    #[error("{field} is not allowed to be {value}")]
    FieldValue {
        /// The field.
        field: &'static str,
        /// What was sent.
        value: u32,
    },
    /// Two flags or fields that exclude each other.
    #[error("{problem}")]
    Inconsistent {
        /// What contradicts what.
        problem: &'static str,
    },
    /// Well formed fields that the protocol does not allow together.
    #[error("{problem}")]
    NotAllowed {
        /// What is not allowed.
        problem: &'static str,
    },
    /// A reason code that has no meaning in this packet.
    #[error("{packet} reason code {value:#04x} is not defined for it")]
    ReasonCodeNotAllowed {
        /// The packet.
        packet: PacketType,
        /// What was sent.
        value: u8,
    },
    /// A property identifier that the specification does not define.
    #[error("{packet} property identifier {id} is not defined")]
    PropertyUnknown {
        /// The packet.
        packet: PacketType,
        /// What was sent.
        id: u32,
    },
    /// A property that does not belong to this packet.
    #[error("{packet} must not carry the property {property}")]
    PropertyNotAllowed {
        /// The packet; CONNECT stands for the Will Properties too.
        packet: PacketType,
        /// The property.
        property: PropertyId,
    },
    /// A property that may appear once, twice.
    #[error("{packet} repeats the property {property}")]
    PropertyDuplicate {
        /// The packet.
        packet: PacketType,
        /// The property.
        property: PropertyId,
    },
    /// The Protocol Name is not `MQTT` (or `MQIsdp`, that of 3.1).
    #[error("protocol name is not MQTT")]
    ProtocolName,
    /// A protocol level that the broker does not speak.
    #[error("protocol level {level} is not supported")]
    UnsupportedProtocolVersion {
        /// The level byte.
        level: u8,
    },
    /// A Topic Name or Topic Filter that breaks section 4.7 or 4.8.
    #[error("{field} {source}")]
    Topic {
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        source: TopicError,
    },
    /// A PUBLISH with neither Topic Name nor Topic Alias.
    #[error("publish topic name is empty and there is no topic alias")]
    TopicMissing,
    /// A Topic Alias of zero. [MQTT-3.3.2-8]
    #[error("topic alias is 0")]
    TopicAliasZero,
    /// A payload that is announced as UTF-8 and is not.
    #[error("{field} is not valid utf-8 as its payload format indicator says")]
    PayloadFormat {
        /// The field.
        field: &'static str,
    },
    /// SUBSCRIBE or UNSUBSCRIBE without a Topic Filter. [MQTT-3.8.3-2] [MQTT-3.10.3-2]
    #[error("{packet} has no topic filter")]
    NoTopicFilter {
        /// The packet.
        packet: PacketType,
    },
}

impl DecodeError {
    /// The reason code of the CONNACK or DISCONNECT that answers the packet.
    ///
    /// Spec: MQTT 5.0 section 4.13.
    #[must_use]
    pub const fn reason_code(&self) -> ReasonCode {
        match self {
            Self::PacketTypeReserved { .. }
            | Self::FixedHeaderFlags { .. }
            | Self::VariableByteInteger { .. }
            | Self::Truncated { .. }
            | Self::TrailingBytes { .. }
            | Self::Utf8 { .. }
            | Self::NullCharacter { .. }
            | Self::ReservedBits { .. }
            | Self::FieldMalformed { .. }
            | Self::Inconsistent { .. }
            | Self::PropertyUnknown { .. }
            | Self::PropertyNotAllowed { .. } => ReasonCode::MalformedPacket,
            Self::UnexpectedPacket { .. }
            | Self::PacketIdZero { .. }
            | Self::FieldValue { .. }
            | Self::NotAllowed { .. }
            | Self::ReasonCodeNotAllowed { .. }
            | Self::PropertyDuplicate { .. }
            | Self::TopicMissing
            | Self::NoTopicFilter { .. } => ReasonCode::ProtocolError,
            Self::PacketTooLarge { .. } => ReasonCode::PacketTooLarge,
            Self::ProtocolName | Self::UnsupportedProtocolVersion { .. } => {
                ReasonCode::UnsupportedProtocolVersion
            }
            Self::Topic { source, .. } => source.reason_code(),
            Self::TopicAliasZero => ReasonCode::TopicAliasInvalid,
            Self::PayloadFormat { .. } => ReasonCode::PayloadFormatInvalid,
        }
    }

    /// The version in which a CONNACK may refuse a CONNECT whose version is not supported.
    ///
    /// `None` when the client's protocol is not MQTT at all: close without an answer. Bridges of
    /// old set the top bit of the level, and try without it when refused in their version.
    #[must_use]
    pub const fn refusal_version(&self) -> Option<ProtocolVersion> {
        match self {
            Self::UnsupportedProtocolVersion { level } if *level & 0x7F < 5 => {
                Some(ProtocolVersion::V311)
            }
            Self::UnsupportedProtocolVersion { .. } => Some(ProtocolVersion::V5),
            _ => None,
        }
    }
}

/// A packet that has no representation on the wire. The output buffer is left as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// Text or Binary Data of more than 65,535 bytes.
    #[error("{field} of {bytes} bytes exceeds the maximum of 65535")]
    FieldTooLong {
        /// The field.
        field: &'static str,
        /// Its length.
        bytes: usize,
    },
    /// A remaining length above 268,435,455.
    #[error("remaining length {bytes} exceeds the maximum of 268435455")]
    PacketTooLarge {
        /// The remaining length.
        bytes: usize,
    },
    /// A packet that this protocol version does not have.
    #[error("{packet} does not exist in mqtt 3.1.1")]
    NotInVersion {
        /// The packet.
        packet: PacketType,
    },
    /// A PUBLISH of QoS 1 or 2 without a Packet Identifier. [MQTT-2.2.1-3]
    #[error("publish of qos 1 or 2 needs a packet identifier")]
    PacketIdMissing,
}
