//! A new policy: live sessions are looked at again, in place.

use std::sync::Arc;

use broker_policy::Policy;
use broker_policy::snapshot::Impact;

use super::Engine;
use super::close::WillFate;
use super::connect::recheck;
use crate::codec::ReasonCode;
use crate::session::SessionSlot;
use crate::types::{ConnectionId, Millis};

impl Engine {
    /// A new policy holds: sessions it concerns are looked at again.
    ///
    /// A client that is deleted, suspended, or whose password or certificate no longer counts is
    /// disconnected with 0x98 and its will is dropped, as in Mosquitto. The others keep their
    /// connections; Subscriptions that they may no longer hold end. Sessions without a connection
    /// lose such Subscriptions too.
    ///
    /// The session of a user who is deleted or suspended ends, connected or not; a new password
    /// leaves it to whoever knows that. Messages that wait are looked at again when they are sent.
    pub fn set_policy(&mut self, now: Millis, policy: Arc<Policy>) {
        let earlier = std::mem::replace(&mut self.policy, policy);
        let slots = self.concerned_sessions(&earlier);
        // Rights to publish and to receive are remembered by route.
        self.router.forget_routes();
        for slot in slots {
            self.reauthorize(now, slot, &earlier);
        }
        self.router.forget_routes();
    }

    fn concerned_sessions(&self, earlier: &Policy) -> Vec<SessionSlot> {
        let impact = self.policy.impact_since(earlier);
        let sessions = self.sessions.iter().filter(|(_, session)| match &impact {
            Impact::Everyone => true,
            Impact::Users(users) => {
                session.identity.username.as_deref().is_some_and(|name| users.contains(name))
            }
        });
        sessions.map(|(slot, _)| slot).collect()
    }

    fn reauthorize(&mut self, now: Millis, slot: SessionSlot, earlier: &Policy) {
        let Some(session) = self.sessions.get_mut(slot) else { return };
        let (identity, client_id) = (&session.identity, &session.client_id);
        let verdict = recheck(&self.policy, earlier, identity, client_id);
        if verdict.is_err()
            && let Some(id) =
                session.connection.and_then(|slot| self.connections.at(slot)).map(|c| c.id)
        {
            self.expel(now, id);
        }
        if self.is_user_gone(slot, earlier) {
            if let Some(session) = self.sessions.get_mut(slot) {
                session.will = None;
            }
            self.end_session(now, slot);
            return;
        }
        self.set_rate_limit(slot);
        let Some(session) = self.sessions.get_mut(slot) else { return };
        let (username, client_id) =
            (session.identity.username.clone(), session.client_id.to_shared());
        let authorizer = self.policy.authorizer_of(username, client_id);
        if authorizer.has_same_rights(&session.authorizer) {
            return;
        }
        session.authorizer = authorizer;
        session.is_recheck_due = true;
        for at in (0..session.subscriptions.len()).rev() {
            let filter = self.sessions.get(slot).map(|s| Arc::clone(&s.subscriptions[at].filter));
            if filter.is_some_and(|filter| !self.may_subscribe(slot, &filter)) {
                self.remove_subscription(now, slot, at);
            }
        }
    }

    /// Whether nobody may act any more as the user that the session belongs to.
    fn is_user_gone(&self, slot: SessionSlot, earlier: &Policy) -> bool {
        let Some(session) = self.sessions.get(slot) else { return false };
        let username = session.identity.username.as_deref();
        let is_deleted = username.is_some_and(|name| {
            earlier.client(name).is_some() && self.policy.client(name).is_none()
        });
        is_deleted || self.policy.admits(username, session.client_id.as_str()).is_err()
    }

    fn expel(&mut self, now: Millis, id: ConnectionId) {
        let fault = Some(ReasonCode::AdministrativeAction.into());
        self.close(now, id, fault, WillFate::Dropped);
    }
}
