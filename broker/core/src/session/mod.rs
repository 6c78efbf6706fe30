//! Sessions: what is kept for a client beyond its Network Connection. Pure.
//!
//! Layer: above topics and messages, below the engine, which moves bytes between sessions and
//! connections. Spec: MQTT 5.0 section 4.1.

mod delivery;
mod in_flight;
mod inbound;
mod on_demand;
mod queue;
mod state;
mod subscriptions;
mod table;

#[cfg(test)]
mod in_flight_test;

use std::collections::VecDeque;
use std::sync::Arc;

use broker_policy::{Action, Authorizer};

pub(crate) use delivery::Delivery;
pub(crate) use in_flight::{AckError, InFlight, Resend};
pub(crate) use inbound::InboundQoS2;
pub(crate) use on_demand::OnDemand;
pub(crate) use queue::{Queue, QueueLimits};
pub use state::{DeliveryState, InFlightState, SessionState, SubscriptionState};
pub(crate) use subscriptions::Subscriptions;
pub(crate) use table::Sessions;

use self::on_demand::Unwritten;
use crate::codec::packet::SubscriptionOptions;
use crate::connection::{ConnectionSlot, Identity, Will};
use crate::engine::{Claim, DurableView};
use crate::types::{ClientId, Millis, SubscriptionId};

/// Index of a session in its engine.
pub(crate) type SessionSlot = u32;

/// A Subscription as its session knows it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Subscription {
    pub(crate) filter: Arc<str>,
    pub(crate) options: SubscriptionOptions,
    pub(crate) id: Option<SubscriptionId>,
}

/// Retained messages that a Subscription is still to be sent.
#[derive(Debug)]
pub(crate) struct RetainedCursor {
    pub(crate) filter: Arc<str>,
    pub(crate) options: SubscriptionOptions,
    pub(crate) id: Option<SubscriptionId>,
    /// The topic looked at last.
    pub(crate) after: Option<Box<str>>,
    /// The only topic that is meant.
    pub(crate) topic: Option<Box<str>>,
}

impl Unwritten for VecDeque<RetainedCursor> {
    const UNWRITTEN: &'static Self = &Self::new();
}

/// A session.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) client_id: ClientId,
    /// Tells it from others that had or will have its slot.
    pub(crate) serial: u32,
    pub(crate) claim: Claim,
    pub(crate) identity: Identity,
    pub(crate) authorizer: Authorizer,
    /// Whether messages wait, or may be sent again, that were let in under other rights.
    pub(crate) is_recheck_due: bool,
    pub(crate) connection: Option<ConnectionSlot>,
    /// Session Expiry Interval in seconds; `u32::MAX` for never.
    pub(crate) expiry_seconds: u32,
    /// When it ends unless the client comes back; `NEVER` while it is connected.
    pub(crate) expires_at: Millis,
    pub(crate) subscriptions: Subscriptions<Subscription>,
    pub(crate) in_flight: OnDemand<InFlight>,
    /// What of the bytes in flight is in the engine's total.
    pub(crate) in_flight_counted: u64,
    pub(crate) queue: OnDemand<Queue>,
    pub(crate) inbound_qos2: OnDemand<InboundQoS2>,
    /// At most one for each Subscription.
    pub(crate) retained_cursors: OnDemand<VecDeque<RetainedCursor>>,
    /// Whether it is among those whose search for retained messages goes on in a later pass.
    pub(crate) is_searching: bool,
    pub(crate) will: Option<Box<Will>>,
    /// When the will of a lost connection is published; `NEVER` while it is connected.
    pub(crate) will_at: Millis,
    /// When its entry in the timers is due.
    pub(crate) timer_at: Millis,
    /// Of a session that the replicated state keeps: where the engine is in it.
    pub(crate) durable: Option<Box<DurableView>>,
}

impl Session {
    /// Whether it can outlive its connection, so that messages must be kept until acknowledged.
    pub(crate) const fn is_persistent(&self) -> bool {
        self.expiry_seconds > 0
    }

    /// Whether the client may receive a message that has waited for it.
    pub(crate) fn may_still_receive(&self, delivery: &Delivery) -> bool {
        !self.is_recheck_due || self.authorizer.allows(Action::Receive, delivery.message.topic())
    }

    pub(crate) fn subscription(&self, filter: &str) -> Option<usize> {
        self.subscriptions.position(filter)
    }
}
