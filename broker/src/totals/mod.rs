//! What all brokers of a cluster together do and hold: each tells its peers its own numbers at an
//! interval, and adds up what it has heard.
//!
//! Layer: above links and workers, below `$SYS` and metrics. One small frame to each peer at each
//! interval; a broker that stands alone sends none. Numbers of a peer that is silent are left out
//! again after [`STALE_AFTER`].

mod wire;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use broker_core::types::NodeId;
use bytes::Bytes;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::cluster::{FrameKind, LinkEvent, Links, PeerHandler, Replier};
use crate::node::WorkerHandle;
use crate::sync::lock;

pub use wire::NodeTotals;

/// Between two tellings.
pub const TELL_INTERVAL: Duration = Duration::from_secs(5);

/// What a peer has told counts for as long: three tellings may be lost.
pub const STALE_AFTER: Duration = Duration::from_secs(20);

/// What all brokers that are heard do and hold together, and how many those are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ClusterTotals {
    /// Brokers whose numbers are in, this one included.
    pub nodes: u64,
    /// The sums.
    pub sum: NodeTotals,
}

/// The numbers of the brokers of a cluster, as this one knows them. A clone shares them.
#[derive(Clone)]
pub struct Totals {
    workers: Arc<[WorkerHandle]>,
    heard: Arc<Mutex<Heard>>,
}

impl Totals {
    /// Knows this broker's workers, and what peers tell over `links`, which have not been started.
    #[must_use]
    pub fn new(workers: Arc<[WorkerHandle]>, links: &Links) -> Self {
        let heard = Arc::<Mutex<Heard>>::default();
        links.serve(FrameKind::TOTALS..=FrameKind::TOTALS, Arc::new(Ear(Arc::clone(&heard))));
        Self { workers, heard }
    }

    /// This broker's own numbers now.
    #[must_use]
    pub fn own(&self) -> NodeTotals {
        let workers = self.workers.iter().map(|worker| worker.counters.read().engine);
        workers.fold(NodeTotals::default(), |sum, worker| sum.plus(&NodeTotals::of(&worker)))
    }

    /// The numbers of all brokers that are heard.
    #[must_use]
    pub fn cluster(&self) -> ClusterTotals {
        lock(&self.heard).with(self.own(), Instant::now())
    }
}

/// Tells the peers, at once and then at each interval, for as long as it is polled.
pub async fn run(totals: Totals, links: Links) {
    let mut ticks = interval(TELL_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let body = totals.own().encode();
        for node in links.live() {
            // Whom it does not reach hears the next one, or is not heard of either.
            let _ = links.send_droppable(node, FrameKind::TOTALS, &body);
        }
    }
}

/// What peers have told, and when.
#[derive(Debug, Default)]
struct Heard(BTreeMap<NodeId, (NodeTotals, Instant)>);

impl Heard {
    fn with(&self, own: NodeTotals, now: Instant) -> ClusterTotals {
        let fresh = self.0.values().filter(|(_, at)| now.duration_since(*at) < STALE_AFTER);
        let own = ClusterTotals { nodes: 1, sum: own };
        fresh.fold(own, |all, (totals, _)| ClusterTotals {
            nodes: all.nodes + 1,
            sum: all.sum.plus(totals),
        })
    }
}

/// Listens to the peers.
struct Ear(Arc<Mutex<Heard>>);

impl PeerHandler for Ear {
    fn peer_frame(&self, from: NodeId, _kind: u8, body: Bytes, _replier: Replier) {
        if let Some(totals) = NodeTotals::decode(&body) {
            lock(&self.0).0.insert(from, (totals, Instant::now()));
        }
    }

    fn link_event(&self, event: &LinkEvent) {
        if let LinkEvent::AcceptedClosed { node, .. } = event {
            lock(&self.0).0.remove(node);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clients(clients_connected: u64) -> NodeTotals {
        NodeTotals { clients_connected, ..NodeTotals::default() }
    }

    #[test]
    fn all_that_is_heard_is_added_up_until_it_is_stale() {
        let told = Instant::now();
        let mut heard = Heard::default();
        heard.0.insert(NodeId(2), (clients(20), told));
        heard.0.insert(NodeId(3), (clients(300), told + Duration::from_secs(1)));
        let all = |now| {
            let all = heard.with(clients(1), now);
            (all.nodes, all.sum.clients_connected)
        };
        assert_eq!(all(told + Duration::from_secs(1)), (3, 321));
        assert_eq!(all(told + STALE_AFTER), (2, 301));
        assert_eq!(all(told + STALE_AFTER * 2), (1, 1));
    }

    #[tokio::test]
    async fn a_peer_whose_link_is_gone_is_left_out_at_once() {
        let heard = Arc::<Mutex<Heard>>::default();
        let ear = Ear(Arc::clone(&heard));
        let told = Bytes::from(clients(7).encode());
        ear.peer_frame(NodeId(2), FrameKind::TOTALS, told, Replier::silent());
        let count = || lock(&heard).with(clients(1), Instant::now()).sum.clients_connected;
        assert_eq!(count(), 8);
        // What can't be read changes nothing.
        let damaged = Bytes::from_static(&[9]);
        ear.peer_frame(NodeId(2), FrameKind::TOTALS, damaged, Replier::silent());
        assert_eq!(count(), 8);
        ear.link_event(&LinkEvent::AcceptedClosed { node: NodeId(2), name: "b".to_owned() });
        assert_eq!(count(), 1);
    }
}
