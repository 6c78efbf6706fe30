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
    /// Whether the replicated state gives it messages of QoS 1 and 2.
    pub(crate) is_served_by_state: bool,
}

impl Subscriber {
    pub(crate) const fn new(
        session: SessionSlot,
        options: SubscriptionOptions,
        id: Option<SubscriptionId>,
    ) -> Self {
        let SubscriptionOptions { qos, no_local, retain_as_published, .. } = options;
        let is_served_by_state = false;
        Self { session, qos, no_local, retain_as_published, id, is_served_by_state }
    }

    /// The same, of a session that is durable or not. What it gets of QoS 0 never is the state's.
    pub(crate) fn of_durable(self, is_durable: bool) -> Self {
        Self { is_served_by_state: is_durable && self.qos != QoS::AtMostOnce, ..self }
    }
}

/// What others are to send to the subscribers of a filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    Nothing,
    /// Messages of QoS 0: all others come by the replicated state.
    QoS0,
    Everything,
}

/// A filter's subscribers here and its destinations elsewhere.
#[derive(Debug)]
pub(super) struct FilterEntry {
    pub(super) filter: Arc<str>,
    /// Sorted by session; a session stands here once.
    subscribers: Vec<Subscriber>,
    /// How many of them the replicated state serves.
    served_by_state: usize,
    /// Destinations by their bits.
    pub(super) remote: u64,
    /// Those of them that want messages of QoS 0 alone.
    pub(super) remote_qos0: u64,
    /// The interest change that told others of what is wanted.
    pub(super) interest_seq: InterestSeq,
}

impl FilterEntry {
    pub(super) fn new(filter: &str) -> Self {
        Self {
            filter: filter.into(),
            subscribers: Vec::new(),
            served_by_state: 0,
            remote: 0,
            remote_qos0: 0,
            interest_seq: InterestSeq(0),
        }
    }

    pub(super) fn subscribers(&self) -> &[Subscriber] {
        &self.subscribers
    }

    pub(super) fn wanted(&self) -> Wanted {
        match self.subscribers.len() {
            0 => Wanted::Nothing,
            count if count == self.served_by_state => Wanted::QoS0,
            _ => Wanted::Everything,
        }
    }

    pub(super) fn is_unused(&self) -> bool {
        self.subscribers.is_empty() && self.remote == 0
    }

    /// Adds the session's Subscription, or replaces it.
    pub(super) fn insert(&mut self, subscriber: Subscriber) {
        self.served_by_state += usize::from(subscriber.is_served_by_state);
        match self.place(subscriber.session) {
            Ok(at) => {
                let earlier = std::mem::replace(&mut self.subscribers[at], subscriber);
                self.served_by_state -= usize::from(earlier.is_served_by_state);
            }
            Err(at) => self.subscribers.insert(at, subscriber),
        }
    }

    /// Takes the session's Subscription out; `false` when there was none.
    pub(super) fn remove(&mut self, session: SessionSlot) -> bool {
        match self.place(session) {
            Ok(at) => {
                let earlier = self.subscribers.remove(at);
                self.served_by_state -= usize::from(earlier.is_served_by_state);
                true
            }
            Err(_) => false,
        }
    }

    fn place(&self, session: SessionSlot) -> Result<usize, usize> {
        self.subscribers.binary_search_by_key(&session, |subscriber| subscriber.session)
    }
}
