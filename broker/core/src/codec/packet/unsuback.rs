//! UNSUBACK. Spec: MQTT 5.0 section 3.11, MQTT 3.1.1 section 3.11. Pure.

use super::{Context, ReasonCodes, read_packet_id, reason_properties};
use crate::codec::primitive::{Reader, Writer};
use crate::codec::{DecodeError, EncodeError, PacketType, UserProperties};
use crate::types::{PacketId, ProtocolVersion};

/// UNSUBACK: the outcome of each Topic Filter of an UNSUBSCRIBE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnsubAck<'a> {
    /// Packet Identifier of the UNSUBSCRIBE.
    pub packet_id: PacketId,
    /// Reason String; left out in 3.1.1.
    pub reason_string: Option<&'a str>,
    /// User Properties; left out in 3.1.1.
    pub user_properties: UserProperties<'a>,
    /// One code per Topic Filter, in the order of the request; empty and left out in 3.1.1.
    pub reason_codes: ReasonCodes<'a>,
}

impl<'a> UnsubAck<'a> {
    pub(super) fn decode(
        reader: &mut Reader<'a>,
        context: Context<'_>,
    ) -> Result<Self, DecodeError> {
        let packet_id = read_packet_id(reader, context.packet)?;
        if !context.version.is_v5() {
            let (user_properties, reason_codes) =
                (UserProperties::NONE, ReasonCodes::from_slice(&[]));
            return Ok(Self { packet_id, reason_string: None, user_properties, reason_codes });
        }
        let (reason_string, user_properties) = reason_properties::read(reader, context.packet)?;
        let reason_codes = ReasonCodes::decode(reader, context)?;
        Ok(Self { packet_id, reason_string, user_properties, reason_codes })
    }

    /// Appends the packet.
    ///
    /// # Errors
    /// [`EncodeError`]; `out` is then as before.
    pub fn encode(&self, version: ProtocolVersion, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let mut writer = Writer::new(out);
        writer.u8(PacketType::UnsubAck.first_byte());
        let body = writer.begin_block();
        writer.u16(self.packet_id.get());
        if version.is_v5() {
            reason_properties::write(&mut writer, self.reason_string, self.user_properties);
            self.reason_codes.iter().for_each(|code| writer.u8(code.as_u8()));
        }
        writer.end_block(body);
        writer.finish()
    }
}
