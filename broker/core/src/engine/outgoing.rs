//! A message on its way out of the engine: what its receivers share.

use std::sync::Arc;

use crate::codec::packet::Publish;
use crate::router::Message;
use crate::session::Delivery;
use crate::types::{Millis, QoS, SubscriptionId};

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

/// The Message Expiry Interval to send: what is left of it. [MQTT-3.3.2-6]
pub(super) fn seconds_left(now: Millis, expires_at: Millis) -> Option<u32> {
    let millis = expires_at.since(now);
    (expires_at != Millis::NEVER).then(|| u32::try_from(millis.div_ceil(1000)).unwrap_or(u32::MAX))
}

/// What became of an attempt to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sent {
    Yes,
    /// It will never fit.
    TooLarge,
}
