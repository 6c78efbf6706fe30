//! SUBSCRIBE and UNSUBSCRIBE, and the answers that wait until others know of them.
//!
//! Spec: MQTT 5.0 sections 3.8 to 3.11.

use broker_policy::Action;

use super::reason::Fault;
use super::{Engine, InterestSeq};
use crate::codec::packet::{
    Packet, ReasonCodes, RetainHandling, SubAck, Subscribe, SubscribeFilter, SubscriptionOptions,
    UnsubAck, Unsubscribe,
};
use crate::codec::{ReasonCode, UserProperties};
use crate::connection::slot_of;
use crate::router::Subscriber;
use crate::session::{RetainedCursor, SessionSlot, Subscription};
use crate::topic::{TopicFilter, is_shared};
use crate::types::{ConnectionId, Millis, PacketId, SubscriptionId};

/// An answer that leaves when an interest change is known to all others.
#[derive(Debug)]
pub(super) enum Waiting {
    ConnAck { connection: ConnectionId },
    SubAck { connection: ConnectionId, answer: Box<SubscribeAnswer> },
}

/// What a SUBSCRIBE leads to.
#[derive(Debug)]
pub(super) struct SubscribeAnswer {
    pub(super) packet_id: PacketId,
    pub(super) reason_codes: Vec<ReasonCode>,
    pub(super) cursors: Vec<RetainedCursor>,
}

/// A Subscription that was made.
pub(super) struct Added {
    pub(super) subscription: Subscription,
    pub(super) is_new: bool,
    pub(super) seq: InterestSeq,
}

impl Engine {
    pub(super) fn handle_subscribe(
        &mut self,
        now: Millis,
        id: ConnectionId,
        subscribe: &Subscribe<'_>,
    ) -> Result<(), Fault> {
        let session = self.connections.get(id).and_then(|connection| connection.session);
        let session = session.ok_or(ReasonCode::ProtocolError)?;
        if self.sessions.get(session).is_some_and(|session| session.durable.is_some()) {
            self.propose_subscribe(id, session, subscribe);
            return Ok(());
        }
        let mut reason_codes = Vec::new();
        let mut cursors = Vec::new();
        let mut seq = InterestSeq::default();
        for (position, filter) in subscribe.filters.iter().enumerate() {
            if position >= self.config.subscriptions_max {
                // More than a session may hold: not worth a look.
                self.counters.limits.subscriptions += 1;
                reason_codes.push(ReasonCode::QuotaExceeded);
                continue;
            }
            match self.subscribe_one(session, &filter, subscribe.subscription_id) {
                Ok(added) => {
                    reason_codes.push(ReasonCode::granted(added.subscription.options.qos));
                    seq = seq.max(added.seq);
                    cursors.extend(added.cursor());
                }
                Err(reason_code) => {
                    self.counters.limits.count_subscription(reason_code);
                    reason_codes.push(reason_code);
                }
            }
        }
        let packet_id = subscribe.packet_id;
        let answer = Box::new(SubscribeAnswer { packet_id, reason_codes, cursors });
        if seq > self.router.confirmed() {
            self.wait_for(seq, Waiting::SubAck { connection: id, answer });
        } else {
            self.answer_subscribe(now, id, *answer);
        }
        Ok(())
    }

    pub(super) fn subscribe_one(
        &mut self,
        slot: SessionSlot,
        filter: &SubscribeFilter<'_>,
        id: Option<SubscriptionId>,
    ) -> Result<Added, ReasonCode> {
        let subscription = self.check_subscription(slot, filter, id)?;
        let session = self.sessions.get(slot).ok_or(ReasonCode::UnspecifiedError)?;
        let is_new = session.subscription(&subscription.filter).is_none();
        let seq = self.add_subscription(slot, subscription.clone());
        Ok(Added { subscription, is_new, seq })
    }

