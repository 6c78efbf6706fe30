//! The sessions of one shard, and which of their Subscriptions match a topic. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use slab::Slab;

use super::batch::SessionLimits;
use super::record::{Entry, Record};
use super::{Holder, SessionKey};
use crate::codec::packet::SubscriptionOptions;
use crate::stored::StoredMessage;
use crate::topic::FilterTrie;
use crate::types::{Millis, QoS, SubscriptionId};

/// A session's Subscription as the shard's tree keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Holding {
    slot: usize,
    options: SubscriptionOptions,
    id: Option<SubscriptionId>,
}

/// A message on its way into sessions.
#[derive(Debug, Clone, Copy)]
pub(super) struct Incoming<'a> {
    pub(super) message: &'a StoredMessage,
    pub(super) topic: &'a str,
    /// The durable session that publishes it.
    pub(super) publisher: Option<&'a str>,
    pub(super) limits: &'a SessionLimits,
    pub(super) log_index: u64,
    pub(super) now: Millis,
}

impl<'a> Incoming<'a> {
    /// A message of which it is known who gets it: no topic has to be matched.
    pub(super) const fn addressed(
        message: &'a StoredMessage,
        limits: &'a SessionLimits,
        log_index: u64,
        now: Millis,
    ) -> Self {
        Self { message, topic: "", publisher: None, limits, log_index, now }
    }
}

/// What became of a message in one shard or group.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kept {
    /// Sessions that keep it.
    pub(super) sessions: u64,
    /// Sessions that have no room.
    pub(super) full: u64,
    /// Expired messages that made room, and their bytes.
    pub(super) expired: u64,
    pub(super) expired_bytes: u64,
}

impl Kept {
    pub(super) const fn add(&mut self, other: Self) {
        self.sessions += other.sessions;
        self.full += other.full;
        self.expired += other.expired;
        self.expired_bytes += other.expired_bytes;
    }
}

/// The sessions of one shard.
#[derive(Debug)]
pub(super) struct Shard {
    sessions: Slab<Arc<Record>>,
    by_id: BTreeMap<SessionKey, usize>,
    filters: FilterTrie<Holding>,
    timers: BTreeSet<(Millis, SessionKey)>,
    matched: Vec<Holding>,
}

