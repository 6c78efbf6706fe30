//! The filters of the peers, as they tell them. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::known::Known;
use crate::engine::{InterestChange, SharedMembers};
use crate::types::{Millis, NodeId};

/// What each peer wants.
#[derive(Debug, Default)]
pub(super) struct Inbound {
    peers: BTreeMap<NodeId, Peer>,
}

#[derive(Debug, Default)]
struct Peer {
    /// Highest epoch seen.
    epoch: u64,
    /// State of `known`, once the epoch's snapshot is complete.
    seq: Option<u64>,
    known: Known,
    /// The snapshot so far.
    incoming: Known,
    /// When the filters go, unless the peer is heard before.
    gone_at: Option<Millis>,
}

/// What a message of a peer comes to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// These changes bring the tables to the peer's state `seq`.
    Changed { seq: u64, changes: Vec<InterestChange> },
    /// Nothing yet, or nothing that counts any more.
    Nothing,
    /// Something was missed.
    Missed,
}

impl Inbound {
    pub(super) fn snapshot(
        &mut self,
        node: NodeId,
        epoch: u64,
        part: (bool, bool),
        seq: u64,
        told: Known,
    ) -> Heard {
        let (first, last) = part;
        let peer = self.peers.entry(node).or_default();
        if epoch < peer.epoch {
            return Heard::Nothing;
        }
        if epoch > peer.epoch {
            if !first {
                return Heard::Nothing;
            }
            peer.epoch = epoch;
            peer.seq = None;
            peer.incoming = Known::default();
        }
        peer.gone_at = None;
        peer.incoming.extend(told);
        if !last {
            return Heard::Nothing;
        }
        let new = std::mem::take(&mut peer.incoming);
        let changes = peer.known.changes_to(&new);
        peer.known = new;
        peer.seq = Some(seq);
        Heard::Changed { seq, changes }
    }

    pub(super) fn delta(
        &mut self,
        node: NodeId,
        epoch: u64,
        seq: u64,
        changes: Vec<InterestChange>,
    ) -> Heard {
        let Some(peer) = self.peers.get_mut(&node) else { return Heard::Missed };
        if epoch < peer.epoch {
            return Heard::Nothing;
        }
        if epoch > peer.epoch || peer.seq != seq.checked_sub(1) {
            return Heard::Missed;
        }
        peer.seq = Some(seq);
        for change in &changes {
            peer.known.apply(change);
        }
        Heard::Changed { seq, changes }
    }

    /// The peer can't be heard any more.
    pub(super) fn silent(&mut self, node: NodeId, gone_at: Millis) {
        if let Some(peer) = self.peers.get_mut(&node) {
            peer.gone_at = Some(gone_at);
        }
    }

    pub(super) fn next_timeout(&self) -> Option<Millis> {
        self.peers.values().filter_map(|peer| peer.gone_at).min()
    }

    /// Forgets the peers whose time is over; gives them.
    pub(super) fn take_gone(&mut self, now: Millis) -> Vec<NodeId> {
        let is_gone = |peer: &Peer| peer.gone_at.is_some_and(|at| at <= now);
        let gone: Vec<NodeId> =
            self.peers.iter().filter(|(_, peer)| is_gone(peer)).map(|(node, _)| *node).collect();
        for node in &gone {
            // The epoch stays known, so that what is still on its way from before is ignored.
            if let Some(peer) = self.peers.get_mut(node) {
                *peer = Peer { epoch: peer.epoch, ..Peer::default() };
            }
        }
        gone
    }

    /// Whether the peer has told its whole set.
    pub(super) fn is_complete(&self, node: NodeId) -> bool {
        self.peers.get(&node).is_some_and(|peer| peer.seq.is_some())
    }

    /// The filters that a peer wants now, and of which it wants messages of QoS 0 alone.
    pub(super) fn filters(&self, node: NodeId) -> impl Iterator<Item = (&Arc<str>, bool)> {
        let known = self.peers.get(&node).into_iter().map(|peer| &peer.known);
        known.flat_map(|known| {
            let filters = known.filters.iter().map(|filter| (filter, false));
            filters.chain(known.filters_qos0.iter().map(|filter| (filter, true)))
        })
    }

    /// The groups that a peer has members of, and how many.
    pub(super) fn groups(&self, node: NodeId) -> impl Iterator<Item = (&Arc<str>, SharedMembers)> {
        let peer = self.peers.get(&node).into_iter();
        peer.flat_map(|peer| peer.known.groups.iter().map(|(filter, members)| (filter, *members)))
    }

    /// The same as changes from none.
    pub(super) fn shared_changes(&self, node: NodeId) -> Vec<InterestChange> {
        let peer = self.peers.get(&node).into_iter();
        peer.flat_map(|peer| peer.known.shared_changes()).collect()
    }

    pub(super) fn filter_count(&self) -> usize {
        self.peers.values().map(|peer| peer.known.len()).sum()
    }
}
