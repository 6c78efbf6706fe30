//! A claimed identifier: the session begins its time on the connection, and CONNACK leaves.
//!
//! Spec: MQTT 5.0 sections 3.2 and 4.1.

use std::sync::Arc;

use broker_policy::realm::is_same_user;

use super::connect::recheck;
use super::{Claim, ClaimOutcome, DurableView, Engine};
use crate::codec::ReasonCode;
use crate::connection::{Identity, PendingConnect, Stage, slot_of};
use crate::engine::subscribe::Waiting;
use crate::engine::{AuthProof, Effect};
use crate::session::{
    InFlight, InboundQoS2, OnDemand, Queue, Session, SessionSlot, SessionState, Subscription,
};
use crate::types::{ClientId, ConnectionId, Millis};

impl Engine {
    /// Answers [`Effect::Claim`]. If the connection is gone, the session stays, offline.
    pub fn claimed(&mut self, now: Millis, connection: ConnectionId, outcome: ClaimOutcome) {
        if let Some(client_id) = self.orphaned_claims.remove(&connection) {
            if let ClaimOutcome::Granted { claim, session } = outcome {
                self.keep_offline(now, client_id, claim, session);
            }
            return;
        }
        let Some(state) = self.connections.get_mut(connection) else { return };
        if !matches!(state.stage, Stage::Claiming(_)) {
            return;
        }
        let stage = std::mem::replace(&mut state.stage, Stage::AwaitConnect);
        let Stage::Claiming(pending) = stage else { return };
        match outcome {
            ClaimOutcome::Granted { claim, session } => {
                self.attach(now, connection, pending, claim, session);
            }
            ClaimOutcome::Superseded => {
                self.refuse_connect(now, connection, ReasonCode::ServerBusy);
            }
            ClaimOutcome::Unavailable => {
                self.refuse_connect(now, connection, ReasonCode::ServerUnavailable);
            }
        }
    }

    /// The client left before its session arrived: the session waits for it here.
    fn keep_offline(
        &mut self,
        now: Millis,
        client_id: ClientId,
        claim: Claim,
        session: Option<Box<SessionState>>,
    ) {
        let is_kept = |state: &SessionState| {
            let is_admitted = self.policy.admits(state.username.as_deref(), client_id.as_str());
            state.expiry_seconds > 0 && is_admitted.is_ok()
        };
        let Some(state) = session.filter(|state| is_kept(state)) else {
            self.effects.push(Effect::Release { client_id, claim });
            return;
        };
        self.take_over(now, &client_id, true);
        let identity = Identity { username: state.username.clone(), proof: AuthProof::None };
        let slot = self.insert_session(client_id, claim, identity, Some(state), None);
        if let Some(session) = self.sessions.get_mut(slot) {
            let seconds = session.expiry_seconds;
            session.expires_at =
                if seconds == u32::MAX { Millis::NEVER } else { now.plus_seconds(seconds) };
        }
        self.check_session(now, slot);
    }

    fn attach(
        &mut self,
        now: Millis,
        id: ConnectionId,
        pending: Box<PendingConnect>,
        claim: Claim,
        state: Option<Box<SessionState>>,
    ) {
        let Some(identity) = pending.identity.clone() else { return };
        if !Arc::ptr_eq(&pending.policy, &self.policy)
            && let Err(reason_code) =
                recheck(&self.policy, &pending.policy, &identity, &pending.client_id)
        {
            self.keep_offline(now, pending.client_id, claim, state);
            self.refuse_connect(now, id, reason_code);
            return;
        }
        if self.is_durable(&pending) {
            self.take_over(now, &pending.client_id, pending.clean_start);
            self.propose_attach(id, pending, claim);
            return;
        }
        if self.has_durable_session(&pending.client_id) {
            // It is not durable, so it has Clean Start: nothing of what was is gone on with.
            self.take_over(now, &pending.client_id, true);
            self.propose_discard(id, pending, claim);
            return;
        }
        self.begin_plain(now, id, pending, claim, state);
    }

    /// A session that ends with its connection begins.
    pub(super) fn begin_plain(
        &mut self,
        now: Millis,
        id: ConnectionId,
        mut pending: Box<PendingConnect>,
        claim: Claim,
        state: Option<Box<SessionState>>,
    ) {
        let Some(identity) = pending.identity.clone() else { return };
        // The driver took over what there was; should something be left, it is not to be lost.
        let left = self.take_over(now, &pending.client_id, pending.clean_start);
        let state = state.or(left).filter(|state| {
            // Another user must not inherit what waits for the first one.
            !pending.clean_start
                && is_same_user(state.username.as_deref(), identity.username.as_deref())
        });
        pending.session_present = state.is_some();
        let client_id = pending.client_id.clone();
        let slot = self.insert_session(client_id, claim, identity, state, None);
        self.settle_connect(now, id, slot, pending);
    }

