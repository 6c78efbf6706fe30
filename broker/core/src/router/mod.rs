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
mod shared;
mod shared_route;

#[cfg(test)]
mod router_test;
#[cfg(test)]
mod shared_test;

use std::collections::HashSet;
use std::sync::Arc;

pub(crate) use entry::Subscriber;
pub use message::Message;
pub(crate) use message::{FRAME_LIMITS, encode_at_rest};
pub(crate) use route::{OwnMessages, Route, Target, merge};
pub(crate) use route_cache::hash_topic;
pub(crate) use shared::{GroupIndex, Holder, Place, Turn};
pub(crate) use shared_route::{Presence, SharedRoute};

use changes::Changes;
use entry::{FilterEntry, Wanted};
use route_cache::RouteCache;
use shared::{Groups, RemoteMembers};

use crate::engine::{
    Destination, DurabilityRules, InterestChange, InterestSeq, RemoteInterest, SharedMembers,
};
use crate::session::{SessionSlot, Sessions};
use crate::topic::{FilterTrie, is_shared};

/// All filters that anyone known here subscribed to.
#[derive(Debug)]
pub(crate) struct Router {
    /// Where the members of this engine stand among all of a group.
    here: Holder,
    /// One entry per filter.
    filters: FilterTrie<FilterEntry>,
    groups: Groups,
    /// Filters of each destination, to clear them when it is gone; those of Shared Subscriptions
    /// whole.
    remote_filters: Vec<HashSet<Arc<str>>>,
    changes: Changes,
    routes_made: u64,
    cache: RouteCache,
    matched: Vec<Subscriber>,
    interest: Interest,
    durability: DurabilityRules,
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
    pub(crate) fn new(seed: u64, here: Holder) -> Self {
        Self {
            here,
            filters: FilterTrie::with_seed(seed),
            groups: Groups::new(seed),
            remote_filters: (0..Destination::COUNT).map(|_| HashSet::new()).collect(),
            changes: Changes::default(),
            routes_made: 0,
            cache: RouteCache::default(),
            matched: Vec::new(),
            interest: Interest::default(),
            durability: DurabilityRules::new(&[], seed),
        }
    }

    /// The same, which knows whose messages are acknowledged at once.
    pub(crate) fn with_durability(self, durability: DurabilityRules) -> Self {
        Self { durability, ..self }
    }

    /// Rights or the identity of a session have changed: routes are to be made anew.
    pub(crate) fn forget_routes(&mut self) {
        self.changes.concern_all();
    }

    const fn next_seq(&self) -> InterestSeq {
        InterestSeq(self.interest.issued.0 + 1)
    }

    /// Adds or replaces a session's Subscription. Gives the filter to keep, and the interest
    /// change that others must know before it is heard everywhere.
    pub(crate) fn subscribe(
        &mut self,
        filter: &str,
        subscriber: Subscriber,
        is_connected: bool,
    ) -> (Arc<str>, InterestSeq) {
        let next = self.next_seq();
        if is_shared(filter)
            && let Some((key, filter)) = self.groups.join(filter, subscriber, is_connected, next)
        {
            self.changes.concern(filter);
            return (key, next);
        }
        let entry = Self::entry(&mut self.filters, filter);
        let before = entry.wanted();
        entry.insert(subscriber);
        tell(&mut self.interest.changes, entry, before, next);
        self.changes.concern(Arc::clone(&entry.filter));
        (Arc::clone(&entry.filter), entry.interest_seq)
    }

