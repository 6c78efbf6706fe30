//! This node's own filters, and how far each peer knows them. Pure.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use super::MESSAGE_BYTES_SOFT_MAX;
use super::groups::NodeGroups;
use super::message::InterestMessage;
use crate::claim::WorkerIndex;
use crate::engine::{InterestChange, SharedMembers};
use crate::types::NodeId;

/// The node's filters with the workers that hold them, and the state of each peer.
#[derive(Debug)]
pub(super) struct Outbound {
    filters: BTreeMap<Arc<str>, Holders>,
    pub(super) groups: NodeGroups,
    /// How many filters each worker holds.
    by_worker: [usize; 64],
    seq: u64,
    last_epoch: u64,
    peers: BTreeMap<NodeId, Peer>,
}

/// Bit `n` stands for worker `n`.
type WorkerSet = u64;

/// The workers that hold a filter.
#[derive(Debug, Default)]
struct Holders {
    all: WorkerSet,
    /// Those that want more than messages of QoS 0.
    above_qos0: WorkerSet,
}

impl Holders {
    /// What the node as a whole wants of the filter.
    fn change(&self, filter: &Arc<str>) -> InterestChange {
        let filter = Arc::clone(filter);
        match self {
            Self { all: 0, .. } => InterestChange::Removed(filter),
            Self { above_qos0: 0, .. } => InterestChange::AddedQoS0(filter),
            Self { .. } => InterestChange::Added(filter),
        }
    }
}

#[derive(Debug)]
struct Peer {
    epoch: u64,
    acknowledged: Option<u64>,
    /// Whether confirmations wait for it.
    is_awaited: bool,
}

impl Outbound {
    pub(super) fn new(first_epoch: u64) -> Self {
        Self {
            filters: BTreeMap::new(),
            groups: NodeGroups::default(),
            by_worker: [0; 64],
            seq: 0,
            last_epoch: first_epoch,
            peers: BTreeMap::new(),
        }
    }

    /// The number of the newest change.
    pub(super) const fn seq(&self) -> u64 {
        self.seq
    }

    pub(super) fn filter_count(&self) -> usize {
        self.filters.len() + self.groups.len()
    }

    pub(super) const fn has_filters(&self, worker: WorkerIndex) -> bool {
        self.by_worker[(worker.0 & 63) as usize] > 0
    }

    /// Takes a worker's changes in; gives the messages for every linked peer.
    pub(super) fn change(
        &mut self,
        worker: WorkerIndex,
        changes: &[InterestChange],
    ) -> Vec<(NodeId, InterestMessage)> {
        let mut messages = Vec::new();
        let mut delta = Vec::new();
        let mut bytes = 0;
        for change in changes {
            let Some(change) = self.apply(worker, change) else { continue };
            bytes += change_bytes(&change);
            delta.push(change);
            if bytes >= MESSAGE_BYTES_SOFT_MAX {
                self.tell_peers(std::mem::take(&mut delta), &mut messages);
                bytes = 0;
            }
        }
        if !delta.is_empty() {
            self.tell_peers(delta, &mut messages);
        }
        messages
    }

    /// The link to a peer is up, or it asks for everything: gives the snapshot.
    pub(super) fn snapshot(&mut self, node: NodeId) -> Vec<(NodeId, InterestMessage)> {
        self.last_epoch += 1;
        let epoch = self.last_epoch;
        match self.peers.entry(node) {
            Entry::Vacant(vacant) => {
                vacant.insert(Peer { epoch, acknowledged: None, is_awaited: true });
            }
            Entry::Occupied(mut occupied) => {
                let peer = occupied.get_mut();
                peer.epoch = epoch;
                peer.acknowledged = None;
            }
        }
        let parts = self.parts();
        let (seq, count) = (self.seq, parts.len());
        let message = |(part, Part { filters, filters_qos0, groups, .. })| {
            let (first, last) = (part == 0, part + 1 == count);
            let message = InterestMessage::Snapshot {
                epoch,
                seq,
                first,
                last,
                filters,
                filters_qos0,
                groups,
            };
            (node, message)
        };
        parts.into_iter().enumerate().map(message).collect()
    }

    /// The whole set, cut where a message becomes too long.
    fn parts(&self) -> Vec<Part> {
        let mut parts = vec![Part::default()];
        for (filter, holders) in &self.filters {
            let part = Part::with_room(&mut parts, filter.len());
            match holders.above_qos0 {
                0 => part.filters_qos0.push(Arc::clone(filter)),
                _ => part.filters.push(Arc::clone(filter)),
            }
        }
        for (filter, members) in self.groups.iter() {
            let part = Part::with_room(&mut parts, filter.len());
            part.groups.push((Arc::clone(filter), members));
        }
        parts
    }

