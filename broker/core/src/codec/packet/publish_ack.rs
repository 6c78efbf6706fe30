//! PUBACK, PUBREC, PUBREL and PUBCOMP, which share one layout. Pure.
//!
//! Spec: MQTT 5.0 sections 3.4 to 3.7.

use super::{Context, read_packet_id, reason_properties};
use crate::codec::primitive::{Reader, Writer};
use crate::codec::{DecodeError, EncodeError, PacketType, ReasonCode, UserProperties};
use crate::types::{PacketId, ProtocolVersion};

/// PUBACK, PUBREC, PUBREL or PUBCOMP; which one is told by the [`super::Packet`] variant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublishAck<'a> {
    /// Packet Identifier.
    pub packet_id: PacketId,
    /// Reason Code; `Success` in 3.1.1, where it is left out.
    pub reason_code: ReasonCode,
    /// Reason String; left out in 3.1.1.
    pub reason_string: Option<&'a str>,
    /// User Properties; left out in 3.1.1.
    pub user_properties: UserProperties<'a>,
}

impl<'a> PublishAck<'a> {
    /// An acknowledgement without Reason String and User Properties.
    #[must_use]
    pub fn new(packet_id: PacketId, reason_code: ReasonCode) -> Self {
        Self {
            packet_id,
            reason_code,
            reason_string: None,
            user_properties: UserProperties::default(),
        }
    }

    #[inline]
    pub(super) fn decode(
        reader: &mut Reader<'a>,
        context: Context<'_>,
    ) -> Result<Self, DecodeError> {
        let packet = context.packet;
        let mut ack = Self::new(read_packet_id(reader, packet)?, ReasonCode::Success);
        // A remaining length of 2 means success, one of 3 no properties.
        if !context.version.is_v5() || reader.is_empty() {
            return Ok(ack);
        }
        ack.reason_code = read_reason_code(reader, packet)?;
        if !reader.is_empty() {
            (ack.reason_string, ack.user_properties) = reason_properties::read(reader, packet)?;
        }
        Ok(ack)
    }

    /// Appends it as a packet of type `packet`: PUBACK, PUBREC, PUBREL or PUBCOMP.
    ///
    /// # Errors
    /// [`EncodeError`]; `out` is then as before.
    pub fn encode(
        &self,
        packet: PacketType,
        version: ProtocolVersion,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        let [id_high, id_low] = self.packet_id.get().to_be_bytes();
        let first_byte = packet.first_byte();
        let has_properties = self.reason_string.is_some() || !self.user_properties.is_empty();
        if !version.is_v5() || (self.reason_code == ReasonCode::Success && !has_properties) {
            out.extend_from_slice(&[first_byte, 2, id_high, id_low]);
            return Ok(());
        }
        let reason_code = self.reason_code.as_u8();
        if !has_properties {
            out.extend_from_slice(&[first_byte, 3, id_high, id_low, reason_code]);
            return Ok(());
        }
        let mut writer = Writer::new(out);
        writer.u8(first_byte);
        let body = writer.begin_block();
        writer.raw(&[id_high, id_low, reason_code]);
        reason_properties::write(&mut writer, self.reason_string, self.user_properties);
        writer.end_block(body);
        writer.finish()
    }
}

/// A reason code that may stand in `packet`.
pub(super) fn read_reason_code(
    reader: &mut Reader<'_>,
    packet: PacketType,
) -> Result<ReasonCode, DecodeError> {
    let value = reader.u8("reason code")?;
    ReasonCode::from_u8(value)
        .filter(|code| code.is_allowed_in(packet))
        .ok_or(DecodeError::ReasonCodeNotAllowed { packet, value })
}
