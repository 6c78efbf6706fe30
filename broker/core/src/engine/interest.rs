//! Who wants to hear what, as engines and their driver tell each other. Pure data.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::types::NodeId;

/// A change of the set of filters that an engine's sessions hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum InterestChange {
    /// First subscription to the filter.
    Added(Arc<str>),
    /// The last one ended.
    Removed(Arc<str>),
    /// The sessions that share a Subscription have come to be these many.
    Shared {
        /// The whole Topic Filter, `$share/` and the share name included.
        filter: Arc<str>,
        /// How many they are now; none ends the Subscription.
        members: SharedMembers,
    },
    /// As `Added`, but all who subscribed to the filter get messages of QoS 1 and 2 from the
    /// replicated state: only those of QoS 0 are to be forwarded. Each of the two replaces the
    /// other.
    AddedQoS0(Arc<str>),
}

impl InterestChange {
    /// The change as others take it in: of the worker or node that they know as `destination`;
    /// `node` names it when it is another node.
    #[must_use]
    pub fn at(self, destination: Destination, node: Option<NodeId>) -> RemoteInterest {
        match self {
            Self::Added(filter) => RemoteInterest::Added(destination, filter),
            Self::AddedQoS0(filter) => RemoteInterest::AddedQoS0(destination, filter),
            Self::Removed(filter) => RemoteInterest::Removed(destination, filter),
            Self::Shared { filter, members } => {
                RemoteInterest::Shared { destination, node, filter, members }
            }
        }
    }
}

/// How many sessions of one engine or node share a Subscription.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharedMembers {
    /// Those whose clients are connected.
    pub connected: u32,
    /// Those that wait for their clients.
    pub offline: u32,
    /// Those of the connected ones that get messages of QoS 1 and 2 from the replicated state.
    pub served_by_state: u32,
}

impl SharedMembers {
    /// Nobody.
    pub const NONE: Self = Self { connected: 0, offline: 0, served_by_state: 0 };

    /// Those connected ones that get messages of QoS 1 and 2 from engines.
    #[must_use]
    pub const fn live(self) -> u32 {
        self.connected.saturating_sub(self.served_by_state)
    }

    /// All kinds of both.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            connected: self.connected.saturating_add(other.connected),
            offline: self.offline.saturating_add(other.offline),
            served_by_state: self.served_by_state.saturating_add(other.served_by_state),
        }
    }
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
    /// As `Added`, for messages of QoS 0 alone.
    AddedQoS0(Destination, Arc<str>),
    /// It has none any more.
    Removed(Destination, Arc<str>),
    /// The sessions there that share a Subscription have come to be these many.
    Shared {
        /// The worker or node.
        destination: Destination,
        /// The node, when it is another one.
        node: Option<NodeId>,
        /// The whole Topic Filter, `$share/` and the share name included.
        filter: Arc<str>,
        /// How many they are now; with none the Subscription has ended there.
        members: SharedMembers,
    },
    /// It can't be reached for now: others of a group get what it could get.
    SharedCleared(Destination),
    /// It is gone, or starts again with a snapshot.
    Cleared(Destination),
}
