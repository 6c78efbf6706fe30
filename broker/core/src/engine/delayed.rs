//! `$delayed/<seconds>/<topic>`: messages that are held and published later.
//!
//! Those of QoS 1 and 2 are kept by the replicated state where there is one. All others are the
//! engine's, not the session's: they stay when their publisher leaves and comes back elsewhere, and
//! end with the process. Who may publish is asked twice, when the message comes and, by the policy
//! of that time, when it goes.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::outgoing::seconds_left;
use super::publish::expiry;
use super::route::{Publisher, Scope};
use super::{DropReason, Engine, ProposalId};
use crate::codec::ReasonCode;
use crate::codec::packet::Publish;
use crate::router::Message;
use crate::session::SessionSlot;
use crate::shard::DelayLimits;
use crate::types::{ClientId, Millis, QoS};

/// How these topics begin.
const PREFIX: &str = "$delayed/";
/// Messages published in one pass; others wait for the next, which follows at once.
const PASS_MESSAGES_MAX: usize = 256;

/// What an engine may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DelayedLimits {
    /// Most messages; 0: nothing is delayed, and the topics mean nothing.
    pub messages_max: usize,
    /// Most bytes of topics, properties and payloads.
    pub bytes_max: usize,
    /// Longest delay, in seconds.
    pub seconds_max: u32,
    /// What the replicated state may hold in all, of QoS 1 and 2.
    pub kept: DelayLimits,
}

impl DelayedLimits {
    /// Nothing is delayed.
    pub const NONE: Self = Self {
        messages_max: 0,
        bytes_max: 0,
        seconds_max: 0,
        kept: DelayLimits { messages_max: 0, bytes_max: 0 },
    };
}

/// The messages that are held, by their time and in their order.
#[derive(Debug, Default)]
pub(super) struct Delayed {
    messages: BTreeMap<(Millis, u64), Held>,
    count: u64,
}

#[derive(Debug)]
struct Held {
    /// Under its real topic.
    message: Message,
    client_id: ClientId,
    username: Option<Arc<str>>,
}

impl Delayed {
    /// When the first of them is due.
    pub(super) fn next(&self) -> Option<Millis> {
        self.messages.first_key_value().map(|((at, _), _)| *at)
    }
}

/// The delay in seconds and the real topic.
pub(super) fn parse(topic: &str) -> Option<(u32, &str)> {
    let (seconds, topic) = topic.strip_prefix(PREFIX)?.split_once('/')?;
    let is_number = !seconds.is_empty() && seconds.bytes().all(|byte| byte.is_ascii_digit());
    let is_real = !topic.is_empty() && !topic.starts_with(PREFIX);
    let seconds = seconds.parse().ok().filter(|_| is_number)?;
    is_real.then_some((seconds, topic))
}

impl Engine {
    /// Whether a message to this topic is to be held.
    pub(super) fn is_delayed(&self, topic: &str) -> bool {
        self.config.delayed.messages_max > 0 && topic.starts_with(PREFIX)
    }

    /// Holds a message. Gives the reason code of its acknowledgement, and what that waits for.
    pub(super) fn delay(
        &mut self,
        now: Millis,
        slot: SessionSlot,
        publish: &Publish<'_>,
    ) -> (ReasonCode, Option<ProposalId>) {
        let reason_code = match self.hold(now, slot, publish) {
            Ok(proposal) => return (ReasonCode::Success, proposal),
            Err(reason_code) => reason_code,
        };
        self.counters.dropped.count(match reason_code {
            ReasonCode::NotAuthorized => DropReason::PublishDenied,
            _ => DropReason::DelayedRefused,
        });
        (reason_code, None)
    }

    fn hold(
        &mut self,
        now: Millis,
        slot: SessionSlot,
        publish: &Publish<'_>,
    ) -> Result<Option<ProposalId>, ReasonCode> {
        let limits = self.config.delayed;
        let (seconds, topic) = parse(publish.topic).ok_or(ReasonCode::TopicNameInvalid)?;
        if seconds > limits.seconds_max {
            return Err(ReasonCode::TopicNameInvalid);
        }
        let other = self.rewritten_topic(topic);
        let topic = other.as_deref().unwrap_or(topic);
        let session = self.sessions.get(slot).ok_or(ReasonCode::UnspecifiedError)?;
        if !Self::may_publish(&session.authorizer, topic) {
            return Err(ReasonCode::NotAuthorized);
        }
        let message = Message::new(&Publish { topic, ..*publish }, expiry(now, publish))
            .map_err(|_| ReasonCode::TopicNameInvalid)?;
        if self.durable.is_some() && publish.qos != QoS::AtMostOnce {
            let packet_id = publish.packet_id.filter(|_| publish.qos == QoS::ExactlyOnce);
            return Ok(self.propose_delay(now, slot, (&message, packet_id), seconds));
        }
        let bytes = self.counters.delayed_bytes + message.bytes() as u64;
        if self.delayed.messages.len() >= limits.messages_max || bytes > limits.bytes_max as u64 {
            return Err(ReasonCode::QuotaExceeded);
        }
        let held = Held {
            message,
            client_id: session.client_id.clone(),
            username: session.identity.username.clone(),
        };
        self.delayed.count += 1;
        self.delayed.messages.insert((now.plus_seconds(seconds), self.delayed.count), held);
        self.counters.delayed_messages += 1;
        self.counters.delayed_bytes = bytes;
        Ok(None)
    }

    /// Publishes what is due.
    pub(super) fn publish_delayed(&mut self, now: Millis) {
        for _ in 0..PASS_MESSAGES_MAX {
            let Some(entry) = self.delayed.messages.first_entry() else { return };
            if entry.key().0 > now {
                return;
            }
            let held = entry.remove();
            self.counters.delayed_messages -= 1;
            self.counters.delayed_bytes -= held.message.bytes() as u64;
            self.publish_held(now, &held);
        }
    }

    fn publish_held(&mut self, now: Millis, held: &Held) {
        let Held { message, client_id, username } = held;
        let Some(mut publish) = message.publish() else { return };
        let username = username.as_deref();
        let authorizer = self.policy.authorizer(username, client_id.as_str());
        if self.policy.admits(username, client_id.as_str()).is_err()
            || !Self::may_publish(&authorizer, publish.topic)
        {
            self.counters.dropped.count(DropReason::PublishDenied);
            return;
        }
        if message.expires_at() <= now {
            self.counters.dropped.count(DropReason::Expired);
            return;
        }
        publish.properties.message_expiry_seconds = seconds_left(now, message.expires_at());
        if publish.retain {
            self.propose_retained(now, &publish);
        }
        let publisher = match self.sessions.slot_of(client_id.as_str()) {
            Some(slot) => Publisher::Session(slot),
            None => Publisher::gone(client_id),
        };
        self.route(now, &publish, publisher, Scope::All);
    }
}
