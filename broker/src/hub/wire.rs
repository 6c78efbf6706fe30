//! Frames between hubs. Pure.

use broker_core::claim::{FromArbiter, ToArbiter, ToPeer};
use broker_core::interest::InterestMessage;
use broker_core::session::SessionState;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::cluster::{FRAME_BODY_BYTES_MAX, FrameKind};

/// Messages for the receiver's sessions, in the format of `broker_core::forward`.
pub(super) const PUBLISHES: u8 = FrameKind::HUB_FIRST;
/// An [`InterestMessage`].
pub(super) const INTEREST: u8 = FrameKind::HUB_FIRST + 1;
/// A [`ToArbiter`].
pub(super) const TO_ARBITER: u8 = FrameKind::HUB_FIRST + 2;
/// A [`FromArbiter`].
pub(super) const FROM_ARBITER: u8 = FrameKind::HUB_FIRST + 3;
/// A [`ToPeer`].
pub(super) const TO_PEER: u8 = FrameKind::HUB_FIRST + 4;
/// A part of the body of the next frame that is none of these. A session may be longer than a
/// frame.
pub(super) const PART: u8 = FrameKind::HUB_FIRST + 5;

/// Longest part.
pub(super) const PART_BYTES_MAX: usize = FRAME_BODY_BYTES_MAX / 2;

/// Longest body put together from parts; a session's queue may be 64 MiB by default.
pub(super) const WHOLE_BYTES_MAX: usize = 256 << 20;

/// Most bytes of messages that a session takes along to another node: half of what a link holds
/// unsent before it is closed.
pub(super) const SESSION_BYTES_MAX: usize = 32 << 20;

/// A session as it travels.
pub(super) type Session = Box<SessionState>;

/// What a peer's hub says about claims and interest.
#[derive(Debug)]
pub(super) enum PeerMessage {
    Interest(InterestMessage),
    ToArbiter(ToArbiter),
    FromArbiter(FromArbiter),
    ToPeer(ToPeer<Session>),
}

impl PeerMessage {
    /// The message of a frame; `None` when it can't be read.
    pub(super) fn decode(kind: u8, body: &[u8]) -> Option<Self> {
        match kind {
            INTEREST => decode(body).map(Self::Interest),
            TO_ARBITER => decode(body).map(Self::ToArbiter),
            FROM_ARBITER => decode(body).map(Self::FromArbiter),
            TO_PEER => decode(body).map(Self::ToPeer),
            _ => None,
        }
    }

    /// The frame's kind and body; `None` when it can't be encoded.
    pub(super) fn encode(&self) -> Option<(u8, Vec<u8>)> {
        match self {
            Self::Interest(message) => encode(message).map(|body| (INTEREST, body)),
            Self::ToArbiter(message) => encode(message).map(|body| (TO_ARBITER, body)),
            Self::FromArbiter(message) => encode(message).map(|body| (FROM_ARBITER, body)),
            Self::ToPeer(message) => encode(message).map(|body| (TO_PEER, body)),
        }
    }
}

fn encode(message: &impl Serialize) -> Option<Vec<u8>> {
    postcard::to_allocvec(message).ok()
}

fn decode<T: DeserializeOwned>(body: &[u8]) -> Option<T> {
    match postcard::take_from_bytes(body) {
        Ok((message, [])) => Some(message),
        Ok(_) | Err(_) => None,
    }
}