impl Shard {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            sessions: Slab::new(),
            by_id: BTreeMap::new(),
            filters: FilterTrie::with_seed(seed),
            timers: BTreeSet::new(),
            matched: Vec::new(),
        }
    }

    pub(super) fn get(&self, client_id: &str) -> Option<&Arc<Record>> {
        self.sessions.get(*self.by_id.get(client_id)?)
    }

    /// To change what is neither in the tree nor in the timers. A snapshot that is being written
    /// keeps the record as it was.
    pub(super) fn get_mut(&mut self, client_id: &str) -> Option<&mut Record> {
        let slot = *self.by_id.get(client_id)?;
        self.sessions.get_mut(slot).map(Arc::make_mut)
    }

    /// To change when something is due.
    pub(super) fn change(&mut self, client_id: &str, change: impl FnOnce(&mut Record)) {
        let Some(record) = self.get_mut(client_id) else { return };
        let (key, before) = (record.client_id.clone(), record.due_at());
        change(record);
        let after = record.due_at();
        if before != after {
            self.timers.remove(&(before, key.clone()));
            if after != Millis::NEVER {
                self.timers.insert((after, key));
            }
        }
    }

    /// Adds a session, with its Subscriptions.
    pub(super) fn insert(&mut self, record: Arc<Record>) {
        let key = record.client_id.clone();
        if record.due_at() != Millis::NEVER {
            self.timers.insert((record.due_at(), key.clone()));
        }
        let subscriptions = record.subscriptions.to_vec();
        let slot = self.sessions.insert(record);
        self.by_id.insert(key, slot);
        for subscription in &subscriptions {
            if super::store::is_indexed(subscription) {
                let (options, id) = (subscription.options, subscription.id);
                self.filters.insert(&subscription.filter, Holding { slot, options, id });
            }
        }
    }

    /// Takes a session out, with its Subscriptions.
    pub(super) fn remove(&mut self, client_id: &str) -> Option<Arc<Record>> {
        let slot = self.by_id.remove(client_id)?;
        let record = self.sessions.try_remove(slot)?;
        self.timers.remove(&(record.due_at(), record.client_id.clone()));
        for subscription in record.subscriptions.iter() {
            self.filters.remove(&subscription.filter, |holding| holding.slot == slot);
        }
        Some(record)
    }

    /// Puts a Subscription into the tree.
    pub(super) fn hold(
        &mut self,
        client_id: &str,
        filter: &str,
        options: SubscriptionOptions,
        id: Option<SubscriptionId>,
    ) {
        if let Some(slot) = self.by_id.get(client_id).copied() {
            self.filters.insert(filter, Holding { slot, options, id });
        }
    }

    /// Takes a Subscription out of the tree.
    pub(super) fn let_go(&mut self, client_id: &str, filter: &str) {
        if let Some(slot) = self.by_id.get(client_id).copied() {
            self.filters.remove(filter, |holding| holding.slot == slot);
        }
    }

    /// All sessions, in the order of their Client Identifiers.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Record>> {
        self.by_id.values().filter_map(|slot| self.sessions.get(*slot))
    }

    /// When something is due in a session next.
    pub(super) fn next_due(&self) -> Option<Millis> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// A session in which something is due.
    pub(super) fn due(&self, now: Millis) -> Option<SessionKey> {
        self.timers.first().filter(|(at, _)| *at <= now).map(|(_, key)| key.clone())
    }

    /// Puts a message into the queues of all sessions that match. Calls `ready` for each whose
    /// client's worker is to be told.
    pub(super) fn publish(
        &mut self,
        incoming: Incoming<'_>,
        mut ready: impl FnMut(Holder, &SessionKey),
    ) -> Kept {
        let mut matched = std::mem::take(&mut self.matched);
        self.filters.for_each_match(incoming.topic, |holding| matched.push(*holding));
        matched.sort_by_key(|holding| holding.slot);
        let mut kept = Kept::default();
        for holdings in matched.chunk_by(|a, b| a.slot == b.slot) {
            let Some(record) = self.sessions.get_mut(holdings[0].slot) else { continue };
            let Some(entry) = entry(&record.client_id, &incoming, holdings) else { continue };
            keep(Arc::make_mut(record), entry, &incoming, &mut kept, &mut ready);
        }
        matched.clear();
        self.matched = matched;
        kept
    }

    /// Puts a message into the queue of one session.
    pub(super) fn give(
        &mut self,
        client_id: &str,
        entry: Entry,
        incoming: &Incoming<'_>,
        mut ready: impl FnMut(Holder, &SessionKey),
    ) -> Kept {
        let mut kept = Kept::default();
        if let Some(record) = self.get_mut(client_id) {
            keep(record, entry, incoming, &mut kept, &mut ready);
        }
        kept
    }
}

fn keep(
    record: &mut Record,
    entry: Entry,
    incoming: &Incoming<'_>,
    kept: &mut Kept,
    ready: &mut impl FnMut(Holder, &SessionKey),
) {
    if !record.has_room(entry.bytes(), incoming.limits) {
        let (messages, bytes) = record.drop_expired(incoming.now);
        kept.expired += messages;
        kept.expired_bytes += bytes;
        if messages == 0 || !record.has_room(entry.bytes(), incoming.limits) {
            kept.full += 1;
            return;
        }
    }
    record.push(entry);
    kept.sessions += 1;
    if let Some(holder) = record.holder
        && record.told_at != incoming.log_index
    {
        record.told_at = incoming.log_index;
        ready(holder, &record.client_id);
    }
}

/// What a session's matching Subscriptions make of a message; `None` when it gets none, or one of
/// QoS 0, which the log does not carry. Spec: MQTT 5.0 section 3.3.4.
fn entry(client_id: &SessionKey, incoming: &Incoming<'_>, holdings: &[Holding]) -> Option<Entry> {
    let is_own = incoming.publisher == Some(client_id.as_str());
    let counted = holdings.iter().filter(|holding| !(is_own && holding.options.no_local));
    let qos = counted.clone().map(|holding| holding.options.qos).max()?;
    let qos = qos.min(incoming.message.qos());
    let retain = counted.clone().any(|holding| holding.options.retain_as_published);
    let ids: Vec<SubscriptionId> = counted.filter_map(|holding| holding.id).collect();
    let retain = retain && incoming.message.retain();
    (qos != QoS::AtMostOnce).then(|| {
        let ids = (!ids.is_empty()).then(|| ids.into());
        Entry::new(incoming.message.clone(), qos, retain).by(ids, None)
    })
}
