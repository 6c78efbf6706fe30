//! Messages into the queues of sessions, and into those of one member of each group.

use std::sync::Arc;

use super::apply::{Applying, LiveMessage, Ready};
use super::batch::{BatchOrigin, OperationOutcome};
use super::form::MessageForm;
use super::index::{DurableRoute, Member};
use super::operation::{PublisherForm, SessionRef};
use super::record::{Entry, Progress, StoredWill};
use super::sessions::{Incoming, Kept};
use super::{SHARDS, SessionKey};
use crate::engine::SYS_PREFIX;
use crate::retained::RetainedChange;
use crate::router::Message;
use crate::types::{ClientId, Millis, QoS, SubscriptionId};

/// A will whose time has come, and whose it is.
pub(super) struct DueWill {
    pub(super) client_id: ClientId,
    pub(super) username: Option<Arc<str>>,
    pub(super) will: StoredWill,
}

impl Applying<'_> {
    pub(super) fn publish(
        &mut self,
        publisher: Option<PublisherForm<'_>>,
        (shards, groups): (u16, &[&str]),
        is_retained: bool,
        form: MessageForm<'_>,
    ) -> OperationOutcome {
        if let Some(publisher) = &publisher {
            let shard = self.store.shard(publisher.session.client_id);
            let record = shard.get(publisher.session.client_id);
            let record = record.filter(|r| r.attachment == publisher.session.attachment);
            match record {
                None => return OperationOutcome::Stale,
                Some(record) if record.holder.is_none() => return OperationOutcome::Stale,
                Some(record) => {
                    if publisher.packet_id.is_some_and(|id| record.inbound.contains(&id)) {
                        return OperationOutcome::Done;
                    }
                }
            }
        }
        let message = Arc::new(form.message());
        let Some(publish) = message.publish() else { return OperationOutcome::Malformed };
        let topic = publish.topic;
        if is_retained && !self.retain(&message) {
            return OperationOutcome::Full;
        }
        let from = publisher.as_ref().map(|publisher| publisher.session.client_id);
        let kept = self.keep(&message, topic, from, (shards, groups));
        if kept.sessions == 0 && kept.full > 0 && !is_retained {
            return OperationOutcome::Full;
        }
        if let Some(PublisherForm { session, packet_id: Some(packet_id) }) = publisher {
            self.with_current(session, |record| {
                record.inbound.insert(packet_id);
            });
        }
        OperationOutcome::Done
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
        message: &Arc<Message>,
        topic: &str,
        publisher: Option<&str>,
        (shards, groups): (u16, &[&str]),
    ) -> Kept {
        let mut kept = Kept::default();
        if message.expires_at() <= self.now {
            return kept;
        }
        let bytes = message.bytes() as u64;
        let limits = self.limits;
        let log_index = self.context.log_index;
        let incoming = Incoming { message, topic, publisher, limits: &limits, log_index };
        if self.control.totals.bytes.saturating_add(bytes) > limits.bytes_total_max {
            kept.full = 1;
        } else {
            for number in (0..SHARDS).filter(|number| shards & 1 << number != 0) {
                let ready = &mut self.applied.ready;
                let one = self.store.shard_at(number).publish(incoming, |holder, client_id| {
                    ready.push(Ready { holder, client_id: client_id.clone() });
                });
                kept.sessions += one.sessions;
                kept.full += one.full;
            }
            self.control.totals.messages += kept.sessions;
            self.control.totals.bytes += kept.sessions * bytes;
            for key in groups {
                let one = self.share(incoming, key, None);
                kept.sessions += one.sessions;
                kept.full += one.full;
            }
        }
        self.control.totals.full += kept.full;
        kept
    }

    /// Gives a message to one member of a group: the next one that has room, connected ones first.
    /// `left` is the session that has it now and is to have it no longer.
    pub(super) fn share(
        &mut self,
        incoming: Incoming<'_>,
        key: &str,
        left: Option<(&SessionKey, QoS)>,
    ) -> Kept {
        let (key, candidates) = {
            let index = self.store.read_index();
            let Some((key, group)) = index.groups.get_key_value(key) else {
                return Kept::default();
            };
            (Arc::clone(key), group.candidates())
        };
        let mut kept = Kept::default();
        for (session, member) in candidates {
            if left.is_some_and(|(left, _)| *left == session) {
                continue;
            }
            let Some(entry) = shared_entry(&incoming, &key, member) else { continue };
            let ready = &mut self.applied.ready;
            let mut shard = self.store.shard(session.as_str());
            let one = shard.give(session.as_str(), entry, &incoming, |holder, client_id| {
                ready.push(Ready { holder, client_id: client_id.clone() });
            });
            drop(shard);
            if one.sessions > 0 {
                self.control.totals.messages += 1;
                self.control.totals.bytes += incoming.message.bytes() as u64;
                if let Some(group) = self.store.write_index().groups.get_mut(&key) {
                    group.last = Some(session);
                }
                return one;
            }
            kept.full = 1;
        }
        kept
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
        let bytes = message.bytes() as u64;
        if self.control.totals.bytes.saturating_add(bytes) > self.limits.bytes_total_max {
            return OperationOutcome::Full;
        }
        let limits = self.limits;
        let log_index = self.context.log_index;
        let incoming =
            Incoming { message: &message, topic: "", publisher: None, limits: &limits, log_index };
        let entry = Entry {
            progress: Progress::Waiting,
            qos,
            retain,
            message: Some(Arc::clone(&message)),
            subscription_ids: subscription_id.map(|id| [id].into()),
            share: None,
        };
        let ready = &mut self.applied.ready;
        let mut shard = self.store.shard(session.client_id);
        let kept = shard.give(session.client_id, entry, &incoming, |holder, client_id| {
            ready.push(Ready { holder, client_id: client_id.clone() });
        });
        drop(shard);
        self.control.totals.messages += kept.sessions;
        self.control.totals.bytes += kept.sessions * bytes;
        self.control.totals.full += kept.full;
        if kept.sessions > 0 { OperationOutcome::Done } else { OperationOutcome::Full }
    }

    /// Publishes a will, if its user may: here to durable sessions, by way of this batch's node to
    /// all others.
    pub(super) fn publish_will(&mut self, due: DueWill) {
        let DueWill { client_id, username, will } = due;
        let Some(publish) = will.message.publish() else { return };
        let authorizer = self.context.policy.authorizer(username.as_deref(), client_id.as_str());
        if !may_publish(&authorizer, publish.topic) {
            return;
        }
        let expires_at = match will.message_expiry_seconds {
            Some(seconds) => self.now.plus_seconds(seconds),
            None => Millis::NEVER,
        };
        let Ok(message) = Message::new(&publish, expires_at) else { return };
        let message = Arc::new(message);
        if publish.retain {
            self.retain(&message);
        }
        if publish.qos != QoS::AtMostOnce {
            let mut route = DurableRoute::default();
            self.store.route(publish.topic, &mut route);
            let groups: Vec<&str> = route.groups.iter().map(|group| &*group.key).collect();
            let from = Some(client_id.as_str());
            self.keep(&message, publish.topic, from, (route.shards, &groups));
        }
        let BatchOrigin { node, start, .. } = self.origin;
        self.applied.live.push(LiveMessage { node, start, client_id, message });
    }
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
    (qos != QoS::AtMostOnce).then(|| Entry {
        progress: Progress::Waiting,
        qos,
        retain: member.options.retain_as_published && incoming.message.retain(),
        message: Some(Arc::clone(incoming.message)),
        subscription_ids: member.id.map(|id| [id].into()),
        share: Some(Arc::clone(key)),
    })
}
