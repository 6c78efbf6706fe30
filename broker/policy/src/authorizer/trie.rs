//! Topic filters with ranks, searched by topic level. Pure.

use super::Identity;

/// The rank of no rule.
pub(super) const UNRANKED: u32 = u32::MAX;
const ROOT: usize = 0;
const NO_NODE: usize = usize::MAX;

/// What the searched text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Search {
    /// A topic name, to be matched.
    TopicName,
    /// A topic filter, to be covered.
    TopicFilter,
}

/// Filters as a tree of levels. Each node is reached by one sequence of levels only.
#[derive(Debug)]
pub(super) struct Trie {
    nodes: Vec<Node>,
}

#[derive(Debug)]
struct Node {
    /// Next nodes by the text of the level, sorted.
    literals: Vec<(Box<str>, usize)>,
    single_level: usize,
    username: usize,
    client_id: usize,
    /// Rank of the filter that ends here.
    end: u32,
    /// Rank of the filter that goes on with `#`.
    multi_level: u32,
    /// Lowest rank in this node and below: what a search can gain here.
    best: u32,
}

impl Node {
    const fn new() -> Self {
        Self {
            literals: Vec::new(),
            single_level: NO_NODE,
            username: NO_NODE,
            client_id: NO_NODE,
            end: UNRANKED,
            multi_level: UNRANKED,
            best: UNRANKED,
        }
    }
}

impl Default for Trie {
    fn default() -> Self {
        Self { nodes: vec![Node::new()] }
    }
}

impl Trie {
    /// Adds a valid filter; of equal filters the lowest rank stays.
    pub(super) fn insert(&mut self, filter: &str, rank: u32) {
        let mut at = ROOT;
        self.nodes[at].best = self.nodes[at].best.min(rank);
        for level in filter.split('/') {
            if level == "#" {
                let node = &mut self.nodes[at];
                node.multi_level = node.multi_level.min(rank);
                return;
            }
            at = self.child(at, level);
            self.nodes[at].best = self.nodes[at].best.min(rank);
        }
        self.nodes[at].end = self.nodes[at].end.min(rank);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.nodes[ROOT].best == UNRANKED
    }

    /// Whether a filter has a level that stands for a name.
    pub(super) fn has_names(&self) -> bool {
        self.nodes.iter().any(|node| node.username != NO_NODE || node.client_id != NO_NODE)
    }

    fn child(&mut self, at: usize, level: &str) -> usize {
        let new = self.nodes.len();
        let node = &mut self.nodes[at];
        let slot = match level {
            "+" => &mut node.single_level,
            "%u" => &mut node.username,
            "%c" => &mut node.client_id,
            _ => match node.literals.binary_search_by(|(text, _)| (**text).cmp(level)) {
                Ok(found) => &mut node.literals[found].1,
                Err(place) => {
                    node.literals.insert(place, (level.into(), NO_NODE));
                    &mut node.literals[place].1
                }
            },
        };
        if *slot == NO_NODE {
            *slot = new;
            self.nodes.push(Node::new());
            return new;
        }
        *slot
    }

    /// The lowest rank of a filter that matches or covers the topic, if below `best`.
    pub(super) fn search(
        &self,
        search: Search,
        topic: &str,
        identity: &Identity,
        best: u32,
    ) -> u32 {
        let mut walk = Walk { trie: self, search, identity, best };
        if topic.starts_with('$') {
            walk.visit_dollar_root(topic);
        } else {
            walk.visit(ROOT, Some(topic));
        }
        walk.best
    }
}

struct Walk<'a> {
    trie: &'a Trie,
    search: Search,
    identity: &'a Identity,
    best: u32,
}

impl Walk<'_> {
    /// Only a filter that itself begins with `$` speaks of such topics.
    fn visit_dollar_root(&mut self, topic: &str) {
        let (level, rest) = split_level(topic);
        self.visit_literal(ROOT, level, rest);
    }

    /// Looks at a node with the levels that are left; the depth is that of the deepest filter.
    fn visit(&mut self, at: usize, levels: Option<&str>) {
        let node = &self.trie.nodes[at];
        if node.best >= self.best {
            return;
        }
        self.best = self.best.min(node.multi_level);
        let Some(levels) = levels else {
            self.best = self.best.min(node.end);
            return;
        };
        let (level, rest) = split_level(levels);
        self.visit_literal(at, level, rest);
        let is_taken = self.search == Search::TopicName || level != "#";
        if node.single_level != NO_NODE && is_taken {
            self.visit(node.single_level, rest);
        }
        if node.username != NO_NODE
            && let Some(name) = self.identity.username.as_deref()
            && let Some(rest) = strip_name(levels, name)
        {
            self.visit(node.username, rest);
        }
        if node.client_id != NO_NODE
            && let Some(rest) = strip_name(levels, &self.identity.client_id)
        {
            self.visit(node.client_id, rest);
        }
    }

    fn visit_literal(&mut self, at: usize, level: &str, rest: Option<&str>) {
        let literals = &self.trie.nodes[at].literals;
        if let Ok(found) = literals.binary_search_by(|(text, _)| (**text).cmp(level)) {
            self.visit(literals[found].1, rest);
        }
    }
}

/// The first level, and the levels after it if there are any. Levels are short, so a plain loop
/// beats a search that prepares itself first.
fn split_level(levels: &str) -> (&str, Option<&str>) {
    match levels.bytes().position(|byte| byte == b'/') {
        Some(at) => (&levels[..at], Some(&levels[at + 1..])),
        None => (levels, None),
    }
}

/// What is left of the levels after the name, which may span several of them.
fn strip_name<'a>(levels: &'a str, name: &str) -> Option<Option<&'a str>> {
    if !is_substitutable(name) {
        return None;
    }
    let rest = levels.strip_prefix(name)?;
    if rest.is_empty() { Some(None) } else { rest.strip_prefix('/').map(Some) }
}

/// Whether `%u` or `%c` may stand for the name: one that is empty, holds a wildcard or is nothing
/// but separators would match more than itself.
pub(super) fn is_substitutable(name: &str) -> bool {
    !crate::topic::has_wildcard(name) && name.bytes().any(|byte| byte != b'/')
}
