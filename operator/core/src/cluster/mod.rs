//! An `MqttCluster`: from its spec and what was found to objects, configuration and status. Pure.
//!
//! The order is [`validate`], then [`configuration`] and [`build`], then [`status`]. After
//! [`validate`] nobody reads the raw spec.

pub mod build;
pub mod configuration;
pub mod names;
pub mod observed;
pub mod status;
pub mod validate;

#[cfg(test)]
mod fixture;

pub use names::ClusterNames;
pub use observed::{ObservedBroker, ObservedCluster, ObservedPod};
pub use validate::{ClusterFacts, Problem, ProblemReason, ValidatedCluster, validate};
