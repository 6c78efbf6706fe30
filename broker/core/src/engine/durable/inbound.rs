//! Messages from clients to durable sessions, and QoS 2 messages from clients that have one.

use std::sync::Arc;

use super::super::output::AckPacket;
use super::super::publish::expiry;
use super::super::route::Publisher;
use super::super::{DropReason, Engine, ProposalId};
use super::{Left, Reach, Wait};
use crate::codec::ReasonCode;
use crate::codec::packet::Publish;
use crate::connection::slot_of;
use crate::forward::Forwarded;
use crate::router::{Message, Route};
use crate::session::SessionSlot;
use crate::shard::{
    ALL_SHARDS, DelayForm, Drops, GroupForm, MessageForm, Operation, Pick, PublisherForm,
    SessionRef,
};
use crate::types::{ConnectionId, Millis, PacketId, QoS};

/// What a publisher waits for.
#[derive(Debug, Clone, Copy)]
pub(in crate::engine) struct Published {
    pub(in crate::engine) publisher: Publisher,
    /// The packet's identifier, for QoS 2.
    pub(in crate::engine) packet_id: Option<PacketId>,
    /// Whether the state is to retain it, should it be proposed.
    pub(in crate::engine) is_retained: bool,
    /// Whether somebody waits for what becomes of it.
    pub(in crate::engine) is_awaited: bool,
}

impl Engine {
    /// A member of this group is to be chosen by the state when the message that is being published
    /// is proposed.
    pub(in crate::engine) fn leave_to_state(&mut self, key: &Arc<str>, pick: Pick, has_live: bool) {
        if let Some(durable) = &mut self.durable {
            durable.left.push((Arc::clone(key), pick, has_live));
        }
    }

    /// This node may not know of all durable sessions: from here on it is noted which groups get the
    /// message that is being published without the state.
    pub(in crate::engine) fn note_served(&mut self) {
        if let Some(durable) = self.durable.as_mut().filter(|one| one.store.knows_anywhere()) {
            durable.served = Some(Vec::new());
        }
    }

    /// A member that the state does not serve gets the message.
    pub(in crate::engine) fn is_served(&mut self, key: &Arc<str>) {
        if let Some(served) = self.durable.as_mut().and_then(|durable| durable.served.as_mut()) {
            served.push(Arc::clone(key));
        }
    }

    /// Proposes a message for the durable sessions of these shards that want it, for the groups that
    /// were left to the state, or for the memory of the durable session that publishes it. No
    /// proposal when the state has nothing to do with it. Says too whether such sessions go
    /// without, as all of them together hold as much as they may.
    pub(in crate::engine) fn propose_publish(
        &mut self,
        now: Millis,
        publish: &Publish<'_>,
        published: Published,
        mut shards: u16,
    ) -> (Option<ProposalId>, bool) {
        if publish.qos == QoS::AtMostOnce {
            return (None, false);
        }
        let Some(durable) = &mut self.durable else { return (None, false) };
        let mut left = std::mem::take(&mut durable.left);
        let mut served = durable.served.take();
        let is_wanted = shards != 0 || !left.is_empty();
        // What takes a message away is let through where nothing else is.
        let is_let_by = publish.payload.is_empty() && durable.store.is_disk_low();
        let is_retained_here = published.is_retained && !is_let_by;
        // Its bytes are looked at before anything is done, so it is encoded here already.
        let kept = match published.is_retained {
            true => Message::new(publish, Millis::NEVER).ok(),
            false => None,
        };
        let has_room = (is_wanted || is_retained_here) && self.has_durable_room(kept.as_ref());
        let is_full = is_wanted && !has_room;
        if is_retained_here && has_room {
            // A session that subscribes before it is retained has it as any message.
            shards = ALL_SHARDS;
        }
        let slot = published.publisher.session();
        let key = slot.and_then(|slot| self.durable_key(slot));
        let mut is_remembered = published.packet_id.is_some() && key.is_some();
        let mut is_retained = published.is_retained;
        if is_full {
            self.counters.dropped.count(DropReason::QueueFull);
            (shards, left, served, is_retained) = (0, Vec::new(), None, false);
            // The PUBREC that refuses ends the exchange. 3.1.1 knows none.
            is_remembered &= slot.is_some_and(|slot| !self.is_v5_session(slot));
        }
        if shards == 0 && left.is_empty() && !is_remembered {
            return (None, is_full);
        }
        if let Some(proposal) = self.turn_down(now) {
            if let Some(durable) = &mut self.durable {
                durable.left.clear();
            }
            return (Some(proposal), is_full);
        }
        // One message is retained and queued: the lesser time holds for both.
        let expires_at = match is_retained {
            true => self.retained_expiry(now, publish),
            false => expiry(now, publish),
        };
        let message = match kept {
            Some(message) => Some(message.expiring_at(expires_at)),
            None => Message::new(publish, expires_at).ok(),
        };
        let Some(message) = message else { return (None, is_full) };
        let publisher = key.as_ref().map(|(client_id, attachment)| PublisherForm {
            session: SessionRef { client_id, attachment: *attachment },
            packet_id: published.packet_id,
        });
        self.proposal_count += 1;
        let proposal = ProposalId(self.proposal_count);
        let wait = match published.is_awaited {
            true => Wait::Ack(proposal),
            false => Wait::Nothing,
        };
        self.push_publish(&message, publisher, (shards, left, served), is_retained, wait);
        (Some(proposal), is_full)
    }

