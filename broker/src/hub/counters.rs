//! Numbers that the hub publishes and `/metrics` reads.

use std::sync::atomic::{AtomicU64, Ordering};

use broker_core::types::Millis;

/// What the hub has done since it started, and what it holds now.
#[derive(Debug, Default)]
pub struct HubCounters {
    pub(super) forwarded_batches: AtomicU64,
    pub(super) forwarded_bytes: AtomicU64,
    pub(super) received_batches: AtomicU64,
    pub(super) received_bytes: AtomicU64,
    pub(super) dropped_no_link: AtomicU64,
    pub(super) dropped_slow_peer: AtomicU64,
    pub(super) dropped_slow_worker: AtomicU64,
    pub(super) dropped_in_handover: AtomicU64,
    pub(super) malformed_frames: AtomicU64,
    pub(super) interest_given_up: AtomicU64,
    pub(super) claims_known: AtomicU64,
    pub(super) claims_arbitrated: AtomicU64,
    pub(super) claims_unavailable: AtomicU64,
    pub(super) claims_superseded: AtomicU64,
    pub(super) local_filters: AtomicU64,
    pub(super) peer_filters: AtomicU64,
    pub(super) messages_waiting: AtomicU64,
    /// When the hub last looked around, Unix milliseconds.
    pub(super) looked_at: AtomicU64,
}

/// A reading of [`HubCounters`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HubReading {
    /// Batches of messages sent to peers.
    pub forwarded_batches: u64,
    /// Their bytes.
    pub forwarded_bytes: u64,
    /// Batches of messages received from peers.
    pub received_batches: u64,
    /// Their bytes.
    pub received_bytes: u64,
    /// Batches dropped because the peer has no link.
    pub dropped_no_link: u64,
    /// Batches of QoS 0 dropped because the peer reads too slowly.
    pub dropped_slow_peer: u64,
    /// Batches dropped because a worker's queue stayed full.
    pub dropped_slow_worker: u64,
    /// Messages that sessions were too large to take along to another node.
    pub dropped_in_handover: u64,
    /// Frames of peers that could not be read.
    pub malformed_frames: u64,
    /// Times that a subscription was confirmed without a peer's acknowledgement.
    pub interest_given_up: u64,
    /// Client Identifiers that this node's workers hold or wait for now.
    pub claims_known: u64,
    /// Client Identifiers that this node knows as the arbiter now; 0 where it isn't.
    pub claims_arbitrated: u64,
    /// Connections refused because no arbiter answered.
    pub claims_unavailable: u64,
    /// Connections refused because a newer one took the identifier first.
    pub claims_superseded: u64,
    /// Filters of this node's own sessions now.
    pub local_filters: u64,
    /// Filters of the peers, as known here, now.
    pub peer_filters: u64,
    /// Messages that wait for room in the workers' queues now.
    pub messages_waiting: u64,
}

impl HubCounters {
    pub(super) fn add(counter: &AtomicU64, count: usize) {
        counter.fetch_add(count as u64, Ordering::Relaxed);
    }

    pub(super) fn set(counter: &AtomicU64, value: usize) {
        counter.store(value as u64, Ordering::Relaxed);
    }

    pub(super) fn looked(&self, now: Millis) {
        self.looked_at.store(now.0, Ordering::Relaxed);
    }

    pub(super) fn looked_at(&self) -> Millis {
        Millis(self.looked_at.load(Ordering::Relaxed))
    }

    /// Reads everything; the parts may be of slightly different moments.
    #[must_use]
    pub fn read(&self) -> HubReading {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        HubReading {
            forwarded_batches: get(&self.forwarded_batches),
            forwarded_bytes: get(&self.forwarded_bytes),
            received_batches: get(&self.received_batches),
            received_bytes: get(&self.received_bytes),
            dropped_no_link: get(&self.dropped_no_link),
            dropped_slow_peer: get(&self.dropped_slow_peer),
            dropped_slow_worker: get(&self.dropped_slow_worker),
            dropped_in_handover: get(&self.dropped_in_handover),
            malformed_frames: get(&self.malformed_frames),
            interest_given_up: get(&self.interest_given_up),
            claims_known: get(&self.claims_known),
            claims_arbitrated: get(&self.claims_arbitrated),
            claims_unavailable: get(&self.claims_unavailable),
            claims_superseded: get(&self.claims_superseded),
            local_filters: get(&self.local_filters),
            peer_filters: get(&self.peer_filters),
            messages_waiting: get(&self.messages_waiting),
        }
    }
}
