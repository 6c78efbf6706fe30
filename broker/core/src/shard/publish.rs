//! Messages into the queues of sessions, and into those of one member of each group.

use std::sync::Arc;

use super::applied::{LiveAudience, LiveMessage, Ready};
use super::apply::{Applying, next_of};
use super::batch::{BatchOrigin, OperationOutcome};
use super::form::MessageForm;
use super::index::{DurableRoute, Member};
use super::operation::{GroupForm, PublisherForm, SessionRef};
use super::record::{Entry, StoredWill};
use super::sessions::{Incoming, Kept};
use super::{SHARDS, SessionKey};
use crate::engine::SYS_PREFIX;
use crate::retained::RetainedChange;
use crate::router::Message;
use crate::stored::StoredMessage;
use crate::types::{ClientId, Millis, QoS, SubscriptionId};

/// A will whose time has come, and whose it is.
pub(super) struct DueWill {
    pub(super) client_id: ClientId,
    pub(super) username: Option<Arc<str>>,
    pub(super) will: StoredWill,
}

/// A message whose time has come, and whose it is.
pub(super) struct Due {
    pub(super) client_id: ClientId,
    pub(super) username: Option<Arc<str>>,
    pub(super) message: Arc<Message>,
    pub(super) expires_at: Millis,
}

