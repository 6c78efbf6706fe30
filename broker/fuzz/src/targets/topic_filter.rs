//! Topic Filters and Topic Names: which are valid, and which match, against a naive reading of
//! sections 4.7 and 4.8. The input's last line is a Topic Name, those before are filters.

use std::collections::BTreeSet;

use broker_core::topic::{FilterTrie, LEVELS_MAX, TopicFilter, TopicName, TopicTree, matches};

use super::Target;

pub(super) const TARGET: Target = Target {
    name: "topic_filter",
    check,
    seeds,
    words: &[
        b"+",
        b"#",
        b"/",
        b"/+",
        b"/#",
        b"$share/g/",
        b"$SYS",
        b"$",
        b"\n",
        b"a",
        b"//",
        "é".as_bytes(),
    ],
    bytes_max: 192,
};

fn seeds() -> Vec<Vec<u8>> {
    let lines = [
        "a\na",
        "+\n#\na/+\na/#\na/b\na/b",
        "$share/g/a/+\n$share/h/#\na/b",
        "#\n+/x\n$SYS/#\n$SYS/x",
        "sport/tennis/+/ranking\nsport/#\nsport/tennis/player1/ranking",
        "/\n+/+\n/+\n#\n/finance",
        "a//b\na/+/b\na/#\na//b",
        "a/#\na",
        "a+\n#/a\n+a\n$share/+/a\n$share//a\n$share/g/\na",
        "日本/+\n日本/é",
    ];
    lines.map(|text| text.as_bytes().to_vec()).into()
}

fn check(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let (filters, name) = text.rsplit_once('\n').unwrap_or((&text, ""));
    let is_name = TopicName::parse(name, LEVELS_MAX).is_ok();
    assert_eq!(is_name, naive_is_name(name), "name {name:?}");
    let mut valid = Vec::new();
    for text in filters.split('\n') {
        let parsed = TopicFilter::parse(text, LEVELS_MAX);
        assert_eq!(parsed.is_ok(), naive_filter(text).is_some(), "filter {text:?}: {parsed:?}");
        if let (Ok(filter), Some((share, rest))) = (parsed, naive_filter(text)) {
            assert_eq!(filter.share_name().map(|name| name.as_str()), share);
            assert_eq!(filter.filter(), rest);
            valid.push(rest);
        }
    }
    if !is_name {
        return;
    }
    for filter in &valid {
        assert_eq!(matches(filter, name), naive_matches(filter, name), "{filter:?} and {name:?}");
    }
    trie_agrees(&valid, name);
    tree_agrees(&valid, name);
}

fn naive_is_name(name: &str) -> bool {
    let levels = name.split('/').count();
    (1..=65_535).contains(&name.len()) && !name.contains(['+', '#', '\0']) && levels <= LEVELS_MAX
}

/// The share name and what is behind it, of a filter that is valid.
fn naive_filter(text: &str) -> Option<(Option<&str>, &str)> {
    if text.len() > 65_535 || text.contains('\0') {
        return None;
    }
    let (share, filter) = match text.strip_prefix("$share/") {
        None => (None, text),
        Some(rest) => {
            let (name, filter) = rest.split_once('/')?;
            let is_share = !name.is_empty() && !name.contains(['+', '#']);
            (Some(is_share.then_some(name)?), filter)
        }
    };
    let levels: Vec<&str> = filter.split('/').collect();
    let last = levels.len() - 1;
    let is_level = |(at, level): (usize, &&str)| match *level {
        "+" => true,
        "#" => at == last,
        level => !level.contains(['+', '#']),
    };
    let is_filter = !filter.is_empty() && levels.iter().enumerate().all(is_level);
    (is_filter && levels.len() <= LEVELS_MAX).then_some((share, filter))
}

/// As section 4.7 says it, level by level.
fn naive_matches(filter: &str, name: &str) -> bool {
    // [MQTT-4.7.2-1]
    if name.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    let (filter, name): (Vec<&str>, Vec<&str>) =
        (filter.split('/').collect(), name.split('/').collect());
    for (at, level) in filter.iter().enumerate() {
        match (*level, name.get(at)) {
            ("#", _) => return true,
            (_, None) => return false,
            ("+", Some(_)) => {}
            (level, Some(of_name)) if level == *of_name => {}
            _ => return false,
        }
    }
    // "#" also stands for no level at all.
    name.len() == filter.len()
}

fn found(trie: &FilterTrie<usize>, name: &str) -> BTreeSet<usize> {
    let mut found = BTreeSet::new();
    trie.for_each_match(name, |&value| {
        assert!(found.insert(value), "a value is found twice");
    });
    found
}

fn trie_agrees(filters: &[&str], name: &str) {
    let mut trie = FilterTrie::new();
    let mut left: BTreeSet<usize> = (0..filters.len()).collect();
    for (value, filter) in filters.iter().enumerate() {
        trie.insert(filter, value);
    }
    let expected = |left: &BTreeSet<usize>| -> BTreeSet<usize> {
        left.iter().copied().filter(|&at| naive_matches(filters[at], name)).collect()
    };
    assert_eq!(found(&trie, name), expected(&left), "{filters:?} and {name:?}");
    for (value, filter) in filters.iter().enumerate().step_by(2) {
        assert_eq!(trie.remove(filter, |&other| other == value), Some(value));
        left.remove(&value);
    }
    assert_eq!(found(&trie, name), expected(&left), "{filters:?} and {name:?}, half removed");
    for (value, filter) in filters.iter().enumerate().skip(1).step_by(2) {
        assert_eq!(trie.remove(filter, |&other| other == value), Some(value));
    }
    assert!(trie.is_empty() && trie.filter_count() == 0);
}

/// Filters that are names too are the topics of the tree.
fn tree_agrees(filters: &[&str], name: &str) {
    let mut topics: BTreeSet<&str> =
        filters.iter().copied().filter(|text| naive_is_name(text)).collect();
    topics.insert(name);
    let mut tree = TopicTree::new();
    for topic in &topics {
        assert_eq!(tree.insert(topic, ()), None);
    }
    for filter in filters {
        let mut found = BTreeSet::new();
        tree.for_each_match(filter, |topic, ()| {
            assert!(found.insert(topic.to_owned()), "a topic is found twice");
        });
        let expected: BTreeSet<String> = topics
            .iter()
            .filter(|topic| naive_matches(filter, topic))
            .map(|&topic| topic.to_owned())
            .collect();
        assert_eq!(found, expected, "{filter:?}");
    }
    for topic in &topics {
        assert_eq!(tree.remove(topic), Some(()));
    }
    assert!(tree.is_empty());
}
