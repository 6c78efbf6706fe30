//! The platform without Kubernetes: the same manifests, brokers as child processes on loopback.

pub(crate) mod manifest;