impl Applying<'_> {
    /// Into the queues of sessions of these shards and of a member of each group; where `served` is
    /// given, of every other group as well that it does not name.
    pub(super) fn publish(
        &mut self,
        publisher: Option<PublisherForm<'_>>,
        (shards, groups): (u16, Vec<GroupForm<'_>>),
        served: Option<&[&str]>,
        is_retained: bool,
        form: MessageForm<'_>,
    ) -> OperationOutcome {
        if let Some(outcome) = self.check_publisher(publisher.as_ref()) {
            return outcome;
        }
        let message = Arc::new(form.message());
        let Some(publish) = message.publish() else { return OperationOutcome::Malformed };
        let topic = publish.topic;
        if is_retained && !self.retain(&message) {
            return OperationOutcome::Full;
        }
        let from = publisher.as_ref().map(|publisher| publisher.session.client_id);
        let stored = StoredMessage::new(Arc::clone(&message));
        let mut route = DurableRoute::default();
        let groups = match served {
            Some(served) => {
                self.store.route(topic, &mut route);
                with_others(groups, served, &route)
            }
            None => groups,
        };
        let kept = self.keep(&stored, topic, from, (shards, &groups));
        if kept.sessions == 0 && kept.full > 0 && !is_retained {
            return OperationOutcome::Full;
        }
        self.remember_inbound(publisher);
        OperationOutcome::Done
    }

    /// Whether there is nothing to publish: the session has gone elsewhere, or the QoS 2 message came
    /// before.
    pub(super) fn check_publisher(
        &self,
        publisher: Option<&PublisherForm<'_>>,
    ) -> Option<OperationOutcome> {
        let PublisherForm { session, packet_id } = publisher?;
        let shard = self.store.shard(session.client_id);
        let record = shard.get(session.client_id);
        let record = record.filter(|record| record.attachment == session.attachment);
        let Some(record) = record.filter(|record| record.holder.is_some()) else {
            return Some(OperationOutcome::Stale);
        };
        let is_known = packet_id.is_some_and(|id| record.inbound.contains(&id));
        is_known.then_some(OperationOutcome::Done)
    }

    /// Has the publishing session remember its QoS 2 message.
    pub(super) fn remember_inbound(&mut self, publisher: Option<PublisherForm<'_>>) {
        if let Some(PublisherForm { session, packet_id: Some(packet_id) }) = publisher {
            self.with_current(session, |record| {
                record.inbound.insert(packet_id);
            });
        }
    }

    fn retain(&mut self, message: &Arc<Message>) -> bool {
        let Some(publish) = message.publish() else { return false };
        let topic = publish.topic.into();
        let message = (!publish.payload.is_empty()).then(|| Message::clone(message));
        (self.context.retain)(RetainedChange { topic, message })
    }

    /// Puts a message into all queues that it is for.
    fn keep(
        &mut self,
        message: &StoredMessage,
        topic: &str,
        publisher: Option<&str>,
        (shards, groups): (u16, &[GroupForm<'_>]),
    ) -> Kept {
        let mut kept = Kept::default();
        if message.expires_at() <= self.now {
            return kept;
        }
        let bytes = message.bytes() as u64;
        let limits = self.limits;
        let log_index = self.context.log_index;
        let now = self.now;
        let incoming = Incoming { message, topic, publisher, limits: &limits, log_index, now };
        if self.control.totals.bytes.saturating_add(bytes) > limits.bytes_total_max {
            kept.full = 1;
        } else {
            for number in (0..SHARDS).filter(|number| shards & 1 << number != 0) {
                let ready = &mut self.applied.ready;
                let one = self.store.shard_at(number).publish(incoming, |holder, client_id| {
                    ready.push(Ready { holder, client_id: client_id.clone() });
                });
                kept.add(one);
            }
            self.count_kept(kept, bytes);
            for group in groups {
                kept.add(self.share(incoming, *group, None));
            }
        }
        self.count_full(kept.full);
        if kept.sessions > 0 {
            self.store.messages().kept(message);
        }
        kept
    }

    /// Brings the totals up to date with what sessions keep of a message of so many bytes.
    fn count_kept(&mut self, kept: Kept, bytes: u64) {
        let totals = &mut self.control.totals;
        totals.messages = totals.messages + kept.sessions - kept.expired;
        totals.bytes = totals.bytes + kept.sessions * bytes - kept.expired_bytes;
        self.applied.drops.expired += kept.expired;
    }

    /// Sessions that had no room: counted here for the state, and once for who proposed it.
    pub(super) fn count_full(&mut self, sessions: u64) {
        self.control.totals.full += sessions;
        self.applied.drops.queue_full += sessions;
    }

    /// Gives a message to one member of a group that has room: one whose client is connected, here
    /// or outside the state, before one that is away. `left` is the session that has it now and is
    /// to have it no longer.
    pub(super) fn share(
        &mut self,
        incoming: Incoming<'_>,
        form: GroupForm<'_>,
        left: Option<&SessionKey>,
    ) -> Kept {
        let found = {
            let index = self.store.read_index();
            let group = index.groups.get_key_value(form.key);
            group.map(|(key, group)| (Arc::clone(key), group.candidates(form.pick)))
        };
        let (key, [connected, away]) =
            found.unwrap_or_else(|| (form.key.into(), Default::default()));
        let mut kept = Kept::default();
        if self.share_among(&incoming, &key, connected, left, &mut kept) {
            return kept;
        }
        if form.has_live {
            self.send_live(LiveAudience::Group(key), incoming.message);
            return Kept { sessions: 1, ..Kept::default() };
        }
        self.share_among(&incoming, &key, away, left, &mut kept);
        kept
    }

    /// Gives a message to the first of these members that has room; false when none has.
    fn share_among(
        &mut self,
        incoming: &Incoming<'_>,
        key: &Arc<str>,
        members: Vec<(SessionKey, Member)>,
        left: Option<&SessionKey>,
        kept: &mut Kept,
    ) -> bool {
        for (session, member) in members {
            if left == Some(&session) {
                continue;
            }
            let Some(entry) = shared_entry(incoming, key, member) else { continue };
            let ready = &mut self.applied.ready;
            let mut shard = self.store.shard(session.as_str());
            let one = shard.give(session.as_str(), entry, incoming, |holder, client_id| {
                ready.push(Ready { holder, client_id: client_id.clone() });
            });
            drop(shard);
            self.count_kept(one, incoming.message.bytes() as u64);
            if one.sessions > 0 {
                if let Some(group) = self.store.write_index().groups.get_mut(key) {
                    group.last = Some(session);
                }
                *kept = one;
                return true;
            }
            kept.full = 1;
        }
        false
    }

    /// Has this batch's node send a message to those who are not in the state.
    fn send_live(&mut self, audience: LiveAudience, message: &StoredMessage) {
        let (BatchOrigin { node, start, .. }, message) = (self.origin, message.clone());
        self.applied.live.push(LiveMessage { node, start, audience, message });
    }

    /// A message for one session alone.
    pub(super) fn deliver(
        &mut self,
        session: SessionRef<'_>,
        (qos, retain): (QoS, bool),
        subscription_id: Option<SubscriptionId>,
        form: MessageForm<'_>,
    ) -> OperationOutcome {
        if !self.is_current(session) {
            return OperationOutcome::Stale;
        }
        let message = Arc::new(form.message());
        // Another one is retained meanwhile, which the session has had as any subscriber.
        if retain && self.context.is_retained.is_some_and(|is_retained| !is_retained(&message)) {
            return OperationOutcome::Done;
        }
        let message = StoredMessage::new(message);
        let bytes = message.bytes() as u64;
        if self.control.totals.bytes.saturating_add(bytes) > self.limits.bytes_total_max {
            self.count_full(1);
            return OperationOutcome::Full;
        }
        let limits = self.limits;
        let log_index = self.context.log_index;
        let now = self.now;
        let incoming = Incoming::addressed(&message, &limits, log_index, now);
        let ids = subscription_id.map(|id| [id].into());
        let entry = Entry::new(message.clone(), qos, retain).by(ids, None);
        let ready = &mut self.applied.ready;
        let mut shard = self.store.shard(session.client_id);
        let kept = shard.give(session.client_id, entry, &incoming, |holder, client_id| {
            ready.push(Ready { holder, client_id: client_id.clone() });
        });
        drop(shard);
        self.count_kept(kept, bytes);
        self.count_full(kept.full);
        if kept.sessions == 0 {
            return OperationOutcome::Full;
        }
        self.store.messages().kept(&message);
        OperationOutcome::Done
    }

    pub(super) fn publish_will(&mut self, due: DueWill) {
        let DueWill { client_id, username, will } = due;
        let expires_at = match will.message_expiry_seconds {
            Some(seconds) => self.now.plus_seconds(seconds),
            None => Millis::NEVER,
        };
        self.publish_due(Due { client_id, username, message: will.message, expires_at });
    }

    /// Publishes a message, if its user may: here to durable sessions, by way of this batch's node
    /// to all others.
    pub(super) fn publish_due(&mut self, due: Due) {
        let Due { client_id, username, message, expires_at } = due;
        let Some(publish) = message.publish() else { return };
        let authorizer = self.context.policy.authorizer(username.as_deref(), client_id.as_str());
        if !may_publish(&authorizer, publish.topic) {
            self.applied.drops.publish_denied += 1;
            return;
        }
        let Ok(message) = Message::new(&publish, expires_at) else { return };
        let message = Arc::new(message);
        if publish.retain {
            self.retain(&message);
        }
        let message = StoredMessage::new(message);
        let mut served = Vec::new();
        if publish.qos != QoS::AtMostOnce {
            let mut route = DurableRoute::default();
            self.store.route(publish.topic, &mut route);
            // Where nobody here is connected, a member outside the state may be.
            let groups = route.groups.iter().filter(|group| group.connected() > 0);
            served = groups.map(|group| Arc::clone(&group.key)).collect();
            let groups: Vec<GroupForm<'_>> = served.iter().map(|key| next_of(key)).collect();
            let from = Some(client_id.as_str());
            self.keep(&message, publish.topic, from, (route.shards, &groups));
        }
        self.send_live(LiveAudience::Others { client_id, served }, &message);
    }
}

/// These groups, and those of the route that are neither among them nor served.
fn with_others<'a>(
    mut groups: Vec<GroupForm<'a>>,
    served: &[&str],
    route: &'a DurableRoute,
) -> Vec<GroupForm<'a>> {
    for group in &route.groups {
        let key = &*group.key;
        if !served.contains(&key) && groups.iter().all(|named| named.key != key) {
            groups.push(next_of(key));
        }
    }
    groups
}

/// Topics of commands to the broker, which nobody's message reaches.
const CONTROL_PREFIX: &str = "$CONTROL";

/// Whether a client may publish to a topic, as engines see it.
fn may_publish(authorizer: &broker_policy::Authorizer, topic: &str) -> bool {
    let is_reserved = topic.starts_with(CONTROL_PREFIX) || topic.starts_with(SYS_PREFIX);
    !is_reserved && authorizer.allows(broker_policy::Action::Publish, topic)
}

fn shared_entry(incoming: &Incoming<'_>, key: &Arc<str>, member: Member) -> Option<Entry> {
    let qos = member.options.qos.min(incoming.message.qos());
    let retain = member.options.retain_as_published && incoming.message.retain();
    (qos != QoS::AtMostOnce).then(|| {
        let ids = member.id.map(|id| [id].into());
        Entry::new(incoming.message.clone(), qos, retain).by(ids, Some(Arc::clone(key)))
    })
}
