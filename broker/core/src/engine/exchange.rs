//! Extended authentication: AUTH packets between the client and whom the driver asks.
//!
//! The engine knows whose turn it is, and to whom success belongs; what the data mean is the
//! driver's. Spec: MQTT 5.0 section 4.12.

use std::sync::Arc;

use broker_policy::scram;

use super::close::WillFate;
use super::connect::recheck;
use super::reason::{self, Fault};
use super::{AuthOutcome, AuthProof, Effect, Engine, ExchangeOutcome, ExchangeRequest};
use crate::codec::packet::{Auth, Connect, Packet};
use crate::codec::{ReasonCode, Sensitive};
use crate::connection::{Exchange, ExchangeStep, Identity, PendingConnect, Stage, slot_of};
use crate::types::{ConnectionId, Millis};

/// Whether the method that a CONNECT names, if any, is offered. [MQTT-4.12.0-1]
pub(super) fn check_method(connect: &Connect<'_>) -> Result<(), ReasonCode> {
    match connect.properties.authentication_method {
        None | Some(scram::METHOD) => Ok(()),
        Some(_) => Err(ReasonCode::BadAuthenticationMethod),
    }
}

impl Engine {
    /// A CONNECT with an Authentication Method: the driver is asked for what comes next. `false`
    /// when it has none.
    pub(super) fn begin_exchange(
        &mut self,
        id: ConnectionId,
        connect: &Connect<'_>,
        pending: &PendingConnect,
    ) -> bool {
        let Some(method) = connect.properties.authentication_method else { return false };
        let Some(connection) = self.connections.get_mut(id) else { return false };
        connection.exchange = Some(Box::new(Exchange {
            method: method.into(),
            step: ExchangeStep::Driver,
            policy: Arc::clone(&pending.policy),
        }));
        let request = Box::new(ExchangeRequest {
            policy: Arc::clone(&pending.policy),
            client_id: pending.client_id.clone(),
            username: connect.user_name.map(Arc::from),
            data: connect.properties.authentication_data.map_or_else(Box::default, |d| d.0.into()),
        });
        self.effects.push(Effect::BeginExchange { connection: id, request });
        true
    }

    /// Whether the client has said who it is only in part.
    pub(super) fn is_exchanging(&self, id: ConnectionId) -> bool {
        let stage = self.connections.get(id).map(|connection| &connection.stage);
        matches!(stage, Some(Stage::Authenticating(_)))
    }

    /// A packet from a client that is not in yet: AUTH goes on, DISCONNECT gives up.
    /// [MQTT-3.1.2-30]
    pub(super) fn handle_in_exchange(
        &mut self,
        now: Millis,
        id: ConnectionId,
        packet: &Packet<'_>,
    ) {
        let result = match packet {
            Packet::Auth(auth) => self.handle_auth(id, auth),
            Packet::Disconnect(_) => {
                self.close(now, id, None, WillFate::Dropped);
                Ok(())
            }
            _ => Err(Fault::State(reason::NOT_IN_YET)),
        };
        if let Err(fault) = result {
            self.refuse_connect(now, id, fault);
        }
    }

    /// The next step of an exchange, or the first one of another for a client that is in.
    /// [MQTT-4.12.0-5] [MQTT-4.12.0-6] [MQTT-4.12.1-1]
    pub(super) fn handle_auth(&mut self, id: ConnectionId, auth: &Auth<'_>) -> Result<(), Fault> {
        let Some(connection) = self.connections.get_mut(id) else { return Ok(()) };
        let is_open = connection.is_open();
        let Some(exchange) = connection.exchange.as_deref_mut() else {
            return Err(Fault::State(reason::AUTH_WITHOUT_METHOD));
        };
        match auth.authentication_method {
            None => return Err(Fault::State(reason::AUTH_NAMES_NO_METHOD)),
            // DISCONNECT has no code of its own for it.
            Some(method) if *method != *exchange.method && is_open => {
                return Err(Fault::State(reason::AUTH_NAMES_NO_METHOD));
            }
            Some(method) if *method != *exchange.method => {
                return Err(ReasonCode::BadAuthenticationMethod.into());
            }
            Some(_) => {}
        }
        let data: Box<[u8]> = auth.authentication_data.map_or_else(Box::default, |d| d.0.into());
        match (auth.reason_code, exchange.step) {
            (ReasonCode::ContinueAuthentication, ExchangeStep::Client) => {
                exchange.step = ExchangeStep::Driver;
                self.effects.push(Effect::ContinueExchange { connection: id, data });
                Ok(())
            }
            (ReasonCode::ReAuthenticate, ExchangeStep::Idle) => {
                exchange.step = ExchangeStep::Driver;
                exchange.policy = Arc::clone(&self.policy);
                let session = connection.session.and_then(|slot| self.sessions.get(slot));
                let Some(session) = session else { return Ok(()) };
                let request = Box::new(ExchangeRequest {
                    policy: Arc::clone(&self.policy),
                    client_id: session.client_id.clone(),
                    username: session.identity.username.clone(),
                    data,
                });
                self.effects.push(Effect::BeginExchange { connection: id, request });
                Ok(())
            }
            _ => Err(Fault::State(reason::AUTH_OUT_OF_TURN)),
        }
    }

