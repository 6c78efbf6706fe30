//! The broker process: workers, listeners, cluster, admin API.

pub mod cluster;
