//! AUTH. Spec: MQTT 5.0 section 3.15. Pure.

use super::Context;
use super::publish_ack::read_reason_code;
use crate::codec::primitive::{Reader, Writer};
use crate::codec::property::{Allowed, PropertyReader};
use crate::codec::{
    DecodeError, EncodeError, PacketType, PropertyId, ReasonCode, Sensitive, UserProperties,
};
use crate::types::ProtocolVersion;

/// AUTH: a step of an extended authentication exchange; MQTT 5.0 only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Auth<'a> {
    /// Authenticate Reason Code: success, continue or re-authenticate.
    pub reason_code: ReasonCode,
    /// Authentication Method.
    pub authentication_method: Option<&'a str>,
    /// Authentication Data.
    pub authentication_data: Option<Sensitive<'a>>,
    /// Reason String.
    pub reason_string: Option<&'a str>,
    /// User Properties.
    pub user_properties: UserProperties<'a>,
}

const ALLOWED: Allowed = Allowed::new(&[
    PropertyId::AuthenticationMethod,
    PropertyId::AuthenticationData,
    PropertyId::ReasonString,
]);

impl<'a> Auth<'a> {
    pub(super) fn decode(
        reader: &mut Reader<'a>,
        context: Context<'_>,
    ) -> Result<Self, DecodeError> {
        let packet = context.packet;
        let mut auth = Self::default();
        // A remaining length of 0 means success without properties.
        if reader.is_empty() {
            return Ok(auth);
        }
        auth.reason_code = read_reason_code(reader, packet)?;
        let mut properties = PropertyReader::new(reader, packet, ALLOWED)?;
        while let Some(id) = properties.next()? {
            match id {
                PropertyId::AuthenticationMethod => {
                    auth.authentication_method = properties.text(id)?;
                }
                PropertyId::AuthenticationData => {
                    auth.authentication_data = properties.binary(id)?.map(Sensitive);
                }
                _ => auth.reason_string = properties.text(id)?,
            }
        }
        auth.user_properties = properties.user_properties();
        let needs_method =
            auth.reason_code != ReasonCode::Success || auth.authentication_data.is_some();
        if needs_method && auth.authentication_method.is_none() {
            return Err(DecodeError::NotAllowed { problem: "auth needs an authentication method" });
        }
        Ok(auth)
    }

    /// Appends the packet.
    ///
    /// # Errors
    /// [`EncodeError`], [`EncodeError::NotInVersion`] for 3.1.1 among them; `out` is then as before.
    pub fn encode(&self, version: ProtocolVersion, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let packet = PacketType::Auth;
        if !version.is_v5() {
            return Err(EncodeError::NotInVersion { packet });
        }
        if *self == Self::default() {
            out.extend_from_slice(&[packet.first_byte(), 0]);
            return Ok(());
        }
        let mut writer = Writer::new(out);
        writer.u8(packet.first_byte());
        let body = writer.begin_block();
        writer.u8(self.reason_code.as_u8());
        let block = writer.begin_block();
        writer.text_property(PropertyId::AuthenticationMethod, self.authentication_method);
        let data = self.authentication_data.map(|data| data.0);
        writer.binary_property(PropertyId::AuthenticationData, data);
        writer.text_property(PropertyId::ReasonString, self.reason_string);
        self.user_properties.write(&mut writer);
        writer.end_block(block);
        writer.end_block(body);
        writer.finish()
    }
}
