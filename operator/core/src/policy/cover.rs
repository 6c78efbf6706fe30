//! Finds the topic filters that always cover another one. Pure.
//!
//! As `%u` and `%c` may stand for several levels, `+` does not cover them; they cover themselves.

use std::collections::HashMap;

/// Topic filters with values, searched by a filter that they cover.
#[derive(Debug, Default)]
pub(super) struct CoverIndex {
    nodes: Vec<Node>,
}

#[derive(Debug, Default)]
struct Node {
    children: HashMap<String, usize>,
    /// Values of the filters that end here, in order of insertion.
    ends: Vec<usize>,
    /// Values of the filters that go on with `#`.
    open: Vec<usize>,
}

impl CoverIndex {
    pub(super) fn insert(&mut self, filter: &str, value: usize) {
        if self.nodes.is_empty() {
            self.nodes.push(Node::default());
        }
        let mut at = 0;
        for level in filter.split('/') {
            if level == "#" {
                self.nodes[at].open.push(value);
                return;
            }
            let next = self.nodes.len();
            at = *self.nodes[at].children.entry(level.to_owned()).or_insert(next);
            if at == next {
                self.nodes.push(Node::default());
            }
        }
        self.nodes[at].ends.push(value);
    }

    /// Calls `visit` with the values of each filter that covers this one, in order of insertion
    /// for each filter.
    pub(super) fn covering<'a>(&'a self, filter: &str, visit: &mut dyn FnMut(&'a [usize])) {
        if self.nodes.is_empty() {
            return;
        }
        if filter.starts_with('$') {
            let (level, rest) = split_level(filter);
            if let Some(next) = self.nodes[0].children.get(level) {
                self.visit(*next, rest, visit);
            }
        } else {
            self.visit(0, Some(filter), visit);
        }
    }

    fn visit<'a>(&'a self, at: usize, levels: Option<&str>, visit: &mut dyn FnMut(&'a [usize])) {
        let node = &self.nodes[at];
        visit(&node.open);
        let Some(levels) = levels else {
            visit(&node.ends);
            return;
        };
        let (level, rest) = split_level(levels);
        if let Some(next) = node.children.get(level) {
            self.visit(*next, rest, visit);
        }
        if !matches!(level, "#" | "+" | "%u" | "%c")
            && let Some(next) = node.children.get("+")
        {
            self.visit(*next, rest, visit);
        }
    }
}

fn split_level(levels: &str) -> (&str, Option<&str>) {
    match levels.split_once('/') {
        Some((level, rest)) => (level, Some(rest)),
        None => (levels, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covering(filters: &[&str], covered: &str) -> Vec<usize> {
        let mut index = CoverIndex::default();
        filters.iter().enumerate().for_each(|(value, filter)| index.insert(filter, value));
        let mut found = Vec::new();
        index.covering(covered, &mut |values| found.extend(values));
        found.sort_unstable();
        found
    }

    #[test]
    fn a_filter_is_covered_by_wider_ones_and_itself() {
        let filters = ["a/b", "a/+", "a/#", "#", "+/b", "b/#", "$a/#", "a/b/c"];
        assert_eq!(covering(&filters, "a/b"), [0, 1, 2, 3, 4]);
        assert_eq!(covering(&filters, "a/+"), [1, 2, 3]);
        assert_eq!(covering(&filters, "a/#"), [2, 3]);
        assert_eq!(covering(&filters, "$a/b"), [6]);
        assert_eq!(covering(&[], "a"), Vec::<usize>::new());
    }

    #[test]
    fn a_name_is_covered_by_itself_and_by_what_is_open() {
        let filters = ["f/+/x", "f/%u/x", "f/#", "f/%c/x"];
        assert_eq!(covering(&filters, "f/%u/x"), [1, 2]);
        assert_eq!(covering(&filters, "f/17/x"), [0, 2]);
    }
}
