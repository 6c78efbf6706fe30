//! Routing: from a topic to the sessions, workers and nodes that want it. Pure.

mod message;

pub use message::Message;
