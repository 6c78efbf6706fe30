//! Messages to `$delayed/…` of QoS 1 and 2, kept until their time has come. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::apply::Applying;
use super::batch::OperationOutcome;
use super::operation::DelayForm;
use super::publish::Due;
use crate::router::Message;
use crate::types::{ClientId, Millis};

/// A message that is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Held {
    /// Under its real topic.
    pub(super) message: Arc<Message>,
    pub(super) client_id: ClientId,
    pub(super) username: Option<Arc<str>>,
}

/// All of them, by their time and in their order.
#[derive(Debug, Clone, Default)]
pub(super) struct Delayed {
    messages: BTreeMap<(Millis, u64), Arc<Held>>,
    bytes: u64,
    last: u64,
}

impl Delayed {
    /// When the first of them is due.
    pub(super) fn next(&self) -> Option<Millis> {
        self.messages.first_key_value().map(|((at, _), _)| *at)
    }

    /// Messages, and their bytes.
    pub(super) fn totals(&self) -> (u64, u64) {
        (self.messages.len() as u64, self.bytes)
    }

    fn insert(&mut self, at: Millis, number: u64, held: Arc<Held>) {
        self.bytes += held.message.bytes() as u64;
        self.last = self.last.max(number);
        self.messages.insert((at, number), held);
    }

    fn take_due(&mut self, now: Millis) -> Option<Arc<Held>> {
        let entry = self.messages.first_entry().filter(|entry| entry.key().0 <= now)?;
        let held = entry.remove();
        self.bytes -= held.message.bytes() as u64;
        Some(held)
    }

    /// What a snapshot has of them: time, number, message.
    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = (Millis, u64, &Held)> {
        self.messages.iter().map(|((at, number), held)| (*at, *number, &**held))
    }

    /// The number of the last one.
    pub(super) const fn last(&self) -> u64 {
        self.last
    }

    /// The opposite of [`Self::iter`].
    pub(super) fn from_parts(last: u64, parts: Vec<(Millis, u64, Held)>) -> Self {
        let mut all = Self { last, ..Self::default() };
        for (at, number, held) in parts {
            all.insert(at, number, Arc::new(held));
        }
        all
    }
}

impl Applying<'_> {
    /// Keeps a message until its time has come.
    pub(super) fn delay(&mut self, form: DelayForm<'_>) -> OperationOutcome {
        let DelayForm { publisher, client_id, username, seconds, limits, message } = form;
        if let Some(outcome) = self.check_publisher(publisher.as_ref()) {
            return outcome;
        }
        let message = Arc::new(message.message());
        if message.publish().is_none() {
            return OperationOutcome::Malformed;
        }
        let (count, bytes) = self.control.delayed.totals();
        let is_full = bytes.saturating_add(message.bytes() as u64) > limits.bytes_max;
        if count >= limits.messages_max || is_full {
            return OperationOutcome::Full;
        }
        let client_id = ClientId::new(client_id);
        let held = Arc::new(Held { message, client_id, username: username.map(Arc::from) });
        let (at, number) = (self.now.plus_seconds(seconds), self.control.delayed.last + 1);
        self.control.delayed.insert(at, number, held);
        self.remember_inbound(publisher);
        OperationOutcome::Done
    }

    /// Publishes messages that are due, at most so many; gives how many there were.
    pub(super) fn publish_delayed(&mut self, count_max: u32) -> u32 {
        let mut count = 0;
        while count < count_max {
            let Some(held) = self.control.delayed.take_due(self.now) else { break };
            count += 1;
            let Held { message, client_id, username } = Arc::unwrap_or_clone(held);
            if message.expires_at() <= self.now {
                self.applied.drops.expired += 1;
                continue;
            }
            let is_admitted = self.context.policy.admits(username.as_deref(), client_id.as_str());
            if is_admitted.is_err() {
                self.applied.drops.publish_denied += 1;
                continue;
            }
            let expires_at = message.expires_at();
            self.publish_due(Due { client_id, username, message, expires_at });
        }
        count
    }
}
