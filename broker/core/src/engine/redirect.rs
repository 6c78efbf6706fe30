//! Clients that are sent to another server. Spec: MQTT 5.0 section 4.11.

use super::Engine;
use super::reason::Fault;
use crate::codec::ReasonCode;
use crate::codec::packet::Packet;
use crate::connection::ConnectionSlot;

impl Engine {
    /// Why a client has to leave that this server does not keep: for another one, if one is named.
    pub(super) const fn departure(&self, otherwise: ReasonCode) -> ReasonCode {
        match self.config.server_reference {
            Some(_) => ReasonCode::UseAnotherServer,
            None => otherwise,
        }
    }

    /// CONNACK or DISCONNECT with the reason of its end, and the other server where that is the
    /// reason. The name goes before the Reason String where both are too much.
    pub(super) fn send_end(&mut self, slot: ConnectionSlot, packet: Packet<'_>, fault: &Fault) {
        let reference = self.config.server_reference.clone();
        let reference = reference.filter(|_| fault.reason_code() == ReasonCode::UseAnotherServer);
        if let Some(reference) = reference {
            let packet = with_server_reference(packet, &reference);
            if self.send(slot, &packet) {
                return;
            }
        }
        self.send_fault(slot, packet, fault);
    }
}

fn with_server_reference<'a>(packet: Packet<'a>, reference: &'a str) -> Packet<'a> {
    let mut packet = packet;
    match &mut packet {
        Packet::ConnAck(packet) => packet.properties.server_reference = Some(reference),
        Packet::Disconnect(packet) => packet.server_reference = Some(reference),
        _ => {}
    }
    packet
}
