//! Messages to sessions: at once if the client can take them, else into the session's queue.

use broker_policy::Action;

use super::frames::{append_aliased, append_own, mount_bytes};
use super::outgoing::{Outgoing, Sent};
use super::output::AckPacket;
use super::{DropReason, Engine, EngineConfig, SYS_PREFIX};
use crate::codec::{PublishHeader, ReasonCode, ReceiverProperties};
use crate::connection::{ConnectionSlot, Outlet};
use crate::router::Target;
use crate::session::{Delivery, QueueLimits, Resend, SessionSlot};
use crate::types::{Millis, PacketId, QoS, SubscriptionId};

pub(super) const fn queue_limits(config: &EngineConfig) -> QueueLimits {
    QueueLimits { messages_max: config.queue_messages_max, bytes_max: config.queue_bytes_max }
}

impl Engine {
    /// Delivers a message to one session.
    pub(super) fn deliver_one(
        &mut self,
        now: Millis,
        outgoing: &mut Outgoing<'_>,
        target: &Target,
    ) {
        let mut qos = outgoing.publish.qos.min(target.qos);
        let retain = outgoing.publish.retain && target.retain_as_published;
        let ids = target.subscription_ids.as_deref().unwrap_or_default();
        let Some(session) = self.sessions.get_mut(target.session) else { return };
        if session.durable.is_some() && outgoing.publish.topic.starts_with(SYS_PREFIX) {
            // What the broker says of itself is not kept: it says it again.
            qos = QoS::AtMostOnce;
        }
        if session.durable.is_some() && qos != QoS::AtMostOnce {
            // The state has it.
            return;
        }
        let connection = session.connection.and_then(|slot| self.connections.at(slot));
        let Some(connection) = connection.filter(|connection| connection.is_open()) else {
            if qos != QoS::AtMostOnce {
                self.enqueue(target.session, outgoing.delivery(qos, retain, ids));
            }
            return;
        };
        let slot = connection.id.0 as ConnectionSlot;
        let is_behind = connection.output.len() > self.config.output_bytes_soft_max;
        let header = PublishHeader { dup: false, qos, retain, packet_id: None };
        if qos == QoS::AtMostOnce {
            if is_behind {
                self.counters.dropped.count(DropReason::SlowConsumer);
            } else {
                self.send_publish(now, slot, outgoing, header, ids);
            }
            return;
        }
        let window = connection.send_window;
        if is_behind || !session.queue.is_empty() || !session.in_flight.has_room(window) {
            self.enqueue(target.session, outgoing.delivery(qos, retain, ids));
            return;
        }
        // Another member of the group may get it should this session end.
        let delivery = match session.is_persistent() || outgoing.share.is_some() {
            true => outgoing.delivery(qos, retain, ids),
            false => None,
        };
        if let Some(kept) = &delivery
            && !self.may_keep(target.session, kept.message.bytes())
        {
            self.enqueue(target.session, delivery);
            return;
        }
        let Some(session) = self.sessions.get_mut(target.session) else { return };
        let packet_id = session.in_flight.push(qos, delivery);
        self.count_in_flight(target.session);
        let header = PublishHeader { packet_id: Some(packet_id), ..header };
        if self.send_publish(now, slot, outgoing, header, ids) == Sent::TooLarge
            && let Some(session) = self.sessions.get_mut(target.session)
        {
            session.in_flight.withdraw(packet_id);
            self.count_in_flight(target.session);
        }
    }

    /// Whether a message that is sent now may be kept until it is acknowledged: within the limits
    /// of its session and of the engine.
    fn may_keep(&self, slot: SessionSlot, bytes: usize) -> bool {
        self.has_room_in_total(bytes)
            && self
                .sessions
                .get(slot)
                .is_some_and(|session| session.in_flight.keeps(bytes, self.config.queue_bytes_max))
    }

    /// Whether all sessions together may hold so many more bytes.
    const fn has_room_in_total(&self, bytes: usize) -> bool {
        let held = self.counters.queued_bytes + self.counters.in_flight_bytes;
        held + bytes as u64 <= self.config.queued_bytes_total_max
    }

    /// Brings the engine's total up to date with what a session keeps in flight.
    pub(super) fn count_in_flight(&mut self, slot: SessionSlot) {
        let Some(session) = self.sessions.get_mut(slot) else { return };
        let bytes = session.in_flight.bytes() as u64;
        let counted = std::mem::replace(&mut session.in_flight_counted, bytes);
        self.counters.in_flight_bytes = self.counters.in_flight_bytes + bytes - counted;
    }

