//! The pure core of the broker: codec, topics, sessions, routing and the replicated state machine.
//!
//! Nothing here opens a socket, reads a clock, draws a random number or starts a thread: bytes and
//! times come in as arguments, frames and effects go out as values.

pub mod claim;
pub mod cluster_state;
pub mod codec;
mod connection;
pub mod engine;
pub mod forward;
pub mod interest;
pub mod memory_budget;
pub mod retained;
pub mod router;
pub mod session;
pub mod shard;
pub mod stored;
pub mod topic;
pub mod types;
