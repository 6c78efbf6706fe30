//! A message on its way to one session. Pure.

use std::sync::Arc;

use super::state::DeliveryState;
use crate::router::Message;
use crate::types::{QoS, SubscriptionId};

/// A message with what one session's Subscriptions make of it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Delivery {
    pub(crate) message: Arc<Message>,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) subscription_ids: Option<Box<[SubscriptionId]>>,
    /// The Shared Subscription that it was given to the session for: `$share/name/filter`.
    pub(crate) share: Option<Arc<str>>,
}

impl Delivery {
    pub(crate) fn ids(&self) -> &[SubscriptionId] {
        self.subscription_ids.as_deref().unwrap_or_default()
    }

    pub(crate) fn into_state(self) -> DeliveryState {
        let subscription_ids = self.subscription_ids.map(Vec::from).unwrap_or_default();
        let Self { message, qos, retain, share, .. } = self;
        DeliveryState { message, qos, retain, subscription_ids, share }
    }

    pub(crate) fn from_state(state: DeliveryState) -> Self {
        let DeliveryState { message, qos, retain, subscription_ids, share } = state;
        let subscription_ids = (!subscription_ids.is_empty()).then(|| subscription_ids.into());
        Self { message, qos, retain, subscription_ids, share }
    }
}
