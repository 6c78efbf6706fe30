//! A worker's operations of one pass, as one command of the log. Pure data.

use bytes::{BufMut, Bytes};
use serde::{Deserialize, Serialize};

use crate::types::{Millis, NodeId};

/// Who proposes, and which of its batches it is: one that reaches the log twice is applied once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchOrigin {
    /// The node.
    pub node: NodeId,
    /// When its process started, by its own clock: later processes have higher ones.
    pub start: u64,
    /// Rises from batch to batch of that process.
    pub seq: u64,
    /// Every batch below this one has its answer: outcomes of those are no longer remembered.
    pub settled: u64,
}

/// What durable sessions may hold; stamped into each batch, so that nodes whose configuration
/// differs for a while still agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionLimits {
    /// Sessions.
    pub sessions_max: u64,
    /// Messages waiting in one session whose client is away.
    pub messages_max: u64,
    /// As many more may be on their way to a client that is connected.
    pub in_flight_max: u64,
    /// Bytes (topic, properties, payload) waiting in one session.
    pub bytes_max: u64,
    /// Bytes waiting in all sessions; a message counts in each session that it waits in, though it
    /// is kept once.
    pub bytes_total_max: u64,
}

impl Default for SessionLimits {
    fn default() -> Self {
        Self {
            sessions_max: 1_000_000,
            messages_max: 10_000,
            in_flight_max: 1024,
            bytes_max: 64 << 20,
            bytes_total_max: 1 << 30,
        }
    }
}

/// Operations with who proposes them, when, and within which limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionBatch {
    /// Who proposes.
    pub origin: BatchOrigin,
    /// The proposer's clock.
    pub now: Millis,
    /// What sessions may hold.
    pub limits: SessionLimits,
    /// [`super::Operation`]s one behind the other.
    pub operations: Bytes,
}

#[derive(Serialize, Deserialize)]
struct Header {
    origin: BatchOrigin,
    now: Millis,
    limits: SessionLimits,
}

impl SessionBatch {
    /// Appends the batch; `None` when it can't be encoded, which no batch causes.
    pub(crate) fn encode(&self) -> Option<Vec<u8>> {
        let header = Header { origin: self.origin, now: self.now, limits: self.limits };
        let mut out = postcard::to_stdvec(&header).ok()?;
        out.put_slice(&self.operations);
        Some(out)
    }

    /// Reads what [`Self::encode`] wrote. The operations are read when they are applied.
    pub(crate) fn decode(body: &Bytes) -> Option<Self> {
        let (header, operations) = postcard::take_from_bytes::<Header>(body).ok()?;
        let Header { origin, now, limits } = header;
        Some(Self { origin, now, limits, operations: body.slice_ref(operations) })
    }
}

/// What became of one operation, the same on every node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum OperationOutcome {
    /// It is carried out, or was before.
    Done,
    /// The session is this connection's.
    Attached {
        /// Names the session's time on this connection; goes into what the connection proposes.
        attachment: u64,
        /// Whether there was a session to go on with.
        session_present: bool,
    },
    /// A limit is reached, and nothing is kept.
    Full,
    /// Another connection has the session, or there is none any more.
    Stale,
    /// The bytes are no operation.
    Malformed,
}
