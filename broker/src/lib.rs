//! The broker process: workers, listeners, cluster, admin API.

pub mod admin;
pub mod args;
pub mod backup;
pub mod cluster;
pub mod hub;
pub mod identity;
pub mod latency;
pub mod listener;
pub mod metrics;
pub mod node;
pub mod run;
pub mod shutdown;
pub mod storage;
mod sync;
pub mod sys;
pub mod telemetry;
pub mod tls;
pub mod totals;
pub mod worker;
