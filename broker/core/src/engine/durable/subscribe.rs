//! SUBSCRIBE and UNSUBSCRIBE of durable sessions: the state has the Subscription first, on every
//! node that can be reached; then this engine's router, for QoS 0, and the interest of the others.

use std::sync::Arc;

use super::super::subscribe::{Added, SubscribeAnswer, Waiting};
use super::super::{Engine, InterestSeq};
use super::settle::Verdict;
use super::{Reach, Wait};
use crate::codec::ReasonCode;
use crate::codec::packet::{Subscribe, Unsubscribe};
use crate::session::{SessionSlot, Subscription, SubscriptionState};
use crate::shard::{Operation, SessionRef};
use crate::topic::is_shared;
use crate::types::{ConnectionId, Millis, PacketId};

/// A SUBSCRIBE on its way through the log.
#[derive(Debug)]
pub(in crate::engine) struct DurableSubscribe {
    packet_id: PacketId,
    /// One for each filter: the Subscription to make, or why there is none.
    filters: Vec<Result<Subscription, ReasonCode>>,
}

/// An UNSUBSCRIBE on its way through the log.
#[derive(Debug)]
pub(in crate::engine) struct DurableUnsubscribe {
    packet_id: PacketId,
    /// One for each filter.
    filters: Vec<Result<Box<str>, ReasonCode>>,
}

impl Engine {
    /// Proposes the Subscriptions that the client may have.
    pub(in crate::engine) fn propose_subscribe(
        &mut self,
        id: ConnectionId,
        slot: SessionSlot,
        subscribe: &Subscribe<'_>,
    ) {
        let mut filters = Vec::new();
        for (position, filter) in subscribe.filters.iter().enumerate() {
            filters.push(match position < self.config.subscriptions_max {
                true => self.check_subscription(slot, &filter, subscribe.subscription_id),
                // More than a session may hold: not worth a look.
                false => Err(ReasonCode::QuotaExceeded),
            });
        }
        let subscriptions: Vec<SubscriptionState> =
            filters.iter().flatten().map(state_of).collect();
        let answer = Box::new(DurableSubscribe { packet_id: subscribe.packet_id, filters });
        let Some((client_id, attachment)) = self.durable_key(slot) else { return };
        let session = SessionRef { client_id: &client_id, attachment };
        let operation = Operation::Subscribe { session, subscriptions };
        self.push_operation(&operation, Wait::Subscribe(id, answer), Reach::AppliedEverywhere);
    }

    /// Every node that can be reached has the Subscriptions: they are made here too.
    pub(super) fn durable_subscribed(
        &mut self,
        now: Millis,
        id: ConnectionId,
        subscribe: DurableSubscribe,
        verdict: Verdict,
    ) {
        if !self.goes_on(now, id, verdict) {
            return;
        }
        let session = self.connections.get(id).and_then(|connection| connection.session);
        let Some(slot) = session else { return };
        let (mut reason_codes, mut cursors) = (Vec::new(), Vec::new());
        let mut seq = InterestSeq::default();
        for filter in subscribe.filters {
            let subscription = match filter {
                Ok(subscription) => subscription,
                Err(reason_code) => {
                    reason_codes.push(reason_code);
                    continue;
                }
            };
            reason_codes.push(ReasonCode::granted(subscription.options.qos));
            let known = self.sessions.get(slot).map(|s| s.subscription(&subscription.filter));
            let is_new = known.flatten().is_none();
            let confirmed = self.add_subscription(slot, subscription.clone());
            seq = seq.max(confirmed);
            cursors.extend(Added { subscription, is_new, seq: confirmed }.cursor());
        }
        let packet_id = subscribe.packet_id;
        let answer = Box::new(SubscribeAnswer { packet_id, reason_codes, cursors });
        if seq > self.router.confirmed() {
            self.wait_for(seq, Waiting::SubAck { connection: id, answer });
        } else {
            self.answer_subscribe(now, id, *answer);
        }
    }

