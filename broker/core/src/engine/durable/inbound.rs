//! Messages from clients to durable sessions, and QoS 2 messages from clients that have one.

use super::super::output::AckPacket;
use super::super::publish::expiry;
use super::super::route::Publisher;
use super::super::{DropReason, Engine, ProposalId};
use super::{Reach, Wait};
use crate::codec::ReasonCode;
use crate::codec::packet::Publish;
use crate::connection::slot_of;
use crate::router::{Message, Presence, Route, SharedRoute};
use crate::session::SessionSlot;
use crate::shard::{MessageForm, Operation, PublisherForm, SessionRef};
use crate::types::{ConnectionId, Millis, PacketId, QoS};

/// What a publisher waits for.
#[derive(Debug, Clone, Copy)]
pub(in crate::engine) struct Published {
    pub(in crate::engine) publisher: Publisher,
    /// The packet's identifier, for QoS 2.
    pub(in crate::engine) packet_id: Option<PacketId>,
    /// Whether the state is to retain it, should it be proposed.
    pub(in crate::engine) is_retained: bool,
}

impl Engine {
    /// Whether the state chooses the member that gets a message of QoS 1 or 2: a durable one, if
    /// one is connected, or if nobody else is.
    pub(in crate::engine) fn is_chosen_by_state(
        &self,
        route: &Route,
        group: &SharedRoute,
        qos: QoS,
    ) -> bool {
        if self.durable.is_none() || qos == QoS::AtMostOnce {
            return false;
        }
        let known = route.durable.groups.iter().find(|known| known.key == group.key);
        known.is_some_and(|known| known.has_connected || group.total(Presence::Connected) == 0)
    }

    /// Proposes a message for the durable sessions that want it, or for the memory of the durable
    /// session that publishes it. No proposal when the state has nothing to do with it. Says too
    /// whether such sessions go without, as all of them together hold as much as they may.
    pub(in crate::engine) fn propose_publish(
        &mut self,
        now: Millis,
        publish: &Publish<'_>,
        published: Published,
        route: &Route,
    ) -> (Option<ProposalId>, bool) {
        let Some(durable) = &self.durable else { return (None, false) };
        if publish.qos == QoS::AtMostOnce {
            return (None, false);
        }
        let has_room = durable.store.queued_messages() < self.config.durable_messages_max;
        let key = published.publisher.session().and_then(|slot| self.durable_key(slot));
        let mut groups = self.groups_of_state(route, publish.qos);
        let mut shards = route.durable.shards;
        let is_full = !has_room && (shards != 0 || !groups.is_empty());
        if is_full {
            self.counters.dropped.count(DropReason::QueueFull);
            (shards, groups) = (0, Vec::new());
        }
        let is_remembered = published.packet_id.is_some() && key.is_some();
        if shards == 0 && groups.is_empty() && !is_remembered {
            return (None, is_full);
        }
        // One message is retained and queued: the lesser time holds for both.
        let expires_at = match published.is_retained {
            true => self.retained_expiry(now, publish),
            false => expiry(now, publish),
        };
        let Ok(message) = Message::new(publish, expires_at) else { return (None, is_full) };
        let publisher = key.as_ref().map(|(client_id, attachment)| PublisherForm {
            session: SessionRef { client_id, attachment: *attachment },
            packet_id: published.packet_id,
        });
        let operation = Operation::Publish {
            publisher,
            shards,
            groups,
            is_retained: published.is_retained,
            message: MessageForm::of(&message),
        };
        self.proposal_count += 1;
        let proposal = ProposalId(self.proposal_count);
        self.push_operation(&operation, Wait::Ack(proposal), Reach::Committed);
        (Some(proposal), is_full)
    }

    fn groups_of_state<'a>(&self, route: &'a Route, qos: QoS) -> Vec<&'a str> {
        let groups = route.durable.groups.iter().filter(|known| {
            match route.groups.iter().find(|group| group.key == known.key) {
                Some(group) => self.is_chosen_by_state(route, group, qos),
                None => true,
            }
        });
        groups.map(|known| &*known.key).collect()
    }

    /// Whether a message is for durable sessions.
    pub(in crate::engine) fn is_wanted_by_state(&self, route: &Route, qos: QoS) -> bool {
        self.durable.is_some()
            && qos != QoS::AtMostOnce
            && (route.durable.shards != 0 || !route.durable.groups.is_empty())
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
