//! Ends: of connections, of sessions, and the wills they leave.

use super::reason::Fault;
use super::route::{Publisher, Scope};
use super::{Effect, Engine};
use crate::codec::packet::{Disconnect, Packet};
use crate::connection::{Stage, Will, slot_of};
use crate::session::{Delivery, OnDemand, Session, SessionSlot};
use crate::topic::is_shared;
use crate::types::{ConnectionId, Millis};

/// What becomes of the Will Message. Spec: MQTT 5.0 section 3.1.2.5.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WillFate {
    /// The client said goodbye, or was sent away by an administrator.
    Dropped,
    /// Everything else.
    Published,
}

impl Engine {
    /// The Network Connection is closed: by the peer, by an error, or as [`Effect::Close`] asked.
    /// The identifier is free after this.
    pub fn connection_closed(&mut self, now: Millis, connection: ConnectionId) {
        let Some(state) = self.connections.get(connection) else { return };
        if !state.is_closing() {
            self.leave(now, connection, WillFate::Published);
        }
        self.connections.remove(connection);
        self.counters.connections = self.connections.len() as u64;
    }

    /// The client broke a rule: DISCONNECT with the reason where the version has it, and close.
    /// Spec: MQTT 5.0 section 4.13.
    pub(super) fn fail(&mut self, now: Millis, id: ConnectionId, fault: impl Into<Fault>) {
        self.close(now, id, Some(fault.into()), WillFate::Published);
    }

    /// Ends a connection from this side. Nothing happens if it is ending already.
    pub(super) fn close(
        &mut self,
        now: Millis,
        id: ConnectionId,
        fault: Option<Fault>,
        will: WillFate,
    ) {
        let Some(connection) = self.connections.get(id) else { return };
        if connection.is_closing() {
            return;
        }
        if let Some(fault) = &fault {
            self.counters.limits.count(fault.reason_code());
        }
        if let Some(fault) = fault
            && connection.is_open()
            && connection.version.is_v5()
        {
            let packet = Packet::Disconnect(Disconnect::new(fault.reason_code()));
            self.send_end(slot_of(id), packet, &fault);
        }
        self.leave(now, id, will);
        self.effects.push(Effect::Close { connection: id });
    }

    /// Parts a connection from its session; it is `Closing` after this.
    fn leave(&mut self, now: Millis, id: ConnectionId, will: WillFate) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        let session = connection.session.take();
        let stage = std::mem::replace(&mut connection.stage, Stage::Closing);
        connection.input = Vec::new();
        connection.pending_acks = None;
        connection.topic_aliases = None;
        connection.outbound_aliases = None;
        if let Stage::Claiming(pending) = stage {
            let client_id = pending.client_id.clone();
            self.orphaned_claims.insert(id, pending.client_id);
            self.effects.push(Effect::Withdraw { connection: id, client_id });
        }
        if let Some(slot) = session {
            self.counters.clients_connected -= 1;
            self.detach(now, slot, will);
        }
    }

    /// The session is without a connection from now on.
    fn detach(&mut self, now: Millis, slot: SessionSlot, fate: WillFate) {
        let Some(session) = self.sessions.get_mut(slot) else { return };
        if session.durable.is_some() {
            self.part_durable(now, slot, fate);
            return;
        }
        session.connection = None;
        session.retained_cursors = OnDemand::default();
        if fate == WillFate::Dropped {
            session.will = None;
        }
        if !session.is_persistent() {
            self.end_session(now, slot);
            return;
        }
        self.set_member_connected(slot, false);
        self.share_queued(now, slot);
        let Some(session) = self.sessions.get_mut(slot) else { return };
        session.expires_at = expiry_time(now, session.expiry_seconds);
        // The will leaves after its delay or with the session. [MQTT-3.1.3-9]
        session.will_at = match &session.will {
            Some(will) => now.plus_seconds(will.delay_seconds).min(session.expires_at),
            None => Millis::NEVER,
        };
        self.check_session(now, slot);
    }

    /// Does what is due for a session without connection, and arms its timer for what is not.
    pub(super) fn check_session(&mut self, now: Millis, slot: SessionSlot) {
        let Some(session) = self.sessions.get_mut(slot) else { return };
        if session.will_at <= now {
            session.will_at = Millis::NEVER;
            if let Some(will) = session.will.take() {
                let authorizer = session.authorizer.clone();
                self.publish_will(now, &will, &authorizer, Publisher::Session(slot));
            }
        }
        let Some(session) = self.sessions.get_mut(slot) else { return };
        if session.expires_at <= now {
            self.counters.sessions_expired += 1;
            self.end_session(now, slot);
        } else {
            let at = session.expires_at.min(session.will_at);
            let key = super::timers::TimerKey::Session(slot, session.serial);
            self.timers.arm(key, at, &mut session.timer_at);
        }
    }

    /// The session is over: a pending will is published, and the claim can go.
    pub(super) fn end_session(&mut self, now: Millis, slot: SessionSlot) {
        let Some(session) = self.remove_session(slot) else { return };
        let Session { client_id, claim, will, authorizer, in_flight, queue, .. } = session;
        let mut left: Vec<Delivery> = in_flight.into_inner().into_shared().collect();
        left.extend(queue.into_inner().take(|delivery| delivery.share.is_some()));
        self.redispatch(now, left);
        if let Some(will) = will {
            self.publish_will(now, &will, &authorizer, Publisher::gone(&client_id));
        }
        self.effects.push(Effect::Release { client_id, claim });
    }

    /// Takes a session out of this engine, with its place in the router and the counters.
    pub(super) fn remove_session(&mut self, slot: SessionSlot) -> Option<Session> {
        let session = self.sessions.remove(slot)?;
        for subscription in session.subscriptions.iter() {
            self.router.unsubscribe(&subscription.filter, slot);
        }
        self.counters.subscriptions -= session.subscriptions.len() as u64;
        let shared = session.subscriptions.iter().filter(|sub| is_shared(&sub.filter)).count();
        self.counters.shared_subscriptions -= shared as u64;
        self.counters.queued_messages -= session.queue.len() as u64;
        self.counters.queued_bytes -= session.queue.bytes() as u64;
        self.counters.in_flight_bytes -= session.in_flight_counted;
        self.counters.sessions = self.sessions.len() as u64;
        Some(session)
    }

    fn publish_will(
        &mut self,
        now: Millis,
        will: &Will,
        authorizer: &broker_policy::Authorizer,
        publisher: Publisher,
    ) {
        let Some(mut publish) = will.message.publish() else { return };
        let other = self.rewritten_topic(publish.topic);
        publish.topic = other.as_deref().unwrap_or(publish.topic);
        // A will has a delay of its own.
        if self.is_delayed(publish.topic) || !Self::may_publish(authorizer, publish.topic) {
            self.counters.dropped.count(super::DropReason::PublishDenied);
            return;
        }
        publish.properties.message_expiry_seconds = will.message_expiry_seconds;
        if publish.retain {
            self.propose_retained(now, &publish);
        }
        self.route(now, &publish, publisher, Scope::All);
    }
}

/// When a session ends that loses its connection now.
fn expiry_time(now: Millis, seconds: u32) -> Millis {
    if seconds == u32::MAX { Millis::NEVER } else { now.plus_seconds(seconds) }
}