    pub(super) fn link_down(&mut self, node: NodeId) {
        self.peers.remove(&node);
    }

    /// Whether `epoch` is the one that the peer is told under now.
    pub(super) fn is_current(&self, node: NodeId, epoch: u64) -> bool {
        self.peers.get(&node).is_some_and(|peer| peer.epoch == epoch)
    }

    /// A peer knows everything up to `seq`. One that was given up counts again once it knows all.
    pub(super) fn acknowledged(&mut self, node: NodeId, epoch: u64, seq: u64) {
        let newest = self.seq;
        if let Some(peer) = self.peers.get_mut(&node).filter(|peer| peer.epoch == epoch) {
            peer.acknowledged = peer.acknowledged.max(Some(seq));
            peer.is_awaited |= seq >= newest;
        }
    }

    /// Whether every peer that counts knows everything up to `seq`.
    pub(super) fn is_known(&self, seq: u64) -> bool {
        self.peers.values().all(|peer| !peer.is_awaited || peer.acknowledged >= Some(seq))
    }

    /// Stops waiting for the peers that don't know `seq`; gives them.
    pub(super) fn give_up(&mut self, seq: u64) -> Vec<NodeId> {
        let mut given_up = Vec::new();
        for (node, peer) in &mut self.peers {
            if peer.is_awaited && peer.acknowledged < Some(seq) {
                peer.is_awaited = false;
                given_up.push(*node);
            }
        }
        given_up
    }

    /// Takes one change in; gives what of the node's has changed by it.
    fn apply(&mut self, worker: WorkerIndex, change: &InterestChange) -> Option<InterestChange> {
        let number = usize::from(worker.0 & 63);
        let bit: WorkerSet = 1 << number;
        match change {
            InterestChange::Added(filter) | InterestChange::AddedQoS0(filter) => {
                let holders = self.filters.entry(Arc::clone(filter)).or_default();
                let before = holders.change(filter);
                self.by_worker[number] += usize::from(holders.all & bit == 0);
                holders.all |= bit;
                match change {
                    InterestChange::AddedQoS0(_) => holders.above_qos0 &= !bit,
                    _ => holders.above_qos0 |= bit,
                }
                let after = holders.change(filter);
                (after != before).then_some(after)
            }
            InterestChange::Removed(filter) => {
                let holders = self.filters.get_mut(filter)?;
                let before = holders.change(filter);
                self.by_worker[number] -= usize::from(holders.all & bit != 0);
                holders.all &= !bit;
                holders.above_qos0 &= !bit;
                let after = holders.change(filter);
                if holders.all == 0 {
                    self.filters.remove(filter);
                }
                (after != before).then_some(after)
            }
            InterestChange::Shared { filter, members } => {
                let members = self.groups.set(worker, filter, *members)?;
                Some(InterestChange::Shared { filter: Arc::clone(filter), members })
            }
        }
    }

    fn tell_peers(
        &mut self,
        changes: Vec<InterestChange>,
        messages: &mut Vec<(NodeId, InterestMessage)>,
    ) {
        self.seq += 1;
        for (node, peer) in &self.peers {
            let changes = changes.clone();
            let delta = InterestMessage::Delta { epoch: peer.epoch, seq: self.seq, changes };
            messages.push((*node, delta));
        }
    }
}

/// A part of the whole set.
#[derive(Debug, Default)]
struct Part {
    bytes: usize,
    filters: Vec<Arc<str>>,
    filters_qos0: Vec<Arc<str>>,
    groups: Vec<(Arc<str>, SharedMembers)>,
}

impl Part {
    /// The last part, or a new one behind it if that is long enough; `bytes` are to be added.
    fn with_room(parts: &mut Vec<Self>, bytes: usize) -> &mut Self {
        if parts.last().is_none_or(|part| part.bytes >= MESSAGE_BYTES_SOFT_MAX) {
            parts.push(Self::default());
        }
        let last = parts.len() - 1;
        parts[last].bytes += bytes;
        &mut parts[last]
    }
}

fn change_bytes(change: &InterestChange) -> usize {
    match change {
        InterestChange::Added(filter)
        | InterestChange::AddedQoS0(filter)
        | InterestChange::Removed(filter)
        | InterestChange::Shared { filter, .. } => filter.len(),
    }
}
