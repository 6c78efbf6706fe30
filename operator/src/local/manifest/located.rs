//! Where a field stands: from a path such as `spec.rules[0].effect` to a line. Pure.

use std::collections::BTreeMap;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

/// The line on which the value of `path` begins, counted within `text` from 1; that of the nearest thing around it when the path
/// itself is not there.
pub(super) fn line_of(text: &str, path: &str) -> Option<usize> {
    let root: Spanned<Node> =
        serde_saphyr::from_str_with_options(text, super::document::options()).ok()?;
    let mut line = root.referenced.line();
    let mut node = &root;
    for part in parts(path) {
        let next = match (&node.value, part) {
            (Node::Map(entries), Part::Field(name)) => entries.get(name),
            (Node::Seq(items), Part::Item(at)) => items.get(at),
            _ => None,
        };
        let Some(next) = next else { break };
        line = next.referenced.line();
        node = next;
    }
    usize::try_from(line).ok().filter(|line| *line > 0)
}

enum Part<'a> {
    Field(&'a str),
    Item(usize),
}

fn parts(path: &str) -> impl Iterator<Item = Part<'_>> {
    path.split(['.', '[']).filter(|part| !part.is_empty()).map(|part| {
        match part.strip_suffix(']').and_then(|number| number.parse().ok()) {
            Some(at) => Part::Item(at),
            None => Part::Field(part),
        }
    })
}

/// The shape of a document with places; scalars are of no interest.
enum Node {
    Scalar,
    Seq(Vec<Spanned<Node>>),
    Map(BTreeMap<String, Spanned<Node>>),
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("any value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Node, E> {
        Ok(Node::Scalar)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Node, E> {
        Ok(Node::Scalar)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Node, E> {
        Ok(Node::Scalar)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Node, E> {
        Ok(Node::Scalar)
    }

    fn visit_str<E>(self, _: &str) -> Result<Node, E> {
        Ok(Node::Scalar)
    }

    fn visit_bytes<E>(self, _: &[u8]) -> Result<Node, E> {
        Ok(Node::Scalar)
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Scalar)
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Scalar)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        Node::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Node::Seq(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
        let mut entries = BTreeMap::new();
        while let Some(name) = access.next_key::<Name>()? {
            match name {
                Name::Text(name) => drop(entries.insert(name, access.next_value()?)),
                Name::Other => drop(access.next_value::<IgnoredAny>()?),
            }
        }
        Ok(Node::Map(entries))
    }
}

/// A key; only text can be a field's name.
enum Name {
    Text(String),
    Other,
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        Ok(match value {
            serde_json::Value::String(text) => Self::Text(text),
            _ => Self::Other,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "kind: A\nmetadata: {name: b}\nspec:\n  version: 1\n  rules:\n  - effect: x\n    topics:\n    - a\n    - b\n";

    #[test]
    fn a_path_leads_to_its_line() {
        assert_eq!(line_of(TEXT, "spec.version"), Some(4));
        assert_eq!(line_of(TEXT, "spec.rules[0].effect"), Some(6));
        assert_eq!(line_of(TEXT, "spec.rules[0].topics[1]"), Some(9));
        assert_eq!(line_of(TEXT, "metadata.name"), Some(2));
    }

    #[test]
    fn what_is_missing_is_placed_at_what_is_around_it() {
        assert_eq!(line_of(TEXT, "spec.rules[0].actions"), Some(6));
        assert_eq!(line_of(TEXT, ""), Some(1));
    }

    #[test]
    fn a_text_that_is_no_yaml_has_no_lines() {
        assert_eq!(line_of("a: [", "a"), None);
    }
}