    /// Answers [`Effect::BeginExchange`] and [`Effect::ContinueExchange`]. Nothing happens if the
    /// connection is gone.
    pub fn exchanged(&mut self, now: Millis, connection: ConnectionId, outcome: ExchangeOutcome) {
        let Some(state) = self.connections.get_mut(connection) else { return };
        let (is_open, is_closing) = (state.is_open(), state.is_closing());
        let Some(exchange) = state.exchange.as_deref_mut() else { return };
        if is_closing || exchange.step != ExchangeStep::Driver {
            return;
        }
        exchange.step = match outcome {
            ExchangeOutcome::Continue { .. } => ExchangeStep::Client,
            _ => ExchangeStep::Idle,
        };
        match outcome {
            ExchangeOutcome::Continue { data } => {
                self.send_auth(now, connection, ReasonCode::ContinueAuthentication, &data);
                self.resume(now, connection);
            }
            ExchangeOutcome::Proved { username, data } if is_open => {
                self.reauthenticated(now, connection, &username, &data);
            }
            ExchangeOutcome::Proved { username, data } => {
                if let Stage::Authenticating(pending) = &mut state.stage {
                    pending.authentication_data = Some(data);
                }
                let proof = AuthProof::Exchange;
                let outcome = AuthOutcome::Accepted { username: Some(username), proof };
                self.authenticated(now, connection, outcome);
            }
            ExchangeOutcome::Refused { reason_code } if is_open => {
                self.fail(now, connection, reason_code);
            }
            ExchangeOutcome::Refused { reason_code } => {
                self.refuse_connect(now, connection, reason_code);
            }
        }
    }

    /// A client that is in has proved its name again; that of another user it may not take.
    fn reauthenticated(&mut self, now: Millis, id: ConnectionId, username: &str, data: &[u8]) {
        let connection = self.connections.get(id);
        let Some(exchange) = connection.and_then(|state| state.exchange.as_deref()) else { return };
        let slot = connection.and_then(|state| state.session);
        let Some(session) = slot.and_then(|slot| self.sessions.get_mut(slot)) else { return };
        let identity =
            Identity { username: session.identity.username.clone(), proof: AuthProof::Exchange };
        let is_same = identity.username.as_deref() == Some(username);
        if !is_same
            || recheck(&self.policy, &exchange.policy, &identity, &session.client_id).is_err()
        {
            return self.fail(now, id, ReasonCode::NotAuthorized);
        }
        session.identity = identity;
        self.send_auth(now, id, ReasonCode::Success, data);
    }

    /// An AUTH that the client does not accept for its length ends the exchange, and so the connection.
    fn send_auth(&mut self, now: Millis, id: ConnectionId, reason_code: ReasonCode, data: &[u8]) {
        let connection = self.connections.get(id);
        let Some(exchange) = connection.and_then(|state| state.exchange.as_deref()) else { return };
        let method = Arc::clone(&exchange.method);
        let packet = Packet::Auth(Auth {
            reason_code,
            authentication_method: Some(&method),
            authentication_data: Some(Sensitive(data)),
            ..Auth::default()
        });
        if !self.send(slot_of(id), &packet) {
            self.close(now, id, None, WillFate::Published);
        }
    }
}
