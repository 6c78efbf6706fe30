//! All durable sessions as of the last applied log entry. Pure; read by workers while the cluster
//! thread writes.

use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::control::{Control, SessionTotals};
use super::index::{DurableRoute, Index};
use super::operation::ANYWHERE_LEVEL;
use super::record::{Outbound, Record};
use super::sessions::Shard;
use super::{Holder, SHARDS, SessionKey, shard_of};
use crate::session::SubscriptionState;
use crate::stored::{InMemory, MessageStore};
use crate::topic::is_shared;
use crate::types::{Millis, NodeId, PacketId, QoS};

/// What the worker of a session's connection begins with.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionView {
    /// Its Subscriptions.
    pub subscriptions: Vec<SubscriptionState>,
    /// QoS 2 messages that the client has published and not released.
    pub inbound_qos2: Vec<PacketId>,
    /// Number of the first message that is not done.
    pub first_seq: u64,
    /// The last message that may have been sent on an earlier connection.
    pub sent_to: u64,
}

/// All durable sessions.
#[derive(Debug)]
pub struct SessionStore {
    seed: u64,
    shards: [Mutex<Shard>; SHARDS],
    index: RwLock<Index>,
    /// Until when what this node knows of sessions counts, in Unix milliseconds.
    confirmed_until: AtomicU64,
    /// Rises with each change of who wants which topic.
    version: AtomicU64,
    has_subscriptions: AtomicBool,
    /// As in the totals after the last batch: read by whoever publishes, who is not to wait for one
    /// that is being applied.
    queued_messages: AtomicU64,
    queued_bytes: AtomicU64,
    control: Mutex<Control>,
    messages: Arc<dyn MessageStore>,
    is_disk_low: AtomicBool,
    feature_level: AtomicU16,
}

/// Whether messages of QoS 1 and 2 for this Subscription go by way of its shard's tree.
pub(super) fn is_indexed(subscription: &SubscriptionState) -> bool {
    subscription.options.qos != QoS::AtMostOnce && !is_shared(&subscription.filter)
}

/// Whether its session is a member of a durable group.
pub(super) fn is_membership(subscription: &SubscriptionState) -> bool {
    subscription.options.qos != QoS::AtMostOnce && is_shared(&subscription.filter)
}

impl Default for SessionStore {
    fn default() -> Self {
        Self::new(0x5DEE_CE66_D012_4567, Arc::new(InMemory))
    }
}

impl SessionStore {
    /// A store without sessions. The seed is this node's own: nothing that is replicated depends on
    /// it; one that is unpredictable keeps clients from choosing topics whose levels collide.
    /// `messages` is told of those that sessions keep.
    #[must_use]
    pub fn new(seed: u64, messages: Arc<dyn MessageStore>) -> Self {
        Self {
            seed,
            shards: std::array::from_fn(|_| Mutex::new(Shard::new(seed))),
            index: RwLock::new(Index::new(seed)),
            version: AtomicU64::default(),
            has_subscriptions: AtomicBool::default(),
            queued_messages: AtomicU64::default(),
            queued_bytes: AtomicU64::default(),
            confirmed_until: AtomicU64::new(u64::MAX),
            control: Mutex::default(),
            messages,
            is_disk_low: AtomicBool::default(),
            feature_level: AtomicU16::default(),
        }
    }

    /// Who is told of the messages that sessions keep.
    #[must_use]
    pub fn messages(&self) -> &Arc<dyn MessageStore> {
        &self.messages
    }

    /// Whether this node's disk is so full that nothing should be proposed that can be turned down.
    #[must_use]
    pub fn is_disk_low(&self) -> bool {
        self.is_disk_low.load(Ordering::Relaxed)
    }

    /// What [`Self::is_disk_low`] says from now on. Nothing that is replicated depends on it.
    pub fn set_disk_low(&self, is_low: bool) {
        self.is_disk_low.store(is_low, Ordering::Relaxed);
    }

    /// Whether all brokers know [`Operation::PublishAnywhere`](super::Operation::PublishAnywhere).
    #[must_use]
    pub fn knows_anywhere(&self) -> bool {
        self.feature_level.load(Ordering::Relaxed) >= ANYWHERE_LEVEL
    }

    /// What the cluster has agreed to write.
    pub(crate) fn set_feature_level(&self, level: u16) {
        self.feature_level.store(level, Ordering::Relaxed);
    }

    /// Whether there is a session of this Client Identifier.
    #[must_use]
    pub fn contains(&self, client_id: &str) -> bool {
        self.shard(client_id).get(client_id).is_some()
    }

    /// Whether the session is this connection's still.
    #[must_use]
    pub fn is_held(&self, client_id: &str, attachment: u64) -> bool {
        let shard = self.shard(client_id);
        let record = shard.get(client_id);
        record.is_some_and(|r| r.attachment == attachment && r.holder.is_some())
    }

    /// Where the session's client is connected, and the number of its time there.
    #[must_use]
    pub fn holding(&self, client_id: &str) -> Option<(Holder, u64)> {
        let shard = self.shard(client_id);
        let record = shard.get(client_id)?;
        record.holder.map(|holder| (holder, record.attachment))
    }

    /// Whether this node would know of a session that has subscribed: what it knows was confirmed
    /// long enough. Always, unless [`Self::require_confirmation`] was called.
    #[must_use]
    pub fn is_confirmed_at(&self, now: Millis) -> bool {
        now.0 < self.confirmed_until.load(Ordering::Acquire)
    }

    /// This copy counts until then, if it did not count for longer.
    pub fn confirm_until(&self, until: Millis) {
        self.confirmed_until.fetch_max(until.0, Ordering::AcqRel);
    }

