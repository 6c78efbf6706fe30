//! PUBLISH from clients: aliases, windows, rights, and the acknowledgement that is due.
//!
//! Spec: MQTT 5.0 sections 3.3, 4.3, 4.6 and 4.9.

use broker_policy::{Action, Authorizer};

use super::durable::Published;
use super::output::AckPacket;
use super::reason::{self, Fault};
use super::route::{Publisher, Scope};
use super::{DropReason, Effect, Engine, Profile, ProposalId};
use crate::codec::ReasonCode;
use crate::codec::packet::{Packet, Publish, PublishAck};
use crate::connection::{AckKind, ConnectionSlot, PendingAck, slot_of};
use crate::retained::RetainedChange;
use crate::router::{Message, Route};
use crate::session::SessionSlot;
use crate::shard::ALL_SHARDS;
use crate::types::{ConnectionId, Millis, PacketId, QoS};

/// Topics of commands to the broker, which this version does not take.
const CONTROL_PREFIX: &str = "$CONTROL";

/// What is to be told of a PUBLISH.
struct Judged {
    reason_code: ReasonCode,
    /// What was proposed for it.
    proposal: Option<ProposalId>,
    /// Whether the acknowledgement waits for that.
    is_awaited: bool,
}

impl Engine {
    pub(super) fn handle_publish(
        &mut self,
        now: Millis,
        id: ConnectionId,
        publish: &Publish<'_>,
    ) -> Result<(), Fault> {
        let Some(alias) = publish.properties.topic_alias else {
            return self.take_publish(now, id, publish);
        };
        let maximum = self.topic_alias_maximum(slot_of(id));
        let Some(connection) = self.connections.get_mut(id) else { return Ok(()) };
        if !publish.topic.is_empty() {
            let aliases = connection.topic_aliases.get_or_insert_default();
            aliases.set(alias, publish.topic, maximum)?;
            return self.take_publish(now, id, publish);
        }
        let aliases = connection.topic_aliases.take().unwrap_or_default();
        let result = aliases
            .topic(alias, maximum)
            .map_err(|reason_code| match reason_code {
                ReasonCode::ProtocolError => Fault::State(reason::ALIAS_UNSET),
                reason_code => reason_code.into(),
            })
            .and_then(|topic| self.take_publish(now, id, &Publish { topic, ..*publish }));
        if let Some(connection) = self.connections.get_mut(id) {
            connection.topic_aliases = Some(aliases);
        }
        result
    }

    /// A PUBLISH under its topic, with no longer a Message Expiry Interval than there may be.
    pub(super) fn accept_publish(
        &mut self,
        now: Millis,
        id: ConnectionId,
        publish: &Publish<'_>,
    ) -> Result<(), Fault> {
        let max = self.config.message_expiry_seconds_max;
        let asked = publish.properties.message_expiry_seconds.unwrap_or(u32::MAX);
        if asked <= max {
            return self.accept_in_time(now, id, publish);
        }
        self.counters.limits.message_expiry += 1;
        let mut publish = *publish;
        publish.properties.message_expiry_seconds = Some(max);
        self.accept_in_time(now, id, &publish)
    }

    fn accept_in_time(
        &mut self,
        now: Millis,
        id: ConnectionId,
        publish: &Publish<'_>,
    ) -> Result<(), Fault> {
        let slot = slot_of(id);
        let Some(session) = self.connections.at(slot).and_then(|state| state.session) else {
            return Err(ReasonCode::ProtocolError.into());
        };
        self.counters.publishes_received[usize::from(publish.qos.as_u8())] += 1;
        self.counters.payload_bytes_received += publish.payload.len() as u64;
        // What is delayed is retained when its time has come.
        let retains = publish.retain && !self.is_delayed(publish.topic);
        let Some(packet_id) = publish.packet_id else {
            if !self.publish(now, slot, session, publish).reason_code.is_error() && retains {
                self.propose_retained(now, publish);
            }
            return Ok(());
        };
        let kind = match publish.qos {
            QoS::ExactlyOnce => AckKind::PubRec,
            _ => AckKind::PubAck,
        };
        if kind == AckKind::PubRec && self.is_known_qos2(session, packet_id) {
            self.repeat_pubrec(slot, packet_id);
            return Ok(());
        }
        self.check_receive_maximum(slot, session)?;
        let Judged { reason_code, mut proposal, is_awaited } =
            self.publish(now, slot, session, publish);
        let is_denied = reason_code.is_error();
        let is_v5 = self.version(slot).is_v5();
        // A PUBREC that refuses ends the exchange; 3.1.1 knows none, so it goes on there.
        if kind == AckKind::PubRec
            && !(is_denied && is_v5)
            && let Some(session) = self.sessions.get_mut(session)
        {
            session.inbound_qos2.insert(packet_id);
        }
        if retains && !is_denied && proposal.is_none() {
            proposal = self.propose_retained(now, publish);
        }
        // What nobody waits for is acknowledged now.
        let proposal = proposal.filter(|_| is_awaited);
        if let Some(proposal) = proposal {
            self.proposals.insert(proposal, id);
        }
        self.acknowledge(slot, PendingAck { kind, packet_id, reason_code, proposal });
        Ok(())
    }