    /// The Subscription that a session may make.
    pub(super) fn check_subscription(
        &self,
        slot: SessionSlot,
        filter: &SubscribeFilter<'_>,
        id: Option<SubscriptionId>,
    ) -> Result<Subscription, ReasonCode> {
        let listener = self.options_of_session(slot);
        let other = self.own_filter(listener, filter.filter);
        let text = other.as_deref().unwrap_or(filter.filter);
        TopicFilter::parse(text, self.config.topic_levels_max)
            .map_err(|_| ReasonCode::TopicFilterInvalid)?;
        // With its `$share/name/`, as Mosquitto does: `#` is no right to share a Subscription.
        if !self.may_subscribe(slot, text) {
            return Err(ReasonCode::NotAuthorized);
        }
        let session = self.sessions.get(slot).ok_or(ReasonCode::UnspecifiedError)?;
        let is_new = session.subscription(text).is_none();
        if is_new && session.subscriptions.len() >= self.config.subscriptions_max {
            return Err(ReasonCode::QuotaExceeded);
        }
        let qos = filter.options.qos.min(listener.qos_max);
        let options = SubscriptionOptions { qos, ..filter.options };
        Ok(Subscription { filter: text.into(), options, id })
    }

    pub(super) fn may_subscribe(&self, slot: SessionSlot, filter: &str) -> bool {
        let session = self.sessions.get(slot);
        session.is_some_and(|session| session.authorizer.allows(Action::Subscribe, filter))
    }

    /// Adds or replaces a Subscription in its session and in the router.
    pub(super) fn add_subscription(
        &mut self,
        slot: SessionSlot,
        subscription: Subscription,
    ) -> InterestSeq {
        let session = self.sessions.get(slot);
        let is_connected = session.is_some_and(|session| session.connection.is_some());
        let is_durable = session.is_some_and(|session| session.durable.is_some());
        let subscriber = Subscriber::new(slot, subscription.options, subscription.id);
        let subscriber = subscriber.of_durable(is_durable);
        let (filter, seq) = self.router.subscribe(&subscription.filter, subscriber, is_connected);
        let Some(session) = self.sessions.get_mut(slot) else { return seq };
        let subscription = Subscription { filter, ..subscription };
        match session.subscription(&subscription.filter) {
            Some(at) => {
                session.subscriptions.replace(at, subscription);
            }
            None => {
                self.counters.shared_subscriptions += u64::from(is_shared(&subscription.filter));
                session.subscriptions.push(subscription);
                self.counters.subscriptions += 1;
            }
        }
        seq
    }

    /// Removes the Subscription at this place in its session's list. What waits for it as a member
    /// of a group goes to another one; what is sent already stays. [MQTT-3.10.4-3]
    pub(super) fn remove_subscription(&mut self, now: Millis, slot: SessionSlot, at: usize) {
        let Some(subscription) = self.drop_subscription(slot, at) else { return };
        if self.sessions.get(slot).is_some_and(|session| session.durable.is_some()) {
            self.propose_unsubscribe(slot, &subscription.filter);
        } else if is_shared(&subscription.filter) {
            let left = self.take_queued(slot, |share| *share == *subscription.filter);
            self.redispatch(now, left);
        }
    }

    /// Takes a Subscription out of its session and of the router.
    pub(super) fn drop_subscription(
        &mut self,
        slot: SessionSlot,
        at: usize,
    ) -> Option<Subscription> {
        let session = self.sessions.get_mut(slot)?;
        let subscription = session.subscriptions.swap_remove(at);
        if let Some(cursors) = session.retained_cursors.written() {
            cursors.retain(|cursor| cursor.filter != subscription.filter);
        }
        self.router.unsubscribe(&subscription.filter, slot);
        self.counters.subscriptions -= 1;
        self.counters.shared_subscriptions -= u64::from(is_shared(&subscription.filter));
        Some(subscription)
    }

    pub(super) fn wait_for(&mut self, seq: InterestSeq, waiting: Waiting) {
        self.waiting_count += 1;
        self.waiting.insert((seq, self.waiting_count), waiting);
    }

    /// Every other worker and live node knows the interest changes up to `seq`.
    pub fn interest_confirmed(&mut self, now: Millis, seq: InterestSeq) {
        self.router.confirm(seq);
        let later = self.waiting.split_off(&(InterestSeq(self.router.confirmed().0 + 1), 0));
        for (_, waiting) in std::mem::replace(&mut self.waiting, later) {
            match waiting {
                Waiting::ConnAck { connection } => self.finish_connect(now, connection),
                Waiting::SubAck { connection, answer } => {
                    self.answer_subscribe(now, connection, *answer);
                }
            }
        }
    }