    /// Proposes the end of Subscriptions, also of those that are on their way still.
    pub(in crate::engine) fn propose_client_unsubscribe(
        &mut self,
        id: ConnectionId,
        slot: SessionSlot,
        unsubscribe: &Unsubscribe<'_>,
    ) {
        let mut filters: Vec<Result<Box<str>, ReasonCode>> = Vec::new();
        for (position, filter) in unsubscribe.filters.iter().enumerate() {
            let other = self.own_filter(self.options_of_session(slot), filter);
            let filter = other.as_deref().unwrap_or(filter);
            filters.push(match position < self.config.subscriptions_max {
                true if self.may_unsubscribe(slot, filter) => Ok(filter.into()),
                true => Err(ReasonCode::NotAuthorized),
                false => Err(ReasonCode::ImplementationSpecificError),
            });
        }
        let packet_id = unsubscribe.packet_id;
        let answer = DurableUnsubscribe { packet_id, filters: filters.clone() };
        let meant: Vec<&str> = filters.iter().flatten().map(|filter| &**filter).collect();
        // As far as a SUBSCRIBE before it, so that it does not overtake that one.
        let wait = Wait::Unsubscribe(id, Box::new(answer));
        self.push_unsubscribe(slot, meant, wait, Reach::AppliedEverywhere);
    }

    /// Proposes the end of Subscriptions. While a session leaves a group it is sent nothing: what it
    /// was not sent goes to other members.
    fn push_unsubscribe(
        &mut self,
        slot: SessionSlot,
        filters: Vec<&str>,
        wait: Wait,
        reach: Reach,
    ) {
        let Some((client_id, attachment)) = self.durable_key(slot) else { return };
        let session = SessionRef { client_id: &client_id, attachment };
        if !filters.iter().any(|filter| is_shared(filter)) {
            let operation = Operation::Unsubscribe { session, filters };
            return self.push_operation(&operation, wait, reach);
        }
        let live = self.live_groups(slot);
        let live = live.iter().map(|key| &**key).filter(|key| filters.contains(key)).collect();
        let Some(held) = self.sessions.get_mut(slot) else { return };
        let serial = held.serial;
        let Some(view) = &mut held.durable else { return };
        view.leaving += 1;
        let sent_to = view.next_seq.saturating_sub(1);
        let operation = Operation::Leave { session, filters, sent_to, live };
        self.push_operation(&operation, Wait::Leave(slot, serial, Box::new(wait)), reach);
    }

    /// The state knows that the session has left a group, or never will.
    pub(super) fn has_left(&mut self, now: Millis, slot: SessionSlot, serial: u32) {
        let session = self.sessions.get_mut(slot).filter(|session| session.serial == serial);
        if let Some(view) = session.and_then(|session| session.durable.as_mut()) {
            view.leaving = view.leaving.saturating_sub(1);
            self.pump(now, slot);
        }
    }

    pub(super) fn durable_unsubscribed(
        &mut self,
        now: Millis,
        id: ConnectionId,
        unsubscribe: DurableUnsubscribe,
        verdict: Verdict,
    ) {
        if !self.goes_on(now, id, verdict) {
            return;
        }
        let session = self.connections.get(id).and_then(|connection| connection.session);
        let Some(slot) = session else { return };
        let mut reason_codes = Vec::new();
        for filter in unsubscribe.filters {
            reason_codes.push(match filter {
                Err(reason_code) => reason_code,
                Ok(filter) => {
                    let place = self.sessions.get(slot).and_then(|s| s.subscription(&filter));
                    match place {
                        None => ReasonCode::NoSubscriptionExisted,
                        Some(at) => {
                            self.drop_subscription(slot, at);
                            ReasonCode::Success
                        }
                    }
                }
            });
        }
        self.answer_unsubscribe(id, unsubscribe.packet_id, &reason_codes);
    }

    /// A right was taken away: the Subscription ends.
    pub(in crate::engine) fn propose_unsubscribe(&mut self, slot: SessionSlot, filter: &str) {
        self.push_unsubscribe(slot, vec![filter], Wait::Nothing, Reach::Committed);
    }

    /// How the state names the session and its time on this connection.
    pub(super) fn durable_key(&self, slot: SessionSlot) -> Option<(Box<str>, u64)> {
        let session = self.sessions.get(slot)?;
        let attachment = session.durable.as_ref()?.attachment;
        Some((session.client_id.as_str().into(), attachment))
    }
}

fn state_of(subscription: &Subscription) -> SubscriptionState {
    let Subscription { filter, options, id } = subscription;
    SubscriptionState { filter: Arc::clone(filter), options: *options, id: *id }
}
