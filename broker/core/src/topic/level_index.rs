//! A hash index over the nodes of a tree: (parent, level) to child. Pure.
//!
//! One table for the whole tree, so that a node owns no map. A slot holds 32 bits of the hash and
//! the node's number: a look-up that finds nothing touches no node. Linear probing; removal moves
//! later entries back, so there are no tombstones.

/// Number of a node in its tree.
pub(super) type NodeIndex = u32;

/// Stands for no node.
pub(super) const NO_NODE: NodeIndex = u32::MAX;

const SLOTS_MIN: usize = 16;
const EMPTY: Slot = Slot { hash: 0, node: NO_NODE };

#[derive(Debug, Clone, Copy)]
struct Slot {
    hash: u32,
    node: NodeIndex,
}

#[derive(Debug, Clone)]
pub(super) struct LevelIndex {
    /// A power of two, or none before the first insertion.
    slots: Vec<Slot>,
    len: usize,
    seed: u64,
}

impl LevelIndex {
    pub(super) const fn new(seed: u64) -> Self {
        Self { slots: Vec::new(), len: 0, seed }
    }

    /// The hash of a level below `parent`.
    #[inline]
    pub(super) fn hash(&self, parent: NodeIndex, level: &[u8]) -> u32 {
        hash_bytes(level, self.seed ^ u64::from(parent).wrapping_mul(MULTIPLIERS[2]))
    }

    /// The node with this hash for which `is_wanted` holds.
    #[inline]
    pub(super) fn find(
        &self,
        hash: u32,
        mut is_wanted: impl FnMut(NodeIndex) -> bool,
    ) -> Option<NodeIndex> {
        if self.slots.is_empty() {
            return None;
        }
        let mask = self.slots.len() - 1;
        let mut at = hash as usize & mask;
        loop {
            let slot = self.slots[at];
            if slot.node == NO_NODE {
                return None;
            }
            if slot.hash == hash && is_wanted(slot.node) {
                return Some(slot.node);
            }
            at = (at + 1) & mask;
        }
    }

    /// Adds a node that is not in the index.
    pub(super) fn insert(&mut self, hash: u32, node: NodeIndex) {
        if (self.len + 1) * 4 > self.slots.len() * 3 {
            self.resize((self.slots.len() * 2).max(SLOTS_MIN));
        }
        self.len += 1;
        self.place(Slot { hash, node });
    }

    /// Removes a node that is in the index with this hash.
    pub(super) fn remove(&mut self, hash: u32, node: NodeIndex) {
        if self.slots.is_empty() {
            return;
        }
        let mask = self.slots.len() - 1;
        let mut hole = hash as usize & mask;
        while self.slots[hole].node != node {
            if self.slots[hole].node == NO_NODE {
                return;
            }
            hole = (hole + 1) & mask;
        }
        let mut at = hole;
        loop {
            at = (at + 1) & mask;
            let slot = self.slots[at];
            if slot.node == NO_NODE {
                break;
            }
            // It may move into the hole unless its home lies behind the hole.
            let home = slot.hash as usize & mask;
            if at.wrapping_sub(home) & mask >= at.wrapping_sub(hole) & mask {
                self.slots[hole] = slot;
                hole = at;
            }
        }
        self.slots[hole] = EMPTY;
        self.len -= 1;
        if self.len * 8 < self.slots.len() && self.slots.len() > SLOTS_MIN {
            self.resize(self.slots.len() / 2);
        }
    }

    fn resize(&mut self, slots: usize) {
        let old = std::mem::replace(&mut self.slots, vec![EMPTY; slots]);
        for slot in old {
            if slot.node != NO_NODE {
                self.place(slot);
            }
        }
    }

    fn place(&mut self, slot: Slot) {
        let mask = self.slots.len() - 1;
        let mut at = slot.hash as usize & mask;
        while self.slots[at].node != NO_NODE {
            at = (at + 1) & mask;
        }
        self.slots[at] = slot;
    }
}

/// Odd, with about half of their bits set.
const MULTIPLIERS: [u64; 3] = [0x9E37_79B9_7F4A_7C15, 0xC2B2_AE3D_27D4_EB4F, 0xD6E8_FEB8_6659_FD93];

/// Both halves of the 128-bit product, folded.
#[inline]
const fn fold(a: u64, b: u64) -> u64 {
    let product = (a as u128) * (b as u128);
    product as u64 ^ (product >> 64) as u64
}

/// A keyed hash that reads eight bytes at a time.
#[inline]
fn hash_bytes(bytes: &[u8], seed: u64) -> u32 {
    let mut state = seed ^ (bytes.len() as u64).wrapping_mul(MULTIPLIERS[0]);
    let mut chunks = bytes.chunks_exact(8);
    for chunk in &mut chunks {
        let mut word = [0; 8];
        word.copy_from_slice(chunk);
        state = fold(state ^ u64::from_le_bytes(word), MULTIPLIERS[1]);
    }
    let mut tail = 0;
    for &byte in chunks.remainder() {
        tail = tail << 8 | u64::from(byte);
    }
    let hash = fold(state ^ tail, MULTIPLIERS[0]);
    (hash ^ hash >> 32) as u32
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    /// Few distinct hashes, so that probe runs are long and wrap around.
    #[test]
    fn entries_survive_removals_of_their_neighbours() {
        let mut index = LevelIndex::new(0);
        let mut model = HashMap::new();
        let mut state = 1_u64;
        for step in 0..20_000_u32 {
            state = fold(state ^ u64::from(step), MULTIPLIERS[0]);
            let hash = if state & 1 == 0 { u32::MAX - (state >> 8) as u32 % 5 } else { step };
            if state & 6 == 0 {
                let victim = model.keys().copied().min();
                if let Some(node) = victim {
                    let hash = model.remove(&node).unwrap();
                    index.remove(hash, node);
                }
            } else {
                index.insert(hash, step);
                model.insert(step, hash);
            }
        }
        assert_eq!(index.len, model.len());
        for (&node, &hash) in &model {
            assert_eq!(index.find(hash, |found| found == node), Some(node));
        }
        for (node, hash) in model.drain() {
            index.remove(hash, node);
        }
        assert_eq!((index.len, index.slots.len()), (0, SLOTS_MIN));
    }

    #[test]
    fn levels_of_equal_prefix_and_other_parents_hash_apart() {
        let index = LevelIndex::new(7);
        let hashes = [
            index.hash(0, b""),
            index.hash(1, b""),
            index.hash(0, b"\0"),
            index.hash(0, b"a"),
            index.hash(1, b"a"),
            index.hash(0, b"device-1"),
            index.hash(0, b"device-12"),
            LevelIndex::new(8).hash(0, b"a"),
        ];
        for (at, hash) in hashes.iter().enumerate() {
            assert!(!hashes[..at].contains(hash), "hash {at} collides");
        }
    }
}
