//! Routing: from a topic to the sessions, workers and nodes that want it. Pure.
//!
//! Layer: above topics, below the engine. One tree over all filters holds both the sessions of
//! this engine (level three) and the destinations elsewhere (levels one and two), so that a topic
//! is matched once. What matching a topic gave is kept until a Subscription or a right changes.

mod changes;
mod entry;
mod message;
mod route;
mod route_cache;

#[cfg(test)]
mod router_test;

use std::collections::HashSet;
use std::sync::Arc;

pub(crate) use entry::Subscriber;
pub use message::Message;
pub(crate) use message::{FRAME_LIMITS, encode_at_rest};
pub(crate) use route::{OwnMessages, Route, Target, merge};

use changes::Changes;
use entry::FilterEntry;
use route_cache::{RouteCache, hash_topic};

use crate::engine::{Destination, InterestChange, InterestSeq, RemoteInterest};
use crate::session::{SessionSlot, Sessions};
use crate::topic::FilterTrie;

/// All filters that anyone known here subscribed to.
#[derive(Debug)]
pub(crate) struct Router {
    /// One entry per filter.
    filters: FilterTrie<FilterEntry>,
    /// Filters of each destination, to clear them when it is gone.
    remote_filters: Vec<HashSet<Arc<str>>>,
    changes: Changes,
    routes_made: u64,
    cache: RouteCache,
    matched: Vec<Subscriber>,
    interest: Interest,
}

/// What others are told of this engine's filters.
#[derive(Debug, Default)]
struct Interest {
    /// Changes that stand for the number after `issued`.
    changes: Vec<InterestChange>,
    issued: InterestSeq,
    confirmed: InterestSeq,
}

impl Router {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            filters: FilterTrie::with_seed(seed),
            remote_filters: (0..Destination::COUNT).map(|_| HashSet::new()).collect(),
            changes: Changes::default(),
            routes_made: 0,
            cache: RouteCache::default(),
            matched: Vec::new(),
            interest: Interest::default(),
        }
    }

    /// Rights or the identity of a session have changed: routes are to be made anew.
    pub(crate) fn forget_routes(&mut self) {
        self.changes.concern_all();
    }

    /// Adds or replaces a session's Subscription. Gives the filter to keep, and the interest
    /// change that others must know before it is heard everywhere.
    pub(crate) fn subscribe(
        &mut self,
        filter: &str,
        subscriber: Subscriber,
    ) -> (Arc<str>, InterestSeq) {
        let next = InterestSeq(self.interest.issued.0 + 1);
        let entry = Self::entry(&mut self.filters, filter);
        if entry.subscribers().is_empty() {
            entry.interest_seq = next;
            self.interest.changes.push(InterestChange::Added(Arc::clone(&entry.filter)));
        }
        entry.insert(subscriber);
        self.changes.concern(Arc::clone(&entry.filter));
        (Arc::clone(&entry.filter), entry.interest_seq)
    }

    /// The interest change that others must know before these filters are heard everywhere.
    pub(crate) fn interest_of<'a>(&self, filters: impl Iterator<Item = &'a str>) -> InterestSeq {
        let seqs = filters.filter_map(|filter| self.filters.get(filter).first());
        seqs.map(|entry| entry.interest_seq).max().unwrap_or_default()
    }

    /// Takes a session's Subscription out.
    pub(crate) fn unsubscribe(&mut self, filter: &str, session: SessionSlot) {
        let Some(entry) = self.filters.get_mut(filter).first_mut() else { return };
        if !entry.remove(session) {
            return;
        }
        self.changes.concern(Arc::clone(&entry.filter));
        if entry.subscribers().is_empty() {
            self.interest.changes.push(InterestChange::Removed(Arc::clone(&entry.filter)));
        }
        self.remove_if_unused(filter);
    }

    /// Notes what another engine wants to hear.
    pub(crate) fn set_remote(&mut self, change: RemoteInterest) {
        match change {
            RemoteInterest::Added(destination, filter) => {
                self.changes.concern(Arc::clone(&filter));
                Self::entry(&mut self.filters, &filter).remote |= 1 << destination.get();
                self.remote_filters[usize::from(destination.get())].insert(filter);
            }
            RemoteInterest::Removed(destination, filter) => {
                self.changes.concern(Arc::clone(&filter));
                self.remote_filters[usize::from(destination.get())].remove(&filter);
                self.remove_remote(destination, &filter);
            }
            RemoteInterest::Cleared(destination) => {
                self.changes.concern_all();
                let place = &mut self.remote_filters[usize::from(destination.get())];
                for filter in std::mem::take(place) {
                    self.remove_remote(destination, &filter);
                }
            }
        }
    }

    fn remove_remote(&mut self, destination: Destination, filter: &str) {
        if let Some(entry) = self.filters.get_mut(filter).first_mut() {
            entry.remote &= !(1 << destination.get());
            self.remove_if_unused(filter);
        }
    }

    fn remove_if_unused(&mut self, filter: &str) {
        self.filters.remove(filter, FilterEntry::is_unused);
    }

    fn entry<'a>(filters: &'a mut FilterTrie<FilterEntry>, filter: &str) -> &'a mut FilterEntry {
        if filters.get(filter).is_empty() {
            filters.insert(filter, FilterEntry::new(filter));
        }
        &mut filters.get_mut(filter)[0]
    }

    /// The route of a topic. It is taken out, and comes back by [`Self::put_route`].
    pub(crate) fn take_route(&mut self, topic: &str, sessions: &Sessions) -> Box<Route> {
        let hash = hash_topic(topic);
        let mut route = self.cache.take(hash);
        let epoch = self.changes.epoch();
        if *route.topic != *topic {
            route.topic = topic.into();
        } else if route.epoch == epoch || self.changes.spare(route.epoch, topic) {
            route.epoch = epoch;
            return route;
        }
        self.routes_made += 1;
        (route.hash, route.epoch, route.stamp) = (hash, epoch, self.routes_made);
        let (matched, mut remote) = (&mut self.matched, 0);
        self.filters.for_each_match(topic, |entry| {
            matched.extend_from_slice(entry.subscribers());
            remote |= entry.remote;
        });
        route.remote = remote;
        route.fill(matched, sessions);
        route
    }

    pub(crate) fn put_route(&mut self, route: Box<Route>) {
        self.cache.put(route);
    }

    /// The changes since the last call, under the number that they get by this.
    pub(crate) fn issue_interest(&mut self) -> Option<(InterestSeq, Vec<InterestChange>)> {
        if self.interest.changes.is_empty() {
            return None;
        }
        self.interest.issued.0 += 1;
        Some((self.interest.issued, std::mem::take(&mut self.interest.changes)))
    }

    pub(crate) const fn issued(&self) -> InterestSeq {
        self.interest.issued
    }

    pub(crate) const fn confirmed(&self) -> InterestSeq {
        self.interest.confirmed
    }

    pub(crate) fn confirm(&mut self, seq: InterestSeq) {
        self.interest.confirmed = self.interest.confirmed.max(seq).min(self.interest.issued);
    }

    /// The filters that sessions of this engine subscribed to.
    pub(crate) fn local_filters(&self) -> Vec<Arc<str>> {
        let mut filters = Vec::new();
        self.filters.for_each(|_, entry| {
            if !entry.subscribers().is_empty() {
                filters.push(Arc::clone(&entry.filter));
            }
        });
        filters
    }
}
