//! One struct per Control Packet, serving 3.1.1 and 5.0 alike. Pure.
//!
//! Every packet is `Copy` and borrows its text and bytes. Fields that 3.1.1 lacks hold their 5.0
//! default after decoding a 3.1.1 packet, and are left out when encoding one.

mod auth;
mod connack;
mod connect;
mod disconnect;
mod publish;
mod publish_ack;
mod reason_properties;
mod suback;
mod subscribe;
mod unsuback;
mod unsubscribe;

pub use auth::Auth;
pub use connack::{ConnAck, ConnAckProperties, PropertyOrder};
pub use connect::{Connect, ConnectProperties, Will, WillProperties, connect_version};
pub use disconnect::Disconnect;
pub use publish::{Publish, PublishProperties};
pub use publish_ack::PublishAck;
pub use suback::{ReasonCodes, SubAck};
pub use subscribe::{
    RetainHandling, Subscribe, SubscribeFilter, SubscribeFilters, SubscriptionOptions,
};
pub use unsuback::UnsubAck;
pub use unsubscribe::{Unsubscribe, UnsubscribeFilters};

use super::fixed_header::FixedHeader;
use super::primitive::Reader;
use super::{DecodeError, DecodeLimits, Decoded, EncodeError, PacketType};
use crate::types::{PacketId, ProtocolVersion};

