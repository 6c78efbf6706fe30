//! The operator's two platforms, Kubernetes and `local`, around the decisions of `operator-core`.

pub mod args;
pub mod broker_admin;
pub mod health;
pub mod kubernetes;
pub mod local;
pub mod metrics;
pub mod policy_sync;
pub mod telemetry;
#[cfg(any(test, feature = "test-support"))]
pub mod test_support;