    fn is_known_qos2(&self, session: SessionSlot, packet_id: PacketId) -> bool {
        self.sessions.get(session).is_some_and(|session| session.inbound_qos2.contains(packet_id))
    }

    /// A QoS 2 message came again: its PUBREC may have been lost. The new one waits for those of the
    /// messages before it. Spec: MQTT 5.0 section 4.6 [MQTT-4.6.0-3].
    fn repeat_pubrec(&mut self, slot: ConnectionSlot, packet_id: PacketId) {
        let acks = self.connections.at(slot).and_then(|state| state.pending_acks.as_ref());
        if !acks.is_some_and(|acks| acks.holds_pubrec(packet_id)) {
            let (kind, reason_code) = (AckKind::PubRec, ReasonCode::Success);
            self.acknowledge(slot, PendingAck { kind, packet_id, reason_code, proposal: None });
        }
    }

    /// Spec: MQTT 5.0 section 3.3.4 [MQTT-3.3.4-7].
    fn check_receive_maximum(
        &self,
        slot: ConnectionSlot,
        session: SessionSlot,
    ) -> Result<(), Fault> {
        let (Some(connection), Some(session)) =
            (self.connections.at(slot), self.sessions.get(session))
        else {
            return Ok(());
        };
        let acks = connection.pending_acks.as_ref().map_or(0, |acks| acks.pubacks());
        let unacknowledged = acks + session.inbound_qos2.len();
        if connection.version.is_v5() && unacknowledged >= usize::from(self.config.receive_maximum)
        {
            return Err(ReasonCode::ReceiveMaximumExceeded.into());
        }
        Ok(())
    }

    /// Sends a message to all who want it, if the client may publish it. Gives the reason code of
    /// its acknowledgement, and what that waits for.
    fn publish(
        &mut self,
        now: Millis,
        slot: ConnectionSlot,
        session: SessionSlot,
        publish: &Publish<'_>,
    ) -> Judged {
        if self.is_payload_too_large(slot, publish) {
            self.counters.dropped.count(DropReason::TooLarge);
            // Mosquitto's code is none of PUBACK's.
            let reason_code = match self.config.profile {
                Profile::Dunlin => ReasonCode::QuotaExceeded,
                Profile::Mosquitto => ReasonCode::PacketTooLarge,
            };
            return Judged { reason_code, proposal: None, is_awaited: true };
        }
        if self.is_delayed(publish.topic) {
            let (reason_code, proposal) = self.delay(now, session, publish);
            return Judged { reason_code, proposal, is_awaited: true };
        }
        let mut route = self.router.take_route(publish.topic, &self.sessions);
        let mut proposal = None;
        let reason_code = if self.may_use_route(slot, session, &route) {
            self.refresh_durable(&mut route, publish.qos);
            let publisher = Publisher::Session(session);
            let packet_id = publish.packet_id.filter(|_| publish.qos == QoS::ExactlyOnce);
            let is_awaited = !route.is_acknowledged_at_once;
            let is_retained = publish.retain;
            let published = Published { publisher, packet_id, is_retained, is_awaited };
            let knows_durable = self.knows_durable(now, publish.qos);
            if !knows_durable {
                self.note_served();
            }
            let mut is_wanted = self.follow_route(now, publish, (publisher, Scope::All), &route);
            let mut shards = route.durable.shards;
            if !knows_durable {
                // Whoever wants it is found where it is applied.
                (is_wanted, shards) = (true, ALL_SHARDS);
            }
            let is_full;
            (proposal, is_full) = self.propose_publish(now, publish, published, shards);
            match is_wanted {
                _ if is_full => ReasonCode::QuotaExceeded,
                true => ReasonCode::Success,
                false => ReasonCode::NoMatchingSubscribers,
            }
        } else {
            self.counters.dropped.count(DropReason::PublishDenied);
            ReasonCode::NotAuthorized
        };
        let is_awaited = !route.is_acknowledged_at_once;
        self.router.put_route(route);
        Judged { reason_code, proposal, is_awaited }
    }

