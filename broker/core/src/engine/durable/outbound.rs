//! Messages of durable sessions to their clients, as far as window and reading allow, and the
//! acknowledgements that come back.

use std::sync::Arc;

use broker_policy::Action;

use super::super::close::WillFate;
use super::super::outgoing::Sent;
use super::super::output::AckPacket;
use super::super::{DropReason, Engine};
use super::lost::is_lost;
use super::settle::Verdict;
use super::{Reach, Wait};
use crate::codec::ReasonCode;
use crate::connection::ConnectionSlot;
use crate::retained::RetainedMessage;
use crate::session::{Delivery, RetainedCursor, SessionSlot};
use crate::shard::{MessageForm, Operation, Outbound, SessionRef, packet_id_of, seq_of};
use crate::stored::MessageLost;
use crate::types::{ClientId, ConnectionId, Millis, PacketId, QoS};

/// Messages read from the state at a time.
const READ_MAX: usize = 32;

/// Retained messages on their way into a session's queue: more wait until these are there.
const DELIVERING_MAX: usize = 64;

/// What the engine knows of a durable session beside what every session has.
#[derive(Debug)]
pub(crate) struct DurableView {
    /// Names its time on this connection.
    pub(super) attachment: u64,
    /// The next message to read and send.
    pub(super) next_seq: u64,
    /// Up to here an earlier connection may have sent messages: DUP is set.
    sent_to: u64,
    /// Whether there may be messages from `next_seq` on.
    has_more: bool,
    /// What the client did in this pass.
    acknowledged: Vec<u64>,
    received: Vec<u64>,
    pub(super) releases: Vec<PacketId>,
    /// Whether it stands among those with something of this pass.
    is_marked: bool,
    /// Retained messages on their way into the queue.
    delivering: usize,
    /// Groups that the session is leaving: nothing is sent until the state knows, as what is not
    /// sent goes to others.
    pub(super) leaving: usize,
}

impl DurableView {
    pub(super) const fn new(attachment: u64, first_seq: u64, sent_to: u64) -> Self {
        Self {
            attachment,
            next_seq: first_seq,
            sent_to,
            has_more: true,
            acknowledged: Vec::new(),
            received: Vec::new(),
            releases: Vec::new(),
            is_marked: false,
            delivering: 0,
            leaving: 0,
        }
    }
}

impl Engine {
    /// The state has new messages for these sessions, or has given them to other connections; with
    /// `None` for any of them.
    pub fn sessions_ready(&mut self, now: Millis, sessions: Option<&[ClientId]>) {
        let slots: Vec<SessionSlot> = match sessions {
            Some(ids) => ids.iter().filter_map(|id| self.sessions.slot_of(id.as_str())).collect(),
            None => self.sessions.iter().map(|(slot, _)| slot).collect(),
        };
        for slot in slots {
            let Some(session) = self.sessions.get_mut(slot) else { continue };
            let (Some(view), Some(durable)) = (&mut session.durable, &self.durable) else {
                continue;
            };
            view.has_more = true;
            let is_held = durable.store.is_held(session.client_id.as_str(), view.attachment);
            match session.connection {
                Some(connection) if !is_held => self.close_stale(now, connection),
                _ => self.pump(now, slot),
            }
        }
    }

    /// Whether a durable session may have something to send.
    pub(in crate::engine) fn has_durable(&self, slot: SessionSlot) -> bool {
        let view = self.sessions.get(slot).and_then(|session| session.durable.as_ref());
        view.is_some_and(|view| view.has_more && view.leaving == 0)
    }

    /// Sends what the state has for the session.
    pub(in crate::engine) fn pump_durable(
        &mut self,
        now: Millis,
        slot: SessionSlot,
        connection: ConnectionSlot,
    ) {
        while self.has_durable(slot) && self.has_room(connection) {
            let Some(window) = self.connections.at(connection).map(|state| state.send_window)
            else {
                return;
            };
            let (Some(durable), Some(session)) =
                (self.durable.as_mut(), self.sessions.get_mut(slot))
            else {
                return;
            };
            let room = session.in_flight.room(window).min(READ_MAX);
            let Some(view) = session.durable.as_mut().filter(|_| room > 0) else { return };
            let mut buffer = std::mem::take(&mut durable.buffer);
            let (from, id) = (view.next_seq, session.client_id.as_str());
            let next = durable.store.read(id, view.attachment, from, room, &mut buffer);
            let Some(next) = next else {
                durable.buffer = buffer;
                return self.close_stale(now, connection);
            };
            view.next_seq = next.max(from);
            view.has_more = buffer.len() == room;
            let mut outbound = buffer.drain(..);
            let lost = outbound.find_map(|one| self.send_outbound(now, slot, connection, one));
            drop(outbound);
            if let Some(durable) = &mut self.durable {
                durable.buffer = buffer;
            }
            if let Some(lost) = lost {
                return self.close_unreadable(now, connection, &lost);
            }
        }
    }

