//! SUBACK. Spec: MQTT 5.0 section 3.9, MQTT 3.1.1 section 3.9. Pure.

use std::fmt;

use super::{Context, read_packet_id, reason_properties};
use crate::codec::primitive::{Reader, Writer};
use crate::codec::{DecodeError, EncodeError, PacketType, ReasonCode, UserProperties};
use crate::types::{PacketId, ProtocolVersion};

/// SUBACK: the outcome of each Topic Filter of a SUBSCRIBE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SubAck<'a> {
    /// Packet Identifier of the SUBSCRIBE.
    pub packet_id: PacketId,
    /// Reason String; left out in 3.1.1.
    pub reason_string: Option<&'a str>,
    /// User Properties; left out in 3.1.1.
    pub user_properties: UserProperties<'a>,
    /// One code per Topic Filter, in the order of the request.
    pub reason_codes: ReasonCodes<'a>,
}

impl<'a> SubAck<'a> {
    pub(super) fn decode(
        reader: &mut Reader<'a>,
        context: Context<'_>,
    ) -> Result<Self, DecodeError> {
        let packet_id = read_packet_id(reader, context.packet)?;
        let (reason_string, user_properties) = match context.version {
            ProtocolVersion::V5 => reason_properties::read(reader, context.packet)?,
            _ => (None, UserProperties::NONE),
        };
        let reason_codes = ReasonCodes::decode(reader, context)?;
        Ok(Self { packet_id, reason_string, user_properties, reason_codes })
    }

    /// Appends the packet; in 3.1.1 every failure becomes 0x80.
    ///
    /// # Errors
    /// [`EncodeError`]; `out` is then as before.
    pub fn encode(&self, version: ProtocolVersion, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let mut writer = Writer::new(out);
        writer.u8(PacketType::SubAck.first_byte());
        let body = writer.begin_block();
        writer.u16(self.packet_id.get());
        if version.is_v5() {
            reason_properties::write(&mut writer, self.reason_string, self.user_properties);
        }
        for code in self.reason_codes.iter() {
            let is_lossy = code.is_error() && !version.is_v5();
            writer.u8(if is_lossy { ReasonCode::UnspecifiedError } else { code }.as_u8());
        }
        writer.end_block(body);
        writer.finish()
    }
}

/// The reason codes of SUBACK or UNSUBACK: a view of the packet, or a list to encode.
///
/// Equality compares the codes.
#[derive(Clone, Copy)]
pub struct ReasonCodes<'a>(Codes<'a>);

#[derive(Clone, Copy)]
enum Codes<'a> {
    Encoded(&'a [u8]),
    Listed(&'a [ReasonCode]),
}

impl<'a> ReasonCodes<'a> {
    /// These codes.
    #[must_use]
    pub const fn from_slice(codes: &'a [ReasonCode]) -> Self {
        Self(Codes::Listed(codes))
    }

    /// Takes all that is left of the packet.
    pub(super) fn decode(
        reader: &mut Reader<'a>,
        context: Context<'_>,
    ) -> Result<Self, DecodeError> {
        let Context { packet, version, .. } = context;
        let bytes = reader.take(reader.remaining(), "reason codes")?;
        let is_allowed = |value: u8| match version {
            ProtocolVersion::V5 => {
                ReasonCode::from_u8(value).is_some_and(|code| code.is_allowed_in(packet))
            }
            // MQTT 3.1.1 [MQTT-3.9.3-2]
            _ => matches!(value, 0..=2 | 0x80),
        };
        match bytes.iter().find(|&&value| !is_allowed(value)) {
            None => Ok(Self(Codes::Encoded(bytes))),
            Some(&value) => Err(DecodeError::ReasonCodeNotAllowed { packet, value }),
        }
    }

    /// The codes in their order.
    pub fn iter(&self) -> impl Iterator<Item = ReasonCode> + use<'a> {
        let (encoded, listed): (&[u8], &[ReasonCode]) = match self.0 {
            Codes::Encoded(bytes) => (bytes, &[]),
            Codes::Listed(codes) => (&[], codes),
        };
        let encoded = encoded.iter().filter_map(|&value| ReasonCode::from_u8(value));
        encoded.chain(listed.iter().copied())
    }

    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        match self.0 {
            Codes::Encoded(bytes) => bytes.len(),
            Codes::Listed(codes) => codes.len(),
        }
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl PartialEq for ReasonCodes<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for ReasonCodes<'_> {}

impl fmt::Debug for ReasonCodes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
