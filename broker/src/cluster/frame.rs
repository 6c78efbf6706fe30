//! Frames of a peer link: `[u32 length][u8 kind][u64 id][u8 version][body]`, little endian; the length
//! counts what follows it. The version is the link's; frames of the handshake, and of links of version
//! 1, have none. Pure.

use bytes::{Buf, Bytes, BytesMut};

use super::version::NAMED_IN_FRAMES;

/// Longest body of one frame. Whoever has more to say says it in several (snapshots do).
pub const FRAME_BODY_BYTES_MAX: usize = 8 << 20;

/// Bytes of kind and id.
const KIND_AND_ID_BYTES: usize = 9;

/// Bytes between the length field and the body.
const fn header_bytes(version: u16) -> usize {
    if version < NAMED_IN_FRAMES { KIND_AND_ID_BYTES } else { KIND_AND_ID_BYTES + 1 }
}

/// First byte of a frame: what it is and who serves it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct FrameKind;

impl FrameKind {
    /// Opens a link, both ways.
    pub(crate) const HELLO: u8 = 0;
    /// Answers a HELLO that is not accepted; the body says why.
    pub(crate) const REFUSED: u8 = 1;
    /// Asks for a PONG.
    pub(crate) const PING: u8 = 2;
    /// Answers a PING.
    pub(crate) const PONG: u8 = 3;
    /// Answers a request: the body is the answer.
    pub(crate) const ANSWER: u8 = 4;
    /// Answers a request: the body says why there is no answer.
    pub(crate) const FAILURE: u8 = 5;
    /// First kind that belongs to consensus.
    pub const CONSENSUS_FIRST: u8 = 16;
    /// A part of a snapshot, one of consensus's.
    pub const SNAPSHOT_PART: u8 = Self::CONSENSUS_FIRST + 3;
    /// Last kind that belongs to consensus.
    pub const CONSENSUS_LAST: u8 = 31;
    /// First kind that belongs to the hub: publishes, interest, claims.
    pub const HUB_FIRST: u8 = 32;
    /// What a broker does and holds, for the sums of the cluster. Whoever does not know it passes
    /// over it.
    pub const TOTALS: u8 = 64;
}

/// One frame as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    /// What it is.
    pub(crate) kind: u8,
    /// Pairs an answer with its request; 0 for what expects none.
    pub(crate) id: u64,
    /// The rest.
    pub(crate) body: Bytes,
}

/// The bytes can't be a frame; the link is of no more use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FrameError {
    /// The length field is out of range.
    #[error("it sent a frame of {bytes} bytes, which is outside {min}..={max}")]
    Length {
        /// What the length field says.
        bytes: usize,
        /// What it must say at least.
        min: usize,
        /// What it may say at most.
        max: usize,
    },
    /// The frame is not of the link's version.
    #[error("it sent a frame of version {found} on a link of version {agreed}")]
    Version {
        /// What the frame says.
        found: u16,
        /// What both ends agreed on.
        agreed: u16,
    },
}

/// Appends a frame of a link of this version to `out`.
pub(crate) fn append_frame(out: &mut Vec<u8>, version: u16, kind: u8, id: u64, body: &[u8]) {
    debug_assert!(body.len() <= FRAME_BODY_BYTES_MAX, "invariant: callers check the length");
    let length = (header_bytes(version) + body.len()) as u32;
    out.reserve(4 + length as usize);
    out.extend_from_slice(&length.to_le_bytes());
    out.push(kind);
    out.extend_from_slice(&id.to_le_bytes());
    if version >= NAMED_IN_FRAMES {
        out.push(version as u8);
    }
    out.extend_from_slice(body);
}

/// Takes the first frame off `input`; `None` when it is not there in full yet.
///
/// `body_bytes_max` is smaller than [`FRAME_BODY_BYTES_MAX`] until the peer is known.
pub(crate) fn split_frame(
    input: &mut BytesMut,
    version: u16,
    body_bytes_max: usize,
) -> Result<Option<Frame>, FrameError> {
    let Some(prefix) = input.first_chunk::<4>() else { return Ok(None) };
    let bytes = u32::from_le_bytes(*prefix) as usize;
    let min = header_bytes(version);
    let max = min + body_bytes_max;
    if bytes < min || bytes > max {
        return Err(FrameError::Length { bytes, min, max });
    }
    if input.len() < 4 + bytes {
        input.reserve(4 + bytes - input.len());
        return Ok(None);
    }
    let mut frame = input.split_to(4 + bytes).freeze();
    frame.advance(4);
    let kind = frame.get_u8();
    let id = frame.get_u64_le();
    if version >= NAMED_IN_FRAMES {
        let found = u16::from(frame.get_u8());
        if found != version {
            return Err(FrameError::Version { found, agreed: version });
        }
    }
    Ok(Some(Frame { kind, id, body: frame }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_back_as_they_were_appended_whatever_the_cuts() {
        for version in [1, 2] {
            let mut bytes = Vec::new();
            append_frame(&mut bytes, version, 40, 7, b"abc");
            append_frame(&mut bytes, version, 41, u64::MAX, b"");
            for cut in 0..bytes.len() {
                let mut input = BytesMut::new();
                let mut frames = Vec::new();
                for part in [&bytes[..cut], &bytes[cut..]] {
                    input.extend_from_slice(part);
                    while let Some(frame) = split_frame(&mut input, version, 16).unwrap() {
                        frames.push((frame.kind, frame.id, frame.body.to_vec()));
                    }
                }
                assert_eq!(frames, [(40, 7, b"abc".to_vec()), (41, u64::MAX, Vec::new())]);
                assert!(input.is_empty());
            }
        }
    }

    #[test]
    fn a_length_out_of_range_is_an_error_before_anything_is_allocated() {
        for (version, length) in [(1, 0u32), (1, 8), (1, 26), (2, 9), (2, 27), (2, u32::MAX)] {
            let mut input = BytesMut::from(&length.to_le_bytes()[..]);
            assert!(split_frame(&mut input, version, 16).is_err(), "{version} {length}");
            assert_eq!(input.len(), 4);
        }
    }

    #[test]
    fn a_frame_of_version_1_is_as_it_always_was_and_a_later_one_says_its_version() {
        let mut bytes = Vec::new();
        append_frame(&mut bytes, 1, 40, 7, b"a");
        assert_eq!(bytes, [10, 0, 0, 0, 40, 7, 0, 0, 0, 0, 0, 0, 0, b'a']);
        bytes.clear();
        append_frame(&mut bytes, 2, 40, 7, b"a");
        assert_eq!(bytes, [11, 0, 0, 0, 40, 7, 0, 0, 0, 0, 0, 0, 0, 2, b'a']);
        bytes[13] = 3;
        let error = split_frame(&mut BytesMut::from(&bytes[..]), 2, 16).unwrap_err();
        assert_eq!(error, FrameError::Version { found: 3, agreed: 2 });
    }
}
