//! Messages of durable sessions, wherever their bytes are: in memory, or in a file that others
//! write.
//!
//! Layer: above messages, below `shard`. Pure: it reads files through [`ReadAt`] and writes none.
//!
//! A session's queue holds a [`StoredMessage`] for each message: what queues decide by (size, QoS,
//! RETAIN, expiry) and where the rest is. Whoever keeps files moves messages there when memory for
//! them is spent ([`MessageStore`]); a snapshot that is written takes over what was moved.

mod message;
mod record;
mod section;
mod sink;

pub use message::{MessageLost, StoredMessage, WeakMessage};
pub(crate) use section::Sections;
pub use section::{FileRange, MessageSection, RangeReader, ReadAt};
pub use sink::Placed;
pub(crate) use sink::Sink;

pub(crate) use record::{MESSAGE_HEADER_BYTES, decode_head, is_whole};

/// Told of the messages that sessions keep, so that it can move them out of memory.
pub trait MessageStore: std::fmt::Debug + Send + Sync {
    /// Sessions keep this message from now on; its bytes are in memory.
    fn kept(&self, message: &StoredMessage);

    /// A message that sessions keep can't be read any more.
    fn lost(&self, lost: &MessageLost);
}

/// Leaves all messages in memory.
#[derive(Debug, Clone, Copy, Default)]
pub struct InMemory;

impl MessageStore for InMemory {
    fn kept(&self, _message: &StoredMessage) {}

    fn lost(&self, _lost: &MessageLost) {}
}
