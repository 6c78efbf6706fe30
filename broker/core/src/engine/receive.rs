//! Bytes from clients: cutting them into packets, each to its handler.

use super::close::WillFate;
use super::reason::{self, Fault};
use super::{Engine, Intake};
use crate::codec::packet::{Disconnect, Packet};
use crate::codec::{DecodeLimits, Decoded, ReasonCode, Sender, decode};
use crate::connection::{Connection, ExchangeStep, Stage, slot_of};
use crate::types::{ConnectionId, Millis};

/// Acknowledgements that may wait for a commit before the client's input is paused. In 5.0 the
/// Receive Maximum is the limit; 3.1.1 has none.
const PENDING_ACKS_MAX: usize = 1024;

impl Engine {
    /// Bytes have arrived. A partial packet at their end is kept.
    pub fn receive(&mut self, now: Millis, connection: ConnectionId, bytes: &[u8]) -> Intake {
        let Some(state) = self.connections.get_mut(connection) else { return Intake::Open };
        if state.is_closing() {
            return Intake::Open;
        }
        state.last_received = now;
        self.counters.bytes_received += bytes.len() as u64;
        if state.input.is_empty() && !state.is_paused {
            let used = self.process(now, connection, bytes);
            self.keep(connection, &bytes[used..]);
        } else {
            state.input.extend_from_slice(bytes);
            self.process_kept(now, connection);
        }
        match self.connections.get(connection) {
            Some(state) if state.is_paused && !state.is_closing() => Intake::Paused,
            _ => Intake::Open,
        }
    }

    /// Goes on with a paused connection if nothing holds it up any more.
    pub(super) fn resume(&mut self, now: Millis, id: ConnectionId) {
        let Some(connection) = self.connections.get(id) else { return };
        if !connection.is_paused || self.is_held_up(connection) {
            return;
        }
        if let Some(connection) = self.connections.get_mut(id) {
            connection.is_paused = false;
        }
        self.process_kept(now, id);
        if let Some(connection) = self.connections.get(id)
            && !connection.is_paused
            && !connection.is_closing()
        {
            self.effects.push(super::Effect::Resume { connection: id });
        }
    }

    /// Keeps bytes for later, in a buffer of their size: whoever sends half a packet and falls
    /// silent is to hold no more than that.
    fn keep(&mut self, id: ConnectionId, bytes: &[u8]) {
        if let Some(connection) = self.connections.get_mut(id)
            && !connection.is_closing()
            && !bytes.is_empty()
        {
            connection.input = bytes.to_vec();
        }
    }

    /// Processes what is kept, as far as it goes.
    fn process_kept(&mut self, now: Millis, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        if connection.is_paused {
            return;
        }
        let mut input = std::mem::take(&mut connection.input);
        let used = self.process(now, id, &input);
        input.drain(..used);
        if let Some(connection) = self.connections.get_mut(id)
            && !connection.is_closing()
            && !input.is_empty()
        {
            connection.input = input;
        }
    }

    /// Handles whole packets from the front of `bytes` until they end or something holds the
    /// connection up. Gives how many bytes are done with.
    fn process(&mut self, now: Millis, id: ConnectionId, bytes: &[u8]) -> usize {
        let mut at = 0;
        while let Some(connection) = self.connections.get(id) {
            if connection.is_closing() || at == bytes.len() {
                break;
            }
            if self.is_held_up(connection) {
                self.pause(id);
                return at;
            }
            let is_connected = !matches!(connection.stage, Stage::AwaitConnect);
            let version = is_connected.then_some(connection.version);
            match decode(&bytes[at..], version, &self.decode_limits(connection)) {
                Ok(Decoded::Incomplete { .. }) => return at,
                Ok(Decoded::Packet { packet, consumed }) => {
                    at += consumed;
                    self.charge_quota(now, id, &packet, consumed);
                    self.press(id, &packet, consumed);
                    if let Err(fault) = self.handle(now, id, &packet) {
                        self.fail(now, id, fault);
                    }
                }
                Err(error) if is_connected => self.fail(now, id, error),
                Err(error) => self.refuse_connect_bytes(now, id, &bytes[at..], &error),
            }
        }
        if let Some(connection) = self.connections.get(id)
            && self.is_held_up(connection)
        {
            self.pause(id);
        }
        bytes.len()
    }

