//! A durable session gets the messages of a topic, all of one publisher and one QoS, in the order in
//! which they were sent; one may be repeated, none may come first after a later one. Spec: MQTT 5.0
//! section 4.6.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Invariant;
use crate::event::{Client, Event};

#[derive(Debug, Default)]
struct Seen {
    last: u64,
    all: BTreeSet<u64>,
}

/// What has come of each topic.
#[derive(Debug, Default)]
pub(super) struct Order {
    seen: BTreeMap<(Client, Arc<str>), Seen>,
}

impl Invariant for Order {
    fn name(&self) -> &'static str {
        "order"
    }

    fn observe(&mut self, event: &Event) -> Result<(), String> {
        let Event::Received { client, message, is_retained: false, .. } = event else {
            return Ok(());
        };
        if !crate::scenario::is_durable(client) {
            return Ok(());
        }
        let key = (client.clone(), Arc::clone(&message.topic));
        let seen = self.seen.entry(key).or_default();
        if !seen.all.insert(message.seq) || message.seq > seen.last {
            seen.last = seen.last.max(message.seq);
            return Ok(());
        }
        Err(format!("{client} has received {message} after {}", seen.last))
    }
}
