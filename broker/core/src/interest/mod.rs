//! Who wants to hear what: a node's filters told to its peers and workers, and theirs told to it.
//!
//! Layer: above the engine's vocabulary, below the hub. Pure: messages and times come in, messages
//! and updates go out; the hub carries them.
//!
//! A node is the only authority on the filters of its own sessions. It tells each peer all of them
//! when their link comes up (a snapshot, under a new epoch) and what changes from then on. The
//! peer acknowledges once every worker of its own has the change in its routing table. A change
//! that a worker made is confirmed, and its SUBACK may leave, when all other workers of the node
//! and all live peers have it; a peer that has not acknowledged within
//! [`ACKNOWLEDGE_MILLIS_MAX`] counts as gone until it has caught up.
//!
//! Of a group that shares a Subscription others are told how many members it has. A peer that can't
//! be reached has none: others of the group get what it could get.
//!
//! What a peer wanted is kept for [`GRACE_MILLIS`] after its link broke, so that a link that comes
//! back finds messages routed as before.

mod destination;
mod exchange;
mod groups;
mod inbound;
mod known;
mod message;
mod outbound;
mod worker_updates;

#[cfg(test)]
mod exchange_test;
#[cfg(test)]
mod property_test;
#[cfg(test)]
mod property_world;

pub use exchange::{InterestAction, InterestExchange};
pub use message::InterestMessage;

/// Longest wait for a peer's acknowledgement, in milliseconds.
pub const ACKNOWLEDGE_MILLIS_MAX: u64 = 1_000;

/// How long a peer's filters are kept after it can't change them any more, in milliseconds.
pub const GRACE_MILLIS: u64 = 5_000;

/// Bytes of filters after which a message is cut, so that it stays far below a frame's limit.
pub const MESSAGE_BYTES_SOFT_MAX: usize = 256 * 1024;
