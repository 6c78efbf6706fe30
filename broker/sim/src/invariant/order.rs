//! A durable session gets the messages of a topic, all of one publisher and one QoS, in the order in
//! which they were sent; one may be repeated, none may come first after a later one. Spec: MQTT 5.0
//! section 4.6.
//!
//! A message that is sent again is a new one where the first may have been refused, and the refusal
//! lost with the connection: its publisher's right comes and goes, or it heard of another refusal
//! meanwhile. A later message may have got through between the two. And what was on its way when a
//! session had its SUBACK is a new message to that session when it is sent again; before its SUBACK
//! nothing is promised.

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
    /// What each client waits for an answer to; true: it has heard of a refusal since.
    open: BTreeMap<Client, BTreeMap<MessageId, bool>>,
    /// Sent again where the first may have been refused.
    perhaps_refused: BTreeSet<MessageId>,
    /// What was not acknowledged yet when a session had its SUBACK.
    before_suback: BTreeSet<(Client, MessageId)>,
    /// Who has had a SUBACK, and for what.
    subscribed: BTreeSet<(Client, &'static str)>,
}

impl Order {
    /// Learns which messages that are sent again may be new ones.
    fn note_answers(&mut self, event: &Event) {
        match event {
            Event::Sent { client, message, .. } => {
                self.open.entry(client.clone()).or_default().insert(message.clone(), false);
            }
            Event::Acknowledged { client, message } => {
                self.open.entry(client.clone()).or_default().remove(message);
            }
            Event::Refused { client, message, .. } => {
                let open = self.open.entry(client.clone()).or_default();
                open.remove(message);
                open.values_mut().for_each(|is_doubtful| *is_doubtful = true);
            }
            Event::SentAgain { client, message } => {
                let open = self.open.get(client).and_then(|open| open.get(message));
                if open == Some(&true) || message.topic.starts_with(REVOKED_PREFIX) {
                    self.perhaps_refused.insert(message.clone());
                }
            }
            Event::Subscribed { client, prefix } => {
                self.subscribed.insert((client.clone(), prefix));
                let open = self.open.values().flat_map(BTreeMap::keys);
                self.before_suback.extend(open.map(|message| (client.clone(), message.clone())));
            }
            _ => {}
        }
    }
}

impl Invariant for Order {
    fn name(&self) -> &'static str {
        "order"
    }

    fn observe(&mut self, event: &Event) -> Result<(), String> {
        self.note_answers(event);
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
            || self.before_suback.contains(&(client.clone(), message.clone()))
            || !self
                .subscribed
                .iter()
                .any(|(who, prefix)| who == client && message.topic.starts_with(prefix))
        {
            seen.last = seen.last.max(message.seq);
            return Ok(());
        }
        Err(format!("{client} has received {message} after {}", seen.last))
    }
}
