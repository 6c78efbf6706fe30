//! Which broker is restarted next, and when: the plan by which a new version or configuration
//! reaches every broker without taking one that the quorum needs. Pure.
//!
//! [`next_step`] is asked again after every step and derives everything anew; it remembers nothing.
//! [`plan`] says for people what is still to come. The rules:
//!
//! - A broker that is out of date and does not work may be replaced at once: a bad version is healed
//!   by a good one, whatever state it left behind.
//! - Otherwise one broker at a time, and only when all are settled: ready, caught up, enforcing the
//!   wanted policy, and that for a while.
//! - Never one without which the voters that are alive would lose their majority.
//! - The leader last, after it has handed over.
//! - Its clients are moved to the others before it is restarted, where there are others.
//! - A broker that was brought up to date and does not become ready stops the roll.

mod drain;
mod input;
mod plan;
mod planner;

pub use input::{Instance, Observed, Readiness, Settings, Wanted};
pub use plan::plan;
pub use planner::{HaltReason, NextStep, RestartReason, WaitReason, next_step};

#[cfg(test)]
mod planner_test;
#[cfg(test)]
mod property_test;
#[cfg(test)]
mod simulated;
