//! Other topics in place of those that clients name. Pure.

use super::{LEVELS_MAX, TopicFilter};

/// Which packets a rule is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RewriteAction {
    /// PUBLISH and wills.
    Publish,
    /// SUBSCRIBE and UNSUBSCRIBE.
    Subscribe,
    /// All of these.
    All,
}

/// One rule: a topic (or filter) that its source matches becomes its destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rewrite {
    action: RewriteAction,
    source: Box<str>,
    destination: Box<[Piece]>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(Box<str>),
    /// What the source's wildcard with this number matched, from 0.
    Wildcard(usize),
}

impl Rewrite {
    /// `source`: a Topic Filter. `destination`: a topic, in which `$1` to `$9` stand for what the
    /// source's wildcards match, in their order; a number above theirs stands for nothing.
    #[must_use]
    pub fn new(action: RewriteAction, source: &str, destination: &str) -> Self {
        Self { action, source: source.into(), destination: pieces(destination) }
    }

    /// The destination for a topic or filter, if the rule is for it. None either where it would be
    /// no valid one, as it has become too long.
    fn apply(&self, action: RewriteAction, text: &str) -> Option<String> {
        if self.action != RewriteAction::All && self.action != action {
            return None;
        }
        let captures = captures(&self.source, text)?;
        let mut out = String::with_capacity(text.len());
        for piece in &self.destination {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Wildcard(number) => match captures.get(*number).copied().flatten() {
                    Some(text) => out.push_str(text),
                    // `a/#` matches `a` too: then nothing is left of the level.
                    None if out.ends_with('/') => drop(out.pop()),
                    None => {}
                },
            }
        }
        TopicFilter::parse(&out, LEVELS_MAX).is_ok().then_some(out)
    }
}

/// What the first rule that is for it makes of a topic or filter; `None`: it stays.
#[must_use]
pub fn rewrite(rules: &[Rewrite], action: RewriteAction, text: &str) -> Option<String> {
    rules.iter().find_map(|rule| rule.apply(action, text))
}

fn pieces(destination: &str) -> Box<[Piece]> {
    let (mut pieces, mut text, mut rest) = (Vec::new(), String::new(), destination);
    while let Some(at) = rest.find('$') {
        let (before, from) = rest.split_at(at);
        text.push_str(before);
        let digit = from.as_bytes().get(1).filter(|byte| (b'1'..=b'9').contains(byte));
        rest = &from[1..];
        match digit {
            None => text.push('$'),
            Some(digit) => {
                pieces.push(Piece::Text(std::mem::take(&mut text).into()));
                pieces.push(Piece::Wildcard(usize::from(digit - b'1')));
                rest = &rest[1..];
            }
        }
    }
    text.push_str(rest);
    pieces.push(Piece::Text(text.into()));
    pieces.into()
}

/// What the wildcards of the source match in a topic, or in a filter that it covers; `None` when it
/// does not. Spec: MQTT 5.0 section 4.7.
fn captures<'a>(source: &str, text: &'a str) -> Option<Vec<Option<&'a str>>> {
    if source.starts_with('$') != text.starts_with('$') {
        return None;
    }
    let mut captures = Vec::new();
    // The text from the level that is looked at, as long as there is one.
    let mut rest = Some(text);
    for wanted in source.split('/') {
        if wanted == "#" {
            captures.push(rest);
            return Some(captures);
        }
        let (level, after) = match rest?.split_once('/') {
            Some((level, after)) => (level, Some(after)),
            None => (rest?, None),
        };
        match wanted {
            // `#` is more than one level.
            "+" if level != "#" => captures.push(Some(level)),
            _ if wanted == level => {}
            _ => return None,
        }
        rest = after;
    }
    rest.is_none().then_some(captures)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_of_the_source_stand_where_the_destination_wants_them() {
        for (source, destination, text, expected) in [
            ("y/+/z/#", "y/z/$2", "y/a/z/b", Some("y/z/b")),
            ("y/+/z/#", "$2/x/$1", "y/a/z/b/c", Some("b/c/x/a")),
            ("a/#", "b/$1", "a", Some("b")),
            ("a/#", "b/$1", "a/", Some("b/")),
            ("a/#", "b/$1", "a//c", Some("b//c")),
            ("a/#", "b/$1", "ab", None),
            ("+", "all/$1", "x", Some("all/x")),
            ("+", "all/$1", "x/y", None),
            ("+/x", "all/$1", "$SYS/x", None),
            ("$old/+", "new/$1", "$old/x", Some("new/x")),
            ("a/b", "c", "a/b", Some("c")),
            ("a/b", "c", "a/b/c", None),
            ("a/b", "c", "a", None),
            ("a/+", "b/$9", "a/x", Some("b")),
            ("a", "$x/$/$0", "a", Some("$x/$/$0")),
            // Filters: a wildcard is a level like others, but `#` is more than one.
            ("a/+/#", "b/$1/$2", "a/+/c/#", Some("b/+/c/#")),
            ("a/+", "b/$1", "a/#", None),
            ("a/#", "b/$1", "a/#", Some("b/#")),
            ("a/#", "b/$1", "#", None),
            ("a/+", "b$1", "a/+", None),
        ] {
            let rule = Rewrite::new(RewriteAction::All, source, destination);
            let made = rewrite(&[rule], RewriteAction::Publish, text);
            assert_eq!(made.as_deref(), expected, "{source} -> {destination}: {text}");
        }
    }

    #[test]
    fn the_first_rule_for_the_packet_decides_and_what_becomes_too_long_stays() {
        let rules = [
            Rewrite::new(RewriteAction::Subscribe, "a", "s"),
            Rewrite::new(RewriteAction::All, "a", "b"),
            Rewrite::new(RewriteAction::All, "b", "c"),
            Rewrite::new(RewriteAction::All, "long/#", "longer/$1"),
        ];
        let made = |action, text| rewrite(&rules, action, text);
        assert_eq!(made(RewriteAction::Publish, "a").as_deref(), Some("b"));
        assert_eq!(made(RewriteAction::Subscribe, "a").as_deref(), Some("s"));
        assert_eq!(made(RewriteAction::Publish, "x"), None);
        let long = format!("long/{}", "x".repeat(65_530));
        assert_eq!(made(RewriteAction::Publish, &long), None);
    }
}
