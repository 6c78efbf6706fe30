//! Numbers for peer nodes as forward destinations. Pure.

use std::collections::BTreeMap;

use crate::engine::Destination;
use crate::types::NodeId;

/// The numbers from `first` up to [`Destination::COUNT`], each given to one node at a time.
#[derive(Debug)]
pub(super) struct Destinations {
    first: u8,
    by_node: BTreeMap<NodeId, Destination>,
    /// Numbers that a worker may still use for the node before, until it has applied the update.
    retiring: Vec<(u64, Destination)>,
}

impl Destinations {
    pub(super) const fn new(first: u8) -> Self {
        Self { first, by_node: BTreeMap::new(), retiring: Vec::new() }
    }

    /// The node's number, given now if it has none; `None` when all are taken.
    pub(super) fn assign(&mut self, node: NodeId) -> Option<Destination> {
        if let Some(known) = self.by_node.get(&node) {
            return Some(*known);
        }
        let is_free = |number: &Destination| {
            !self.by_node.values().any(|taken| taken == number)
                && !self.retiring.iter().any(|(_, taken)| taken == number)
        };
        let mut numbers = (self.first..).map_while(Destination::new);
        let free = numbers.find(is_free)?;
        self.by_node.insert(node, free);
        Some(free)
    }

    pub(super) fn of(&self, node: NodeId) -> Option<Destination> {
        self.by_node.get(&node).copied()
    }

    pub(super) fn node(&self, destination: Destination) -> Option<NodeId> {
        self.by_node.iter().find(|(_, known)| **known == destination).map(|(node, _)| *node)
    }

    /// Takes the node's number back once all workers have applied `update`.
    pub(super) fn retire(&mut self, node: NodeId, update: u64) {
        if let Some(destination) = self.by_node.remove(&node) {
            self.retiring.push((update, destination));
        }
    }

    /// All workers have applied everything up to `update`.
    pub(super) fn applied(&mut self, update: u64) {
        self.retiring.retain(|(waits_for, _)| *waits_for > update);
    }
}
