//! The operator's two platforms, Kubernetes and `local`, around the decisions of `operator-core`.

pub mod args;
pub mod broker_admin;
mod error_chain;
pub mod health;
pub mod kubernetes;
pub mod local;
mod membership_change;
pub mod metrics;
pub mod policy_sync;
mod random;
pub mod telemetry;
#[cfg(any(test, feature = "test-support"))]
pub mod test_support;
mod user_credentials;
