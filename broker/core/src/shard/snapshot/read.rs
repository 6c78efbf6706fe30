//! Reads durable sessions. Their messages stay in the file. Pure.

use std::sync::Arc;

use bytes::Buf;

use super::SessionsSnapshot;
use super::form::record_of;
use crate::shard::delayed::Delayed;
use crate::stored::{
    MESSAGE_HEADER_BYTES, RangeReader, Sections, StoredMessage, decode_head, is_whole,
};

impl SessionsSnapshot {
    /// Reads what [`Self::write`] wrote, and leaves what is behind it. `None` for anything else.
    pub(crate) fn read(reader: &mut RangeReader<'_>, sections: &mut Sections<'_>) -> Option<Self> {
        let control = reader.take_part()?;
        let count = reader.take(8)?.get_u64_le();
        let mut messages = Vec::new();
        let mut records = Vec::new();
        for _ in 0..count {
            let new = reader.take(4)?.get_u32_le();
            for _ in 0..new {
                messages.push(take_message(reader, sections)?);
            }
            records.push(Arc::new(record_of(reader.take_part()?, &messages)?));
        }
        let last = reader.take(8)?.get_u64_le();
        let count = reader.take(8)?.get_u64_le();
        let mut held = Vec::new();
        for _ in 0..count {
            held.push(reader.take_part()?);
        }
        let delayed = Delayed::from_parts(last, held);
        Some(Self { control, records, delayed, in_memory: Vec::new() })
    }
}

fn take_message(
    reader: &mut RangeReader<'_>,
    sections: &mut Sections<'_>,
) -> Option<StoredMessage> {
    let (section, offset) = sections.place(reader.offset());
    let head = decode_head(reader.peek(MESSAGE_HEADER_BYTES)?)?;
    let record = reader.take(MESSAGE_HEADER_BYTES + head.bytes as usize)?;
    is_whole(record).then(|| StoredMessage::in_file(head, section, offset))
}
