//! The fixed header: packet type, flags, remaining length. Pure.
//!
//! Spec: MQTT 5.0 section 2.1.

use std::fmt;

use super::{DecodeError, DecodeLimits, Sender};
use crate::types::ProtocolVersion;

/// The type of a Control Packet. Spec: MQTT 5.0 section 2.1.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum PacketType {
    /// CONNECT.
    Connect = 1,
    /// CONNACK.
    ConnAck = 2,
    /// PUBLISH.
    Publish = 3,
    /// PUBACK.
    PubAck = 4,
    /// PUBREC.
    PubRec = 5,
    /// PUBREL.
    PubRel = 6,
    /// PUBCOMP.
    PubComp = 7,
    /// SUBSCRIBE.
    Subscribe = 8,
    /// SUBACK.
    SubAck = 9,
    /// UNSUBSCRIBE.
    Unsubscribe = 10,
    /// UNSUBACK.
    UnsubAck = 11,
    /// PINGREQ.
    PingReq = 12,
    /// PINGRESP.
    PingResp = 13,
    /// DISCONNECT.
    Disconnect = 14,
    /// AUTH, MQTT 5.0 only.
    Auth = 15,
}

impl PacketType {
    /// Every packet type in the order of its number.
    pub const ALL: [Self; 15] = [
        Self::Connect,
        Self::ConnAck,
        Self::Publish,
        Self::PubAck,
        Self::PubRec,
        Self::PubRel,
        Self::PubComp,
        Self::Subscribe,
        Self::SubAck,
        Self::Unsubscribe,
        Self::UnsubAck,
        Self::PingReq,
        Self::PingResp,
        Self::Disconnect,
        Self::Auth,
    ];

    #[inline]
    const fn from_u8(value: u8) -> Option<Self> {
        if value >= 1 && value <= 15 { Some(Self::ALL[value as usize - 1]) } else { None }
    }

    /// The name as the specification writes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connect => "CONNECT",
            Self::ConnAck => "CONNACK",
            Self::Publish => "PUBLISH",
            Self::PubAck => "PUBACK",
            Self::PubRec => "PUBREC",
            Self::PubRel => "PUBREL",
            Self::PubComp => "PUBCOMP",
            Self::Subscribe => "SUBSCRIBE",
            Self::SubAck => "SUBACK",
            Self::Unsubscribe => "UNSUBSCRIBE",
            Self::UnsubAck => "UNSUBACK",
            Self::PingReq => "PINGREQ",
            Self::PingResp => "PINGRESP",
            Self::Disconnect => "DISCONNECT",
            Self::Auth => "AUTH",
        }
    }

    /// The lower four bits of the first byte, which only PUBLISH may vary. [MQTT-2.1.3-1]
    pub(super) const fn fixed_flags(self) -> u8 {
        match self {
            Self::PubRel | Self::Subscribe | Self::Unsubscribe => 0b0010,
            _ => 0,
        }
    }

    /// The first byte of the packet; for PUBLISH without DUP, QoS and RETAIN.
    pub(super) const fn first_byte(self) -> u8 {
        (self as u8) << 4 | self.fixed_flags()
    }

    /// Whether this side may send the packet at all. DISCONNECT by a server is 5.0 only.
    const fn may_come_from(self, sender: Sender, version: ProtocolVersion) -> bool {
        match (self, sender) {
            (Self::Connect | Self::Subscribe | Self::Unsubscribe | Self::PingReq, _) => {
                matches!(sender, Sender::Client)
            }
            (Self::ConnAck | Self::SubAck | Self::UnsubAck | Self::PingResp, _) => {
                matches!(sender, Sender::Server)
            }
            (Self::Disconnect, Sender::Server) => version.is_v5(),
            _ => true,
        }
    }
}

impl fmt::Display for PacketType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A fixed header that has passed its own checks.
#[derive(Debug, Clone, Copy)]
pub(super) struct FixedHeader {
    pub(super) packet_type: PacketType,
    pub(super) flags: u8,
    pub(super) header_bytes: usize,
    pub(super) remaining_length: usize,
}

impl FixedHeader {
    /// Reads the header, or `None` while it has not arrived whole.
    ///
    /// The first byte alone can fail, so that a peer that speaks another protocol is cut off early.
    #[inline]
    pub(super) fn read(
        buf: &[u8],
        version: Option<ProtocolVersion>,
        limits: &DecodeLimits,
    ) -> Result<Option<Self>, DecodeError> {
        let Some(&first) = buf.first() else { return Ok(None) };
        let packet_type = check_first_byte(first, version, limits.sender)?;
        let Some((remaining_length, length_bytes)) = read_remaining_length(&buf[1..])? else {
            return Ok(None);
        };
        let header_bytes = 1 + length_bytes;
        let packet_bytes = header_bytes + remaining_length;
        if packet_bytes > limits.packet_bytes_max {
            let packet_bytes_max = limits.packet_bytes_max;
            return Err(DecodeError::PacketTooLarge { packet_bytes, packet_bytes_max });
        }
        let flags = first & 0x0F;
        Ok(Some(Self { packet_type, flags, header_bytes, remaining_length }))
    }
}

#[inline]
fn check_first_byte(
    first: u8,
    version: Option<ProtocolVersion>,
    sender: Sender,
) -> Result<PacketType, DecodeError> {
    let number = first >> 4;
    let reserved = DecodeError::PacketTypeReserved { packet_type: number };
    let packet = PacketType::from_u8(number).ok_or(reserved)?;
    let expected = match version {
        None => packet == PacketType::Connect && sender == Sender::Client,
        Some(version) if packet == PacketType::Auth && !version.is_v5() => return Err(reserved),
        Some(version) => packet != PacketType::Connect && packet.may_come_from(sender, version),
    };
    if !expected {
        return Err(DecodeError::UnexpectedPacket { packet });
    }
    let flags = first & 0x0F;
    // A 3.1 client that sends one of these again says so.
    let dup = match version {
        Some(ProtocolVersion::V31) if packet.fixed_flags() != 0 => 0b1000,
        _ => 0,
    };
    if packet != PacketType::Publish && flags & !dup != packet.fixed_flags() {
        return Err(DecodeError::FixedHeaderFlags { packet, flags });
    }
    Ok(packet)
}

/// The value and its length in bytes, or `None` while bytes are missing.
#[inline]
fn read_remaining_length(buf: &[u8]) -> Result<Option<(usize, usize)>, DecodeError> {
    match buf {
        [] => return Ok(None),
        &[byte, ..] if byte < 0x80 => return Ok(Some((byte.into(), 1))),
        _ => {}
    }
    let error = DecodeError::VariableByteInteger { field: "remaining length" };
    let mut value = 0;
    for (index, &byte) in buf.iter().take(4).enumerate() {
        value |= usize::from(byte & 0x7F) << (7 * index);
        if byte & 0x80 == 0 {
            // [MQTT-1.5.5-1]: the shortest form.
            return if byte == 0 && index > 0 { Err(error) } else { Ok(Some((value, index + 1))) };
        }
    }
    if buf.len() >= 4 { Err(error) } else { Ok(None) }
}

/// Size in bytes of the packet at the start of `buf`, fixed header included, or `None` while its
/// fixed header has not arrived whole. Nothing but the remaining length is checked.
///
/// # Errors
/// [`DecodeError::VariableByteInteger`].
pub fn packet_bytes(buf: &[u8]) -> Result<Option<usize>, DecodeError> {
    let length = read_remaining_length(buf.get(1..).unwrap_or_default())?;
    Ok(length.map(|(value, bytes)| 1 + bytes + value))
}
