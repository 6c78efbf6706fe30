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
    filters: BTreeMap<Arc<str>, WorkerSet>,
    pub(super) groups: NodeGroups,
    /// How many filters each worker holds.
    by_worker: [usize; 64],
    seq: u64,
    last_epoch: u64,
    peers: BTreeMap<NodeId, Peer>,
}

/// Bit `n` stands for worker `n`.
type WorkerSet = u64;

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
        let message = |(part, Part { filters, groups, .. })| {
            let (first, last) = (part == 0, part + 1 == count);
            (node, InterestMessage::Snapshot { epoch, seq, first, last, filters, groups })
        };
        parts.into_iter().enumerate().map(message).collect()
    }

    /// The whole set, cut where a message becomes too long.
    fn parts(&self) -> Vec<Part> {
        let mut parts = vec![Part::default()];
        for filter in self.filters.keys() {
            Part::with_room(&mut parts, filter.len()).filters.push(Arc::clone(filter));
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
            InterestChange::Added(filter) => {
                let holders = self.filters.entry(Arc::clone(filter)).or_insert(0);
                let is_first = *holders == 0;
                self.by_worker[number] += usize::from(*holders & bit == 0);
                *holders |= bit;
                is_first.then(|| change.clone())
            }
            InterestChange::Removed(filter) => {
                let holders = self.filters.get_mut(filter)?;
                self.by_worker[number] -= usize::from(*holders & bit != 0);
                *holders &= !bit;
                let is_last = *holders == 0;
                if is_last {
                    self.filters.remove(filter);
                }
                is_last.then(|| change.clone())
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
        | InterestChange::Removed(filter)
        | InterestChange::Shared { filter, .. } => filter.len(),
    }
}
