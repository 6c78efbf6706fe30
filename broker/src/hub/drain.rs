//! A drain of this broker, as it was asked for. Pure.

use std::sync::Arc;

/// Clients are moved away, and none let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drain {
    /// At most so many a second, over all workers.
    pub clients_per_second: u32,
    /// Where MQTT 5.0 clients are sent; `None`: where the configuration says.
    pub server_reference: Option<Arc<str>>,
    /// Who has asked for it.
    pub requested_by: Option<Arc<str>>,
}
