//! Clients that are sent to another server. Spec: MQTT 5.0 section 4.11.

use std::sync::Arc;

use super::Engine;
use super::reason::Fault;
use crate::codec::ReasonCode;
use crate::codec::packet::Packet;
use crate::connection::ConnectionSlot;

impl Engine {
    /// Where clients are sent while this broker is drained, instead of where the configuration says;
    /// `None` ends that.
    pub fn set_drain_reference(&mut self, reference: Option<Arc<str>>) {
        self.drain_reference = reference;
    }

    fn server_reference(&self) -> Option<&Arc<str>> {
        self.drain_reference.as_ref().or(self.config.server_reference.as_ref())
    }

    /// Why a client has to leave that this server does not keep: for another one, if one is named.
    pub(super) fn departure(&self, otherwise: ReasonCode) -> ReasonCode {
        match self.server_reference() {
            Some(_) => ReasonCode::UseAnotherServer,
            None => otherwise,
        }
    }

    /// CONNACK or DISCONNECT with the reason of its end, and the other server where that is the
    /// reason. The name goes before the Reason String where both are too much.
    pub(super) fn send_end(&mut self, slot: ConnectionSlot, packet: Packet<'_>, fault: &Fault) {
        let reference = self.server_reference().cloned();
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
