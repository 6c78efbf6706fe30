//! Reason String and User Properties, the only properties of most acknowledgements. Pure.

use crate::codec::primitive::{Reader, Writer};
use crate::codec::property::{Allowed, PropertyReader};
use crate::codec::{DecodeError, PacketType, PropertyId, UserProperties};

const ALLOWED: Allowed = Allowed::new(&[PropertyId::ReasonString]);

pub(super) fn read<'a>(
    reader: &mut Reader<'a>,
    packet: PacketType,
) -> Result<(Option<&'a str>, UserProperties<'a>), DecodeError> {
    let mut properties = PropertyReader::new(reader, packet, ALLOWED)?;
    let mut reason_string = None;
    while let Some(id) = properties.next()? {
        reason_string = properties.text(id)?;
    }
    Ok((reason_string, properties.user_properties()))
}

pub(super) fn write(
    writer: &mut Writer<'_>,
    reason_string: Option<&str>,
    user_properties: UserProperties<'_>,
) {
    let block = writer.begin_block();
    writer.text_property(PropertyId::ReasonString, reason_string);
    user_properties.write(writer);
    writer.end_block(block);
}
