//! What the broker says of itself: `$SYS` topics, by Mosquitto's names, each node its own.
//!
//! Layer: above node and the core, below run. IO: a task of the main thread that reads, at an
//! interval, the numbers that the other threads publish anyway, and tells the workers what changed.
//! With an interval of 0 there is no task and nothing is told.

mod load;
mod source;
mod values;

use std::sync::Arc;
use std::time::Duration;

use broker_core::engine::{Counters, SysValue};
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::cluster::meta::MetaGroup;
use crate::node::{ListenerCounters, ToWorker, WorkerHandle};
use crate::totals::Totals;

pub use source::SysTree;
use values::{ClusterReading, Reading, Values};

/// What the task works with.
pub struct SysParts {
    /// Between two readings; not zero.
    pub interval: Duration,
    /// Of the binary.
    pub version: &'static str,
    /// When the process started.
    pub started: std::time::Instant,
    /// Consensus, for the retained messages.
    pub meta: MetaGroup,
    /// What all brokers do together.
    pub totals: Totals,
    /// Whether this broker is a member of a cluster: one that stands alone tells of none.
    pub is_member: bool,
    /// The workers.
    pub workers: Arc<[WorkerHandle]>,
    /// The listeners.
    pub listeners: Vec<Arc<ListenerCounters>>,
    /// Where new Subscriptions find the values.
    pub tree: Arc<SysTree>,
}

/// Tells the values, at once and then at each interval, for as long as it is polled.
pub async fn run(parts: SysParts) {
    let mut values = Values::new(parts.version, parts.interval);
    let mut ticks = interval(parts.interval);
    // A thread that was late does not make up for it.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last = None;
    loop {
        let now = ticks.tick().await;
        let passed = last.replace(now).map(|last: Instant| now.duration_since(last));
        let changed = values.update(&parts.read(), passed.unwrap_or_default());
        parts.tree.set(&changed);
        let changed: Arc<[SysValue]> = changed.into();
        for worker in parts.workers.iter() {
            // That one has ended is noticed elsewhere.
            let _ = worker.inbox.send(ToWorker::Sys(Arc::clone(&changed))).await;
        }
    }
}

impl SysParts {
    fn read(&self) -> Reading {
        let retained = self.meta.retained().totals();
        let workers = self.workers.iter().map(|worker| worker.counters.read().engine);
        Reading {
            uptime: self.started.elapsed(),
            retained_messages: retained.messages,
            retained_bytes: retained.bytes,
            sockets: self.listeners.iter().map(|listener| listener.read().accepted).sum(),
            durable: self.meta.sessions().totals(),
            cluster: self.is_member.then(|| self.read_cluster()),
            engine: workers.fold(Counters::default(), |sum, one| add(&sum, &one)),
        }
    }

    fn read_cluster(&self) -> ClusterReading {
        let members = self.meta.status().members.len() as u64;
        ClusterReading { members, totals: self.totals.cluster() }
    }
}

/// The sum of what the topics tell; the rest stays as in the first.
fn add(a: &Counters, b: &Counters) -> Counters {
    let mut sum = *a;
    for qos in 0..3 {
        sum.publishes_received[qos] += b.publishes_received[qos];
        sum.publishes_sent[qos] += b.publishes_sent[qos];
    }
    sum.bytes_received += b.bytes_received;
    sum.bytes_sent += b.bytes_sent;
    sum.payload_bytes_received += b.payload_bytes_received;
    sum.payload_bytes_sent += b.payload_bytes_sent;
    sum.other_packets_received += b.other_packets_received;
    sum.other_packets_sent += b.other_packets_sent;
    sum.dropped.queue_full += b.dropped.queue_full;
    sum.dropped.slow_consumer += b.dropped.slow_consumer;
    sum.connects_received += b.connects_received;
    sum.connects_accepted += b.connects_accepted;
    sum.sessions += b.sessions;
    sum.sessions_expired += b.sessions_expired;
    sum.clients_connected += b.clients_connected;
    sum.subscriptions += b.subscriptions;
    sum.shared_subscriptions += b.shared_subscriptions;
    sum.queued_messages += b.queued_messages;
    sum.queued_bytes += b.queued_bytes;
    sum.output_packets += b.output_packets;
    sum.output_bytes += b.output_bytes;
    sum
}