    /// Appends a PUBLISH to a connection's output.
    fn send_publish(
        &mut self,
        now: Millis,
        slot: ConnectionSlot,
        outgoing: &Outgoing<'_>,
        header: PublishHeader,
        ids: &[SubscriptionId],
    ) -> Sent {
        let Some(Outlet { version, listener, packet_bytes_max, aliases, out }) =
            self.connections.outlet(slot)
        else {
            return Sent::TooLarge;
        };
        let bytes_max = packet_bytes_max as usize;
        let Outgoing { publish, expires_at, .. } = outgoing;
        let mount_bytes = match mount_bytes(&self.config, listener, publish.topic) {
            Some(mount_bytes) => mount_bytes,
            None => {
                self.counters.dropped.count(DropReason::ReceiveDenied);
                return Sent::TooLarge;
            }
        };
        let topic = &publish.topic[mount_bytes..];
        let frame =
            self.frames.frame(now, publish, *expires_at, (version, mount_bytes), header.qos);
        let Some(frame) = frame else { return Sent::TooLarge };
        let start = out.len();
        if let Some(aliases) = aliases {
            append_aliased(aliases, frame, header, (topic, ids), bytes_max, out);
        } else if ids.is_empty() || !version.is_v5() {
            if frame.packet_bytes() <= bytes_max {
                frame.append_to(header, out);
            }
        } else {
            let own = ReceiverProperties { topic_alias: None, subscription_ids: ids };
            append_own(frame, header, &own, bytes_max, out);
        }
        if out.len() == start {
            self.counters.dropped.count(DropReason::TooLarge);
            return Sent::TooLarge;
        }
        self.counters.publishes_sent[usize::from(header.qos.as_u8())] += 1;
        self.counters.payload_bytes_sent += publish.payload.len() as u64;
        Sent::Yes
    }

    fn enqueue(&mut self, session: SessionSlot, delivery: Option<Delivery>) {
        let Some(delivery) = delivery else { return };
        let has_room = self.has_room_in_total(delivery.message.bytes())
            && self.counters.queued_messages < self.config.queued_messages_total_max;
        let Some(session) = self.sessions.get_mut(session) else { return };
        let limits = queue_limits(&self.config);
        let bytes = delivery.message.bytes() as u64;
        if has_room && session.queue.push(delivery, limits) {
            self.counters.queued_messages += 1;
            self.counters.queued_bytes += bytes;
        } else {
            self.counters.dropped.count(DropReason::QueueFull);
        }
    }

    /// Sends what waits in a session, as far as the client's window and its reading allow: first
    /// what an earlier connection left unacknowledged, then the queue, then retained messages.
    pub(super) fn pump(&mut self, now: Millis, slot: SessionSlot) {
        let Some(session) = self.sessions.get(slot) else { return };
        let Some(connection) = session.connection else { return };
        if session.in_flight.is_sent()
            && session.queue.is_empty()
            && session.retained_cursors.is_empty()
            && !self.has_durable(slot)
        {
            return;
        }
        self.pump_durable(now, slot, connection);
        while self.has_room(connection) && self.resend_one(now, slot, connection) {}
        while self.has_room(connection) && self.send_queued(now, slot, connection) {}
        self.end_recheck(slot);
        self.send_retained(now, slot);
    }

    /// Whether a connection takes messages that can also wait.
    pub(super) fn has_room(&self, connection: ConnectionSlot) -> bool {
        self.connections.at(connection).is_some_and(|connection| {
            connection.is_open() && connection.output.len() <= self.config.output_bytes_soft_max
        })
    }

