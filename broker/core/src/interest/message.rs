//! What nodes say to each other about interest. Pure data.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::engine::{InterestChange, SharedMembers};

/// From node to node. Epochs of one sender rise, also over its restarts; a receiver ignores what
/// is of an earlier epoch than it knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum InterestMessage {
    /// A part of the sender's whole set.
    Snapshot {
        /// The link's epoch.
        epoch: u64,
        /// The state that the set is of; changes from the next number on follow.
        seq: u64,
        /// Starts the set.
        first: bool,
        /// Ends it; it replaces what the receiver knew.
        last: bool,
        /// This part.
        filters: Vec<Arc<str>>,
        /// This part of those of which messages of QoS 0 alone are wanted.
        filters_qos0: Vec<Arc<str>>,
        /// This part of the groups that share a Subscription, with their members.
        groups: Vec<(Arc<str>, SharedMembers)>,
    },
    /// The sender's set has changed.
    Delta {
        /// The link's epoch.
        epoch: u64,
        /// One above that of the message before.
        seq: u64,
        /// What changed.
        changes: Vec<InterestChange>,
    },
    /// Every worker of the sender routes by the receiver's set as of `seq`.
    Acknowledge {
        /// The receiver's epoch.
        epoch: u64,
        /// The state reached.
        seq: u64,
    },
    /// Something of this epoch was missed: the set is wanted anew.
    Resync {
        /// The receiver's epoch.
        epoch: u64,
    },
}
