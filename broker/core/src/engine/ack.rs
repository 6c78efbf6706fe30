//! PUBACK, PUBREC, PUBREL and PUBCOMP from clients. Spec: MQTT 5.0 section 4.3.

use super::Engine;
use super::output::AckPacket;
use super::reason::{self, Fault};
use crate::codec::ReasonCode;
use crate::codec::packet::PublishAck;
use crate::connection::ConnectionSlot;
use crate::session::{AckError, InFlight};
use crate::types::{Millis, PacketId};

impl Engine {
    /// QoS 1, to the client: it has the message.
    pub(super) fn handle_puback(
        &mut self,
        now: Millis,
        slot: ConnectionSlot,
        ack: &PublishAck<'_>,
    ) -> Result<(), Fault> {
        self.settle(now, slot, ack.packet_id, InFlight::acknowledge)
    }

    /// QoS 2, to the client: it has the message, or refuses it.
    pub(super) fn handle_pubrec(
        &mut self,
        now: Millis,
        slot: ConnectionSlot,
        ack: &PublishAck<'_>,
    ) -> Result<(), Fault> {
        if ack.reason_code.is_error() {
            return self.settle(now, slot, ack.packet_id, InFlight::refuse);
        }
        let reason_code = match self.in_flight(slot).map(|window| window.receive(ack.packet_id)) {
            Some(Ok(())) => ReasonCode::Success,
            Some(Err(AckError::WrongKind)) => return Err(Fault::State(reason::ACK_OF_OTHER_QOS)),
            Some(Err(AckError::UnknownPacketId)) | None => ReasonCode::PacketIdentifierNotFound,
        };
        self.count_in_flight_of(slot);
        let session = self.connections.at(slot).and_then(|state| state.session);
        if reason_code == ReasonCode::Success
            && session.is_some_and(|session| self.note_received(session, ack.packet_id))
        {
            return Ok(());
        }
        self.send_ack(slot, AckPacket::Rel, ack.packet_id, reason_code);
        Ok(())
    }

    /// QoS 2, from the client: it knows that the message arrived.
    pub(super) fn handle_pubrel(&mut self, slot: ConnectionSlot, ack: &PublishAck<'_>) {
        let session = self.connections.at(slot).and_then(|connection| connection.session);
        if let Some(session) = session
            && let Some(state) = self.sessions.get(session)
            && state.durable.is_some()
            && state.inbound_qos2.contains(ack.packet_id)
        {
            self.propose_release(session, ack.packet_id);
            return;
        }
        let session = session.and_then(|slot| self.sessions.get_mut(slot));
        let is_known = session.is_some_and(|session| session.inbound_qos2.remove(ack.packet_id));
        let reason_code = match is_known {
            true => ReasonCode::Success,
            false => ReasonCode::PacketIdentifierNotFound,
        };
        self.send_ack(slot, AckPacket::Comp, ack.packet_id, reason_code);
    }

    /// QoS 2, to the client: the exchange is over.
    pub(super) fn handle_pubcomp(
        &mut self,
        now: Millis,
        slot: ConnectionSlot,
        ack: &PublishAck<'_>,
    ) -> Result<(), Fault> {
        self.settle(now, slot, ack.packet_id, InFlight::complete)
    }

    /// Ends an exchange; room in the window lets the next message go. An identifier that is not
    /// in flight is no error: the acknowledgement may have crossed a reconnect.
    fn settle(
        &mut self,
        now: Millis,
        slot: ConnectionSlot,
        packet_id: PacketId,
        end: fn(&mut InFlight, PacketId) -> Result<(), AckError>,
    ) -> Result<(), Fault> {
        match self.in_flight(slot).map(|window| end(window, packet_id)) {
            Some(Err(AckError::WrongKind)) => return Err(Fault::State(reason::ACK_OF_OTHER_QOS)),
            Some(Err(AckError::UnknownPacketId)) | None => return Ok(()),
            Some(Ok(())) => {}
        }
        self.count_in_flight_of(slot);
        if let Some(session) = self.connections.at(slot).and_then(|state| state.session) {
            self.note_acknowledged(session, packet_id);
            self.pump(now, session);
        }
        Ok(())
    }

    fn count_in_flight_of(&mut self, slot: ConnectionSlot) {
        if let Some(session) = self.connections.at(slot).and_then(|state| state.session) {
            self.count_in_flight(session);
        }
    }

    fn in_flight(&mut self, slot: ConnectionSlot) -> Option<&mut InFlight> {
        let session = self.connections.at(slot)?.session?;
        self.sessions.get_mut(session).map(|session| &mut *session.in_flight)
    }
}
