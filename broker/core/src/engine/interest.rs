//! Who wants to hear what, as engines and their driver tell each other. Pure data.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A change of the set of filters that an engine's sessions hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum InterestChange {
    /// First subscription to the filter.
    Added(Arc<str>),
    /// The last one ended.
    Removed(Arc<str>),
}

/// Where forwarded messages go: another worker of this node or another node.
///
/// The driver assigns the numbers, 0 to 63, and keeps them while the destination lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Destination(u8);

impl Destination {
    /// How many destinations there can be.
    pub const COUNT: usize = 64;

    /// The destination with this number, or `None` from 64 on.
    #[must_use]
    pub const fn new(number: u8) -> Option<Self> {
        if (number as usize) < Self::COUNT { Some(Self(number)) } else { None }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }
}

/// What another worker or node wants to hear.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RemoteInterest {
    /// It has a subscription to the filter.
    Added(Destination, Arc<str>),
    /// It has none any more.
    Removed(Destination, Arc<str>),
    /// It is gone, or starts again with a snapshot.
    Cleared(Destination),
}
