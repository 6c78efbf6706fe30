//! Many filters at once: which values belong to the filters that match a topic. Pure.
//!
//! Filters without a wildcard are found by one look-up of the whole topic. The others form a tree
//! over levels, walked without allocation; `+` and `#` are direct links, everything else goes
//! through one hash index of the whole tree.

use std::ops::ControlFlow;

use super::level_index::{LevelIndex, NO_NODE, NodeIndex};
use super::level_text::LevelText;

/// Parent of the filters without a wildcard, each of which is a single child.
const LITERALS: NodeIndex = 0;
/// Root of the tree of filters with a wildcard.
const ROOT: NodeIndex = 1;
/// Nodes put aside for a later turn before the walk starts to recurse.
const PENDING_MAX: usize = 8;

/// A multimap from Topic Filters (without `$share/`) to values.
///
/// Matching allocates nothing and costs a hash per level and branch of the tree. Cloning clones
/// the values. Spec: MQTT 5.0 section 4.7.
#[derive(Debug, Clone)]
pub struct FilterTrie<V> {
    nodes: Vec<Node<V>>,
    index: LevelIndex,
    /// First of the freed nodes, which are linked through `parent`.
    free: NodeIndex,
    filters: usize,
    values: usize,
}

#[derive(Debug, Clone)]
struct Node<V> {
    parent: NodeIndex,
    /// The child for `+`.
    plus: NodeIndex,
    /// The child for `#`.
    multi: NodeIndex,
    /// Children of other names.
    children: u32,
    level: LevelText,
    values: Values<V>,
}

#[derive(Debug, Clone)]
enum Values<V> {
    None,
    One(V),
    Many(Vec<V>),
}

impl<V> Values<V> {
    #[inline]
    fn as_slice(&self) -> &[V] {
        match self {
            Self::None => &[],
            Self::One(value) => std::slice::from_ref(value),
            Self::Many(values) => values,
        }
    }

    fn as_mut_slice(&mut self) -> &mut [V] {
        match self {
            Self::None => &mut [],
            Self::One(value) => std::slice::from_mut(value),
            Self::Many(values) => values,
        }
    }

    fn push(&mut self, value: V) {
        *self = match std::mem::replace(self, Self::None) {
            Self::None => Self::One(value),
            Self::One(first) => Self::Many(vec![first, value]),
            Self::Many(mut values) => {
                values.push(value);
                Self::Many(values)
            }
        };
    }

    /// Takes one out; the last one takes its place.
    fn swap_remove(&mut self, at: usize) -> Option<V> {
        let (removed, rest) = match std::mem::replace(self, Self::None) {
            Self::One(value) if at == 0 => (Some(value), Self::None),
            Self::Many(mut values) if at < values.len() => {
                let removed = values.swap_remove(at);
                let rest = match values.len() {
                    1 => values.pop().map_or(Self::None, Self::One),
                    _ => Self::Many(values),
                };
                (Some(removed), rest)
            }
            other => (None, other),
        };
        *self = rest;
        removed
    }
}

impl<V> Node<V> {
    const fn new(parent: NodeIndex, level: LevelText) -> Self {
        let (plus, multi, children) = (NO_NODE, NO_NODE, 0);
        Self { parent, plus, multi, children, level, values: Values::None }
    }

    fn is_needless(&self) -> bool {
        self.children == 0
            && self.plus == NO_NODE
            && self.multi == NO_NODE
            && self.values.as_slice().is_empty()
    }
}

impl<V> Default for FilterTrie<V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<V> FilterTrie<V> {
    /// An empty trie with a fixed hash seed.
    #[must_use]
    pub fn new() -> Self {
        Self::with_seed(0x5DEE_CE66_D012_4567)
    }

    /// An empty trie; an unpredictable seed keeps clients from choosing levels that collide.
    #[must_use]
    pub fn with_seed(seed: u64) -> Self {
        let nodes =
            vec![Node::new(NO_NODE, LevelText::EMPTY), Node::new(NO_NODE, LevelText::EMPTY)];
        Self { nodes, index: LevelIndex::new(seed), free: NO_NODE, filters: 0, values: 0 }
    }