    /// Sends one PUBLISH or PUBREL again. Spec: MQTT 5.0 section 4.4 [MQTT-4.4.0-1].
    fn resend_one(&mut self, now: Millis, slot: SessionSlot, connection: ConnectionSlot) -> bool {
        let Some(state) = self.connections.at(connection) else { return false };
        let Some(session) = self.sessions.get_mut(slot) else { return false };
        let (is_recheck_due, authorizer) = (session.is_recheck_due, &session.authorizer);
        let denied = &mut self.counters.dropped.receive_denied;
        let resend = session.in_flight.resend(state.send_window, |delivery| {
            let topic = delivery.message.topic();
            if is_recheck_due && !authorizer.allows(Action::Receive, topic) {
                *denied += 1;
                return true;
            }
            delivery.message.publish().is_none()
        });
        let resend = match resend {
            None => None,
            Some(Resend::PubRel(packet_id)) => Some((packet_id, None)),
            Some(Resend::Publish(packet_id, delivery)) => Some((packet_id, Some(delivery.clone()))),
        };
        // What can't be sent any more was let go.
        self.count_in_flight(slot);
        let (packet_id, delivery) = match resend {
            None => return false,
            Some((packet_id, None)) => {
                self.send_ack(connection, AckPacket::Rel, packet_id, ReasonCode::Success);
                return true;
            }
            Some((packet_id, Some(delivery))) => (packet_id, delivery),
        };
        if self.send_delivery(now, connection, &delivery, Some(packet_id), true) == Sent::TooLarge
            && let Some(session) = self.sessions.get_mut(slot)
        {
            session.in_flight.withdraw(packet_id);
            self.count_in_flight(slot);
        }
        true
    }

    /// Sends the message that has waited longest.
    fn send_queued(&mut self, now: Millis, slot: SessionSlot, connection: ConnectionSlot) -> bool {
        let Some(state) = self.connections.at(connection) else { return false };
        let Some(session) = self.sessions.get_mut(slot) else { return false };
        let Some(next) = session.queue.front() else { return false };
        let is_dead = next.message.expires_at() <= now;
        let is_denied = !session.may_still_receive(next);
        let (window, bytes) = (state.send_window, next.message.bytes());
        if !is_dead && !is_denied && !self.has_window(slot, window, bytes) {
            return false;
        }
        let Some(session) = self.sessions.get_mut(slot) else { return false };
        let Some(delivery) = session.queue.pop() else { return false };
        self.counters.queued_messages -= 1;
        self.counters.queued_bytes -= delivery.message.bytes() as u64;
        if is_dead {
            self.counters.dropped.count(DropReason::Expired);
        } else if is_denied && delivery.share.is_some() {
            // Another member may have the right still.
            self.redispatch(now, vec![delivery]);
        } else if is_denied {
            self.counters.dropped.receive_denied += 1;
        } else {
            self.start_delivery(now, slot, connection, delivery);
        }
        true
    }

    /// Nothing waits any more that was let in under earlier rights.
    fn end_recheck(&mut self, slot: SessionSlot) {
        if let Some(session) = self.sessions.get_mut(slot)
            && session.queue.is_empty()
            && session.in_flight.is_sent()
        {
            session.is_recheck_due = false;
        }
    }

    /// Sends a message for the first time; the window has room if its QoS needs that.
    pub(super) fn start_delivery(
        &mut self,
        now: Millis,
        slot: SessionSlot,
        connection: ConnectionSlot,
        delivery: Delivery,
    ) {
        let Some(session) = self.sessions.get_mut(slot) else { return };
        if delivery.qos == QoS::AtMostOnce {
            self.send_delivery(now, connection, &delivery, None, false);
            return;
        }
        let is_kept = session.is_persistent() || delivery.share.is_some();
        let kept = is_kept.then(|| delivery.clone());
        let packet_id = session.in_flight.push(delivery.qos, kept);
        if self.send_delivery(now, connection, &delivery, Some(packet_id), false) == Sent::TooLarge
            && let Some(session) = self.sessions.get_mut(slot)
        {
            session.in_flight.withdraw(packet_id);
        }
        self.count_in_flight(slot);
    }

    /// Whether the session's window has room for one more message, of so many bytes.
    pub(super) fn has_window(&self, slot: SessionSlot, window: u16, bytes: usize) -> bool {
        self.sessions.get(slot).is_some_and(|session| {
            session.in_flight.has_room(window)
                && session.in_flight.keeps(bytes, self.config.queue_bytes_max)
        })
    }

    pub(super) fn send_delivery(
        &mut self,
        now: Millis,
        connection: ConnectionSlot,
        delivery: &Delivery,
        packet_id: Option<PacketId>,
        dup: bool,
    ) -> Sent {
        let Some(publish) = delivery.message.publish() else { return Sent::TooLarge };
        let (qos, retain) = (delivery.qos, delivery.retain);
        let outgoing = Outgoing::new(&publish, delivery.message.expires_at());
        let header = PublishHeader { dup, qos, retain, packet_id };
        self.frames.clear();
        self.send_publish(now, connection, &outgoing, header, delivery.ids())
    }
}
