//! A message on its way out of the engine: what its receivers share, and its encodings.
//!
//! It is encoded at most once per protocol version and kind of QoS; subscribers get copies with
//! their own first byte, Packet Identifier, Topic Alias and Subscription Identifiers.

use std::sync::Arc;

use crate::codec::packet::Publish;
use crate::codec::{PublishFrame, PublishHeader, ReceiverProperties};
use crate::connection::OutboundAliases;
use crate::router::Message;
use crate::session::Delivery;
use crate::types::{Millis, ProtocolVersion, QoS, SubscriptionId};

/// A message that is being delivered, with what its receivers share.
#[derive(Debug)]
pub(super) struct Outgoing<'a> {
    pub(super) publish: &'a Publish<'a>,
    pub(super) expires_at: Millis,
    /// The Shared Subscription for one member of which it is now.
    pub(super) share: Option<Arc<str>>,
    /// Made when the first session has to keep it.
    kept: Option<Arc<Message>>,
}

impl<'a> Outgoing<'a> {
    pub(super) const fn new(publish: &'a Publish<'a>, expires_at: Millis) -> Self {
        Self { publish, expires_at, share: None, kept: None }
    }

    /// A message that a session has kept; `publish` is what it holds.
    pub(super) fn again(publish: &'a Publish<'a>, message: &Arc<Message>) -> Self {
        let kept = Some(Arc::clone(message));
        Self { publish, expires_at: message.expires_at(), share: None, kept }
    }

    fn kept(&mut self) -> Option<Arc<Message>> {
        if self.kept.is_none() {
            self.kept = Message::new(self.publish, self.expires_at).ok().map(Arc::new);
        }
        self.kept.clone()
    }

    pub(super) fn delivery(
        &mut self,
        qos: QoS,
        retain: bool,
        ids: &[SubscriptionId],
    ) -> Option<Delivery> {
        let subscription_ids = (!ids.is_empty()).then(|| ids.into());
        let share = self.share.clone();
        Some(Delivery { message: self.kept()?, qos, retain, subscription_ids, share })
    }
}

/// The encodings of the message that is being delivered.
#[derive(Debug, Default)]
pub(super) struct Frames {
    frames: [PublishFrame; 4],
    is_ready: [bool; 4],
}

impl Frames {
    /// Another message comes.
    pub(super) const fn clear(&mut self) {
        self.is_ready = [false; 4];
    }

    /// The encoding for a version and QoS; `None` if there is none.
    pub(super) fn frame(
        &mut self,
        now: Millis,
        publish: &Publish<'_>,
        expires_at: Millis,
        version: ProtocolVersion,
        qos: QoS,
    ) -> Option<&PublishFrame> {
        let index = usize::from(version.is_v5()) * 2 + usize::from(qos != QoS::AtMostOnce);
        if !self.is_ready[index] {
            let mut publish = Publish { qos, ..*publish };
            publish.properties.topic_alias = None;
            publish.properties.message_expiry_seconds = seconds_left(now, expires_at);
            self.frames[index].encode(&publish, version).ok()?;
            self.is_ready[index] = true;
        }
        Some(&self.frames[index])
    }
}

/// The Message Expiry Interval to send: what is left of it. [MQTT-3.3.2-6]
pub(super) fn seconds_left(now: Millis, expires_at: Millis) -> Option<u32> {
    let millis = expires_at.since(now);
    (expires_at != Millis::NEVER).then(|| u32::try_from(millis.div_ceil(1000)).unwrap_or(u32::MAX))
}

/// Appends a PUBLISH with its receiver's own properties, if it then fits.
pub(super) fn append_own(
    frame: &PublishFrame,
    header: PublishHeader,
    own: &ReceiverProperties<'_>,
    bytes_max: usize,
    out: &mut Vec<u8>,
) -> bool {
    let start = out.len();
    if frame.append_with(header, own, out).is_err() {
        return false;
    }
    let fits = out.len() - start <= bytes_max;
    if !fits {
        out.truncate(start);
    }
    fits
}

/// As [`append_own`] with a Topic Alias, if the topic has or gets one and that fits.
pub(super) fn append_aliased(
    aliases: &mut OutboundAliases,
    frame: &PublishFrame,
    header: PublishHeader,
    (topic, subscription_ids): (&str, &[SubscriptionId]),
    bytes_max: usize,
    out: &mut Vec<u8>,
) {
    let topic_alias = aliases.choose(topic);
    let own = ReceiverProperties { topic_alias, subscription_ids };
    let is_sent = append_own(frame, header, &own, bytes_max, out);
    match topic_alias {
        // Only what is sent tells the receiver.
        Some(alias) if is_sent && !alias.is_known => aliases.set(alias.value, topic),
        Some(_) if !is_sent => {
            let own = ReceiverProperties { topic_alias: None, subscription_ids };
            append_own(frame, header, &own, bytes_max, out);
        }
        _ => {}
    }
}

/// What became of an attempt to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sent {
    Yes,
    /// It will never fit.
    TooLarge,
}