    /// How many values there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.values
    }

    /// Whether there is no value.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.values == 0
    }

    /// How many different filters there are.
    #[must_use]
    pub const fn filter_count(&self) -> usize {
        self.filters
    }

    #[cfg(test)]
    pub(super) const fn node_count(&self) -> usize {
        self.nodes.len()
    }

    /// Adds a value under a valid filter; equal values are kept apart.
    pub fn insert(&mut self, filter: &str, value: V) {
        let node = self.find_or_create(filter);
        let values = &mut self.nodes[node as usize].values;
        if matches!(values, Values::None) {
            self.filters += 1;
        }
        values.push(value);
        self.values += 1;
    }

    /// The values of exactly this filter, in no particular order once one was removed.
    #[must_use]
    pub fn get(&self, filter: &str) -> &[V] {
        self.find(filter).map_or(&[], |node| self.nodes[node as usize].values.as_slice())
    }

    /// As [`Self::get`], to change values in place.
    pub fn get_mut(&mut self, filter: &str) -> &mut [V] {
        match self.find(filter) {
            Some(node) => self.nodes[node as usize].values.as_mut_slice(),
            None => &mut [],
        }
    }

    /// Takes out the first value of exactly this filter for which `is_wanted` holds.
    pub fn remove(&mut self, filter: &str, is_wanted: impl FnMut(&V) -> bool) -> Option<V> {
        let node = self.find(filter)?;
        let values = &mut self.nodes[node as usize].values;
        let at = values.as_slice().iter().position(is_wanted)?;
        let removed = values.swap_remove(at)?;
        self.values -= 1;
        if matches!(values, Values::None) {
            self.filters -= 1;
            self.prune(node);
        }
        Some(removed)
    }

    /// Calls `visit` with every value whose filter matches the topic.
    #[inline]
    pub fn for_each_match(&self, topic: &str, mut visit: impl FnMut(&V)) {
        let _ = self.try_for_each_match(topic, |value| {
            visit(value);
            ControlFlow::<()>::Continue(())
        });
    }

    /// As [`Self::for_each_match`], until `visit` breaks.
    pub fn try_for_each_match<B>(
        &self,
        topic: &str,
        mut visit: impl FnMut(&V) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        if self.nodes[LITERALS as usize].children > 0
            && let Some(node) = self.child(LITERALS, topic.as_bytes())
        {
            self.visit_values(node, &mut visit)?;
        }
        let root = &self.nodes[ROOT as usize];
        // [MQTT-4.7.2-1]: a leading wildcard does not match a topic that starts with `$`.
        if !topic.starts_with('$') {
            self.visit_values(root.multi, &mut visit)?;
            if root.plus != NO_NODE {
                let (_, rest) = first_level(topic.as_bytes());
                self.walk(root.plus, rest, &mut visit)?;
            }
        }
        if root.children == 0 {
            return ControlFlow::Continue(());
        }
        let (level, rest) = first_level(topic.as_bytes());
        match self.child(ROOT, level) {
            Some(child) => self.walk(child, rest, &mut visit),
            None => ControlFlow::Continue(()),
        }
    }

    /// Calls `visit` with every filter and value, in no particular order.
    pub fn for_each(&self, mut visit: impl FnMut(&str, &V)) {
        let mut path = String::new();
        for node in &self.nodes {
            if !node.values.as_slice().is_empty() {
                self.write_path(node, &mut path);
                node.values.as_slice().iter().for_each(|value| visit(&path, value));
            }
        }
    }

    /// Visits a node that stands for all levels before `rest`, and everything below it; `rest` is
    /// `None` at the end of the topic.
    fn walk<B>(
        &self,
        node: NodeIndex,
        rest: Option<&[u8]>,
        visit: &mut impl FnMut(&V) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        let mut pending = [(NO_NODE, None); PENDING_MAX];
        let mut pending_len = 0;
        let (mut at, mut rest) = (node, rest);
        loop {
            let node = &self.nodes[at as usize];
            self.visit_values(node.multi, visit)?;
            let mut next = None;
            if let Some(bytes) = rest {
                let (level, below) = first_level(bytes);
                if node.children > 0 {
                    next = self.child(at, level).map(|child| (child, below));
                }
                if node.plus != NO_NODE {
                    if next.is_none() {
                        next = Some((node.plus, below));
                    } else if pending_len < PENDING_MAX {
                        pending[pending_len] = (node.plus, below);
                        pending_len += 1;
                    } else {
                        self.walk(node.plus, below, visit)?;
                    }
                }
            } else {
                node.values.as_slice().iter().try_for_each(&mut *visit)?;
            }
            (at, rest) = match next {
                Some(next) => next,
                None if pending_len == 0 => return ControlFlow::Continue(()),
                None => {
                    pending_len -= 1;
                    pending[pending_len]
                }
            };
        }
    }

    #[inline]
    fn visit_values<B>(
        &self,
        node: NodeIndex,
        visit: &mut impl FnMut(&V) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        match self.nodes.get(node as usize) {
            Some(node) => node.values.as_slice().iter().try_for_each(visit),
            None => ControlFlow::Continue(()),
        }
    }

    #[inline]
    fn child(&self, parent: NodeIndex, level: &[u8]) -> Option<NodeIndex> {
        self.index.find(self.index.hash(parent, level), |node| {
            let node = &self.nodes[node as usize];
            node.parent == parent && node.level.as_bytes() == level
        })
    }

    fn find(&self, filter: &str) -> Option<NodeIndex> {
        if is_literal(filter) {
            return self.child(LITERALS, filter.as_bytes());
        }
        let mut at = ROOT;
        for level in filter.split('/') {
            at = match level {
                "+" => Some(self.nodes[at as usize].plus).filter(|&node| node != NO_NODE)?,
                "#" => Some(self.nodes[at as usize].multi).filter(|&node| node != NO_NODE)?,
                level => self.child(at, level.as_bytes())?,
            };
        }
        Some(at)
    }

    fn find_or_create(&mut self, filter: &str) -> NodeIndex {
        if is_literal(filter) {
            return self.child_or_create(LITERALS, filter);
        }
        filter.split('/').fold(ROOT, |at, level| match level {
            "+" => self.wildcard_or_create(at, level, |node| &mut node.plus),
            "#" => self.wildcard_or_create(at, level, |node| &mut node.multi),
            level => self.child_or_create(at, level),
        })
    }

    fn child_or_create(&mut self, parent: NodeIndex, level: &str) -> NodeIndex {
        if let Some(node) = self.child(parent, level.as_bytes()) {
            return node;
        }
        let node = self.create(parent, level);
        self.nodes[parent as usize].children += 1;
        self.index.insert(self.index.hash(parent, level.as_bytes()), node);
        node
    }

    fn wildcard_or_create(
        &mut self,
        parent: NodeIndex,
        level: &str,
        link: impl Fn(&mut Node<V>) -> &mut NodeIndex,
    ) -> NodeIndex {
        let node = *link(&mut self.nodes[parent as usize]);
        if node != NO_NODE {
            return node;
        }
        let node = self.create(parent, level);
        *link(&mut self.nodes[parent as usize]) = node;
        node
    }

    fn create(&mut self, parent: NodeIndex, level: &str) -> NodeIndex {
        let node = Node::new(parent, LevelText::new(level));
        if self.free == NO_NODE {
            self.nodes.push(node);
            return (self.nodes.len() - 1) as NodeIndex;
        }
        let at = self.free;
        self.free = std::mem::replace(&mut self.nodes[at as usize], node).parent;
        at
    }

    /// Frees a node that has become needless, and those above it that become so with it.
    fn prune(&mut self, node: NodeIndex) {
        let mut at = node;
        while at != LITERALS && at != ROOT && self.nodes[at as usize].is_needless() {
            let freed = Node::new(self.free, LevelText::EMPTY);
            let node = std::mem::replace(&mut self.nodes[at as usize], freed);
            self.free = at;
            let parent = &mut self.nodes[node.parent as usize];
            if parent.plus == at {
                parent.plus = NO_NODE;
            } else if parent.multi == at {
                parent.multi = NO_NODE;
            } else {
                parent.children -= 1;
                self.index.remove(self.index.hash(node.parent, node.level.as_bytes()), at);
            }
            at = node.parent;
        }
    }

    /// Puts the filter of a node into `path`.
    fn write_path(&self, node: &Node<V>, path: &mut String) {
        let mut levels = vec![node.level.as_str()];
        let mut at = node.parent;
        while at != LITERALS && at != ROOT {
            let node = &self.nodes[at as usize];
            levels.push(node.level.as_str());
            at = node.parent;
        }
        path.clear();
        for (index, level) in levels.iter().rev().enumerate() {
            if index > 0 {
                path.push('/');
            }
            path.push_str(level);
        }
    }
}

fn is_literal(filter: &str) -> bool {
    !filter.bytes().any(|byte| matches!(byte, b'+' | b'#'))
}

/// The first level, and what follows its `/` if there is one.
#[inline]
fn first_level(topic: &[u8]) -> (&[u8], Option<&[u8]>) {
    match topic.iter().position(|&byte| byte == b'/') {
        Some(end) => (&topic[..end], Some(&topic[end + 1..])),
        None => (topic, None),
    }
}