    /// SUBACK, and the retained messages after it.
    pub(super) fn answer_subscribe(
        &mut self,
        now: Millis,
        id: ConnectionId,
        answer: SubscribeAnswer,
    ) {
        let Some(connection) = self.connections.get(id).filter(|state| state.is_open()) else {
            return;
        };
        let session = connection.session;
        let SubscribeAnswer { packet_id, reason_codes, cursors } = answer;
        let packet = SubAck {
            packet_id,
            reason_string: None,
            user_properties: UserProperties::NONE,
            reason_codes: ReasonCodes::from_slice(&reason_codes),
        };
        self.send_refusal(slot_of(id), Packet::SubAck(packet), &reason_codes);
        let Some(slot) = session else { return };
        if let Some(session) = self.sessions.get_mut(slot) {
            for cursor in cursors {
                // It may have been unsubscribed again, or its right been taken away.
                if session.subscription(&cursor.filter).is_some() {
                    // A filter that is subscribed to again starts anew.
                    session.retained_cursors.retain(|other| other.filter != cursor.filter);
                    session.retained_cursors.push_back(cursor);
                }
            }
        }
        self.pump(now, slot);
    }

    pub(super) fn handle_unsubscribe(
        &mut self,
        now: Millis,
        id: ConnectionId,
        unsubscribe: &Unsubscribe<'_>,
    ) {
        let Some(slot) = self.connections.get(id).and_then(|state| state.session) else {
            return;
        };
        if self.sessions.get(slot).is_some_and(|session| session.durable.is_some()) {
            self.propose_client_unsubscribe(id, slot, unsubscribe);
            return;
        }
        let mut reason_codes = Vec::new();
        for (position, filter) in unsubscribe.filters.iter().enumerate() {
            // A session holds no more than that; the rest is not worth a look.
            reason_codes.push(match position < self.config.subscriptions_max {
                true => self.unsubscribe_one(now, slot, filter),
                false => ReasonCode::ImplementationSpecificError,
            });
        }
        self.answer_unsubscribe(id, unsubscribe.packet_id, &reason_codes);
    }

    pub(super) fn answer_unsubscribe(
        &mut self,
        id: ConnectionId,
        packet_id: PacketId,
        reason_codes: &[ReasonCode],
    ) {
        let packet = UnsubAck {
            packet_id,
            reason_string: None,
            user_properties: UserProperties::NONE,
            reason_codes: ReasonCodes::from_slice(reason_codes),
        };
        self.send_refusal(slot_of(id), Packet::UnsubAck(packet), reason_codes);
    }

    pub(super) fn may_unsubscribe(&self, slot: SessionSlot, filter: &str) -> bool {
        let session = self.sessions.get(slot);
        session.is_some_and(|session| session.authorizer.allows(Action::Unsubscribe, filter))
    }

    fn unsubscribe_one(&mut self, now: Millis, slot: SessionSlot, filter: &str) -> ReasonCode {
        let other = self.own_filter(self.options_of_session(slot), filter);
        let filter = other.as_deref().unwrap_or(filter);
        if !self.may_unsubscribe(slot, filter) {
            return ReasonCode::NotAuthorized;
        }
        let Some(at) = self.sessions.get(slot).and_then(|s| s.subscription(filter)) else {
            return ReasonCode::NoSubscriptionExisted;
        };
        self.remove_subscription(now, slot, at);
        ReasonCode::Success
    }
}

impl Added {
    /// Where the Subscription's retained messages begin, if it is to be sent any. [MQTT-3.3.1-9]
    /// [MQTT-3.3.1-10] [MQTT-3.3.1-11]
    pub(super) fn cursor(self) -> Option<RetainedCursor> {
        let Self { subscription: Subscription { filter, options, id }, is_new, .. } = self;
        let wants = match options.retain_handling {
            RetainHandling::SendAtSubscribe => true,
            RetainHandling::SendAtNewSubscription => is_new,
            RetainHandling::DoNotSend => false,
        };
        // A group gets none. Spec: MQTT 5.0 section 4.8.2.
        let wants = wants && !is_shared(&filter);
        wants.then_some(RetainedCursor { filter, options, id, after: None, topic: None })
    }
}