    /// Whether durable sessions may keep one more message. For one that is retained the bytes are
    /// looked at here, as the state would retain it before it knows that nobody can keep it.
    fn has_durable_room(&self, retained: Option<&Message>) -> bool {
        let Some(durable) = &self.durable else { return false };
        let (config, store) = (&self.config, &durable.store);
        store.queued_messages() < config.durable_messages_max
            && retained.is_none_or(|message| {
                let bytes = store.queued_bytes().saturating_add(message.bytes() as u64);
                bytes <= config.durable_bytes_max
            })
    }

    fn is_v5_session(&self, slot: SessionSlot) -> bool {
        let connection = self.sessions.get(slot).and_then(|session| session.connection);
        connection.is_some_and(|connection| self.version(connection).is_v5())
    }

    /// Has the state keep a delayed message, which is under its real topic.
    pub(in crate::engine) fn propose_delay(
        &mut self,
        now: Millis,
        slot: SessionSlot,
        (message, packet_id): (&Message, Option<PacketId>),
        seconds: u32,
    ) -> Option<ProposalId> {
        if let Some(proposal) = self.turn_down(now) {
            return Some(proposal);
        }
        let session = self.sessions.get(slot)?;
        let (client_id, username) = (session.client_id.clone(), session.identity.username.clone());
        let key = self.durable_key(slot);
        let publisher = key.as_ref().map(|(client_id, attachment)| PublisherForm {
            session: SessionRef { client_id, attachment: *attachment },
            packet_id,
        });
        let operation = Operation::Delay(DelayForm {
            publisher,
            client_id: client_id.as_str(),
            username: username.as_deref(),
            seconds,
            limits: self.config.delayed.kept,
            message: MessageForm::of(message),
        });
        self.proposal_count += 1;
        let proposal = ProposalId(self.proposal_count);
        self.push_operation(&operation, Wait::Delay(proposal), Reach::Committed);
        Some(proposal)
    }

    /// Messages that the state has dropped, by what this node proposed.
    pub fn count_drops(&mut self, drops: &Drops) {
        let dropped = &mut self.counters.dropped;
        dropped.queue_full += drops.queue_full;
        dropped.publish_denied += drops.publish_denied;
        dropped.expired += drops.expired;
    }

    /// Proposes a message for the groups that were left to the state. Nobody waits for it.
    pub(in crate::engine) fn propose_left(&mut self, message: &Message) {
        let Some(durable) = &mut self.durable else { return };
        let left = std::mem::take(&mut durable.left);
        if !left.is_empty() {
            self.push_publish(message, None, (0, left, None), false, Wait::Nothing);
        }
    }

    /// As [`Self::propose_left`], for a message of another engine.
    pub(in crate::engine) fn propose_forwarded(&mut self, forwarded: &Forwarded<'_>) {
        if self.durable.as_ref().is_none_or(|durable| durable.left.is_empty()) {
            return;
        }
        if let Ok(message) = Message::new(&forwarded.publish, forwarded.expires_at) {
            self.propose_left(&message);
        }
    }

    fn push_publish(
        &mut self,
        message: &Message,
        publisher: Option<PublisherForm<'_>>,
        (shards, mut left, served): (u16, Vec<Left>, Option<Vec<Arc<str>>>),
        is_retained: bool,
        wait: Wait,
    ) {
        let form = MessageForm::of(message);
        let groups = left.iter().map(|(key, pick, has_live)| GroupForm {
            key,
            pick: *pick,
            has_live: *has_live,
        });
        let groups: Vec<GroupForm<'_>> = groups.collect();
        let operation = match &served {
            Some(served) => {
                let served = served.iter().map(|key| &**key).collect();
                Operation::PublishAnywhere { publisher, served, groups, is_retained, message: form }
            }
            None if groups.is_empty() => {
                let groups = Vec::new();
                Operation::Publish { publisher, shards, groups, is_retained, message: form }
            }
            None => {
                Operation::PublishShared { publisher, shards, groups, is_retained, message: form }
            }
        };
        self.push_operation(&operation, wait, Reach::Committed);
        drop(operation);
        left.clear();
        if let Some(durable) = &mut self.durable {
            durable.left = left;
            durable.has_retained |= is_retained;
        }
    }

    /// Whether this node would know of durable sessions that want a message.
    pub(in crate::engine) fn knows_durable(&self, now: Millis, qos: QoS) -> bool {
        qos == QoS::AtMostOnce
            || self.durable.as_ref().is_none_or(|durable| durable.store.is_confirmed_at(now))
    }

    /// Whether durable sessions have subscribed to what a message is about.
    pub(in crate::engine) fn is_wanted_by_state(&self, route: &Route, qos: QoS) -> bool {
        self.durable.is_some() && qos != QoS::AtMostOnce && route.durable.shards != 0
    }

    /// PUBREL: the state forgets the message; then PUBCOMP leaves. Had it not, another message of
    /// the same identifier would pass for a repetition after a change of brokers.
    pub(in crate::engine) fn propose_release(&mut self, slot: SessionSlot, packet_id: PacketId) {
        if let Some(view) = self.sessions.get_mut(slot).and_then(|s| s.durable.as_mut()) {
            view.releases.push(packet_id);
            self.mark(slot);
        }
    }

    pub(super) fn released(&mut self, id: ConnectionId, packet_ids: &[PacketId]) {
        let session = self.connections.get(id).and_then(|connection| connection.session);
        for &packet_id in packet_ids {
            if let Some(session) = session.and_then(|slot| self.sessions.get_mut(slot)) {
                session.inbound_qos2.remove(packet_id);
            }
            self.send_ack(slot_of(id), AckPacket::Comp, packet_id, ReasonCode::Success);
        }
    }
}
