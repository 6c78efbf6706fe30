//! Bytes for clients: appending packets, handing them to the driver, hearing that they left.

use super::Engine;
use crate::codec::packet::Packet;
use crate::codec::{ReasonCode, encode};
use crate::connection::{ConnectionSlot, Outlet};
use crate::types::{ConnectionId, Millis, PacketId, ProtocolVersion};

/// Factor by which a connection's output may exceed its soft maximum before its input is paused:
/// answers to what it sends are not dropped, so it must send no more.
const OUTPUT_PAUSE_FACTOR: usize = 2;

/// PUBACK, PUBREC, PUBREL or PUBCOMP, by its first byte. Spec: MQTT 5.0 section 2.1.
#[derive(Debug, Clone, Copy)]
#[repr(u8)]
pub(super) enum AckPacket {
    Ack = 0x40,
    Rec = 0x50,
    Rel = 0x62,
    Comp = 0x70,
}

impl Engine {
    /// Appends the connections that have new output to `into`, each once.
    pub fn take_touched(&mut self, into: &mut Vec<ConnectionId>) {
        for index in 0..self.connections.touched.len() {
            let id = self.connections.touched[index];
            if let Some(connection) = self.connections.get_mut(id) {
                connection.is_touched = false;
                into.push(id);
            }
        }
        self.connections.touched.clear();
    }

    /// The bytes to write to a connection; empty for an unknown one.
    #[must_use]
    pub fn output(&self, connection: ConnectionId) -> &[u8] {
        self.connections.get(connection).map_or(&[], |connection| connection.output.pending())
    }

    /// The first `bytes` of [`output`](Self::output) are written. Messages that waited for room
    /// may follow: then the connection is touched again.
    pub fn output_written(&mut self, now: Millis, connection: ConnectionId, bytes: usize) {
        self.counters.bytes_sent += bytes as u64;
        if let Some(state) = self.connections.get_mut(connection)
            && state.is_paused
        {
            // It is not read, but it reads: that is a sign of life too.
            state.last_received = now;
        }
        let left = self.connections.consume(connection, bytes);
        if left > self.config.output_bytes_soft_max / 2 {
            return;
        }
        let Some(state) = self.connections.get(connection) else { return };
        let (session, is_paused) = (state.session, state.is_paused);
        if let Some(slot) = session {
            self.pump(now, slot);
        }
        if is_paused {
            self.resume(now, connection);
        }
    }

    /// Whether the connection owes too much output to take more input.
    pub(super) fn is_output_full(&self, bytes: usize) -> bool {
        bytes > self.config.output_bytes_soft_max.saturating_mul(OUTPUT_PAUSE_FACTOR)
    }

    /// Appends a packet. One that is larger than the client accepts is left out: `false`.
    pub(super) fn send(&mut self, slot: ConnectionSlot, packet: &Packet<'_>) -> bool {
        let Some(Outlet { version, packet_bytes_max, out, .. }) = self.connections.outlet(slot)
        else {
            return false;
        };
        let start = out.len();
        let is_encoded = encode(packet, version, out).is_ok();
        debug_assert!(is_encoded, "the engine builds packets that exist in {version:?}");
        if out.len() - start > packet_bytes_max as usize {
            out.truncate(start);
        }
        let is_sent = out.len() > start;
        self.counters.other_packets_sent += u64::from(is_sent);
        is_sent
    }

    /// Appends a PUBACK, PUBREC, PUBREL or PUBCOMP. Written here: at QoS 1 and 2 these are most of
    /// the packets. Spec: MQTT 5.0 sections 3.4 to 3.7; Success is left out. Its at most 5 bytes are
    /// what the shortest CONNACK has, so a client that is in accepts them [MQTT-3.1.2-24].
    pub(super) fn send_ack(
        &mut self,
        slot: ConnectionSlot,
        packet: AckPacket,
        packet_id: PacketId,
        reason_code: ReasonCode,
    ) {
        let Some(Outlet { version, out, .. }) = self.connections.outlet(slot) else { return };
        let [high, low] = packet_id.get().to_be_bytes();
        if version.is_v5() && reason_code != ReasonCode::Success {
            out.extend_from_slice(&[packet as u8, 3, high, low, reason_code.as_u8()]);
        } else {
            out.extend_from_slice(&[packet as u8, 2, high, low]);
        }
        self.counters.other_packets_sent += 1;
    }

    pub(super) fn version(&self, slot: ConnectionSlot) -> ProtocolVersion {
        self.connections.at(slot).map_or(ProtocolVersion::V5, |connection| connection.version)
    }
}
