//! Batches of messages from one engine to another worker or node. Pure.
//!
//! A batch is a version byte and then messages one after the other. A message is a byte of flags,
//! the group if it is for one member of one (position in four bytes, length of the Topic Filter in
//! two, the Topic Filter), the expiry in eight bytes if there is one, and the MQTT 5.0 PUBLISH of
//! QoS 0 that would carry it, which knows its own length. The same frame goes to every destination.
//!
//! Messages for groups travel in batches of their own: a node hands each of them to one worker,
//! all others to every worker.

use thiserror::Error;

use crate::codec::packet::{Packet, Publish};
use crate::codec::{Decoded, EncodeError, decode};
use crate::router::{FRAME_LIMITS, encode_at_rest};
use crate::types::{Millis, ProtocolVersion, QoS};

/// Version of the format, the first byte of each batch.
pub const FORWARD_VERSION: u8 = 2;

const QOS_BITS: u8 = 0b0011;
const RETAIN_BIT: u8 = 0b0100;
const EXPIRY_BIT: u8 = 0b1000;
const SHARED_BIT: u8 = 0b0001_0000;
const HOPS_BITS: u8 = 0b0110_0000;

/// Times that a message for a group may be passed on: by the one that it was sent to when the
/// member has left meanwhile, and by the next one when that has none either.
pub const HOPS_MAX: u8 = 2;

/// Where the position stands in the record of a message for a group: behind the flags.
const POSITION: std::ops::Range<usize> = 1..5;

/// A message out of a batch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Forwarded<'a> {
    /// The message with the QoS and RETAIN it was published with; without Packet Identifier and
    /// Message Expiry Interval.
    pub publish: Publish<'a>,
    /// When it expires; [`Millis::NEVER`] if it does not.
    pub expires_at: Millis,
    /// The group that it is for one member of.
    pub shared: Option<Shared<'a>>,
}

/// For whom a message is that goes to one member of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shared<'a> {
    /// The group's whole Topic Filter, `$share/` and the share name included.
    pub filter: &'a str,
    /// The member that is meant, by its place among those of the receiver.
    pub position: u32,
    /// Times that it has been passed on, up to [`HOPS_MAX`].
    pub hops: u8,
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
    shared: Option<Shared<'_>>,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    let start = out.len();
    let bit = |is_set: bool, bit: u8| if is_set { bit } else { 0 };
    let retain = bit(publish.retain, RETAIN_BIT);
    let expiry = bit(expires_at != Millis::NEVER, EXPIRY_BIT);
    let group = bit(shared.is_some(), SHARED_BIT);
    let hops = shared.map_or(0, |shared| shared.hops.min(HOPS_MAX)) << HOPS_BITS.trailing_zeros();
    out.push(publish.qos.as_u8() | retain | expiry | group | hops);
    if let Some(shared) = shared {
        out.extend_from_slice(&shared.position.to_be_bytes());
        // A Topic Filter is at most 65,535 bytes long.
        out.extend_from_slice(&(shared.filter.len() as u16).to_be_bytes());
        out.extend_from_slice(shared.filter.as_bytes());
    }
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

/// Whether the messages of a batch are for groups. It is one of the two for all of them.
#[must_use]
pub fn is_shared_batch(batch: &[u8]) -> bool {
    batch.first() == Some(&FORWARD_VERSION) && batch.get(1).is_some_and(|&f| f & SHARED_BIT != 0)
}

/// Appends the record of a message for a group to a batch, with another position.
pub fn push_record_at(record: &[u8], position: u32, batch: &mut Vec<u8>) {
    push_record(record, batch);
    let start = batch.len() - record.len();
    if let Some(bytes) = batch[start..].get_mut(POSITION) {
        bytes.copy_from_slice(&position.to_be_bytes());
    }
}

/// The messages of a batch, in order; after an error it ends.
pub fn read_batch(batch: &[u8]) -> impl Iterator<Item = Result<Forwarded<'_>, ForwardError>> {
    read_records(batch).map(|record| record.map(|(forwarded, _)| forwarded))
}

/// The messages of a batch as [`read_batch`] gives them, each with its record.
pub fn read_records(
    batch: &[u8],
) -> impl Iterator<Item = Result<(Forwarded<'_>, &[u8]), ForwardError>> {
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
                let record = &rest[..bytes_left - tail.len()];
                rest = tail;
                Some(Ok((forwarded, record)))
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
    if flags & !(QOS_BITS | RETAIN_BIT | EXPIRY_BIT | SHARED_BIT | HOPS_BITS) != 0 {
        return None;
    }
    let mut shared = None;
    if flags & SHARED_BIT != 0 {
        let (position, tail) = rest.split_first_chunk()?;
        let (length, tail) = tail.split_first_chunk()?;
        let (filter, tail) = tail.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        shared = Some(Shared {
            filter: std::str::from_utf8(filter).ok()?,
            position: u32::from_be_bytes(*position),
            hops: (flags & HOPS_BITS) >> HOPS_BITS.trailing_zeros(),
        });
        rest = tail;
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
    Some((Forwarded { publish, expires_at, shared }, rest.get(consumed..)?))
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
            encode_record(&publish(topic, b"xyz"), expires_at, None, &mut record).unwrap();
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

    fn shared_batch() -> Vec<u8> {
        let (mut record, mut batch) = (Vec::new(), Vec::new());
        for (position, hops) in [(7, 0), (u32::MAX, HOPS_MAX)] {
            record.clear();
            let shared = Some(Shared { filter: "$share/g/a/+", position, hops });
            encode_record(&publish("a/b", b"xyz"), Millis(5), shared, &mut record).unwrap();
            push_record(&record, &mut batch);
        }
        batch
    }

    #[test]
    fn a_message_for_a_group_says_which_and_can_be_given_another_position() {
        let shared = shared_batch();
        assert!(is_shared_batch(&shared) && !is_shared_batch(&batch()) && !is_shared_batch(&[]));
        let read: Vec<_> = read_records(&shared).map(Result::unwrap).collect();
        let filter = "$share/g/a/+";
        let first = Shared { filter, position: 7, hops: 0 };
        let second = Shared { filter, position: u32::MAX, hops: HOPS_MAX };
        let groups: Vec<_> = read.iter().map(|(forwarded, _)| forwarded.shared).collect();
        assert_eq!(groups, [Some(first), Some(second)]);
        assert_eq!((read[1].0.publish.topic, read[1].0.expires_at), ("a/b", Millis(5)));
        let mut other = Vec::new();
        for (_, record) in read.iter().rev() {
            push_record_at(record, 3, &mut other);
        }
        let read: Vec<_> = read_batch(&other).map(|item| item.unwrap().shared).collect();
        let at = |shared| Some(Shared { position: 3, ..shared });
        assert_eq!(read, [at(second), at(first)]);
    }

    #[test]
    fn a_batch_that_breaks_off_gives_what_came_before() {
        for batch in [batch(), shared_batch()] {
            check_every_cut(&batch);
        }
        assert_eq!(read_batch(&[]).count(), 0);
        assert_eq!(read_batch(&[9, 1]).next(), Some(Err(ForwardError::Version { version: 9 })));
        let malformed = ForwardError::Malformed { bytes_left: 2 };
        assert_eq!(read_batch(&[FORWARD_VERSION, 0xFF, 0]).next(), Some(Err(malformed)));
    }

    fn check_every_cut(batch: &[u8]) {
        for end in 1..batch.len() {
            let read: Vec<_> = read_batch(&batch[..end]).collect();
            let errors = read.iter().filter(|item| item.is_err()).count();
            assert!(errors <= 1 && read.len() <= 2);
        }
    }
}
