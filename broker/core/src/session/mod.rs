//! Sessions: what is kept for a client beyond its Network Connection. Pure.

mod state;

pub use state::{DeliveryState, InFlightState, SessionState, SubscriptionState};
