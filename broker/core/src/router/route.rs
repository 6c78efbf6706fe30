//! The outcome of matching one topic: who gets its messages, and how. Pure.

use broker_policy::Action;

use super::entry::Subscriber;
use super::shared_route::SharedRoute;
use crate::session::{SessionSlot, Sessions};
use crate::shard::DurableRoute;
use crate::types::{QoS, SubscriptionId};

/// Whether messages of the session itself come back to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OwnMessages {
    /// No Subscription says No Local.
    Delivered,
    /// All that match say No Local.
    Kept,
    /// Some do, so those are to be left out for own messages.
    Mixed,
}

/// A session that gets one copy of each message, whatever the number of its Subscriptions that
/// match. Spec: MQTT 5.0 section 3.3.4.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) session: SessionSlot,
    /// The highest Maximum QoS of the matching Subscriptions. [MQTT-3.3.4-2]
    pub(crate) qos: QoS,
    pub(crate) retain_as_published: bool,
    pub(crate) own_messages: OwnMessages,
    /// Identifiers of all matching Subscriptions that have one. [MQTT-3.3.4-4]
    pub(crate) subscription_ids: Option<Box<[SubscriptionId]>>,
}

/// Where messages of one topic go, as long as no Subscription and no policy changes.
#[derive(Debug, Default)]
pub(crate) struct Route {
    pub(crate) topic: Box<str>,
    pub(crate) hash: u64,
    /// The latest change of Subscriptions or rights that it takes account of.
    pub(crate) epoch: u64,
    /// Unique among all routes ever made, so that whoever checked something of this one can tell.
    pub(crate) stamp: u64,
    pub(crate) targets: Vec<Target>,
    /// Destinations by their bits.
    pub(crate) remote: u64,
    /// Those of them that want messages of QoS 1 and 2 too.
    pub(crate) remote_above_qos0: u64,
    /// Sessions left out as they may not receive from the topic.
    pub(crate) denied: u64,
    /// Groups of which one member each gets the message.
    pub(crate) groups: Vec<SharedRoute>,
    /// Durable sessions that want messages of QoS 1 and 2, as of this version of the state.
    pub(crate) durable: DurableRoute,
    pub(crate) durable_version: Option<u64>,
    /// Whether messages of QoS 1 and 2 are acknowledged before they are committed.
    pub(crate) is_acknowledged_at_once: bool,
}

impl Route {
    /// What it costs to keep: targets, those of its groups included.
    pub(super) fn size(&self) -> usize {
        self.targets.len() + self.groups.iter().map(SharedRoute::size).sum::<usize>()
    }

    /// Where messages of a QoS are to be forwarded.
    pub(crate) const fn remote_for(&self, qos: QoS) -> u64 {
        match qos {
            QoS::AtMostOnce => self.remote,
            _ => self.remote_above_qos0,
        }
    }

    /// Fills `targets` with one target per session that may receive from the topic. `matched` is
    /// emptied; it is scratch space.
    pub(super) fn fill(&mut self, matched: &mut Vec<Subscriber>, sessions: &Sessions) {
        self.targets.clear();
        self.denied = 0;
        if !matched.is_sorted_by_key(|subscriber| subscriber.session) {
            matched.sort_by_key(|subscriber| subscriber.session);
        }
        for group in matched.chunk_by(|a, b| a.session == b.session) {
            let slot = group[0].session;
            let Some(session) = sessions.get(slot) else { continue };
            if session.authorizer.allows(Action::Receive, &self.topic) {
                self.targets.push(merge(slot, group.iter()));
            } else {
                self.denied += 1;
            }
        }
        matched.clear();
    }
}

/// One target of a session's matching Subscriptions, of which there is at least one.
pub(crate) fn merge<'a>(
    session: SessionSlot,
    subscribers: impl Iterator<Item = &'a Subscriber> + Clone,
) -> Target {
    let local = subscribers.clone().filter(|subscriber| !subscriber.no_local).count();
    let own_messages = match local {
        0 => OwnMessages::Kept,
        _ if subscribers.clone().all(|subscriber| !subscriber.no_local) => OwnMessages::Delivered,
        _ => OwnMessages::Mixed,
    };
    let has_ids = subscribers.clone().any(|subscriber| subscriber.id.is_some());
    let ids = has_ids.then(|| subscribers.clone().filter_map(|subscriber| subscriber.id).collect());
    Target {
        session,
        qos: subscribers.clone().map(|subscriber| subscriber.qos).max().unwrap_or_default(),
        retain_as_published: subscribers.clone().any(|subscriber| subscriber.retain_as_published),
        own_messages,
        subscription_ids: ids,
    }
}