    /// Whether the client may publish to the route's topic. The answer for the last two topics is
    /// remembered as long as their routes live.
    fn may_use_route(&mut self, slot: ConnectionSlot, session: SessionSlot, route: &Route) -> bool {
        let (Some(connection), Some(session)) =
            (self.connections.at_mut(slot), self.sessions.get(session))
        else {
            return false;
        };
        if connection.publish_rights.contains(&route.stamp) {
            return true;
        }
        if !Self::may_publish(&session.authorizer, &route.topic) {
            return false;
        }
        connection.publish_rights = [route.stamp, connection.publish_rights[0]];
        true
    }

    pub(super) fn may_publish(authorizer: &Authorizer, topic: &str) -> bool {
        !topic.starts_with(CONTROL_PREFIX) && authorizer.allows(Action::Publish, topic)
    }

    /// Has the cluster keep the message, or take the topic's message away if this one is empty.
    /// [MQTT-3.3.1-5] [MQTT-3.3.1-6]
    pub(super) fn propose_retained(
        &mut self,
        now: Millis,
        publish: &Publish<'_>,
    ) -> Option<ProposalId> {
        // What takes a message away makes room.
        if !publish.payload.is_empty()
            && let Some(proposal) = self.turn_down(now)
        {
            return Some(proposal);
        }
        let message = match publish.payload {
            [] => None,
            _ => {
                let expires_at = self.retained_expiry(now, publish);
                Some(Message::new(publish, expires_at).ok()?)
            }
        };
        self.propose_retained_batches();
        self.proposal_count += 1;
        let proposal = ProposalId(self.proposal_count);
        let change = Box::new(RetainedChange { topic: publish.topic.into(), message });
        self.effects.push(Effect::Propose { proposal, change });
        Some(proposal)
    }

    /// When a retained message goes: by its own interval, or the broker's.
    pub(super) fn retained_expiry(&mut self, now: Millis, publish: &Publish<'_>) -> Millis {
        let asked = expiry(now, publish);
        let granted = match self.config.retained_expiry_seconds_max {
            u32::MAX => asked,
            seconds => asked.min(now.plus_seconds(seconds)),
        };
        self.counters.limits.retained_expiry += u64::from(granted < asked);
        granted
    }

    /// Sends an acknowledgement, or puts it behind those that wait.
    fn acknowledge(&mut self, slot: ConnectionSlot, ack: PendingAck) {
        let Some(connection) = self.connections.at_mut(slot) else { return };
        if ack.proposal.is_some() || connection.pending_acks.is_some() {
            connection.pending_acks.get_or_insert_default().push(ack);
        } else {
            self.send_publish_ack(slot, ack);
        }
    }

    pub(super) fn send_publish_ack(&mut self, slot: ConnectionSlot, ack: PendingAck) {
        let packet = match ack.kind {
            AckKind::PubAck => AckPacket::Ack,
            AckKind::PubRec => AckPacket::Rec,
        };
        let reason_code = match (self.config.profile, ack.kind, ack.reason_code) {
            (Profile::Mosquitto, AckKind::PubRec, ReasonCode::NoMatchingSubscribers) => {
                ReasonCode::Success
            }
            (.., reason_code) => reason_code,
        };
        if !reason_code.is_error() {
            self.send_ack(slot, packet, ack.packet_id, reason_code);
            return;
        }
        let refusal = PublishAck::new(ack.packet_id, reason_code);
        let refusal = match ack.kind {
            AckKind::PubAck => Packet::PubAck(refusal),
            AckKind::PubRec => Packet::PubRec(refusal),
        };
        self.send_refusal(slot, refusal, &[reason_code]);
    }
}

/// When the Message Expiry Interval of a message that came now ends.
pub(super) fn expiry(now: Millis, publish: &Publish<'_>) -> Millis {
    match publish.properties.message_expiry_seconds {
        Some(seconds) => now.plus_seconds(seconds),
        None => Millis::NEVER,
    }
}
