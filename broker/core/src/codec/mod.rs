//! MQTT 3.1.1 and 5.0 on the wire: decoding in place, encoding into the caller's buffer.
//!
//! Pure. Knows packets and their own rules; knows nothing of connections, sessions or routing.
//! Decoded packets borrow from the input, so decoding allocates nothing.

mod error;
mod fixed_header;
pub mod packet;
mod primitive;
mod property;
mod publish_frame;
mod reason_code;
mod repeated_property;

pub use error::{DecodeError, EncodeError};
pub use fixed_header::{PacketType, packet_bytes};
pub use packet::Packet;
pub use primitive::Sensitive;
pub use property::PropertyId;
pub use publish_frame::{PublishFrame, PublishHeader, ReceiverProperties, TopicAlias};
pub use reason_code::ReasonCode;
pub use repeated_property::{SubscriptionIds, UserProperties};

use crate::types::ProtocolVersion;

/// Which side of the Network Connection sent the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sender {
    /// A client: CONNECT, PUBLISH, SUBSCRIBE, ...
    Client,
    /// A server: CONNACK, PUBLISH, SUBACK, ...
    Server,
}

/// What the decoder accepts. Copy it per connection or share one per listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodeLimits {
    /// Largest whole packet in bytes, fixed header included. Found out from the fixed header alone.
    pub packet_bytes_max: usize,
    /// Most levels in the Topic Name of a PUBLISH or Will (`a/b` has two).
    pub topic_levels_max: usize,
    /// Whether a payload with Payload Format Indicator 1 is checked to be UTF-8.
    pub payload_format_checked: bool,
    /// Who sends the packets.
    pub sender: Sender,
}

impl DecodeLimits {
    /// Largest packet that the fixed header can announce: 5 bytes and 268,435,455 more.
    pub const PACKET_BYTES_MAX: usize = 268_435_460;
}

impl Default for DecodeLimits {
    fn default() -> Self {
        Self {
            packet_bytes_max: 1024 * 1024,
            topic_levels_max: crate::topic::LEVELS_MAX,
            payload_format_checked: false,
            sender: Sender::Client,
        }
    }
}

/// The outcome of looking at the front of a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "decoding must not allocate")]
pub enum Decoded<'a> {
    /// The packet has not arrived whole.
    Incomplete {
        /// Length that the buffer must reach before it is worth decoding again, in bytes from its
        /// start. It grows once at most, when the fixed header becomes readable.
        needed: usize,
    },
    /// A packet.
    Packet {
        /// It borrows from the buffer.
        packet: Packet<'a>,
        /// Bytes of the buffer that it occupies.
        consumed: usize,
    },
}

/// Decodes the packet at the start of `buf`.
///
/// `version` is `None` until CONNECT has told it: then only CONNECT is accepted, and its protocol
/// level chooses the rules. With `Some`, a CONNECT is a Protocol Error [MQTT-3.1.0-2].
///
/// # Errors
/// Any [`DecodeError`]; the connection must end, as the position of the next packet is not trusted.
pub fn decode<'a>(
    buf: &'a [u8],
    version: Option<ProtocolVersion>,
    limits: &DecodeLimits,
) -> Result<Decoded<'a>, DecodeError> {
    let Some(header) = fixed_header::FixedHeader::read(buf, version, limits)? else {
        return Ok(Decoded::Incomplete { needed: buf.len().max(1) + 1 });
    };
    let consumed = header.header_bytes + header.remaining_length;
    let Some(body) = buf.get(header.header_bytes..consumed) else {
        return Ok(Decoded::Incomplete { needed: consumed });
    };
    packet::decode_body(header, body, version, limits)
}

/// Appends the packet to `out`; fields that 3.1.1 lacks are left out there.
///
/// # Errors
/// [`EncodeError`]; `out` is then as before.
pub fn encode(
    packet: &Packet<'_>,
    version: ProtocolVersion,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    packet.encode(version, out)
}
