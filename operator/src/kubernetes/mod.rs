//! The Kubernetes platform: controllers, server-side apply, leader election. IO.

mod apply;
mod backoff;
mod cache;
mod cluster;
mod dirty;
mod entry;
mod error;
mod events;
pub mod lease;
mod rights;
mod run;
mod scope;

pub use apply::APPLIED_ANNOTATION;
pub use entry::main;
pub use error::Error;
pub use run::{Options, Process, run, run_scope};
pub use scope::{AdminFactory, Settings};
