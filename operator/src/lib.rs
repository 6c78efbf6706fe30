//! The operator's two platforms, Kubernetes and `local`, around the decisions of `operator-core`.

pub mod kubernetes;
