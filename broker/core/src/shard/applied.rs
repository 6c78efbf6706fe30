//! What applying a batch looks at beside the sessions, and what comes of it. Pure data.

use std::sync::Arc;

use broker_policy::Policy;

use super::Holder;
use super::batch::OperationOutcome;
#[cfg(doc)]
use super::operation::ANYWHERE_LEVEL;
use crate::retained::RetainedChange;
use crate::router::Message;
use crate::stored::StoredMessage;
use crate::types::ClientId;

/// What else of the replicated state operations look at or change.
pub struct ApplyContext<'a> {
    /// The log entry.
    pub log_index: u64,
    /// The policy as of the entry: a will is published if its user may.
    pub policy: &'a Policy,
    /// Sets or takes away a retained message; false when there is no room for it.
    pub retain: &'a mut dyn FnMut(RetainedChange) -> bool,
    /// Whether a message is what its topic retains now; `None` below [`ANYWHERE_LEVEL`], where
    /// earlier versions do not ask.
    pub is_retained: Option<&'a dyn Fn(&Message) -> bool>,
}

/// A session that has something to send.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ready {
    /// Where its client is connected.
    pub holder: Holder,
    /// Whose session.
    pub client_id: ClientId,
}

/// Whom a message is for beside the state's sessions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LiveAudience {
    /// Everybody who is not in the state, also in groups.
    Others {
        /// Whose will it is.
        client_id: ClientId,
        /// Groups that have it already: a member in the state was chosen.
        served: Vec<Arc<str>>,
    },
    /// A member of this group who is not in the state. The state takes it back when there is none.
    Group(Arc<str>),
}

/// A message that a node is to send to those who are not in the state: a will, or what was left to
/// its group.
#[derive(Debug, Clone, PartialEq)]
pub struct LiveMessage {
    /// The node that proposed what led to it.
    pub node: crate::types::NodeId,
    /// Its process: one that reads the entry again after a start does not send it again.
    pub start: u64,
    /// Whom it is for.
    pub audience: LiveAudience,
    /// The message.
    pub message: StoredMessage,
}

/// Messages that were not kept or not published, for the counters of the node that proposed what led
/// to it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Drops {
    /// A session had no room; counted for each.
    pub queue_full: u64,
    /// Whose message it was may not publish any more: a will, or one that was delayed.
    pub publish_denied: u64,
    /// One that was delayed, or left to its group, has expired.
    pub expired: u64,
}

/// What came of a batch.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Applied {
    /// One for each operation, in order.
    pub outcomes: Vec<OperationOutcome>,
    /// Sessions with new messages whose clients are connected, wherever.
    pub ready: Vec<Ready>,
    /// Wills, delayed messages and others for everybody else.
    pub live: Vec<LiveMessage>,
    /// What nobody got.
    pub drops: Drops,
}
