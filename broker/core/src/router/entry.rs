//! One topic filter with everyone who subscribed to it. Pure.

use std::sync::Arc;

use crate::codec::packet::SubscriptionOptions;
use crate::engine::InterestSeq;
use crate::session::SessionSlot;
use crate::types::{QoS, SubscriptionId};

/// A session's Subscription as the router keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Subscriber {
    pub(crate) session: SessionSlot,
    pub(crate) qos: QoS,
    pub(crate) no_local: bool,
    pub(crate) retain_as_published: bool,
    pub(crate) id: Option<SubscriptionId>,
}

impl Subscriber {
    pub(crate) const fn new(
        session: SessionSlot,
        options: SubscriptionOptions,
        id: Option<SubscriptionId>,
    ) -> Self {
        let SubscriptionOptions { qos, no_local, retain_as_published, .. } = options;
        Self { session, qos, no_local, retain_as_published, id }
    }
}

/// A filter's subscribers here and its destinations elsewhere.
#[derive(Debug)]
pub(super) struct FilterEntry {
    pub(super) filter: Arc<str>,
    /// Sorted by session; a session stands here once.
    subscribers: Vec<Subscriber>,
    /// Destinations by their bits.
    pub(super) remote: u64,
    /// The interest change that told others of the first subscriber.
    pub(super) interest_seq: InterestSeq,
}

impl FilterEntry {
    pub(super) fn new(filter: &str) -> Self {
        Self {
            filter: filter.into(),
            subscribers: Vec::new(),
            remote: 0,
            interest_seq: InterestSeq(0),
        }
    }

    pub(super) fn subscribers(&self) -> &[Subscriber] {
        &self.subscribers
    }

    pub(super) fn is_unused(&self) -> bool {
        self.subscribers.is_empty() && self.remote == 0
    }

    /// Adds the session's Subscription, or replaces it.
    pub(super) fn insert(&mut self, subscriber: Subscriber) {
        match self.place(subscriber.session) {
            Ok(at) => self.subscribers[at] = subscriber,
            Err(at) => self.subscribers.insert(at, subscriber),
        }
    }

    /// Takes the session's Subscription out; `false` when there was none.
    pub(super) fn remove(&mut self, session: SessionSlot) -> bool {
        match self.place(session) {
            Ok(at) => {
                self.subscribers.remove(at);
                true
            }
            Err(_) => false,
        }
    }

    fn place(&self, session: SessionSlot) -> Result<usize, usize> {
        self.subscribers.binary_search_by_key(&session, |subscriber| subscriber.session)
    }
}
