//! A cluster of brokers in one thread, under virtual time, a simulated network, simulated disks and
//! seeded faults, with clients that know what was promised to them.
//!
//! What runs is the product: its engines, its hub (claims, interest, forwarding, readiness), its
//! consensus (proposer, replicated state, snapshots, membership) on openraft. What is simulated is
//! below and above it: runtime, clock, links, disk, and the sockets of a worker. The product's own
//! links, log file, worker's loop and listeners do not run here; processes and sockets are what
//! `broker/tests` and `e2e` have.
//!
//! [`run`] is one simulation. Its faults, delays and choices follow from the seed alone, so a failure
//! is found again by the seed.

mod client;
mod cluster;
mod count;
mod counting;
mod digest;
mod disk;
mod environment;
mod event;
mod faults;
mod history;
mod invariant;
mod life;
mod liveness;
mod membership;
mod network;
mod node;
mod oracle;
mod policy;
mod random;
mod scenario;
mod worker;
mod world;

#[cfg(test)]
mod meta_test;

pub use count::{Count, Counts};
pub use world::{Report, run};
