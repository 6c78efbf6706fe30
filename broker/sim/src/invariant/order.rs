//! A durable session gets the messages of a topic, all of one publisher and one QoS, in the order in
//! which they were sent; one may be repeated, none may come first after a later one. Spec: MQTT 5.0
//! section 4.6.
//!
//! A message that is sent again is a new one where the first may have been refused for a right that
//! its publisher has since: the refusal is lost with the connection, and a later message got through.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Invariant;
use crate::event::{Client, Event, MessageId};
use crate::policy::REVOKED_PREFIX;

#[derive(Debug, Default)]
struct Seen {
    last: u64,
    all: BTreeSet<u64>,
}

/// What has come of each topic.
#[derive(Debug, Default)]
pub(super) struct Order {
    seen: BTreeMap<(Client, Arc<str>), Seen>,
    /// Sent again by the client whose right comes and goes.
    perhaps_refused: BTreeSet<MessageId>,
}

impl Invariant for Order {
    fn name(&self) -> &'static str {
        "order"
    }

    fn observe(&mut self, event: &Event) -> Result<(), String> {
        if let Event::SentAgain { message, .. } = event
            && message.topic.starts_with(REVOKED_PREFIX)
        {
            self.perhaps_refused.insert(message.clone());
        }
        let Event::Received { client, message, is_retained: false, .. } = event else {
            return Ok(());
        };
        if !crate::scenario::is_durable(client) {
            return Ok(());
        }
        let key = (client.clone(), Arc::clone(&message.topic));
        let seen = self.seen.entry(key).or_default();
        if !seen.all.insert(message.seq)
            || message.seq > seen.last
            || self.perhaps_refused.contains(message)
        {
            seen.last = seen.last.max(message.seq);
            return Ok(());
        }
        Err(format!("{client} has received {message} after {}", seen.last))
    }
}
