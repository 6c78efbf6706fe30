//! CONNACK with Success: what the client is told, as far as it accepts that much.
//!
//! Spec: MQTT 5.0 section 3.2.

use std::sync::Arc;

use super::close::WillFate;
use super::{Engine, Profile};
use crate::codec::packet::{ConnAck, ConnAckProperties, Packet};
use crate::codec::{ReasonCode, Sensitive};
use crate::connection::{PendingConnect, slot_of};
use crate::session::SessionSlot;
use crate::types::{ConnectionId, Millis, ProtocolVersion, QoS};

impl Engine {
    /// 3.1.1 cannot be told of another Keep Alive, so it keeps its own.
    pub(super) fn granted_keep_alive(
        &self,
        pending: &PendingConnect,
        version: ProtocolVersion,
    ) -> u16 {
        let (asked, most) = (pending.keep_alive_seconds, self.config.keep_alive_seconds_max);
        match most {
            0 => asked,
            _ if !version.is_v5() => asked,
            _ if asked == 0 => most,
            _ => asked.min(most),
        }
    }

    /// `false` when the client does not accept a packet as long as the shortest that says all it
    /// must know.
    pub(super) fn send_connack(
        &mut self,
        id: ConnectionId,
        session: SessionSlot,
        pending: &PendingConnect,
        keep_alive: u16,
    ) -> bool {
        let Some(session) = self.sessions.get(session) else { return false };
        let response_information = self.response_information(pending);
        let options = self.options_of(slot_of(id));
        let maximum_qos = (options.qos_max != QoS::ExactlyOnce).then_some(options.qos_max);
        let retain_available = (!options.retain_available).then_some(false);
        let topic_alias_maximum = self.topic_alias_maximum(slot_of(id));
        let has_other_expiry = session.expiry_seconds != pending.session_expiry_seconds;
        self.counters.limits.session_expiry += u64::from(has_other_expiry);
        self.counters.limits.keep_alive += u64::from(keep_alive != pending.keep_alive_seconds);
        let packet_bytes_max = self
            .connections
            .get(id)
            .map_or(self.config.packet_bytes_max, |connection| self.packet_bytes_max(connection));
        let client_id = session.client_id.clone();
        let exchange = self.connections.get(id).and_then(|state| state.exchange.as_deref());
        let method = exchange.map(|exchange| Arc::clone(&exchange.method));
        let properties = ConnAckProperties {
            session_expiry_seconds: has_other_expiry.then_some(session.expiry_seconds),
            receive_maximum: Some(self.config.receive_maximum),
            packet_bytes_max: Some(packet_bytes_max),
            assigned_client_id: pending.is_client_id_assigned.then(|| client_id.as_str()),
            topic_alias_maximum: Some(topic_alias_maximum),
            maximum_qos,
            retain_available,
            server_keep_alive_seconds: (keep_alive != pending.keep_alive_seconds)
                .then_some(keep_alive),
            response_information: response_information.as_deref(),
            authentication_method: method.as_deref(),
            authentication_data: pending.authentication_data.as_deref().map(Sensitive),
            ..ConnAckProperties::default()
        };
        let properties = match self.config.profile {
            Profile::Dunlin => properties,
            Profile::Mosquitto => properties.as_mosquitto(),
        };
        let session_present = pending.session_present;
        let packet = ConnAck { session_present, reason_code: ReasonCode::Success, properties };
        shorter_each_time(packet)
            .into_iter()
            .any(|packet| self.send(slot_of(id), &Packet::ConnAck(packet)))
    }

    /// Spec: MQTT 5.0 section 4.10.1 [MQTT-3.1.2-28].
    fn response_information(&self, pending: &PendingConnect) -> Option<String> {
        let pattern = self.config.response_information.as_deref();
        let pattern = pattern.filter(|_| pending.wants_response_information)?;
        let text = pattern.replace("%c", pending.client_id.as_str());
        (text.len() <= usize::from(u16::MAX)).then_some(text)
    }

    /// Nothing may be sent before CONNACK, and CONNACK can't be [MQTT-3.2.0-1]: the client has not
    /// come in, so it leaves no will.
    pub(super) fn refuse_unanswered(&mut self, now: Millis, id: ConnectionId) {
        self.counters.connects_refused += 1;
        self.close(now, id, None, WillFate::Dropped);
    }
}

/// The packet, then without what the client can do without: it gets no hint for response topics, and
/// sets no Topic Aliases.
fn shorter_each_time(packet: ConnAck<'_>) -> [ConnAck<'_>; 3] {
    let properties = ConnAckProperties { response_information: None, ..packet.properties };
    let without_hint = ConnAck { properties, ..packet };
    let properties = ConnAckProperties { topic_alias_maximum: None, ..properties };
    [packet, without_hint, ConnAck { properties, ..packet }]
}
