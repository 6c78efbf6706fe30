//! Topics that the configuration puts in place of clients' own, and Subscriptions that it makes.

use std::sync::Arc;

use broker_policy::Action;
use broker_policy::realm::name_of;

use super::reason::Fault;
use super::subscribe::Added;
use super::{Engine, InterestSeq, ListenerOptions};
use crate::codec::packet::{Publish, SubscribeFilter, SubscriptionOptions};
use crate::session::{SessionSlot, Subscription, SubscriptionState};
use crate::topic::{LEVELS_MAX, RewriteAction, TopicFilter, rewrite};
use crate::types::{ConnectionId, Millis};

/// A Subscription that every client is given at CONNECT which has the right to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AutoSubscription {
    /// Topic Filter, with `%c` for the Client Identifier and `%u` for the user name.
    pub filter: Arc<str>,
    /// Its options; retained messages are sent when it is made.
    pub options: SubscriptionOptions,
}

impl AutoSubscription {
    /// The filter for one client; `None` for one without user name where that is asked for, and
    /// where a name would add wildcards.
    fn filter_for(&self, client_id: &str, username: Option<&str>) -> Option<String> {
        let mut text = self.filter.to_string();
        for (place, name) in [("%c", Some(client_id)), ("%u", username)] {
            if self.filter.contains(place) {
                let name = name.filter(|name| !name.is_empty() && !name.contains(['+', '#']))?;
                text = text.replace(place, name);
            }
        }
        Some(text)
    }
}

impl Engine {
    /// A PUBLISH under the topic that the client named, or another.
    pub(super) fn take_publish(
        &mut self,
        now: Millis,
        id: ConnectionId,
        publish: &Publish<'_>,
    ) -> Result<(), Fault> {
        if self.config.listeners.is_empty() {
            return self.take_admitted(now, id, publish);
        }
        let topic = self.admit_publish(id, publish)?;
        self.take_admitted(now, id, &Publish { topic: &topic, ..*publish })
    }

    fn take_admitted(
        &mut self,
        now: Millis,
        id: ConnectionId,
        publish: &Publish<'_>,
    ) -> Result<(), Fault> {
        if self.config.rewrites.is_empty() {
            return self.accept_publish(now, id, publish);
        }
        match self.rewritten_topic(publish.topic) {
            Some(topic) => self.accept_publish(now, id, &Publish { topic: &topic, ..*publish }),
            None => self.accept_publish(now, id, publish),
        }
    }

    /// The topic to publish to in place of this one. (Of a `$delayed` topic the real one is asked
    /// for.)
    pub(super) fn rewritten_topic(&self, topic: &str) -> Option<String> {
        rewrite(&self.config.rewrites, RewriteAction::Publish, topic)
    }

    /// The filter to subscribe to in place of the one that a client names.
    pub(super) fn own_filter(&self, options: &ListenerOptions, text: &str) -> Option<String> {
        match options.mounted_filter(text) {
            None => self.rewritten_filter(text),
            Some(mounted) => Some(self.rewritten_filter(&mounted).unwrap_or(mounted)),
        }
    }

    /// The filter that a rule puts in place of this one; a share name stays.
    fn rewritten_filter(&self, text: &str) -> Option<String> {
        if self.config.rewrites.is_empty() {
            return None;
        }
        let filter = TopicFilter::parse_unbounded(text).ok()?.filter();
        let made = rewrite(&self.config.rewrites, RewriteAction::Subscribe, filter)?;
        Some(format!("{}{made}", &text[..text.len() - filter.len()]))
    }

    /// The Subscriptions that a client is given: those it has the right to.
    pub(super) fn auto_subscriptions_of(
        &self,
        options: &ListenerOptions,
        client_id: &str,
        username: Option<&str>,
    ) -> Vec<SubscriptionState> {
        if self.config.auto_subscriptions.is_empty() {
            return Vec::new();
        }
        let authorizer = self.policy.authorizer(username, client_id);
        let given = self.config.auto_subscriptions.iter().filter_map(|auto| {
            let own = auto.filter_for(client_id, name_of(username))?;
            let text = self.own_filter(options, &own).unwrap_or(own);
            TopicFilter::parse(&text, LEVELS_MAX).ok()?;
            let may = authorizer.allows(Action::Subscribe, &text);
            let qos = auto.options.qos.min(options.qos_max);
            let options = SubscriptionOptions { qos, ..auto.options };
            may.then(|| SubscriptionState { filter: text.into(), options, id: None })
        });
        given.collect()
    }

    /// A durable session was given its Subscriptions by the state: retained messages follow if it
    /// is a new one.
    pub(super) fn begin_auto_subscriptions(&mut self, slot: SessionSlot, session_present: bool) {
        let Some(session) = self.sessions.get(slot).filter(|_| !session_present) else { return };
        let username = session.identity.username.as_deref();
        let options = self.options_of_session(slot);
        let given = self.auto_subscriptions_of(options, session.client_id.as_str(), username);
        let cursors: Vec<_> = given
            .into_iter()
            .filter_map(|SubscriptionState { filter, options, id }| {
                let subscription = Subscription { filter, options, id };
                Added { subscription, is_new: true, seq: InterestSeq(0) }.cursor()
            })
            .collect();
        if let Some(session) = self.sessions.get_mut(slot) {
            session.retained_cursors.extend(cursors);
        }
    }

    /// Makes the Subscriptions that every client is given, but for those that its session has.
    pub(super) fn auto_subscribe(&mut self, slot: SessionSlot) {
        for at in 0..self.config.auto_subscriptions.len() {
            let AutoSubscription { options, .. } = self.config.auto_subscriptions[at];
            let Some(session) = self.sessions.get(slot) else { return };
            let username = name_of(session.identity.username.as_deref());
            let is_new = |filter: &String| {
                let whole = self.own_filter(self.options_of_session(slot), filter);
                session.subscription(whole.as_ref().unwrap_or(filter)).is_none()
            };
            let own = self.config.auto_subscriptions[at]
                .filter_for(session.client_id.as_str(), username)
                .filter(is_new);
            let Some(filter) = own else { continue };
            let filter = SubscribeFilter { filter: &filter, options };
            // Who has no right to it goes without.
            let cursor = match self.subscribe_one(slot, &filter, None) {
                Ok(added) => added.cursor(),
                Err(_) => None,
            };
            if let Some(session) = self.sessions.get_mut(slot) {
                session.retained_cursors.extend(cursor);
            }
        }
    }
}