    /// The session is another connection's: this one is of no more use.
    fn close_stale(&mut self, now: Millis, connection: ConnectionSlot) {
        if let Some(id) = self.connections.at(connection).map(|state| state.id) {
            let fault = Some(ReasonCode::SessionTakenOver.into());
            self.close(now, id, fault, WillFate::Published);
        }
    }

    /// This node has lost a message of the session. It sends nothing that stands behind it: another
    /// broker has them all.
    fn close_unreadable(&mut self, now: Millis, connection: ConnectionSlot, lost: &MessageLost) {
        self.message_lost(lost);
        if let Some(id) = self.connections.at(connection).map(|state| state.id) {
            let fault = Some(ReasonCode::ImplementationSpecificError.into());
            self.close(now, id, fault, WillFate::Published);
        }
    }

    /// A message of the replicated state can't be read back.
    pub(in crate::engine) fn message_lost(&self, lost: &MessageLost) {
        if let Some(durable) = &self.durable {
            durable.store.messages().lost(lost);
        }
    }

    fn send_outbound(
        &mut self,
        now: Millis,
        slot: SessionSlot,
        connection: ConnectionSlot,
        outbound: Outbound,
    ) -> Option<MessageLost> {
        let Outbound { seq, message, qos, retain, subscription_ids } = outbound;
        let packet_id = packet_id_of(seq);
        let session = self.sessions.get_mut(slot)?;
        let Some(message) = message else {
            session.in_flight.push_received(packet_id);
            self.send_ack(connection, AckPacket::Rel, packet_id, ReasonCode::Success);
            return None;
        };
        let dup = session.durable.as_ref().is_some_and(|view| seq <= view.sent_to);
        if message.expires_at() <= now && !dup {
            self.counters.dropped.count(DropReason::Expired);
            self.finish_seq(slot, seq);
            return None;
        }
        let message = match message.load() {
            Ok(message) => message,
            Err(lost) => return Some(lost),
        };
        if !session.authorizer.allows(Action::Receive, message.topic()) {
            self.counters.dropped.receive_denied += 1;
            self.finish_seq(slot, seq);
            return None;
        }
        session.in_flight.push_at(packet_id, qos);
        let delivery = Delivery { message, qos, retain, subscription_ids, share: None };
        let sent = self.send_delivery(now, connection, &delivery, Some(packet_id), dup);
        if sent == Sent::TooLarge {
            if let Some(session) = self.sessions.get_mut(slot) {
                session.in_flight.withdraw(packet_id);
            }
            self.finish_seq(slot, seq);
        }
        None
    }

    /// The client is done with a message.
    pub(in crate::engine) fn note_acknowledged(&mut self, slot: SessionSlot, packet_id: PacketId) {
        if let Some(seq) = self.seq_at(slot, packet_id) {
            self.finish_seq(slot, seq);
        }
    }

    /// PUBREC: PUBREL leaves when the state knows. False for a session that is not durable.
    pub(in crate::engine) fn note_received(
        &mut self,
        slot: SessionSlot,
        packet_id: PacketId,
    ) -> bool {
        let Some(seq) = self.seq_at(slot, packet_id) else { return false };
        if let Some(view) = self.sessions.get_mut(slot).and_then(|s| s.durable.as_mut()) {
            view.received.push(seq);
            self.mark(slot);
        }
        true
    }

    fn seq_at(&self, slot: SessionSlot, packet_id: PacketId) -> Option<u64> {
        let view = self.sessions.get(slot)?.durable.as_ref()?;
        seq_of(packet_id, view.next_seq.saturating_sub(1))
    }

    fn finish_seq(&mut self, slot: SessionSlot, seq: u64) {
        if let Some(view) = self.sessions.get_mut(slot).and_then(|s| s.durable.as_mut()) {
            view.acknowledged.push(seq);
            self.mark(slot);
        }
    }

    pub(super) fn mark(&mut self, slot: SessionSlot) {
        let (Some(durable), Some(session)) = (&mut self.durable, self.sessions.get_mut(slot))
        else {
            return;
        };
        let serial = session.serial;
        if let Some(view) = &mut session.durable
            && !std::mem::replace(&mut view.is_marked, true)
        {
            durable.marked.push((slot, serial));
        }
    }

