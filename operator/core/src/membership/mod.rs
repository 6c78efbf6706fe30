//! Who belongs to the brokers' consensus group, and the one step that brings it nearer to what is
//! wanted. Pure.
//!
//! [`next_step`] is asked again after every step and derives everything anew from what the brokers
//! report; it remembers nothing. The rules it keeps:
//!
//! - The cluster is founded once. After it is recorded that it was, an empty disk joins and never
//!   founds, whatever else is lost.
//! - Every wanted broker has a copy of the state; `voters` of them vote, the others follow.
//! - A broker whose disk was lost comes back under a new node id: the old id leaves, then the new one
//!   joins without a vote and catches up; it gets a vote if one is free.
//! - A vote moves to a broker that has caught up before it is taken from one that is to go.
//! - One change at a time, each only when the voters that are alive keep a majority before and
//!   after it.
//! - A broker of a foreign cluster is refused, and nothing else is done until it is gone.

mod placement;
mod planner;
mod scale;
mod step;

pub use placement::VOTER_AWAY_MAX;
pub(crate) use planner::majority;
pub use planner::next_step;
pub use scale::brokers_now;
pub use step::{Desired, ObservedBroker, RefuseReason, Step, WaitReason};

#[cfg(test)]
mod planner_test;
#[cfg(test)]
mod property_test;
#[cfg(test)]
pub(crate) mod simulated;
