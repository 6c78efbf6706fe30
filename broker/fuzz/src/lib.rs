//! Fuzz targets of the broker's pure crates, and a coverage-guided runner for stable Rust.
//!
//! A target is a function from bytes to a panic or none: it states properties, so that an answer
//! that is wrong counts as much as one that never comes. The runner changes inputs of a corpus,
//! keeps those that reach code that no other one has reached, and writes the first one that fails to
//! a file. `make fuzz` builds it with the compiler's coverage pass; without that (as in
//! `cargo test`) it changes the corpus blindly.

pub mod allocation;
mod coverage;
mod mutate;
mod random;
mod run;
mod shrink;
pub mod targets;

pub use coverage::is_instrumented;
pub use random::Random;
pub use run::{Failure, Limits, Report, RunError, replay, run};
pub use targets::{TARGETS, Target};