    /// The session is the connection's; CONNACK leaves when its filters are heard.
    pub(super) fn settle_connect(
        &mut self,
        now: Millis,
        id: ConnectionId,
        slot: SessionSlot,
        mut pending: Box<PendingConnect>,
    ) {
        let expiry_seconds =
            pending.session_expiry_seconds.min(self.config.session_expiry_seconds_max);
        if let Some(session) = self.sessions.get_mut(slot) {
            session.connection = Some(slot_of(id));
            session.expiry_seconds = expiry_seconds;
            session.will = pending.will.take();
            if let Some(in_flight) = session.in_flight.written() {
                in_flight.rewind();
            }
        }
        if let Some(connection) = self.connections.get_mut(id) {
            connection.session = Some(slot);
            self.counters.clients_connected += 1;
        }
        self.set_rate_limit(slot);
        self.set_member_connected(slot, true);
        if self.sessions.get(slot).is_some_and(|session| session.durable.is_some()) {
            self.begin_auto_subscriptions(slot, pending.session_present);
        } else {
            self.auto_subscribe(slot);
        }
        // Its filters must be heard everywhere before the client is told that it is back.
        let seq = self.router.interest_of(self.filters_of(slot));
        self.set_stage(id, Stage::Settling(pending));
        if seq > self.router.confirmed() {
            self.wait_for(seq, Waiting::ConnAck { connection: id });
        } else {
            self.finish_connect(now, id);
        }
    }

    fn filters_of(&self, slot: SessionSlot) -> impl Iterator<Item = &str> {
        let session = self.sessions.get(slot).into_iter();
        session.flat_map(|session| session.subscriptions.iter().map(|sub| &*sub.filter))
    }

    /// Puts a session in its places: the table, the router, the counters.
    pub(super) fn insert_session(
        &mut self,
        client_id: ClientId,
        claim: Claim,
        identity: Identity,
        state: Option<Box<SessionState>>,
        durable: Option<Box<DurableView>>,
    ) -> SessionSlot {
        let authorizer =
            self.policy.authorizer_of(identity.username.clone(), client_id.to_shared());
        let mut session = Session {
            client_id,
            serial: self.sessions.next_serial(),
            claim,
            identity,
            authorizer,
            // Where it comes from, another policy may have held.
            is_recheck_due: state.is_some(),
            connection: None,
            expiry_seconds: 0,
            expires_at: Millis::NEVER,
            subscriptions: Default::default(),
            in_flight: OnDemand::default(),
            in_flight_counted: 0,
            queue: OnDemand::default(),
            inbound_qos2: OnDemand::default(),
            retained_cursors: OnDemand::default(),
            is_searching: false,
            will: None,
            will_at: Millis::NEVER,
            timer_at: Millis::NEVER,
            durable,
        };
        let mut subscriptions = Vec::new();
        if let Some(state) = state {
            session.expiry_seconds = state.expiry_seconds;
            session.in_flight = InFlight::from_state(state.in_flight, state.next_packet_id).into();
            session.inbound_qos2 = InboundQoS2::from_state(state.inbound_qos2).into();
            session.queue = Queue::from_state(state.queue).into();
            subscriptions = state.subscriptions;
        }
        self.counters.queued_messages += session.queue.len() as u64;
        self.counters.queued_bytes += session.queue.bytes() as u64;
        let slot = self.sessions.insert(session);
        self.count_in_flight(slot);
        self.counters.sessions = self.sessions.len() as u64;
        for state in subscriptions {
            let subscription =
                Subscription { filter: state.filter, options: state.options, id: state.id };
            if self.may_subscribe(slot, &subscription.filter) {
                self.add_subscription(slot, subscription);
            }
        }
        slot
    }

    /// The session is there and heard: CONNACK, then what waited for the client.
    pub(super) fn finish_connect(&mut self, now: Millis, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        if !matches!(connection.stage, Stage::Settling(_)) {
            return;
        }
        let stage = std::mem::replace(&mut connection.stage, Stage::Open);
        let (Stage::Settling(pending), Some(session)) = (stage, connection.session) else { return };
        let keep_alive = self.granted_keep_alive(&pending, self.version(slot_of(id)));
        if let Some(connection) = self.connections.get_mut(id) {
            connection.keep_alive_millis = u32::from(keep_alive) * 1500;
            connection.last_received = now;
        }
        if !self.send_connack(id, session, &pending, keep_alive) {
            return self.refuse_unanswered(now, id);
        }
        self.counters.connects_accepted += 1;
        if keep_alive > 0 {
            self.arm_connection(id, now.plus(u64::from(keep_alive) * 1500));
        }
        self.pump(now, session);
        self.resume(now, id);
    }
}
