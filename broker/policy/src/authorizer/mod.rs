//! May this client do this with that topic? Rule sets are compiled, shared and explained. Pure.
//!
//! A rule set is an ordered list of roles, flattened into ranked rules: the matching rule with the
//! lowest rank decides. It is compiled once for all clients with the same ordered roles; what
//! differs between them, the names that `%u` and `%c` stand for, is given with each question.

mod cache;
mod decision_cache;
mod explanation;
mod rule_set;
mod trie;

#[cfg(test)]
mod naive;
#[cfg(test)]
mod property_test;

use std::sync::Arc;

pub use decision_cache::DecisionCache;
pub use explanation::{Because, Explanation};

pub(crate) use cache::{RuleSetCache, RuleSource};
use rule_set::RuleSet;

use crate::record::AccessKind;

/// What a client is about to do, or the broker for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// The client publishes to a topic name; a Will Message too.
    Publish,
    /// The broker delivers a message with a topic name to the client, retained ones too.
    Receive,
    /// The client subscribes to a topic filter, `$share/...` included.
    Subscribe,
    /// The client unsubscribes from a topic filter.
    Unsubscribe,
}

impl Action {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Publish, Self::Receive, Self::Subscribe, Self::Unsubscribe];

    /// The default access that decides where no ACL matches.
    pub const fn access_kind(self) -> AccessKind {
        match self {
            Self::Publish => AccessKind::PublishClientSend,
            Self::Receive => AccessKind::PublishClientReceive,
            Self::Subscribe => AccessKind::Subscribe,
            Self::Unsubscribe => AccessKind::Unsubscribe,
        }
    }
}

/// The names a client has; `%u` and `%c` stand for them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) username: Option<Arc<str>>,
    pub(crate) client_id: Arc<str>,
}

impl Identity {
    /// Whether both are copies of one. Cheaper than a comparison of the names.
    fn is_same_allocation(&self, other: &Self) -> bool {
        let is_same_username = match (&self.username, &other.username) {
            (Some(own), Some(other)) => Arc::ptr_eq(own, other),
            (None, None) => true,
            _ => false,
        };
        is_same_username && Arc::ptr_eq(&self.client_id, &other.client_id)
    }
}

/// The rights of one client. A copy is cheap; the rules are shared with the clients that have the
/// same roles in the same order.
#[derive(Debug, Clone)]
pub struct Authorizer {
    rules: Arc<RuleSet>,
    identity: Identity,
}

impl Authorizer {
    pub(crate) const fn new(rules: Arc<RuleSet>, identity: Identity) -> Self {
        Self { rules, identity }
    }

    /// Whether the client may do this with the topic name (publish, receive) or the topic filter
    /// (subscribe, unsubscribe).
    ///
    /// Cost: a search down the topic's levels. At each level it follows the rules' literal level,
    /// their `+`, `%u` and `%c`, those that exist and could still beat the best rule found; it
    /// visits no node of the rules twice. It allocates nothing. Who asks often the same asks
    /// through a [`DecisionCache`].
    pub fn allows(&self, action: Action, topic: &str) -> bool {
        self.rules.decide(action, topic, &self.identity).is_allowed()
    }

    /// The same with the reason: which ACL of which role, or which default.
    pub fn explain(&self, action: Action, topic: &str) -> Explanation {
        let verdict = self.rules.decide(action, topic, &self.identity);
        self.rules.explain(action, verdict)
    }

    /// Whether the other has the same rights: the same names, and rules of the same content. A
    /// session whose rights stayed the same needs no second look after a policy change.
    pub fn has_same_rights(&self, other: &Self) -> bool {
        self.rules.key() == other.rules.key() && self.identity == other.identity
    }
}
