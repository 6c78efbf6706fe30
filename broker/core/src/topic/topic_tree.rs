//! Many topics at once: which of them a filter matches. Pure. Used for retained messages.

use std::ops::ControlFlow;

use super::level_index::{LevelIndex, NO_NODE, NodeIndex};
use super::level_text::LevelText;

const ROOT: NodeIndex = 0;

/// A map from Topic Names to values that can be searched by Topic Filter.
///
/// Children of a node are linked as siblings, so a wildcard walks links and a plain level is one
/// look-up in a hash index of the whole tree. Nothing recurses.
#[derive(Debug, Clone)]
pub struct TopicTree<V> {
    nodes: Vec<Node<V>>,
    index: LevelIndex,
    /// First of the freed nodes, which are linked through `parent`.
    free: NodeIndex,
    len: usize,
}

#[derive(Debug, Clone)]
struct Node<V> {
    parent: NodeIndex,
    first_child: NodeIndex,
    next: NodeIndex,
    previous: NodeIndex,
    level: LevelText,
    value: Option<V>,
}

impl<V> Node<V> {
    const fn new(parent: NodeIndex, level: LevelText) -> Self {
        let (first_child, next, previous) = (NO_NODE, NO_NODE, NO_NODE);
        Self { parent, first_child, next, previous, level, value: None }
    }
}

impl<V> Default for TopicTree<V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<V> TopicTree<V> {
    /// An empty tree with a fixed hash seed.
    #[must_use]
    pub fn new() -> Self {
        Self::with_seed(0x2545_F491_4F6C_DD1D)
    }

    /// An empty tree; an unpredictable seed keeps clients from choosing levels that collide.
    #[must_use]
    pub fn with_seed(seed: u64) -> Self {
        let nodes = vec![Node::new(NO_NODE, LevelText::EMPTY)];
        Self { nodes, index: LevelIndex::new(seed), free: NO_NODE, len: 0 }
    }

    /// How many topics there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no topic.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Sets the value of a topic and returns the one before.
    pub fn insert(&mut self, topic: &str, value: V) -> Option<V> {
        let node = topic.split('/').fold(ROOT, |at, level| self.child_or_create(at, level));
        let before = self.nodes[node as usize].value.replace(value);
        self.len += usize::from(before.is_none());
        before
    }

    /// The value of exactly this topic.
    #[must_use]
    pub fn get(&self, topic: &str) -> Option<&V> {
        self.find(topic).and_then(|node| self.nodes[node as usize].value.as_ref())
    }

    /// The value of exactly this topic, to change it in place.
    pub fn get_mut(&mut self, topic: &str) -> Option<&mut V> {
        self.find(topic).and_then(|node| self.nodes[node as usize].value.as_mut())
    }

    /// Takes a topic out.
    pub fn remove(&mut self, topic: &str) -> Option<V> {
        let node = self.find(topic)?;
        let removed = self.nodes[node as usize].value.take()?;
        self.len -= 1;
        self.prune(node);
        Some(removed)
    }

    /// Calls `visit` with every topic that `filter` (valid, without `$share/`) matches, and its
    /// value. The order is stable while the tree does not change, and otherwise unspecified.
    pub fn for_each_match(&self, filter: &str, mut visit: impl FnMut(&str, &V)) {
        let _ = self.try_for_each_match(filter, |topic, value| {
            visit(topic, value);
            ControlFlow::<()>::Continue(())
        });
    }

    /// As [`Self::for_each_match`], until `visit` breaks.
    pub fn try_for_each_match<B>(
        &self,
        filter: &str,
        visit: impl FnMut(&str, &V) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        let levels: Vec<&str> = filter.split('/').collect();
        Walk { tree: self, levels: &levels, topic: String::new(), visit }.run()
    }

    fn child(&self, parent: NodeIndex, level: &str) -> Option<NodeIndex> {
        self.index.find(self.index.hash(parent, level.as_bytes()), |node| {
            let node = &self.nodes[node as usize];
            node.parent == parent && node.level.as_bytes() == level.as_bytes()
        })
    }

    fn find(&self, topic: &str) -> Option<NodeIndex> {
        topic.split('/').try_fold(ROOT, |at, level| self.child(at, level))
    }

    fn child_or_create(&mut self, parent: NodeIndex, level: &str) -> NodeIndex {
        if let Some(node) = self.child(parent, level) {
            return node;
        }
        let mut node = Node::new(parent, LevelText::new(level));
        node.next = self.nodes[parent as usize].first_child;
        let next = node.next;
        let at = if self.free == NO_NODE {
            self.nodes.push(node);
            (self.nodes.len() - 1) as NodeIndex
        } else {
            let at = self.free;
            self.free = std::mem::replace(&mut self.nodes[at as usize], node).parent;
            at
        };
        if let Some(next) = self.nodes.get_mut(next as usize) {
            next.previous = at;
        }
        self.nodes[parent as usize].first_child = at;
        self.index.insert(self.index.hash(parent, level.as_bytes()), at);
        at
    }

