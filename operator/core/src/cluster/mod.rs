//! An `MqttCluster`: from its spec and what was found to objects, configuration and status. Pure.
//!
//! The order is `validate`, then [`configuration`] and [`build`], then [`status`]. After
//! `validate` nobody reads the raw spec.

pub mod accepted;
pub mod build;
pub mod configuration;
mod findings;
mod identity;
pub mod names;
mod overlay;
pub mod refused;
pub mod status;
pub mod validate;

#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod status_test;

pub use identity::new_cluster_id;
pub use names::ClusterNames;
pub use validate::{ClusterFacts, Problem, ProblemReason, ValidatedCluster, validate};
