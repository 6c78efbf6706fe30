//! UNSUBSCRIBE. Spec: MQTT 5.0 section 3.10, MQTT 3.1.1 section 3.10. Pure.

use std::fmt;

use super::{Context, read_packet_id};
use crate::codec::primitive::{Reader, Writer};
use crate::codec::property::{Allowed, PropertyReader};
use crate::codec::{DecodeError, EncodeError, PacketType, UserProperties};
use crate::topic::TopicFilter;
use crate::types::{PacketId, ProtocolVersion};

/// UNSUBSCRIBE: an end to one Subscription or more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unsubscribe<'a> {
    /// Packet Identifier.
    pub packet_id: PacketId,
    /// User Properties.
    pub user_properties: UserProperties<'a>,
    /// Topic Filters, syntactically valid: at least one.
    pub filters: UnsubscribeFilters<'a>,
}

const FIELD: &str = "topic filter";

impl<'a> Unsubscribe<'a> {
    pub(super) fn decode(
        reader: &mut Reader<'a>,
        context: Context<'_>,
    ) -> Result<Self, DecodeError> {
        let packet = context.packet;
        let packet_id = read_packet_id(reader, packet)?;
        let mut user_properties = UserProperties::NONE;
        if context.version.is_v5() {
            let mut properties = PropertyReader::new(reader, packet, Allowed::new(&[]))?;
            properties.next()?;
            user_properties = properties.user_properties();
        }
        if reader.is_empty() {
            return Err(DecodeError::NoTopicFilter { packet });
        }
        let filters = UnsubscribeFilters(Filters::Encoded(reader.rest()));
        while !reader.is_empty() {
            TopicFilter::parse_unbounded(reader.text(FIELD)?)
                .map_err(|source| DecodeError::Topic { field: FIELD, source })?;
        }
        Ok(Self { packet_id, user_properties, filters })
    }

    /// Appends the packet.
    ///
    /// # Errors
    /// [`EncodeError`]; `out` is then as before.
    pub fn encode(&self, version: ProtocolVersion, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let mut writer = Writer::new(out);
        writer.u8(PacketType::Unsubscribe.first_byte());
        let body = writer.begin_block();
        writer.u16(self.packet_id.get());
        if version.is_v5() {
            let block = writer.begin_block();
            self.user_properties.write(&mut writer);
            writer.end_block(block);
        }
        self.filters.iter().for_each(|filter| writer.text(FIELD, filter));
        writer.end_block(body);
        writer.finish()
    }
}

/// The Topic Filters of an UNSUBSCRIBE: a view of the packet, or a list to encode.
///
/// Equality compares the filters.
#[derive(Clone, Copy)]
pub struct UnsubscribeFilters<'a>(Filters<'a>);

#[derive(Clone, Copy)]
enum Filters<'a> {
    Encoded(&'a [u8]),
    Listed(&'a [&'a str]),
}

impl<'a> UnsubscribeFilters<'a> {
    /// These filters: at least one, each valid.
    #[must_use]
    pub const fn from_slice(filters: &'a [&'a str]) -> Self {
        Self(Filters::Listed(filters))
    }

    /// The filters in their order.
    pub fn iter(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let (encoded, listed): (&[u8], &[&str]) = match self.0 {
            Filters::Encoded(bytes) => (bytes, &[]),
            Filters::Listed(filters) => (&[], filters),
        };
        let mut reader = Reader::new(encoded);
        let encoded = std::iter::from_fn(move || reader.text_with_null(FIELD).ok());
        encoded.chain(listed.iter().copied())
    }
}

impl PartialEq for UnsubscribeFilters<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for UnsubscribeFilters<'_> {}

impl fmt::Debug for UnsubscribeFilters<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