    /// Frees a node without value and children, and those above it that become so with it.
    fn prune(&mut self, node: NodeIndex) {
        let mut at = node;
        while at != ROOT {
            let node = &self.nodes[at as usize];
            if node.value.is_some() || node.first_child != NO_NODE {
                return;
            }
            let freed = Node::new(self.free, LevelText::EMPTY);
            let node = std::mem::replace(&mut self.nodes[at as usize], freed);
            self.free = at;
            if let Some(next) = self.nodes.get_mut(node.next as usize) {
                next.previous = node.previous;
            }
            match self.nodes.get_mut(node.previous as usize) {
                Some(previous) => previous.next = node.next,
                None => self.nodes[node.parent as usize].first_child = node.next,
            }
            self.index.remove(self.index.hash(node.parent, node.level.as_bytes()), at);
            at = node.parent;
        }
    }
}

/// A depth-first walk over the part of the tree that a filter reaches.
struct Walk<'a, V, F> {
    tree: &'a TopicTree<V>,
    levels: &'a [&'a str],
    /// The topic of the node that the walk stands on.
    topic: String,
    visit: F,
}

impl<B, V, F: FnMut(&str, &V) -> ControlFlow<B>> Walk<'_, V, F> {
    fn run(&mut self) -> ControlFlow<B> {
        let Some(mut at) = self.first_child(ROOT, 0) else {
            return ControlFlow::Continue(());
        };
        // Levels above `at`; `depth` of them are matched by `at`'s ancestors.
        let mut depth = 0;
        loop {
            self.enter(at, depth);
            let node = &self.tree.nodes[at as usize];
            if self.is_match(depth)
                && let Some(value) = &node.value
            {
                (self.visit)(&self.topic, value)?;
            }
            if let Some(child) = self.first_child(at, depth + 1) {
                (at, depth) = (child, depth + 1);
                continue;
            }
            loop {
                self.leave(at, depth);
                if let Some(next) = self.next_sibling(at, depth) {
                    at = next;
                    break;
                }
                if depth == 0 {
                    return ControlFlow::Continue(());
                }
                (at, depth) = (self.tree.nodes[at as usize].parent, depth - 1);
            }
        }
    }

    /// The level of the filter that nodes with `depth` ancestors must satisfy.
    fn level(&self, depth: usize) -> Option<&str> {
        match (self.levels.get(depth), self.levels.last()) {
            (Some(level), _) => Some(level),
            (None, Some(&"#")) => Some("#"),
            _ => None,
        }
    }

    /// Whether a node with `depth` ancestors that the walk has reached matches the whole filter.
    fn is_match(&self, depth: usize) -> bool {
        depth + 1 >= self.levels.len()
            || (depth + 2 == self.levels.len() && self.levels[depth + 1] == "#")
    }

    fn first_child(&self, parent: NodeIndex, depth: usize) -> Option<NodeIndex> {
        let level = self.level(depth)?;
        if level != "+" && level != "#" {
            return self.tree.child(parent, level);
        }
        let first = self.tree.nodes[parent as usize].first_child;
        self.skip_hidden(first, depth)
    }

    fn next_sibling(&self, at: NodeIndex, depth: usize) -> Option<NodeIndex> {
        match self.level(depth) {
            Some("+" | "#") => self.skip_hidden(self.tree.nodes[at as usize].next, depth),
            _ => None,
        }
    }

    /// The first node from `at` on that a wildcard may match: not `$...` at the first level
    /// [MQTT-4.7.2-1].
    fn skip_hidden(&self, at: NodeIndex, depth: usize) -> Option<NodeIndex> {
        let mut at = at;
        loop {
            let node = self.tree.nodes.get(at as usize)?;
            if depth > 0 || !node.level.as_bytes().starts_with(b"$") {
                return Some(at);
            }
            at = node.next;
        }
    }

    fn enter(&mut self, at: NodeIndex, depth: usize) {
        if depth > 0 {
            self.topic.push('/');
        }
        self.topic.push_str(self.tree.nodes[at as usize].level.as_str());
    }

    fn leave(&mut self, at: NodeIndex, depth: usize) {
        let bytes = self.tree.nodes[at as usize].level.as_bytes().len() + usize::from(depth > 0);
        self.topic.truncate(self.topic.len() - bytes);
    }
}
