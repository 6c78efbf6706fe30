//! CONNECT: from the packet to an authenticated client that claims its identifier.
//!
//! Spec: MQTT 5.0 section 3.1.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use broker_policy::Policy;

use super::close::WillFate;
use super::exchange::check_method;
use super::reason::Fault;
use super::{
    AuthOutcome, AuthProof, AuthRequest, Effect, Engine, EngineConfig, ListenerOptions, Profile,
};
use crate::codec::packet::{ConnAck, Connect, Packet, Publish, PublishProperties, connect_version};
use crate::codec::{DecodeError, ReasonCode, SubscriptionIds};
use crate::connection::{
    ConnectionSlot, Identity, OutboundAliases, PendingConnect, Stage, Will, slot_of,
};
use crate::router::Message;
use crate::types::{ClientId, ConnectionId, Millis, ProtocolVersion};

impl Engine {
    /// Takes a CONNECT in; a client that cannot be served gets a CONNACK that says why.
    pub(super) fn handle_connect(&mut self, now: Millis, id: ConnectionId, connect: &Connect<'_>) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        connection.version = connect.version;
        self.counters.connects_received += 1;
        let properties = &connect.properties;
        connection.wants_problem_information =
            properties.request_problem_information.unwrap_or(true);
        connection.packet_bytes_max = properties.packet_bytes_max.unwrap_or(u32::MAX);
        let window = properties.receive_maximum.unwrap_or(u16::MAX);
        connection.send_window = window.min(self.config.inflight_max);
        let aliases = properties.topic_alias_maximum.unwrap_or(0);
        let own = self.config.options(connection.listener).topic_alias_maximum_outbound;
        let most = own.unwrap_or(self.config.topic_alias_maximum_outbound);
        connection.outbound_aliases = OutboundAliases::new(aliases.min(most));
        let certificate_name = connection.certificate_name.clone();
        let refusal = connection.refusal;
        match self.pending_connect(id, connect, refusal) {
            Ok(pending) if self.begin_exchange(id, connect, &pending) => {
                self.set_stage(id, Stage::Authenticating(Box::new(pending)));
            }
            Ok(pending) => {
                let request = AuthRequest {
                    policy: Arc::clone(&pending.policy),
                    client_id: pending.client_id.clone(),
                    version: connect.version,
                    username: connect.user_name.map(Arc::from),
                    password: connect.password.map(|password| password.0.into()),
                    certificate_name,
                };
                self.set_stage(id, Stage::Authenticating(Box::new(pending)));
                let request = Box::new(request);
                self.effects.push(Effect::Authenticate { connection: id, request });
            }
            Err(reason_code) => self.refuse_connect(now, id, reason_code),
        }
    }

    fn pending_connect(
        &mut self,
        id: ConnectionId,
        connect: &Connect<'_>,
        refusal: Option<ReasonCode>,
    ) -> Result<PendingConnect, ReasonCode> {
        if let Some(reason_code) = refusal {
            return Err(reason_code);
        }
        if self.config.refuses_connects {
            return Err(self.departure(ReasonCode::ServerUnavailable));
        }
        self.options_of(slot_of(id)).check_connect(connect, self.config.profile)?;
        check_method(connect)?;
        let is_v5 = connect.version.is_v5();
        let is_client_id_assigned = connect.client_id.is_empty();
        let may_assign = is_v5 || connect.clean_start && !connect.version.is_v31();
        if is_client_id_assigned && !may_assign {
            return Err(ReasonCode::ClientIdentifierNotValid);
        }
        let client_id = match is_client_id_assigned {
            true => self.assign_client_id(slot_of(id)),
            false => ClientId::new(connect.client_id),
        };
        // In 3.1.1 Clean Session says both how the session begins and when it ends.
        let asked = match (is_v5, connect.clean_start) {
            (true, _) => connect.properties.session_expiry_seconds.unwrap_or(0),
            (false, true) => 0,
            (false, false) => u32::MAX,
        };
        Ok(PendingConnect {
            client_id,
            is_client_id_assigned,
            clean_start: connect.clean_start,
            keep_alive_seconds: connect.keep_alive_seconds,
            wants_response_information: connect.properties.request_response_information
                == Some(true),
            session_expiry_seconds: asked,
            will: will(connect, self.options_of(slot_of(id)), &self.config)?,
            policy: Arc::clone(&self.policy),
            identity: None,
            session_present: false,
            authentication_data: None,
        })
    }

    /// An identifier that no client chooses and none can foresee.
    fn assign_client_id(&mut self, slot: ConnectionSlot) -> ClientId {
        let prefix = self.options_of(slot).assigned_id_prefix.clone();
        let prefix = prefix.as_deref().unwrap_or(match self.config.profile {
            Profile::Dunlin => "dunlin-",
            Profile::Mosquitto => "auto-",
        });
        loop {
            self.assigned_ids += 1;
            let mut hasher = DefaultHasher::new();
            (self.config.seed, self.assigned_ids).hash(&mut hasher);
            let id = format!("{prefix}{:016x}{:x}", hasher.finish(), self.assigned_ids);
            if self.sessions.slot_of(&id).is_none() {
                return ClientId::new(&id);
            }
        }
    }

