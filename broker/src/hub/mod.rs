//! The hub: what one broker's workers and its peers have to agree on.
//!
//! Layer: above the cluster side and the node's messages, below the admin API. IO, on the cluster
//! thread. The rules are `broker_core`'s (claims, interest); the hub carries their messages: from
//! and to the workers by bounded queues, from and to the peers by the links, and follows the meta
//! group's leadership and policy. It also decides whether clients may come in.

mod carrier;
mod core;
mod counters;
mod departures;
mod drain;
mod enforcement;
mod outbox;
mod readiness;
mod run;
mod service;
mod sessions;
mod wire;

#[cfg(test)]
mod core_test;

use std::sync::Arc;

use broker_config::Config;
use broker_policy::Revision;
use tokio::sync::{mpsc, watch};

pub use counters::{HubCounters, HubReading};
pub use drain::Drain;

use crate::cluster::meta::MetaGroup;
use crate::cluster::{Environment, Process, WallClock};
use crate::node::{GateHandle, ToHub, WorkerHandle};

/// What the hub works with.
pub struct HubParts<E: Environment = Process> {
    /// The configuration.
    pub config: Arc<Config>,
    /// The peers; not started yet, so that no frame is missed.
    pub links: E::Links,
    /// Consensus.
    pub meta: MetaGroup<E>,
    /// The process's clock.
    pub clock: E::Clock,
    /// The workers, by their numbers.
    pub workers: Arc<[WorkerHandle]>,
    /// Where the workers' messages arrive.
    pub queue: mpsc::Receiver<ToHub>,
    /// Opened and closed by the hub.
    pub gate: GateHandle,
}

/// How the other threads reach the hub. Cheap to clone.
#[derive(Clone)]
pub struct Hub<E: Environment = Process> {
    enforced: watch::Receiver<Option<Revision>>,
    drain: watch::Sender<Option<Drain>>,
    counters: Arc<HubCounters>,
    clock: E::Clock,
}

/// Silence of the hub, in milliseconds, after which its thread is taken to be stuck. Far above its
/// interval, as a snapshot of the state may hold the thread up.
const SILENT_MILLIS_MAX: u64 = 10_000;

impl<E: Environment> Hub<E> {
    /// Starts the hub on the current runtime, which must be the links'. It ends when all workers
    /// have.
    #[must_use]
    pub fn start(parts: HubParts<E>) -> Self {
        run::start(parts)
    }

    /// The policy revision that every worker enforces, and its changes; `None` before the first.
    #[must_use]
    pub fn enforced(&self) -> watch::Receiver<Option<Revision>> {
        self.enforced.clone()
    }

    /// Set to drain the broker, or to change how; `None` ends it.
    #[must_use]
    pub const fn drain(&self) -> &watch::Sender<Option<Drain>> {
        &self.drain
    }

    /// Whether the hub's thread has given a sign of life of late.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.clock.now().since(self.counters.looked_at()) < SILENT_MILLIS_MAX
    }

    /// Numbers for `/metrics`.
    #[must_use]
    pub fn read(&self) -> HubReading {
        self.counters.read()
    }
}
