//! The broker process: workers, listeners, cluster, admin API.

pub mod cluster;
pub mod identity;
pub mod storage;
pub mod tls;