    /// Answers [`Effect::Authenticate`]. Nothing happens if the connection is gone.
    pub fn authenticated(&mut self, now: Millis, connection: ConnectionId, outcome: AuthOutcome) {
        let Some(state) = self.connections.get_mut(connection) else { return };
        let Stage::Authenticating(pending) = &mut state.stage else { return };
        let (username, proof) = match outcome {
            AuthOutcome::Accepted { username, proof } => (username, proof),
            AuthOutcome::Refused { reason_code } => {
                self.refuse_connect(now, connection, reason_code);
                return;
            }
        };
        let identity = Identity { username, proof };
        let is_current = Arc::ptr_eq(&pending.policy, &self.policy);
        if !is_current
            && let Err(reason_code) =
                recheck(&self.policy, &pending.policy, &identity, &pending.client_id)
        {
            self.refuse_connect(now, connection, reason_code);
            return;
        }
        pending.identity = Some(identity);
        let (client_id, clean_start) = (pending.client_id.clone(), pending.clean_start);
        let stage = std::mem::replace(&mut state.stage, Stage::AwaitConnect);
        if let Stage::Authenticating(pending) = stage {
            state.stage = Stage::Claiming(pending);
        }
        self.effects.push(Effect::Claim { connection, client_id, clean_start });
    }

    /// Answers bytes that are no CONNECT, if their version can be made out.
    pub(super) fn refuse_connect_bytes(
        &mut self,
        now: Millis,
        id: ConnectionId,
        bytes: &[u8],
        error: &DecodeError,
    ) {
        let version = error.refusal_version().or_else(|| connect_version(bytes));
        // 3.1.1 closes without an answer, but for the version. [MQTT-3.1.2-2], section 4.8
        let is_answered = match version {
            Some(ProtocolVersion::V5) => true,
            Some(ProtocolVersion::V31 | ProtocolVersion::V311) => error.refusal_version().is_some(),
            None => false,
        };
        match version {
            Some(version) if is_answered => {
                if let Some(connection) = self.connections.get_mut(id) {
                    connection.version = version;
                }
                self.refuse_connect(now, id, *error);
            }
            _ => self.close(now, id, None, WillFate::Dropped),
        }
    }

    /// CONNACK with a failure, and close. [MQTT-3.2.2-7]
    pub(super) fn refuse_connect(
        &mut self,
        now: Millis,
        id: ConnectionId,
        fault: impl Into<Fault>,
    ) {
        self.counters.connects_refused += 1;
        let fault = fault.into();
        self.counters.limits.count(fault.reason_code());
        if !self.version(slot_of(id)).is_v5() && has_no_return_code(fault.reason_code()) {
            return self.close(now, id, None, WillFate::Dropped);
        }
        let packet = Packet::ConnAck(ConnAck::refusal(fault.reason_code()));
        self.send_end(slot_of(id), packet, &fault);
        self.close(now, id, None, WillFate::Dropped);
    }

    pub(super) fn set_stage(&mut self, id: ConnectionId, stage: Stage) {
        if let Some(connection) = self.connections.get_mut(id) {
            connection.stage = stage;
        }
    }
}

/// Whether 3.1.1 has no return code that says this, so that the connection is closed without CONNACK.
/// [MQTT-3.2.2-6]
const fn has_no_return_code(reason_code: ReasonCode) -> bool {
    matches!(reason_code, ReasonCode::QoSNotSupported | ReasonCode::RetainNotSupported)
}

/// Whether what was found under an earlier policy holds under the current one.
pub(super) fn recheck(
    current: &Policy,
    earlier: &Policy,
    identity: &Identity,
    client_id: &ClientId,
) -> Result<(), ReasonCode> {
    let username = identity.username.as_deref();
    current.admits(username, client_id.as_str()).map_err(|_| ReasonCode::NotAuthorized)?;
    let Some(username) = username else { return Ok(()) };
    let (now, before) = (current.client(username), earlier.client(username));
    let holds = match (identity.proof, now) {
        (AuthProof::Password, now) => {
            now.is_some() && before.map(|before| &before.password) == now.map(|now| &now.password)
        }
        (AuthProof::Exchange, now) => {
            now.is_some() && before.map(|before| &before.scram) == now.map(|now| &now.scram)
        }
        (AuthProof::Certificate, Some(now)) => now.certificate,
        // A guest, whom the policy admits.
        (AuthProof::Certificate | AuthProof::None, _) => true,
    };
    if holds { Ok(()) } else { Err(ReasonCode::NotAuthorized) }
}

/// The Will Message as it is kept, with the interval that starts when it is published.
fn will(
    connect: &Connect<'_>,
    options: &ListenerOptions,
    config: &EngineConfig,
) -> Result<Option<Box<Will>>, ReasonCode> {
    let Some(will) = &connect.will else { return Ok(None) };
    let topic = options.mounted(will.topic, config.topic_levels_max)?;
    let publish = Publish {
        dup: false,
        qos: will.qos,
        retain: will.retain,
        topic: &topic,
        packet_id: None,
        properties: PublishProperties {
            payload_is_utf8: will.properties.payload_is_utf8,
            message_expiry_seconds: None,
            topic_alias: None,
            response_topic: will.properties.response_topic,
            correlation_data: will.properties.correlation_data,
            user_properties: will.properties.user_properties,
            subscription_ids: SubscriptionIds::default(),
            content_type: will.properties.content_type,
        },
        payload: will.payload,
    };
    let message = Message::new(&publish, Millis::NEVER).map_err(|_| ReasonCode::PacketTooLarge)?;
    Ok(Some(Box::new(Will {
        message,
        message_expiry_seconds: match config.message_expiry_seconds_max {
            u32::MAX => will.properties.message_expiry_seconds,
            max => Some(will.properties.message_expiry_seconds.unwrap_or(max).min(max)),
        },
        delay_seconds: will.properties.delay_seconds.unwrap_or(0),
    })))
}
