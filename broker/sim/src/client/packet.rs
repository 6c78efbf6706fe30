//! Packets of the server, as clients keep them.

use broker_core::codec::{DecodeLimits, Decoded, Packet, Sender, decode};
use broker_core::types::{PacketId, ProtocolVersion, QoS};

use super::message_of;
use crate::event::MessageId;

/// A packet.
#[derive(Debug, Clone)]
pub(super) enum Incoming {
    ConnAck {
        reason: u8,
        session_present: bool,
    },
    Publish {
        message: MessageId,
        qos: QoS,
        is_retained: bool,
        packet_id: Option<PacketId>,
    },
    PubAck {
        packet_id: PacketId,
        reason: u8,
    },
    PubRec {
        packet_id: PacketId,
        reason: u8,
    },
    PubRel {
        packet_id: PacketId,
    },
    PubComp {
        packet_id: PacketId,
    },
    SubAck {
        is_granted: bool,
    },
    /// Nothing that a client here waits for.
    Other,
}

impl Incoming {
    /// The packet at the front of `bytes`, with its length; `None` when it has not come whole.
    ///
    /// # Errors
    /// The bytes are none that a server may send.
    pub(super) fn decode(bytes: &[u8]) -> Result<Option<(Self, usize)>, String> {
        let limits = DecodeLimits { sender: Sender::Server, ..DecodeLimits::default() };
        match decode(bytes, Some(ProtocolVersion::V5), &limits) {
            Ok(Decoded::Incomplete { .. }) => Ok(None),
            Ok(Decoded::Packet { packet, consumed }) => Ok(Some((Self::of(&packet), consumed))),
            Err(error) => Err(error.to_string()),
        }
    }

    fn of(packet: &Packet<'_>) -> Self {
        match packet {
            Packet::ConnAck(ack) => {
                let session_present = ack.session_present;
                Self::ConnAck { reason: ack.reason_code.as_u8(), session_present }
            }
            Packet::Publish(publish) => Self::Publish {
                message: message_of(publish.topic, publish.payload),
                qos: publish.qos,
                is_retained: publish.retain,
                packet_id: publish.packet_id,
            },
            Packet::PubAck(ack) => {
                Self::PubAck { packet_id: ack.packet_id, reason: ack.reason_code.as_u8() }
            }
            Packet::PubRec(ack) => {
                Self::PubRec { packet_id: ack.packet_id, reason: ack.reason_code.as_u8() }
            }
            Packet::PubRel(ack) => Self::PubRel { packet_id: ack.packet_id },
            Packet::PubComp(ack) => Self::PubComp { packet_id: ack.packet_id },
            Packet::SubAck(ack) => {
                Self::SubAck { is_granted: ack.reason_codes.iter().all(|code| code.as_u8() < 0x80) }
            }
            _ => Self::Other,
        }
    }
}