    fn decode_limits(&self, connection: &Connection) -> DecodeLimits {
        DecodeLimits {
            packet_bytes_max: self.packet_bytes_max(connection) as usize,
            topic_levels_max: self.config.topic_levels_max,
            sender: Sender::Client,
            ..DecodeLimits::default()
        }
    }

    fn pause(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.get_mut(id) {
            connection.is_paused = true;
        }
    }

    /// Whether further packets must wait: for an answer of the driver, or for the client to read.
    fn is_held_up(&self, connection: &Connection) -> bool {
        match connection.stage {
            // In an exchange the client may be the one who is waited for.
            Stage::Authenticating(_) => {
                let exchange = connection.exchange.as_deref();
                exchange.is_none_or(|exchange| exchange.step != ExchangeStep::Client)
            }
            Stage::Claiming(_) | Stage::Attaching(_) | Stage::Settling(_) => true,
            Stage::AwaitConnect | Stage::Open | Stage::Closing => {
                let acks = connection.pending_acks.as_ref().map_or(0, |acks| acks.len());
                acks > PENDING_ACKS_MAX
                    || connection.quota_at.is_some()
                    || connection.is_pressed
                    || self.is_output_full(connection.output.len())
            }
        }
    }

    /// An error is the reason to disconnect the client.
    fn handle(&mut self, now: Millis, id: ConnectionId, packet: &Packet<'_>) -> Result<(), Fault> {
        let slot = slot_of(id);
        // (A PUBLISH is refused where it finds no session.)
        if !matches!(packet, Packet::Publish(_)) && self.is_exchanging(id) {
            self.handle_in_exchange(now, id, packet);
            return Ok(());
        }
        match packet {
            Packet::Connect(connect) => self.handle_connect(now, id, connect),
            Packet::Publish(publish) => self.handle_publish(now, id, publish)?,
            Packet::PubAck(ack) => self.handle_puback(now, slot, ack)?,
            Packet::PubRec(ack) => self.handle_pubrec(now, slot, ack)?,
            Packet::PubRel(ack) => self.handle_pubrel(slot, ack),
            Packet::PubComp(ack) => self.handle_pubcomp(now, slot, ack)?,
            Packet::Subscribe(subscribe) => self.handle_subscribe(now, id, subscribe)?,
            Packet::Unsubscribe(unsubscribe) => self.handle_unsubscribe(now, id, unsubscribe),
            Packet::PingReq => {
                self.send(slot, &Packet::PingResp);
            }
            Packet::Disconnect(disconnect) => self.handle_disconnect(now, id, disconnect)?,
            Packet::Auth(auth) => self.handle_auth(id, auth)?,
            // The decoder lets no server's packet through.
            Packet::ConnAck(_) | Packet::SubAck(_) | Packet::UnsubAck(_) | Packet::PingResp => {
                return Err(ReasonCode::ProtocolError.into());
            }
        }
        Ok(())
    }

    /// Spec: MQTT 5.0 section 3.14.
    fn handle_disconnect(
        &mut self,
        now: Millis,
        id: ConnectionId,
        disconnect: &Disconnect<'_>,
    ) -> Result<(), Fault> {
        let slot = self.connections.get(id).and_then(|connection| connection.session);
        if let Some(session) = slot.and_then(|slot| self.sessions.get_mut(slot))
            && let Some(seconds) = disconnect.session_expiry_seconds
        {
            // A session that was to end with its connection cannot be kept after all.
            if session.expiry_seconds == 0 && seconds > 0 {
                return Err(Fault::State(reason::SESSION_ENDS));
            }
            session.expiry_seconds = seconds.min(self.config.session_expiry_seconds_max);
        }
        let is_normal = disconnect.reason_code == ReasonCode::Success;
        let will = if is_normal { WillFate::Dropped } else { WillFate::Published };
        self.close(now, id, None, will);
        Ok(())
    }
}
