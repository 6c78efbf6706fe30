//! A message as it stands in a file. Pure.
//!
//! Little endian: `[u32 bytes of the frame][u32 crc of all behind it][u8 QoS][u8 RETAIN]
//! [u64 expiry][frame]`.

use bytes::{Buf, BufMut};

use super::message::MessageHead;
use crate::router::Message;
use crate::types::{Millis, QoS};

/// Bytes before the frame.
pub(crate) const MESSAGE_HEADER_BYTES: usize = 18;

/// Where what the checksum covers begins.
const CHECKED_FROM: usize = 8;

/// Appends a message.
pub(super) fn append(message: &Message, out: &mut Vec<u8>) {
    let start = out.len();
    out.put_u32_le(message.bytes() as u32);
    out.put_u32_le(0);
    out.put_u8(message.qos().as_u8());
    out.put_u8(u8::from(message.retain()));
    out.put_u64_le(message.expires_at().0);
    out.put_slice(message.frame());
    let crc = crc32fast::hash(&out[start + CHECKED_FROM..]);
    out[start + 4..start + 8].copy_from_slice(&crc.to_le_bytes());
}

/// What is known of a message by its first [`MESSAGE_HEADER_BYTES`]; `None` for anything else.
/// Nothing is checked but what it needs.
pub(crate) fn decode_head(mut bytes: &[u8]) -> Option<MessageHead> {
    if bytes.len() < MESSAGE_HEADER_BYTES {
        return None;
    }
    let frame_bytes = bytes.get_u32_le();
    let _crc = bytes.get_u32_le();
    let qos = QoS::from_u8(bytes.get_u8())?;
    let retain = bytes.get_u8() != 0;
    let expires_at = Millis(bytes.get_u64_le());
    Some(MessageHead { expires_at, bytes: frame_bytes, qos, retain })
}

/// Whether these are all bytes of one message, as they were written.
pub(crate) fn is_whole(bytes: &[u8]) -> bool {
    let Some(head) = decode_head(bytes) else { return false };
    let crc = (&bytes[4..CHECKED_FROM]).get_u32_le();
    bytes.len() == MESSAGE_HEADER_BYTES + head.bytes as usize
        && crc32fast::hash(&bytes[CHECKED_FROM..]) == crc
}

/// The message that these bytes hold; `None` when they are not what was written.
pub(super) fn decode(bytes: &[u8]) -> Option<Message> {
    let head = decode_head(bytes).filter(|_| is_whole(bytes))?;
    let frame = &bytes[MESSAGE_HEADER_BYTES..];
    Some(Message::from_frame(head.qos, head.retain, head.expires_at, frame))
}
