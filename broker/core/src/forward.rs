//! Batches of messages from one engine to another worker or node. Pure.
//!
//! A batch is a version byte and then messages one after the other. A message is a byte of flags,
//! the expiry in eight bytes if there is one, and the MQTT 5.0 PUBLISH of QoS 0 that would carry
//! it, which knows its own length. The same frame goes to every destination.

use thiserror::Error;

use crate::codec::packet::{Packet, Publish};
use crate::codec::{Decoded, EncodeError, decode};
use crate::router::{FRAME_LIMITS, encode_at_rest};
use crate::types::{Millis, ProtocolVersion, QoS};

/// Version of the format, the first byte of each batch.
pub const FORWARD_VERSION: u8 = 1;

const QOS_BITS: u8 = 0b0011;
const RETAIN_BIT: u8 = 0b0100;
const EXPIRY_BIT: u8 = 0b1000;

/// A message out of a batch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Forwarded<'a> {
    /// The message with the QoS and RETAIN it was published with; without Packet Identifier and
    /// Message Expiry Interval.
    pub publish: Publish<'a>,
    /// When it expires; [`Millis::NEVER`] if it does not.
    pub expires_at: Millis,
}

/// A batch that cannot be read on. Messages before the fault are good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ForwardError {
    /// Another version wrote it.
    #[error("forward batch has version {version}, this node reads {FORWARD_VERSION}")]
    Version {
        /// The first byte.
        version: u8,
    },
    /// Not a message.
    #[error("forward batch is malformed {bytes_left} bytes before its end")]
    Malformed {
        /// Bytes from the faulty message on.
        bytes_left: usize,
    },
}

/// Appends the record of one message: what [`push_record`] puts into batches.
///
/// # Errors
/// [`EncodeError`]; `out` is then as before.
pub fn encode_record(
    publish: &Publish<'_>,
    expires_at: Millis,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    let start = out.len();
    let retain = if publish.retain { RETAIN_BIT } else { 0 };
    let expiry = if expires_at == Millis::NEVER { 0 } else { EXPIRY_BIT };
    out.push(publish.qos.as_u8() | retain | expiry);
    if expiry != 0 {
        out.extend_from_slice(&expires_at.0.to_be_bytes());
    }
    encode_at_rest(publish, out).inspect_err(|_| out.truncate(start))
}

/// Appends a record to a batch, which it begins if it is empty.
pub fn push_record(record: &[u8], batch: &mut Vec<u8>) {
    if batch.is_empty() {
        batch.push(FORWARD_VERSION);
    }
    batch.extend_from_slice(record);
}

/// The messages of a batch, in order; after an error it ends.
pub fn read_batch(batch: &[u8]) -> impl Iterator<Item = Result<Forwarded<'_>, ForwardError>> {
    let (version, mut rest) = match batch.split_first() {
        None => (FORWARD_VERSION, batch),
        Some((&version, rest)) => (version, rest),
    };
    let mut error = (version != FORWARD_VERSION).then_some(ForwardError::Version { version });
    std::iter::from_fn(move || {
        if let Some(error) = error.take() {
            rest = &[];
            return Some(Err(error));
        }
        if rest.is_empty() {
            return None;
        }
        let bytes_left = rest.len();
        match read_record(rest) {
            Some((forwarded, tail)) => {
                rest = tail;
                Some(Ok(forwarded))
            }
            None => {
                rest = &[];
                Some(Err(ForwardError::Malformed { bytes_left }))
            }
        }
    })
}

fn read_record(record: &[u8]) -> Option<(Forwarded<'_>, &[u8])> {
    let (&flags, mut rest) = record.split_first()?;
    if flags & !(QOS_BITS | RETAIN_BIT | EXPIRY_BIT) != 0 {
        return None;
    }
    let mut expires_at = Millis::NEVER;
    if flags & EXPIRY_BIT != 0 {
        let (bytes, tail) = rest.split_first_chunk()?;
        expires_at = Millis(u64::from_be_bytes(*bytes));
        rest = tail;
    }
    let decoded = decode(rest, Some(ProtocolVersion::V5), &FRAME_LIMITS).ok()?;
    let Decoded::Packet { packet: Packet::Publish(mut publish), consumed } = decoded else {
        return None;
    };
    publish.qos = QoS::from_u8(flags & QOS_BITS)?;
    publish.retain = flags & RETAIN_BIT != 0;
    Some((Forwarded { publish, expires_at }, rest.get(consumed..)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::UserProperties;
    use crate::codec::packet::PublishProperties;

    fn publish<'a>(topic: &'a str, payload: &'a [u8]) -> Publish<'a> {
        Publish {
            dup: false,
            qos: QoS::AtLeastOnce,
            retain: true,
            topic,
            packet_id: None,
            properties: PublishProperties {
                content_type: Some("text/plain"),
                user_properties: UserProperties::from_pairs(&[("a", "1"), ("a", "2")]),
                ..Default::default()
            },
            payload,
        }
    }

    fn batch() -> Vec<u8> {
        let (mut record, mut batch) = (Vec::new(), Vec::new());
        for (topic, expires_at) in [("a/b", Millis(5)), ("c", Millis::NEVER)] {
            record.clear();
            encode_record(&publish(topic, b"xyz"), expires_at, &mut record).unwrap();
            push_record(&record, &mut batch);
        }
        batch
    }

    #[test]
    fn messages_come_out_as_they_went_in() {
        let batch = batch();
        let read: Vec<_> = read_batch(&batch).map(Result::unwrap).collect();
        let topics: Vec<_> = read.iter().map(|f| (f.publish.topic, f.expires_at)).collect();
        assert_eq!(topics, [("a/b", Millis(5)), ("c", Millis::NEVER)]);
        let first = read[0].publish;
        assert_eq!((first.qos, first.retain, first.payload), (QoS::AtLeastOnce, true, &b"xyz"[..]));
        assert_eq!(first.properties.content_type, Some("text/plain"));
        assert_eq!(first.properties.user_properties.iter().count(), 2);
    }

    #[test]
    fn a_batch_that_breaks_off_gives_what_came_before() {
        let batch = batch();
        for end in 1..batch.len() {
            let read: Vec<_> = read_batch(&batch[..end]).collect();
            let errors = read.iter().filter(|item| item.is_err()).count();
            assert!(errors <= 1 && read.len() <= 2);
        }
        assert_eq!(read_batch(&[]).count(), 0);
        assert_eq!(read_batch(&[9, 1]).next(), Some(Err(ForwardError::Version { version: 9 })));
        let malformed = ForwardError::Malformed { bytes_left: 2 };
        assert_eq!(read_batch(&[FORWARD_VERSION, 0xFF, 0]).next(), Some(Err(malformed)));
    }
}