    /// The interest change that others must know before these filters are heard everywhere.
    pub(crate) fn interest_of<'a>(&self, filters: impl Iterator<Item = &'a str>) -> InterestSeq {
        let seq = |filter: &str| match is_shared(filter) {
            true => self.groups.seq_of(filter),
            false => self.filters.get(filter).first().map(|e| e.interest_seq).unwrap_or_default(),
        };
        filters.map(seq).max().unwrap_or_default()
    }

    /// Takes a session's Subscription out.
    pub(crate) fn unsubscribe(&mut self, filter: &str, session: SessionSlot) {
        if is_shared(filter) {
            let concerned = self.groups.leave(filter, session, self.next_seq());
            self.concern_if_any(concerned);
            return;
        }
        let next = self.next_seq();
        let Some(entry) = self.filters.get_mut(filter).first_mut() else { return };
        let before = entry.wanted();
        if !entry.remove(session) {
            return;
        }
        self.changes.concern(Arc::clone(&entry.filter));
        tell(&mut self.interest.changes, entry, before, next);
        self.remove_if_unused(filter);
    }

    /// The client of a session that shares this Subscription has come or gone.
    pub(crate) fn set_connected(&mut self, key: &str, session: SessionSlot, is_connected: bool) {
        let next = self.next_seq();
        let concerned = self.groups.set_connected(key, session, is_connected, next);
        self.concern_if_any(concerned);
    }

    /// Whether a group has members anywhere whose clients are connected.
    pub(crate) fn has_connected(&self, key: &str) -> bool {
        self.groups.of_key(key).is_some_and(|group| {
            !group.connected.is_empty()
                || group.remote.iter().any(|remote| remote.members.connected > 0)
        })
    }

    /// Whether a group has members anywhere that are connected and not served by the state.
    pub(crate) fn has_live(&self, key: &str) -> bool {
        self.groups.of_key(key).is_some_and(|group| {
            group.connected.iter().any(|member| !member.is_served_by_state)
                || group.remote.iter().any(|remote| remote.members.live() > 0)
        })
    }

    /// What the choice of a group's members remembers.
    pub(crate) fn turn(&mut self, group: GroupIndex) -> Option<&mut Turn> {
        self.groups.turn(group)
    }

    fn concern_if_any(&mut self, filter: Option<Arc<str>>) {
        if let Some(filter) = filter {
            self.changes.concern(filter);
        }
    }

    /// Notes what another engine wants to hear.
    pub(crate) fn set_remote(&mut self, change: RemoteInterest) {
        match change {
            RemoteInterest::Added(destination, filter) => {
                self.add_remote(destination, filter, false);
            }
            RemoteInterest::AddedQoS0(destination, filter) => {
                self.add_remote(destination, filter, true);
            }
            RemoteInterest::Removed(destination, filter) => {
                self.changes.concern(Arc::clone(&filter));
                self.remote_filters[usize::from(destination.get())].remove(&filter);
                self.remove_remote(destination, &filter);
            }
            RemoteInterest::Shared { destination, node, filter, members } => {
                let holder = match node {
                    Some(node) => Holder { node, worker: 0 },
                    None => Holder { worker: destination.get(), ..self.here },
                };
                let remote = RemoteMembers { holder, destination, members };
                let concerned = self.groups.set_remote(&filter, remote);
                self.concern_if_any(concerned);
                let known = &mut self.remote_filters[usize::from(destination.get())];
                if members == SharedMembers::NONE {
                    known.remove(&filter);
                } else {
                    known.insert(filter);
                }
            }
            RemoteInterest::SharedCleared(destination) => {
                self.clear_remote(destination, is_shared);
            }
            RemoteInterest::Cleared(destination) => self.clear_remote(destination, |_| true),
        }
    }

    fn clear_remote(&mut self, destination: Destination, is_meant: impl Fn(&str) -> bool) {
        self.changes.concern_all();
        let place = &mut self.remote_filters[usize::from(destination.get())];
        for filter in place.extract_if(|filter| is_meant(filter)).collect::<Vec<_>>() {
            if is_shared(&filter) {
                self.groups.clear_remote(&filter, destination);
            } else {
                self.remove_remote(destination, &filter);
            }
        }
    }

    fn add_remote(&mut self, destination: Destination, filter: Arc<str>, is_qos0: bool) {
        self.changes.concern(Arc::clone(&filter));
        let (entry, bit) = (Self::entry(&mut self.filters, &filter), 1 << destination.get());
        entry.remote |= bit;
        match is_qos0 {
            true => entry.remote_qos0 |= bit,
            false => entry.remote_qos0 &= !bit,
        }
        self.remote_filters[usize::from(destination.get())].insert(filter);
    }

    fn remove_remote(&mut self, destination: Destination, filter: &str) {
        if let Some(entry) = self.filters.get_mut(filter).first_mut() {
            entry.remote &= !(1 << destination.get());
            entry.remote_qos0 &= entry.remote;
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
            route.durable_version = None;
            // The rules never change: once for each topic will do.
            route.is_acknowledged_at_once = self.durability.acknowledges_at_once(topic);
        } else if route.epoch == epoch || self.changes.spare(route.epoch, topic) {
            route.epoch = epoch;
            return route;
        }
        self.routes_made += 1;
        (route.hash, route.epoch, route.stamp) = (hash, epoch, self.routes_made);
        let (matched, mut remote, mut above_qos0) = (&mut self.matched, 0, 0);
        self.filters.for_each_match(topic, |entry| {
            matched.extend_from_slice(entry.subscribers());
            remote |= entry.remote;
            above_qos0 |= entry.remote & !entry.remote_qos0;
        });
        (route.remote, route.remote_above_qos0) = (remote, above_qos0);
        route.fill(matched, sessions);
        route.groups.clear();
        if !self.groups.is_empty() {
            self.groups.for_each_match(topic, |index, group| {
                if !group.is_empty() {
                    route.groups.push(SharedRoute::new(index, group, self.here, topic, sessions));
                }
            });
        }
        route
    }

    pub(crate) fn put_route(&mut self, route: Box<Route>) {
        self.cache.put(route);
    }

    /// The changes since the last call, under the number that they get by this.
    pub(crate) fn issue_interest(&mut self) -> Option<(InterestSeq, Vec<InterestChange>)> {
        if self.interest.changes.is_empty() && !self.groups.has_untold() {
            return None;
        }
        self.groups.issue(&mut self.interest.changes);
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

    /// The filters that sessions of this engine subscribed to; those of Shared Subscriptions whole.
    pub(crate) fn local_filters(&self) -> Vec<Arc<str>> {
        let mut filters = Vec::new();
        self.filters.for_each(|_, entry| {
            if !entry.subscribers().is_empty() {
                filters.push(Arc::clone(&entry.filter));
            }
        });
        filters.extend(self.groups.local_keys().cloned());
        filters
    }
}

/// Has others know what is wanted of a filter now, if that is something else than before.
fn tell(
    changes: &mut Vec<InterestChange>,
    entry: &mut FilterEntry,
    before: Wanted,
    next: InterestSeq,
) {
    let wanted = entry.wanted();
    if wanted == before {
        return;
    }
    // Who wants less than before need not wait for others to know.
    if wanted == Wanted::Everything || before == Wanted::Nothing {
        entry.interest_seq = next;
    }
    let filter = Arc::clone(&entry.filter);
    changes.push(match wanted {
        Wanted::Nothing => InterestChange::Removed(filter),
        Wanted::QoS0 => InterestChange::AddedQoS0(filter),
        Wanted::Everything => InterestChange::Added(filter),
    });
}
