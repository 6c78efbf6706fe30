//! DISCONNECT. Spec: MQTT 5.0 section 3.14, MQTT 3.1.1 section 3.14. Pure.

use super::Context;
use super::publish_ack::read_reason_code;
use crate::codec::primitive::{Reader, Writer};
use crate::codec::property::{Allowed, PropertyReader};
use crate::codec::{
    DecodeError, EncodeError, PacketType, PropertyId, ReasonCode, Sender, UserProperties,
};
use crate::types::ProtocolVersion;

/// DISCONNECT: the last packet on a connection. A server sends it in 5.0 only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Disconnect<'a> {
    /// Disconnect Reason Code; `Success` is Normal disconnection, and all that 3.1.1 knows.
    pub reason_code: ReasonCode,
    /// Session Expiry Interval in seconds; only from a client [MQTT-3.14.2-2].
    pub session_expiry_seconds: Option<u32>,
    /// Reason String.
    pub reason_string: Option<&'a str>,
    /// User Properties.
    pub user_properties: UserProperties<'a>,
    /// Server Reference; only from a server.
    pub server_reference: Option<&'a str>,
}

const ALLOWED: Allowed = Allowed::new(&[
    PropertyId::SessionExpiryInterval,
    PropertyId::ReasonString,
    PropertyId::ServerReference,
]);

impl<'a> Disconnect<'a> {
    /// A DISCONNECT without properties.
    #[must_use]
    pub fn new(reason_code: ReasonCode) -> Self {
        Self { reason_code, ..Self::default() }
    }

    pub(super) fn decode(
        reader: &mut Reader<'a>,
        context: Context<'_>,
    ) -> Result<Self, DecodeError> {
        let packet = context.packet;
        let mut disconnect = Self::default();
        // A remaining length of 0 means normal disconnection, one of 1 no properties.
        if !context.version.is_v5() || reader.is_empty() {
            return Ok(disconnect);
        }
        disconnect.reason_code = read_reason_code(reader, packet)?;
        if reader.is_empty() {
            return Ok(disconnect);
        }
        let mut properties = PropertyReader::new(reader, packet, ALLOWED)?;
        while let Some(id) = properties.next()? {
            match id {
                PropertyId::SessionExpiryInterval => {
                    disconnect.session_expiry_seconds = properties.u32(id)?;
                }
                PropertyId::ReasonString => disconnect.reason_string = properties.text(id)?,
                _ => disconnect.server_reference = properties.text(id)?,
            }
        }
        disconnect.user_properties = properties.user_properties();
        disconnect.check_sender(context.limits.sender)?;
        Ok(disconnect)
    }

    fn check_sender(&self, sender: Sender) -> Result<(), DecodeError> {
        let problem = match sender {
            Sender::Server if self.session_expiry_seconds.is_some() => {
                "a server must not send a session expiry interval in disconnect"
            }
            Sender::Client if self.server_reference.is_some() => {
                "a client must not send a server reference"
            }
            _ => return Ok(()),
        };
        Err(DecodeError::NotAllowed { problem })
    }

    /// Appends the packet; in 3.1.1, where only clients send it, its bare form.
    ///
    /// # Errors
    /// [`EncodeError`]; `out` is then as before.
    pub fn encode(&self, version: ProtocolVersion, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let first_byte = PacketType::Disconnect.first_byte();
        if !version.is_v5() || *self == Self::default() {
            out.extend_from_slice(&[first_byte, 0]);
            return Ok(());
        }
        if *self == Self::new(self.reason_code) {
            out.extend_from_slice(&[first_byte, 1, self.reason_code.as_u8()]);
            return Ok(());
        }
        let mut writer = Writer::new(out);
        writer.u8(first_byte);
        let body = writer.begin_block();
        writer.u8(self.reason_code.as_u8());
        let block = writer.begin_block();
        writer.u32_property(PropertyId::SessionExpiryInterval, self.session_expiry_seconds);
        writer.text_property(PropertyId::ReasonString, self.reason_string);
        self.user_properties.write(&mut writer);
        writer.text_property(PropertyId::ServerReference, self.server_reference);
        writer.end_block(block);
        writer.end_block(body);
        writer.finish()
    }
}
