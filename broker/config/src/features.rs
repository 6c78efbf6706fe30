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
