//! One live connection per Client Identifier across the cluster.
//!
//! Layer: above the engine's vocabulary, below the hub. Pure: messages and times come in, messages
//! and actions go out; the hub carries them.
//!
//! The leader of the meta group is the [`Arbiter`]: it numbers every grant with a rising [`Claim`]
//! and remembers, in memory only, which nodes may hold an identifier. Each node has a
//! [`NodeClaims`]: the registry of which worker holds what, under which claim.
//!
//! A connection is granted its claim together with the list of all nodes that may still hold the
//! identifier. It goes live after each of them has let go ([`ToPeer::TakeOver`]: the older
//! connection is closed and the session moves), or has not answered within
//! [`TAKE_OVER_MILLIS_MAX`]. Then the node tells the arbiter who has let go
//! ([`ToArbiter::Settled`]); whoever hasn't is told to ([`FromArbiter::Revoke`]) as soon as it can
//! be reached. So a connection outlives a newer grant only where it can't be reached. The next
//! grant of the same identifier waits for this one to settle, [`SETTLE_MILLIS_MAX`] at most.
//!
//! None of this relies on the order of messages. That a session always moves with its identifier
//! does: what one node sends to another must arrive in order, as it does on a peer link.
//!
//! A new leader knows nothing. It asks the nodes for what they hold and grants nothing until all
//! live ones have reported or [`RECOVERY_MILLIS_MAX`] has passed. A node that has reported to a
//! term accepts no grant of an earlier one.

mod arbiter;
mod message;
mod node;
mod taking;

#[cfg(test)]
mod arbiter_test;
#[cfg(test)]
mod node_test;
#[cfg(test)]
mod property_test;

pub use crate::engine::Claim;
pub use arbiter::Arbiter;
pub use message::{Denial, FromArbiter, Holding, RequestId, ToArbiter, ToPeer};
pub use node::{ClaimAnswer, NodeAction, NodeClaims, Place, Ticket, WorkerIndex};

/// Longest wait for the nodes that may hold an identifier, in milliseconds. One that has not
/// answered by then is treated as unreachable, and the client gets a fresh session.
pub const TAKE_OVER_MILLIS_MAX: u64 = 1_000;

/// How long the arbiter waits for a grant to settle before it makes the next one, in milliseconds:
/// the take-over and the messages before and after it.
pub const SETTLE_MILLIS_MAX: u64 = TAKE_OVER_MILLIS_MAX + 500;

/// Longest wait of a connection for its grant, in milliseconds: covers an election and the new
/// leader's recovery.
pub const GRANT_MILLIS_MAX: u64 = 4_000;

/// How long a new arbiter waits for the reports of live nodes, in milliseconds.
pub const RECOVERY_MILLIS_MAX: u64 = 1_000;

/// Most requests that wait for a recovery to end; more are denied.
pub const RECOVERY_REQUESTS_MAX: usize = 100_000;

/// Most identifiers in one part of a report, so that a part stays far below a frame's limit.
pub const REPORT_PART_MAX: usize = 1_000;