    /// Proposes what clients did in this pass.
    pub(super) fn flush_marked(&mut self) {
        let Some(durable) = &mut self.durable else { return };
        let mut marked = std::mem::take(&mut durable.marked);
        for (slot, serial) in marked.drain(..) {
            if self.sessions.get(slot).is_some_and(|session| session.serial == serial) {
                self.flush_session(slot);
            }
        }
        if let Some(durable) = &mut self.durable {
            durable.marked = marked;
        }
    }

    pub(super) fn flush_session(&mut self, slot: SessionSlot) {
        let connection = self.sessions.get(slot).and_then(|session| session.connection);
        let connection = connection.and_then(|at| self.connections.at(at)).map(|state| state.id);
        let Some(session) = self.sessions.get_mut(slot) else { return };
        let Some(view) = &mut session.durable else { return };
        view.is_marked = false;
        let client_id = session.client_id.clone();
        let attachment = view.attachment;
        let acknowledged = std::mem::take(&mut view.acknowledged);
        let received = std::mem::take(&mut view.received);
        let packet_ids = std::mem::take(&mut view.releases);
        let session = SessionRef { client_id: client_id.as_str(), attachment };
        if !acknowledged.is_empty() {
            let seqs = acknowledged.clone();
            let wait = connection.map_or(Wait::Nothing, |id| Wait::Acknowledge(id, seqs));
            let operation = Operation::Acknowledge { session, seqs: acknowledged };
            self.push_operation(&operation, wait, Reach::Committed);
        }
        if !received.is_empty() {
            let ids = received.iter().map(|seq| packet_id_of(*seq)).collect();
            let wait = connection.map_or(Wait::Nothing, |id| Wait::Receive(id, ids));
            let operation = Operation::Receive { session, seqs: received };
            self.push_operation(&operation, wait, Reach::Committed);
        }
        if !packet_ids.is_empty() {
            let ids = packet_ids.clone();
            let wait = connection.map_or(Wait::Nothing, |id| Wait::Release(id, ids));
            let operation = Operation::Release { session, packet_ids };
            self.push_operation(&operation, wait, Reach::Committed);
        }
    }

    /// An acknowledgement was lost: it goes with the next one, or with the end of the connection.
    pub(super) fn acknowledge_again(&mut self, id: ConnectionId, seqs: Vec<u64>) {
        let session = self.connections.get(id).and_then(|connection| connection.session);
        let session = session.and_then(|slot| self.sessions.get_mut(slot));
        if let Some(view) = session.and_then(|session| session.durable.as_mut()) {
            view.acknowledged.extend(seqs);
        }
    }

    /// Proposes a retained message for the session's queue; false when enough are on their way.
    pub(in crate::engine) fn propose_retained_delivery(
        &mut self,
        slot: SessionSlot,
        message: &RetainedMessage,
        qos: QoS,
        cursor: &RetainedCursor,
    ) -> bool {
        let Some(session) = self.sessions.get_mut(slot) else { return false };
        let serial = session.serial;
        let view = session.durable.as_mut().filter(|view| view.delivering < DELIVERING_MAX);
        let Some(view) = view else { return false };
        view.delivering += 1;
        let topic = Some(message.topic().into());
        let filter = Arc::clone(&cursor.filter);
        let again = RetainedCursor { filter, after: None, topic, ..*cursor };
        let wait = Wait::Deliver(slot, serial, Box::new(again));
        self.queue_retained(slot, message, qos, cursor, wait);
        true
    }

    /// Proposes a retained message for the session's queue.
    pub(in crate::engine) fn queue_retained(
        &mut self,
        slot: SessionSlot,
        message: &RetainedMessage,
        qos: QoS,
        cursor: &RetainedCursor,
        wait: Wait,
    ) {
        let Some((client_id, attachment)) = self.durable_key(slot) else { return };
        let operation = Operation::Deliver {
            session: SessionRef { client_id: &client_id, attachment },
            qos,
            retain: true,
            subscription_id: cursor.id,
            message: MessageForm::of(message),
        };
        self.push_operation(&operation, wait, Reach::Committed);
    }

    /// A retained message is in the session's queue, or is to be looked for again.
    pub(super) fn delivered(
        &mut self,
        now: Millis,
        (slot, serial): (SessionSlot, u32),
        cursor: RetainedCursor,
        verdict: Verdict,
    ) {
        let Some(session) = self.sessions.get_mut(slot).filter(|s| s.serial == serial) else {
            return;
        };
        if let Some(view) = &mut session.durable {
            view.delivering = view.delivering.saturating_sub(1);
            match is_lost(verdict) {
                true => self.search_again(now, slot, cursor),
                false => self.pump(now, slot),
            }
        }
    }
}
