//! Who wants which topic, over all shards: what a publishing worker asks, and who is a member of
//! which group. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::record::Record;
use super::store::{is_indexed, is_membership};
use super::{SHARDS, SessionKey, shard_of};
use crate::codec::packet::SubscriptionOptions;
use crate::session::SubscriptionState;
use crate::topic::{FilterTrie, TopicFilter};
use crate::types::SubscriptionId;

/// Which durable sessions a topic's messages of QoS 1 and 2 are for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DurableRoute {
    /// Shards with matching Subscriptions, as bits.
    pub shards: u16,
    /// Groups with durable members.
    pub groups: Vec<DurableGroup>,
}

/// A group with durable members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DurableGroup {
    /// Its whole Topic Filter, `$share/` and the share name included.
    pub key: Arc<str>,
    /// Whether the client of one of them is connected.
    pub has_connected: bool,
}

/// A session that shares a Subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) options: SubscriptionOptions,
    pub(super) id: Option<SubscriptionId>,
    pub(super) is_connected: bool,
}

/// The durable sessions that share a Subscription.
#[derive(Debug, Default)]
pub(super) struct Group {
    pub(super) members: BTreeMap<SessionKey, Member>,
    /// Who got a message last: the next one after it is next.
    pub(super) last: Option<SessionKey>,
}

impl Group {
    /// The members in the order in which they are asked: connected ones first, each of the two
    /// kinds beginning behind the one that was last.
    pub(super) fn candidates(&self) -> Vec<(SessionKey, Member)> {
        let start = self.last.as_ref();
        let is_later = |key: &SessionKey| start.is_none_or(|last| key > last);
        let turn = |is_connected: bool| {
            let kind = move |member: &Member| member.is_connected == is_connected;
            let later = self.members.iter().filter(move |(key, m)| is_later(key) && kind(m));
            let earlier = self.members.iter().filter(move |(key, m)| !is_later(key) && kind(m));
            later.chain(earlier)
        };
        turn(true).chain(turn(false)).map(|(key, member)| (key.clone(), *member)).collect()
    }

    fn has_connected(&self) -> bool {
        self.members.values().any(|member| member.is_connected)
    }
}

#[derive(Debug, Default)]
struct Filter {
    /// Subscriptions in each shard.
    counts: [u32; SHARDS],
}

impl Filter {
    fn shards(&self) -> u16 {
        let bits = self.counts.iter().enumerate().filter(|(_, count)| **count > 0);
        bits.fold(0, |shards, (shard, _)| shards | 1 << shard)
    }
}

/// Subscriptions of QoS 1 and 2.
#[derive(Debug)]
pub(super) struct Index {
    filters: FilterTrie<Filter>,
    pub(super) groups: BTreeMap<Arc<str>, Group>,
    /// Keys of the groups by what stands behind the share name.
    group_filters: FilterTrie<Arc<str>>,
}

/// What stands behind `$share/name/`.
fn shared_filter(key: &str) -> &str {
    TopicFilter::parse_unbounded(key).map_or(key, |filter| filter.filter())
}

impl Index {
    pub(super) fn new(seed: u64) -> Self {
        let (filters, group_filters) = (FilterTrie::with_seed(seed), FilterTrie::with_seed(seed));
        Self { filters, groups: BTreeMap::new(), group_filters }
    }

    /// Adds the Subscriptions of a session.
    pub(super) fn enter(&mut self, record: &Record) {
        let is_connected = record.holder.is_some();
        for subscription in record.subscriptions.iter() {
            let SubscriptionState { filter, options, id } = subscription;
            if is_indexed(subscription) {
                self.add(filter, shard_of(record.client_id.as_str()));
            } else if is_membership(subscription) {
                let member = Member { options: *options, id: *id, is_connected };
                self.join(filter, &record.client_id, member);
            }
        }
    }

    /// Takes the Subscriptions of a session out.
    pub(super) fn forget(&mut self, record: &Record) {
        for subscription in record.subscriptions.iter() {
            if is_indexed(subscription) {
                self.remove(&subscription.filter, shard_of(record.client_id.as_str()));
            } else if is_membership(subscription) {
                self.leave(&subscription.filter, &record.client_id);
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.filters.is_empty() && self.groups.is_empty()
    }

    /// Counts a Subscription; true when that changes who wants a topic.
    pub(super) fn add(&mut self, filter: &str, shard: usize) -> bool {
        if self.filters.get(filter).is_empty() {
            self.filters.insert(filter, Filter::default());
        }
        let Some(entry) = self.filters.get_mut(filter).first_mut() else { return false };
        entry.counts[shard] += 1;
        entry.counts[shard] == 1
    }

    /// The opposite of [`Self::add`].
    pub(super) fn remove(&mut self, filter: &str, shard: usize) -> bool {
        let Some(entry) = self.filters.get_mut(filter).first_mut() else { return false };
        entry.counts[shard] = entry.counts[shard].saturating_sub(1);
        let is_last = entry.counts[shard] == 0;
        self.filters.remove(filter, |entry| entry.shards() == 0);
        is_last
    }

    /// Adds a member or replaces it.
    pub(super) fn join(&mut self, key: &Arc<str>, session: &SessionKey, member: Member) {
        if !self.groups.contains_key(key) {
            self.group_filters.insert(shared_filter(key), Arc::clone(key));
        }
        let group = self.groups.entry(Arc::clone(key)).or_default();
        group.members.insert(session.clone(), member);
    }

    /// Takes a member out.
    pub(super) fn leave(&mut self, key: &str, session: &SessionKey) {
        let Some(group) = self.groups.get_mut(key) else { return };
        group.members.remove(session);
        if group.members.is_empty() {
            self.groups.remove(key);
            self.group_filters.remove(shared_filter(key), |other| **other == *key);
        }
    }

    /// The client of a member has come or gone.
    pub(super) fn set_connected(&mut self, key: &str, session: &SessionKey, is_connected: bool) {
        let member = self.groups.get_mut(key).and_then(|group| group.members.get_mut(session));
        if let Some(member) = member {
            member.is_connected = is_connected;
        }
    }

    /// Fills in who wants a topic.
    pub(super) fn route(&self, topic: &str, route: &mut DurableRoute) {
        (route.shards, route.groups) = (0, Vec::new());
        self.filters.for_each_match(topic, |filter| route.shards |= filter.shards());
        self.group_filters.for_each_match(topic, |key| {
            let has_connected = self.groups.get(key).is_some_and(Group::has_connected);
            route.groups.push(DurableGroup { key: Arc::clone(key), has_connected });
        });
        route.groups.sort_by(|a, b| a.key.cmp(&b.key));
    }
}
