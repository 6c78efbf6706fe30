//! The Kubernetes platform: controllers, server-side apply, leader election. IO.

pub mod lease;
