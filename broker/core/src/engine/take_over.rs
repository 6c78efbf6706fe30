//! Another connection claims a session of this engine.

use super::Engine;
use super::close::WillFate;
use crate::codec::ReasonCode;
use crate::session::{Delivery, Session, SessionState, SubscriptionState};
use crate::types::{ClientId, Millis};

impl Engine {
    /// Another connection claims the Client Identifier: its connection here, if any, is closed
    /// with 0x8E, and the session leaves this engine. `None` when there is none to go on with.
    ///
    /// The will of that connection is published unless the session goes on and the will has a
    /// delay. Spec: MQTT 5.0 sections 3.1.3.2.2 and 3.1.4 [MQTT-3.1.4-3].
    pub fn take_over(
        &mut self,
        now: Millis,
        client_id: &ClientId,
        clean_start: bool,
    ) -> Option<Box<SessionState>> {
        let slot = self.sessions.slot_of(client_id.as_str())?;
        let session = self.sessions.get_mut(slot)?;
        // It ends with its connection, if it has one. A durable one is the state's: it ends where the
        // newer connection is attached and says so, not where this one, which may be late, is closed.
        if clean_start && session.durable.is_none() {
            session.expiry_seconds = 0;
        }
        if let Some(connection) = session.connection
            && let Some(connection) = self.connections.at(connection)
        {
            let (id, reason_code) = (connection.id, ReasonCode::SessionTakenOver);
            self.close(now, id, Some(reason_code.into()), WillFate::Published);
        }
        // Sessions without a future are gone by now, if they had a connection.
        let slot = self.sessions.slot_of(client_id.as_str())?;
        if clean_start {
            self.end_session(now, slot);
            return None;
        }
        self.remove_session(slot).map(|session| Box::new(into_state(session)))
    }
}

fn into_state(session: Session) -> SessionState {
    let (in_flight, next_packet_id) = session.in_flight.into_inner().into_state();
    let subscriptions = session.subscriptions.into_iter().map(|subscription| SubscriptionState {
        filter: subscription.filter,
        options: subscription.options,
        id: subscription.id,
    });
    SessionState {
        client_id: session.client_id,
        username: session.identity.username,
        expiry_seconds: session.expiry_seconds,
        subscriptions: subscriptions.collect(),
        in_flight,
        next_packet_id,
        queue: session.queue.into_inner().into_deliveries().map(Delivery::into_state).collect(),
        inbound_qos2: session.inbound_qos2.to_state(),
    }
}
