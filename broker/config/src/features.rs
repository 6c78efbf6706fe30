//! What a broker does beside routing messages, checked. Pure.

use std::sync::Arc;

/// Another server for clients that this one does not keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// Server Reference, not empty.
    pub server_reference: Arc<str>,
    /// Whether every client is sent there that connects.
    pub refuse_connects: bool,
}

/// What is held for `$delayed` topics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delayed {
    /// Messages at one time.
    pub messages_max: u32,
    /// Their bytes.
    pub bytes_max: u64,
    /// Longest delay, in seconds.
    pub seconds_max: u32,
}