    /// This copy counts only from the next [`Self::confirm_until`] on.
    pub fn require_confirmation(&self) {
        self.confirmed_until.store(0, Ordering::Release);
    }

    /// Rises with each change of who wants which topic: a [`DurableRoute`] of this version is as
    /// good as a new one.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Fills in which durable sessions want a topic.
    pub fn route(&self, topic: &str, route: &mut DurableRoute) {
        if self.has_subscriptions.load(Ordering::Acquire) {
            self.read_index().route(topic, route);
        } else {
            *route = DurableRoute::default();
        }
    }

    /// The session, if it is still this connection's.
    #[must_use]
    pub fn view(&self, client_id: &str, attachment: u64) -> Option<SessionView> {
        let shard = self.shard(client_id);
        let record = shard.get(client_id).filter(|record| record.attachment == attachment)?;
        Some(SessionView {
            subscriptions: record.subscriptions.to_vec(),
            inbound_qos2: record.inbound.iter().copied().collect(),
            first_seq: record.first_seq,
            sent_to: record.sent_to,
        })
    }

    /// Appends what is to be sent to the client from the message `from` on, at most so many; gives
    /// the number to go on with. `None` when the session is no longer this connection's.
    #[must_use]
    pub fn read(
        &self,
        client_id: &str,
        attachment: u64,
        from: u64,
        count_max: usize,
        into: &mut Vec<Outbound>,
    ) -> Option<u64> {
        let shard = self.shard(client_id);
        let record = shard.get(client_id)?;
        let is_held = record.attachment == attachment && record.holder.is_some();
        is_held.then(|| record.read(from, count_max, into))
    }

    /// How much is held.
    #[must_use]
    pub fn totals(&self) -> SessionTotals {
        let control = self.control();
        let (delayed_messages, delayed_bytes) = control.delayed.totals();
        SessionTotals { delayed_messages, delayed_bytes, ..control.totals }
    }

    /// Messages that waited in all sessions after the last batch.
    #[must_use]
    pub fn queued_messages(&self) -> u64 {
        self.queued_messages.load(Ordering::Relaxed)
    }

    /// Their bytes, counted in each session.
    #[must_use]
    pub fn queued_bytes(&self) -> u64 {
        self.queued_bytes.load(Ordering::Relaxed)
    }

    pub(super) fn publish_totals(&self, control: &Control) {
        self.queued_messages.store(control.totals.messages, Ordering::Relaxed);
        self.queued_bytes.store(control.totals.bytes, Ordering::Relaxed);
    }

    /// When a will, a delayed message or an expiry is due next; `None` for never.
    #[must_use]
    pub fn next_due(&self) -> Option<Millis> {
        let due = self.shards.iter().filter_map(|shard| lock(shard).next_due());
        due.chain(self.control().delayed.next()).min()
    }

    /// The processes that have sessions' clients.
    #[must_use]
    pub fn processes(&self) -> Vec<(NodeId, u64)> {
        self.control().held.keys().copied().collect()
    }

    pub(super) fn shard(&self, client_id: &str) -> MutexGuard<'_, Shard> {
        lock(&self.shards[shard_of(client_id)])
    }

    pub(super) fn shard_at(&self, number: usize) -> MutexGuard<'_, Shard> {
        lock(&self.shards[number])
    }

    pub(super) fn control(&self) -> MutexGuard<'_, Control> {
        lock(&self.control)
    }

    pub(super) fn read_index(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn write_index(&self) -> RwLockWriteGuard<'_, Index> {
        self.index.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who wants which topic has changed.
    pub(super) fn index_changed(&self) {
        self.has_subscriptions.store(!self.read_index().is_empty(), Ordering::Release);
        self.version.fetch_add(1, Ordering::AcqRel);
    }

    /// Adds a session with everything that follows from it.
    pub(super) fn insert(&self, control: &mut Control, record: Arc<Record>) {
        control.enter(&record);
        if !record.subscriptions.is_empty() {
            self.write_index().enter(&record);
            self.index_changed();
        }
        self.shard(record.client_id.as_str()).insert(record);
    }

    /// Takes a session out with everything that followed from it.
    pub(super) fn remove(&self, control: &mut Control, client_id: &str) -> Option<Arc<Record>> {
        let record = self.shard(client_id).remove(client_id)?;
        control.totals.sessions -= 1;
        control.let_go(record.holder);
        if record.holder.is_none() {
            control.comes_back(&record);
        }
        control.count((record.messages, record.bytes), (0, 0));
        if !record.subscriptions.is_empty() {
            self.write_index().forget(&record);
            self.index_changed();
        }
        Some(record)
    }

    /// Replaces everything. Whoever asks for routes meanwhile gets those of before.
    pub(super) fn replace(&self, mut control: Control, records: Vec<Arc<Record>>, turns: Turns) {
        let mut index = Index::new(self.seed);
        let mut shards: [Shard; SHARDS] = std::array::from_fn(|_| Shard::new(self.seed));
        for record in records {
            control.enter(&record);
            index.enter(&record);
            shards[shard_of(record.client_id.as_str())].insert(record);
        }
        for (key, last) in turns {
            if let Some(group) = index.groups.get_mut(&key) {
                group.last = Some(last);
            }
        }
        let mut current = self.control();
        let SessionTotals { operations, full, expired, .. } = current.totals;
        control.totals = SessionTotals { operations, full, expired, ..control.totals };
        self.publish_totals(&control);
        *current = control;
        for (place, shard) in self.shards.iter().zip(shards) {
            *lock(place) = shard;
        }
        *self.write_index() = index;
        self.index_changed();
    }
}

/// Who got a message of each group last.
pub(super) type Turns = Vec<(Arc<str>, SessionKey)>;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
