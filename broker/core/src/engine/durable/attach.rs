//! A durable session begins its time on a connection, and ends it.

use std::sync::Arc;

use super::super::close::WillFate;
use super::super::connect::recheck;
use super::super::{Claim, Effect, Engine};
use super::lost::End;
use super::settle::Verdict;
use super::{DurableView, Reach, Wait};
use crate::codec::ReasonCode;
use crate::codec::packet::Publish;
use crate::connection::{PendingConnect, Stage, Will, slot_of};
use crate::router::Message;
use crate::session::{SessionSlot, SessionState};
use crate::shard::{MessageForm, Operation, SessionView, WillForm, packet_id_of};
use crate::topic::is_shared;
use crate::types::{ClientId, ConnectionId, Millis};

/// A client whose CONNACK waits for the state.
#[derive(Debug)]
pub(in crate::engine) struct Arrival {
    connection: ConnectionId,
    client_id: ClientId,
    claim: Claim,
}

impl Engine {
    /// Whether the session of a client that connects is, or is to be, a durable one.
    pub(in crate::engine) fn is_durable(&self, pending: &PendingConnect) -> bool {
        self.durable.as_ref().is_some_and(|durable| {
            pending.session_expiry_seconds.min(self.config.session_expiry_seconds_max) > 0
                || !pending.clean_start && durable.store.contains(pending.client_id.as_str())
        })
    }

    /// Whether the client has a durable session.
    pub(in crate::engine) fn has_durable_session(&self, client_id: &ClientId) -> bool {
        let durable = self.durable.as_ref();
        durable.is_some_and(|durable| durable.store.contains(client_id.as_str()))
    }

    /// A client comes with a session that ends with its connection: its durable one is discarded.
    /// CONNACK waits for that: were it late, it would end a session that the client has begun
    /// elsewhere meanwhile.
    pub(in crate::engine) fn propose_discard(
        &mut self,
        id: ConnectionId,
        pending: Box<PendingConnect>,
        claim: Claim,
    ) {
        let client_id = pending.client_id.clone();
        self.propose_ends_of(&client_id);
        let operation = Operation::Discard { client_id: client_id.as_str() };
        let arrival = Arrival { connection: id, client_id: client_id.clone(), claim };
        self.push_operation(&operation, Wait::Discard(arrival), Reach::Committed);
        self.set_stage(id, Stage::Attaching(pending));
    }

    /// The durable session is no more, or not known to be.
    pub(super) fn discarded(&mut self, now: Millis, arrival: Arrival, verdict: Verdict) {
        let refusal = (verdict != Verdict::Done).then_some(ReasonCode::ServerUnavailable);
        if let Some(pending) = self.admit(now, &arrival, refusal) {
            self.begin_plain(now, arrival.connection, pending, arrival.claim, None);
        }
    }

    /// Asks for the session; CONNACK leaves when this node has it.
    pub(in crate::engine) fn propose_attach(
        &mut self,
        id: ConnectionId,
        pending: Box<PendingConnect>,
        claim: Claim,
    ) {
        self.propose_ends_of(&pending.client_id);
        self.note_attaching(&pending.client_id, claim);
        let worker = self.durable.as_ref().map_or(0, |durable| durable.worker);
        let username = pending.identity.as_ref().and_then(|identity| identity.username.clone());
        let expiry_seconds =
            pending.session_expiry_seconds.min(self.config.session_expiry_seconds_max);
        let will = self.will_of(pending.will.as_deref());
        let options = self.options_of(slot_of(id));
        let subscriptions =
            self.auto_subscriptions_of(options, pending.client_id.as_str(), username.as_deref());
        // Whoever publishes is to know of a new Subscription before the client is told of it.
        let reach = match subscriptions.is_empty() {
            true => Reach::AppliedHere,
            false => Reach::AppliedEverywhere,
        };
        let operation = Operation::Attach {
            client_id: pending.client_id.as_str(),
            username: username.as_deref(),
            worker,
            clean_start: pending.clean_start,
            expiry_seconds,
            will: will.as_ref().map(will_form),
            subscriptions,
        };
        let client_id = pending.client_id.clone();
        let arrival = Arrival { connection: id, client_id, claim };
        self.push_operation(&operation, Wait::Attach(arrival), reach);
        self.set_stage(id, Stage::Attaching(pending));
    }

    /// The will under the topic that the configuration puts in place of the client's own; none where
    /// the topic is that of a delayed message, as a will has a delay of its own.
    fn will_of(&self, will: Option<&Will>) -> Option<Will> {
        let will = will?;
        let publish = will.message.publish()?;
        let other = self.rewritten_topic(publish.topic);
        let topic = other.as_deref().unwrap_or(publish.topic);
        if self.is_delayed(topic) {
            return None;
        }
        let message = Message::new(&Publish { topic, ..publish }, Millis::NEVER).ok()?;
        Some(Will { message, ..*will })
    }

    /// The session is this connection's, or not.
    pub(super) fn attached(&mut self, now: Millis, arrival: Arrival, verdict: Verdict) {
        self.note_attached(now, (&arrival.client_id, arrival.claim), verdict);
        let Verdict::Attached { attachment, session_present } = verdict else {
            self.counters.limits.durable_sessions += u64::from(verdict == Verdict::Full);
            let refusal = match verdict {
                Verdict::Full => ReasonCode::QuotaExceeded,
                _ => ReasonCode::ServerUnavailable,
            };
            self.admit(now, &arrival, Some(refusal));
            return;
        };
        let Arrival { connection, client_id, claim } = &arrival;
        let durable = self.durable.as_ref();
        let view = durable.and_then(|durable| durable.store.view(client_id.as_str(), attachment));
        // Without it, a newer connection has the session already.
        let refusal = view.is_none().then_some(ReasonCode::ServerBusy);
        match (self.admit(now, &arrival, refusal), view) {
            (Some(mut pending), Some(view)) => {
                pending.session_present = session_present;
                self.begin_durable(now, *connection, pending, *claim, (attachment, view));
            }
            _ => self.propose_end(End::of_nobody(arrival.client_id, attachment)),
        }
    }