/// A Control Packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packet<'a> {
    /// CONNECT.
    Connect(Connect<'a>),
    /// CONNACK.
    ConnAck(ConnAck<'a>),
    /// PUBLISH.
    Publish(Publish<'a>),
    /// PUBACK.
    PubAck(PublishAck<'a>),
    /// PUBREC.
    PubRec(PublishAck<'a>),
    /// PUBREL.
    PubRel(PublishAck<'a>),
    /// PUBCOMP.
    PubComp(PublishAck<'a>),
    /// SUBSCRIBE.
    Subscribe(Subscribe<'a>),
    /// SUBACK.
    SubAck(SubAck<'a>),
    /// UNSUBSCRIBE.
    Unsubscribe(Unsubscribe<'a>),
    /// UNSUBACK.
    UnsubAck(UnsubAck<'a>),
    /// PINGREQ.
    PingReq,
    /// PINGRESP.
    PingResp,
    /// DISCONNECT.
    Disconnect(Disconnect<'a>),
    /// AUTH.
    Auth(Auth<'a>),
}

impl<'p> Packet<'p> {
    /// The packet's type.
    #[must_use]
    pub const fn packet_type(&self) -> PacketType {
        match self {
            Self::Connect(_) => PacketType::Connect,
            Self::ConnAck(_) => PacketType::ConnAck,
            Self::Publish(_) => PacketType::Publish,
            Self::PubAck(_) => PacketType::PubAck,
            Self::PubRec(_) => PacketType::PubRec,
            Self::PubRel(_) => PacketType::PubRel,
            Self::PubComp(_) => PacketType::PubComp,
            Self::Subscribe(_) => PacketType::Subscribe,
            Self::SubAck(_) => PacketType::SubAck,
            Self::Unsubscribe(_) => PacketType::Unsubscribe,
            Self::UnsubAck(_) => PacketType::UnsubAck,
            Self::PingReq => PacketType::PingReq,
            Self::PingResp => PacketType::PingResp,
            Self::Disconnect(_) => PacketType::Disconnect,
            Self::Auth(_) => PacketType::Auth,
        }
    }

    /// The packet with this Reason String, where its type has one; else as it is.
    #[must_use]
    pub fn with_reason_string<'a>(self, text: &'a str) -> Packet<'a>
    where
        'p: 'a,
    {
        let reason_string = Some(text);
        let mut packet: Packet<'a> = self;
        match &mut packet {
            Packet::ConnAck(packet) => packet.properties.reason_string = reason_string,
            Packet::PubAck(packet)
            | Packet::PubRec(packet)
            | Packet::PubRel(packet)
            | Packet::PubComp(packet) => packet.reason_string = reason_string,
            Packet::SubAck(packet) => packet.reason_string = reason_string,
            Packet::UnsubAck(packet) => packet.reason_string = reason_string,
            Packet::Disconnect(packet) => packet.reason_string = reason_string,
            Packet::Auth(packet) => packet.reason_string = reason_string,
            _ => {}
        }
        packet
    }

    /// Appends the packet to `out`. See [`super::encode`].
    ///
    /// # Errors
    /// [`EncodeError`]; `out` is then as before.
    pub fn encode(&self, version: ProtocolVersion, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        match self {
            Self::Connect(packet) => packet.encode(out),
            Self::ConnAck(packet) => packet.encode(version, out),
            Self::Publish(packet) => packet.encode(version, out),
            Self::PubAck(packet) => packet.encode(PacketType::PubAck, version, out),
            Self::PubRec(packet) => packet.encode(PacketType::PubRec, version, out),
            Self::PubRel(packet) => packet.encode(PacketType::PubRel, version, out),
            Self::PubComp(packet) => packet.encode(PacketType::PubComp, version, out),
            Self::Subscribe(packet) => packet.encode(version, out),
            Self::SubAck(packet) => packet.encode(version, out),
            Self::Unsubscribe(packet) => packet.encode(version, out),
            Self::UnsubAck(packet) => packet.encode(version, out),
            Self::PingReq => Self::encode_bare(PacketType::PingReq, out),
            Self::PingResp => Self::encode_bare(PacketType::PingResp, out),
            Self::Disconnect(packet) => packet.encode(version, out),
            Self::Auth(packet) => packet.encode(version, out),
        }
    }

    fn encode_bare(packet: PacketType, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        out.extend_from_slice(&[packet.first_byte(), 0]);
        Ok(())
    }
}

/// What a packet's decoder needs to know besides the body.
#[derive(Debug, Clone, Copy)]
struct Context<'l> {
    packet: PacketType,
    version: ProtocolVersion,
    limits: &'l DecodeLimits,
}

/// Decodes what follows a fixed header that has passed its checks.
///
/// The frequent packets are decoded inline and returned at once, which builds them in place.
#[inline(always)]
pub(super) fn decode_body<'a>(
    header: FixedHeader,
    body: &'a [u8],
    version: Option<ProtocolVersion>,
    limits: &DecodeLimits,
) -> Result<Decoded<'a>, DecodeError> {
    let packet = header.packet_type;
    let consumed = header.header_bytes + header.remaining_length;
    let reader = &mut Reader::new(body);
    let Some(version) = version else {
        let connect = Connect::decode(reader, limits)?;
        expect_end(reader, packet)?;
        return Ok(Decoded::Packet { packet: Packet::Connect(connect), consumed });
    };
    let context = Context { packet, version, limits };
    if packet == PacketType::Publish {
        // Its payload is whatever is left.
        let publish = Publish::decode(reader, header.flags, context)?;
        return Ok(Decoded::Packet { packet: Packet::Publish(publish), consumed });
    }
    decode_rarer(reader, context, consumed)
}

#[inline(never)]
fn decode_rarer<'a>(
    reader: &mut Reader<'a>,
    context: Context<'_>,
    consumed: usize,
) -> Result<Decoded<'a>, DecodeError> {
    let packet = context.packet;
    let decoded = match packet {
        PacketType::PubAck => Packet::PubAck(PublishAck::decode(reader, context)?),
        PacketType::PubRec => Packet::PubRec(PublishAck::decode(reader, context)?),
        PacketType::PubRel => Packet::PubRel(PublishAck::decode(reader, context)?),
        PacketType::PubComp => Packet::PubComp(PublishAck::decode(reader, context)?),
        PacketType::Subscribe => Packet::Subscribe(Subscribe::decode(reader, context)?),
        PacketType::SubAck => Packet::SubAck(SubAck::decode(reader, context)?),
        PacketType::Unsubscribe => Packet::Unsubscribe(Unsubscribe::decode(reader, context)?),
        PacketType::UnsubAck => Packet::UnsubAck(UnsubAck::decode(reader, context)?),
        PacketType::ConnAck => Packet::ConnAck(ConnAck::decode(reader, context)?),
        PacketType::PingReq => Packet::PingReq,
        PacketType::PingResp => Packet::PingResp,
        PacketType::Disconnect => Packet::Disconnect(Disconnect::decode(reader, context)?),
        PacketType::Auth => Packet::Auth(Auth::decode(reader, context)?),
        _ => return Err(DecodeError::UnexpectedPacket { packet }),
    };
    expect_end(reader, packet)?;
    Ok(Decoded::Packet { packet: decoded, consumed })
}

#[inline]
fn expect_end(reader: &Reader<'_>, packet: PacketType) -> Result<(), DecodeError> {
    match reader.remaining() {
        0 => Ok(()),
        bytes => Err(DecodeError::TrailingBytes { packet, bytes }),
    }
}

#[inline]
fn read_packet_id(reader: &mut Reader<'_>, packet: PacketType) -> Result<PacketId, DecodeError> {
    let value = reader.u16("packet identifier")?;
    PacketId::new(value).ok_or(DecodeError::PacketIdZero { packet })
}
