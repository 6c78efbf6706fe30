//! Who wants which topic, over all shards: what a publishing worker asks, and who is a member of
//! which group. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::operation::Pick;
use super::record::Record;
use super::store::{is_indexed, is_membership};
use super::{SHARDS, SessionKey, shard_of};
use crate::codec::packet::SubscriptionOptions;
use crate::session::SubscriptionState;
use crate::topic::{FilterTrie, TopicFilter};
use crate::types::{NodeId, SubscriptionId};

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
    /// How many of them have a client that is connected, by its node; in the order of nodes.
    pub connected: Vec<(NodeId, u32)>,
}

impl DurableGroup {
    /// Members whose clients are connected, wherever.
    #[must_use]
    pub fn connected(&self) -> u32 {
        self.connected.iter().map(|(_, count)| count).sum()
    }

    /// Members whose clients are connected to this node.
    #[must_use]
    pub fn connected_to(&self, node: NodeId) -> u32 {
        let mut nodes = self.connected.iter().filter(|(known, _)| *known == node);
        nodes.next().map_or(0, |(_, count)| *count)
    }
}

/// A session that shares a Subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) options: SubscriptionOptions,
    pub(super) id: Option<SubscriptionId>,
    /// Where its client is connected.
    pub(super) node: Option<NodeId>,
}

/// The durable sessions that share a Subscription.
#[derive(Debug, Default)]
pub(super) struct Group {
    pub(super) members: BTreeMap<SessionKey, Member>,
    /// Who got a message last: the next one after it is next.
    pub(super) last: Option<SessionKey>,
}

impl Group {
    /// The members whose clients are connected, and the others, each in the order in which they
    /// are asked.
    pub(super) fn candidates(&self, pick: Pick) -> [Vec<(SessionKey, Member)>; 2] {
        let of = |is_connected: bool| {
            let members = self.members.iter().map(|(key, member)| (key.clone(), *member));
            let mut members: Vec<(SessionKey, Member)> =
                members.filter(|(_, member)| member.node.is_some() == is_connected).collect();
            if !members.is_empty() {
                let start = self.start(&members, pick);
                members.rotate_left(start);
            }
            if let Pick::Near(node) = pick {
                // Stable: each of the two kinds stays in its order.
                members.sort_by_key(|(_, member)| member.node != Some(node));
            }
            members
        };
        [of(true), of(false)]
    }

    /// Where the order begins.
    fn start(&self, members: &[(SessionKey, Member)], pick: Pick) -> usize {
        let last = self.last.as_ref();
        let behind_last =
            last.map_or(0, |last| members.partition_point(|(key, _)| key <= last) % members.len());
        match pick {
            Pick::Next | Pick::Near(_) => behind_last,
            Pick::At(position) => position as usize % members.len(),
            Pick::Sticky => {
                let known = last.and_then(|last| members.iter().position(|(key, _)| key == last));
                known.unwrap_or(behind_last)
            }
        }
    }

    pub(super) fn has_connected(&self) -> bool {
        self.members.values().any(|member| member.node.is_some())
    }

    fn connected(&self) -> Vec<(NodeId, u32)> {
        let mut counts = BTreeMap::new();
        for node in self.members.values().filter_map(|member| member.node) {
            *counts.entry(node).or_default() += 1;
        }
        counts.into_iter().collect()
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
        let node = record.holder.map(|holder| holder.node);
        for subscription in record.subscriptions.iter() {
            let SubscriptionState { filter, options, id } = subscription;
            if is_indexed(subscription) {
                self.add(filter, shard_of(record.client_id.as_str()));
            } else if is_membership(subscription) {
                let member = Member { options: *options, id: *id, node };
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
    pub(super) fn set_node(&mut self, key: &str, session: &SessionKey, node: Option<NodeId>) {
        let member = self.groups.get_mut(key).and_then(|group| group.members.get_mut(session));
        if let Some(member) = member {
            member.node = node;
        }
    }

    /// Fills in who wants a topic.
    pub(super) fn route(&self, topic: &str, route: &mut DurableRoute) {
        (route.shards, route.groups) = (0, Vec::new());
        self.filters.for_each_match(topic, |filter| route.shards |= filter.shards());
        self.group_filters.for_each_match(topic, |key| {
            let connected = self.groups.get(key).map(Group::connected).unwrap_or_default();
            route.groups.push(DurableGroup { key: Arc::clone(key), connected });
        });
        route.groups.sort_by(|a, b| a.key.cmp(&b.key));
    }
}