    /// What the client asked for, if it may come in still and the state did not refuse it. Else its
    /// claim is given back, and it is told, unless it has gone meanwhile.
    fn admit(
        &mut self,
        now: Millis,
        arrival: &Arrival,
        refusal: Option<ReasonCode>,
    ) -> Option<Box<PendingConnect>> {
        let Arrival { connection, client_id, claim } = arrival;
        let pending = self.take_attaching(*connection);
        let refusal = match &pending {
            _ if refusal.is_some() => refusal,
            Some(_) if self.has_newer(client_id, *claim) => Some(ReasonCode::ServerBusy),
            Some(pending) => self.recheck_attaching(pending).err(),
            None => None,
        };
        if refusal.is_none() && pending.is_some() {
            return pending;
        }
        self.effects.push(Effect::Release { client_id: client_id.clone(), claim: *claim });
        if let (Some(_), Some(reason_code)) = (pending, refusal) {
            self.refuse_connect(now, *connection, reason_code);
        }
        None
    }

    /// Whether a session of the client with a newer claim has begun here meanwhile.
    fn has_newer(&self, client_id: &ClientId, claim: Claim) -> bool {
        let slot = self.sessions.slot_of(client_id.as_str());
        let session = slot.and_then(|slot| self.sessions.get(slot));
        session.is_some_and(|session| session.claim > claim)
    }

    fn take_attaching(&mut self, id: ConnectionId) -> Option<Box<PendingConnect>> {
        let state = self.connections.get_mut(id)?;
        if !matches!(state.stage, Stage::Attaching(_)) {
            return None;
        }
        match std::mem::replace(&mut state.stage, Stage::AwaitConnect) {
            Stage::Attaching(pending) => Some(pending),
            _ => None,
        }
    }

    fn recheck_attaching(&self, pending: &PendingConnect) -> Result<(), ReasonCode> {
        let Some(identity) = &pending.identity else { return Err(ReasonCode::NotAuthorized) };
        if Arc::ptr_eq(&pending.policy, &self.policy) {
            return Ok(());
        }
        recheck(&self.policy, &pending.policy, identity, &pending.client_id)
    }

    fn begin_durable(
        &mut self,
        now: Millis,
        id: ConnectionId,
        mut pending: Box<PendingConnect>,
        claim: Claim,
        (attachment, view): (u64, SessionView),
    ) {
        let Some(identity) = pending.identity.take() else { return };
        let SessionView { subscriptions, inbound_qos2, first_seq, sent_to } = view;
        let filters: Vec<Arc<str>> = subscriptions.iter().map(|s| Arc::clone(&s.filter)).collect();
        let state = SessionState {
            client_id: pending.client_id.clone(),
            username: identity.username.clone(),
            expiry_seconds: pending.session_expiry_seconds,
            subscriptions,
            in_flight: Vec::new(),
            next_packet_id: packet_id_of(first_seq),
            queue: Vec::new(),
            inbound_qos2,
        };
        let client_id = pending.client_id.clone();
        // One that asked before this one, and was attached while this one waited.
        self.take_over(now, &client_id, false);
        let view = Box::new(DurableView::new(attachment, first_seq, sent_to));
        let state = Some(Box::new(state));
        let slot = self.insert_session(client_id, claim, identity, state, Some(view));
        // The state has the will.
        pending.will = None;
        // What the client may not hold any more was left out.
        for filter in filters {
            let session = self.sessions.get(slot);
            if session.is_some_and(|session| session.subscription(&filter).is_none()) {
                self.propose_unsubscribe(slot, &filter);
            }
        }
        self.settle_connect(now, id, slot, pending);
    }

    /// The session's connection is gone: the session stays in the state, and leaves the engine.
    pub(in crate::engine) fn part_durable(
        &mut self,
        now: Millis,
        slot: SessionSlot,
        fate: WillFate,
    ) {
        self.flush_session(slot);
        self.queue_rest_of_retained(now, slot);
        let Some(session) = self.sessions.get(slot) else { return };
        let Some(view) = &session.durable else { return };
        let (attachment, sent_to) = (view.attachment, view.next_seq.saturating_sub(1));
        let (client_id, claim) = (session.client_id.clone(), session.claim);
        self.propose_end(End {
            client_id: client_id.clone(),
            attachment,
            sent_to,
            is_will_dropped: fate == WillFate::Dropped,
            expiry_seconds: Some(session.expiry_seconds),
            live: self.live_groups(slot),
        });
        self.remove_session(slot);
        self.effects.push(Effect::Release { client_id, claim });
    }

    /// The session's groups that have members that are connected and not in the state.
    pub(super) fn live_groups(&self, slot: SessionSlot) -> Vec<Arc<str>> {
        let session = self.sessions.get(slot).into_iter();
        let filters =
            session.flat_map(|session| session.subscriptions.iter()).map(|sub| &sub.filter);
        let is_live = |filter: &&Arc<str>| is_shared(filter) && self.router.has_live(filter);
        filters.filter(is_live).cloned().collect()
    }
}

fn will_form(will: &Will) -> WillForm<'_> {
    WillForm {
        message: MessageForm::of(&will.message),
        message_expiry_seconds: will.message_expiry_seconds,
        delay_seconds: will.delay_seconds,
    }
}
