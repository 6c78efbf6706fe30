//! Topics that the configuration puts in place of clients' own, and Subscriptions that it makes.

use std::sync::Arc;

use super::Engine;
use super::reason::Fault;
use crate::codec::packet::{Publish, SubscribeFilter, SubscriptionOptions};
use crate::session::SessionSlot;
use crate::topic::{RewriteAction, TopicFilter, rewrite};
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

    /// The filter to subscribe to in place of this one; a share name stays.
    pub(super) fn rewritten_filter(&self, text: &str) -> Option<String> {
        if self.config.rewrites.is_empty() {
            return None;
        }
        let filter = TopicFilter::parse_unbounded(text).ok()?.filter();
        let made = rewrite(&self.config.rewrites, RewriteAction::Subscribe, filter)?;
        Some(format!("{}{made}", &text[..text.len() - filter.len()]))
    }

    /// Makes the Subscriptions that every client is given, but for those that its session has.
    pub(super) fn auto_subscribe(&mut self, slot: SessionSlot) {
        for at in 0..self.config.auto_subscriptions.len() {
            let AutoSubscription { options, .. } = self.config.auto_subscriptions[at];
            let Some(session) = self.sessions.get(slot) else { return };
            let username = session.identity.username.as_deref();
            let own = self.config.auto_subscriptions[at]
                .filter_for(session.client_id.as_str(), username)
                .filter(|filter| session.subscription(filter).is_none());
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
