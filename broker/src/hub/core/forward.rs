//! Messages between nodes: from this node's workers to a peer, and from peers to the workers.

use broker_core::claim::WorkerIndex;
use broker_core::engine::Destination;
use broker_core::forward::{is_shared_batch, push_record_at, read_batch, read_records};
use broker_core::types::QoS;
use bytes::Bytes;

use super::super::carrier::Carried;
use super::super::counters::HubCounters;
use super::super::wire;
use super::Core;
use crate::cluster::Environment;
use crate::node::ToWorker;

impl<E: Environment> Core<E> {
    /// Messages of this node's workers for a peer. QoS 0 is dropped for a peer that is behind;
    /// others are queued until the link gives up. What is for a group goes to other members when
    /// there is no way to the peer.
    pub(super) fn forward(&mut self, destination: Destination, batch: Vec<u8>) {
        let Some(node) = self.interest.node(destination) else {
            HubCounters::add(&self.counters.dropped_no_link, 1);
            return;
        };
        let carried = match self.carrier.send_unless_behind(node, wire::PUBLISHES, &batch) {
            Carried::Behind if is_acknowledged(&batch) => {
                if self.carrier.send(node, wire::PUBLISHES, &batch) {
                    Carried::Queued
                } else {
                    Carried::NoLink
                }
            }
            carried => carried,
        };
        match carried {
            Carried::Queued => {
                HubCounters::add(&self.counters.forwarded_batches, 1);
                HubCounters::add(&self.counters.forwarded_bytes, batch.len());
            }
            Carried::Behind => HubCounters::add(&self.counters.dropped_slow_peer, 1),
            // A worker finds another member: it has been told, or is about to be, that there is
            // none behind this link.
            Carried::NoLink if is_shared_batch(&batch) => self.deliver_to(0, batch.into()),
            Carried::NoLink => HubCounters::add(&self.counters.dropped_no_link, 1),
        }
    }

    /// Messages of a peer for this node's sessions: to every worker that holds a filter at all.
    /// Each finds out which of them it wants, in parallel with the others.
    pub(super) fn deliver(&mut self, batch: Bytes) {
        HubCounters::add(&self.counters.received_batches, 1);
        HubCounters::add(&self.counters.received_bytes, batch.len());
        if is_shared_batch(&batch) {
            return self.deliver_shared(&batch);
        }
        for worker in 0..self.outboxes.len() {
            if !self.interest.has_filters(WorkerIndex(worker as u8)) {
                continue;
            }
            self.deliver_to(worker, batch.clone());
        }
    }

    /// Messages of a peer for one member each: to the worker that has it.
    fn deliver_shared(&mut self, batch: &[u8]) {
        let mut batches = vec![Vec::new(); self.outboxes.len()];
        for record in read_records(batch) {
            let (shared, qos, record) = match record {
                Ok((forwarded, record)) => (forwarded.shared, forwarded.publish.qos, record),
                Err(_) => (None, QoS::AtMostOnce, &[][..]),
            };
            let Some(shared) = shared else {
                HubCounters::add(&self.counters.malformed_frames, 1);
                break;
            };
            // With no member here any more, a worker passes it on.
            let (worker, position) = self
                .interest
                .member(shared.filter, shared.position, qos)
                .unwrap_or((WorkerIndex(0), shared.position));
            if let Some(batch) = batches.get_mut(usize::from(worker.0)) {
                push_record_at(record, position, batch);
            }
        }
        for (worker, batch) in batches.into_iter().enumerate() {
            if !batch.is_empty() {
                self.deliver_to(worker, batch.into());
            }
        }
    }

    fn deliver_to(&mut self, worker: usize, batch: Bytes) {
        if self.outboxes.get(worker).is_some_and(|outbox| outbox.is_slow()) {
            HubCounters::add(&self.counters.dropped_slow_worker, 1);
        } else {
            self.tell_worker(worker, ToWorker::Deliver { batch });
        }
    }
}

/// Whether a batch holds a message that its publisher waits to be acknowledged.
fn is_acknowledged(batch: &[u8]) -> bool {
    read_batch(batch).map_while(Result::ok).any(|message| message.publish.qos != QoS::AtMostOnce)
}
