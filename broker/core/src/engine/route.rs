//! One message to all who want it: the sessions here, workers and nodes elsewhere, one member of
//! each group.

use std::sync::Arc;

use super::durable::Published;
use super::outgoing::{Outgoing, seconds_left};
use super::publish::expiry;
use super::{DropReason, Engine};
use crate::codec::packet::Publish;
use crate::forward::read_batch;
use crate::router::{OwnMessages, Route, Subscriber, Target, hash_topic, merge};
use crate::session::{SessionSlot, Sessions};
use crate::shard::{LiveAudience, LiveMessage};
use crate::topic::matches;
use crate::types::{ClientId, Millis};

/// Who published a message.
#[derive(Debug, Clone, Copy)]
pub(super) enum Publisher {
    /// A session of this engine.
    Session(SessionSlot),
    /// The client of a session that has ended, by the hash of its identifier.
    Gone(u64),
}

/// Whom a message is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope<'a> {
    /// Everybody.
    All,
    /// Those who are not in the replicated state, which has given it to the others already, also to
    /// members of these groups.
    Live(&'a [Arc<str>]),
}

impl Scope<'_> {
    /// Whether a member of the group has the message already.
    pub(super) fn is_served(&self, key: &str) -> bool {
        match self {
            Self::All => false,
            Self::Live(served) => served.iter().any(|known| **known == *key),
        }
    }
}

impl Publisher {
    pub(super) fn gone(client_id: &ClientId) -> Self {
        Self::Gone(hash_topic(client_id.as_str()))
    }

    pub(super) const fn session(self) -> Option<SessionSlot> {
        match self {
            Self::Session(slot) => Some(slot),
            Self::Gone(_) => None,
        }
    }
}

impl Engine {
    /// Messages from another engine: a batch that its [`take_forward`](Self::take_forward) gave.
    /// They go to sessions of this engine only.
    pub fn deliver(&mut self, now: Millis, batch: &[u8]) {
        for forwarded in read_batch(batch) {
            let Ok(forwarded) = forwarded else {
                self.counters.dropped.forward_malformed += 1;
                return;
            };
            self.counters.forwards_received += 1;
            let mut route = self.router.take_route(forwarded.publish.topic, &self.sessions);
            let mut outgoing = Outgoing::new(&forwarded.publish, forwarded.expires_at);
            match forwarded.shared {
                None => self.deliver_to_all(now, &mut outgoing, None, &route),
                Some(shared) => {
                    self.refresh_durable(&mut route, forwarded.publish.qos);
                    self.receive_shared(now, &mut outgoing, shared, &route);
                    self.propose_forwarded(&forwarded);
                }
            }
            self.router.put_route(route);
        }
    }

    /// Routes a message whose publisher's rights are checked, and who waits for nothing.
    pub(super) fn route(
        &mut self,
        now: Millis,
        publish: &Publish<'_>,
        publisher: Publisher,
        scope: Scope<'_>,
    ) {
        let mut route = self.router.take_route(publish.topic, &self.sessions);
        self.refresh_durable(&mut route, publish.qos);
        self.follow_route(now, publish, (publisher, scope), &route);
        let shards = match scope {
            Scope::All => route.durable.shards,
            Scope::Live(_) => 0,
        };
        let published =
            Published { publisher, packet_id: None, is_retained: false, is_awaited: true };
        self.propose_publish(now, publish, published, shards);
        self.router.put_route(route);
    }

    /// A message that the replicated state leaves to those who are not in it.
    pub fn publish_live(&mut self, now: Millis, live: &LiveMessage) {
        let message = match live.message.load() {
            Ok(message) => message,
            Err(lost) => return self.message_lost(&lost),
        };
        let Some(mut publish) = message.publish() else { return };
        let expires_at = live.message.expires_at();
        match &live.audience {
            LiveAudience::Others { client_id, served } => {
                publish.properties.message_expiry_seconds = seconds_left(now, expires_at);
                self.route(now, &publish, Publisher::gone(client_id), Scope::Live(served));
            }
            LiveAudience::Group(_) if expires_at <= now => {
                self.counters.dropped.count(DropReason::Expired);
            }
            LiveAudience::Group(key) => {
                let mut route = self.router.take_route(publish.topic, &self.sessions);
                self.refresh_durable(&mut route, publish.qos);
                let mut outgoing = Outgoing::again(&publish, &message);
                if self.share_left(now, &mut outgoing, key, &route) {
                    self.counters.shared_redispatched += 1;
                } else {
                    self.counters.dropped.count(DropReason::NoSharedMember);
                }
                self.propose_left(&message);
                self.router.put_route(route);
            }
        }
    }

    /// Sends a message along its route; `false` when nobody wants it.
    pub(super) fn follow_route(
        &mut self,
        now: Millis,
        publish: &Publish<'_>,
        (publisher, scope): (Publisher, Scope<'_>),
        route: &Route,
    ) -> bool {
        let expires_at = expiry(now, publish);
        let mut outgoing = Outgoing::new(publish, expires_at);
        if !route.targets.is_empty() || route.denied > 0 {
            self.deliver_to_all(now, &mut outgoing, publisher.session(), route);
        }
        let remote = route.remote_for(publish.qos);
        if remote != 0 {
            let count = self.forwards.push(publish, expires_at, remote);
            self.counters.forwards_sent += u64::from(count);
        }
        let mut is_wanted =
            !route.targets.is_empty() || remote != 0 || self.is_wanted_by_state(route, publish.qos);
        if !route.groups.is_empty() || !route.durable.groups.is_empty() {
            is_wanted |= self.share(now, &mut outgoing, (publisher, scope), route);
        }
        is_wanted
    }

    pub(super) fn deliver_to_all(
        &mut self,
        now: Millis,
        outgoing: &mut Outgoing<'_>,
        publisher: Option<SessionSlot>,
        route: &Route,
    ) {
        self.counters.dropped.receive_denied += route.denied;
        if outgoing.expires_at <= now && !route.targets.is_empty() {
            self.counters.dropped.expired += route.targets.len() as u64;
            return;
        }
        self.frames.clear();
        for target in &route.targets {
            if publisher != Some(target.session) || target.own_messages == OwnMessages::Delivered {
                self.deliver_one(now, outgoing, target);
            } else if target.own_messages == OwnMessages::Mixed
                && let Some(target) = without_no_local(&self.sessions, target, &route.topic)
            {
                self.deliver_one(now, outgoing, &target);
            }
        }
    }
}

/// The target made of those Subscriptions only that let a client hear itself. [MQTT-3.8.3-3]
fn without_no_local(sessions: &Sessions, target: &Target, topic: &str) -> Option<Target> {
    let session = sessions.get(target.session)?;
    let subscribers: Vec<Subscriber> = session
        .subscriptions
        .iter()
        .filter(|sub| !sub.options.no_local && matches(&sub.filter, topic))
        .map(|sub| Subscriber::new(target.session, sub.options, sub.id))
        .collect();
    (!subscribers.is_empty()).then(|| merge(target.session, subscribers.iter()))
}
