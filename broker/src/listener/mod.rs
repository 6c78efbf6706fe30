//! Where clients come in: bound sockets, limits, and the hand-over to a worker.
//!
//! Layer: above node, below run. IO. A listener is bound when the process starts, so that a taken
//! port is found at once, and listens only while the node serves.

mod accept;
mod acceptor;
mod bound;
mod rate;

pub use accept::run;
pub use bound::{BindError, BoundListener};
pub use rate::TokenBucket;
