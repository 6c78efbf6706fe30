//! The rules of section 4.7 by example; many of the rows are the specification's own.

use std::ops::ControlFlow;

use super::*;

#[test]
fn filters_match_as_the_specification_shows() {
    let rows = [
        ("sport/tennis/player1/#", "sport/tennis/player1", true),
        ("sport/tennis/player1/#", "sport/tennis/player1/ranking", true),
        ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", true),
        ("sport/tennis/player1/#", "sport/tennis/player10", false),
        ("sport/#", "sport", true),
        ("#", "sport/tennis", true),
        ("#", "/", true),
        ("sport/tennis/+", "sport/tennis/player1", true),
        ("sport/tennis/+", "sport/tennis/player1/ranking", false),
        ("sport/+", "sport", false),
        ("sport/+", "sport/", true),
        ("+/+", "/finance", true),
        ("/+", "/finance", true),
        ("+", "/finance", false),
        ("+/tennis/#", "sport/tennis", true),
        ("a", "A", false),
        ("/finance", "finance", false),
        ("#", "$SYS/monitor", false),
        ("+/monitor/Clients", "$SYS/monitor/Clients", false),
        ("$SYS/#", "$SYS/monitor", true),
        ("$SYS/monitor/+", "$SYS/monitor/Clients", true),
        ("a/+", "a/$x", true),
        ("a/+", "a/", true),
        ("a/b", "a/b", true),
        ("a/b", "a/b/c", false),
        ("+/+", "/x", true),
        ("a/#", "a/$x", true),
    ];
    for (filter, topic, expected) in rows {
        assert_eq!(matches(filter, topic), expected, "{filter} {topic}");
        let mut trie = FilterTrie::new();
        trie.insert(filter, ());
        assert_eq!(
            trie.try_for_each_match(topic, |()| ControlFlow::Break(())).is_break(),
            expected,
            "trie: {filter} {topic}"
        );
        let mut tree = TopicTree::new();
        tree.insert(topic, ());
        let mut found = Vec::new();
        tree.for_each_match(filter, |topic, ()| found.push(topic.to_owned()));
        assert_eq!(found == [topic], expected, "tree: {filter} {topic}");
    }
}

#[test]
fn topic_names_are_checked() {
    let rows = [
        ("", TopicError::Empty),
        ("a/+", TopicError::WildcardInName),
        ("a#", TopicError::WildcardInName),
        ("a\0", TopicError::NullCharacter),
        ("a/b/c/d", TopicError::TooManyLevels { levels_max: 3 }),
        ("///", TopicError::TooManyLevels { levels_max: 3 }),
    ];
    for (text, error) in rows {
        assert_eq!(TopicName::parse(text, 3), Err(error), "{text:?}");
    }
    for text in ["/", "//", "a b", "é/日本", "$SYS/x", "$share/g/a"] {
        assert!(TopicName::parse(text, 3).is_ok(), "{text:?}");
    }
    let long = "x".repeat(65_536);
    assert_eq!(TopicName::parse(&long, 3), Err(TopicError::TooLong));
    assert!(TopicName::parse(&long[1..], 3).is_ok());
}

#[test]
fn topic_filters_are_checked() {
    let rows = [
        ("", TopicError::Empty),
        ("a\0/b", TopicError::NullCharacter),
        ("sport+", TopicError::SingleLevelWildcard),
        ("sport/+x/y", TopicError::SingleLevelWildcard),
        ("++", TopicError::SingleLevelWildcard),
        ("sport/tennis#", TopicError::MultiLevelWildcard),
        ("sport/#/ranking", TopicError::MultiLevelWildcard),
        ("#/", TopicError::MultiLevelWildcard),
        ("##", TopicError::MultiLevelWildcard),
        ("$share/", TopicError::ShareName),
        ("$share//a", TopicError::ShareName),
        ("$share/a+/b", TopicError::ShareName),
        ("$share/#/b", TopicError::ShareName),
        ("$share/g\0/b", TopicError::NullCharacter),
        ("$share/g", TopicError::ShareWithoutFilter),
        ("$share/g/", TopicError::ShareWithoutFilter),
        ("$share/g/a#", TopicError::MultiLevelWildcard),
        ("a/b/c/#", TopicError::TooManyLevels { levels_max: 3 }),
        ("$share/g/a/b/c/d", TopicError::TooManyLevels { levels_max: 3 }),
    ];
    for (text, error) in rows {
        assert_eq!(TopicFilter::parse(text, 3), Err(error), "{text:?}");
    }
    for text in ["#", "+", "+/#", "/+/#", "a//#", "$share", "$SYS/#", "é/+", "$share/g/a/b/c"] {
        assert!(TopicFilter::parse(text, 3).is_ok(), "{text:?}");
    }
}

#[test]
fn a_shared_filter_is_taken_apart() {
    let filter = TopicFilter::parse("$share/consumer/sport/+", 8).unwrap();
    assert_eq!(filter.share_name().map(ShareName::as_str), Some("consumer"));
    assert_eq!(filter.filter(), "sport/+");
    assert_eq!(filter.as_str(), "$share/consumer/sport/+");
    assert!(filter.has_wildcard());
    let plain = TopicFilter::parse("$shared/x", 8).unwrap();
    assert_eq!((plain.share_name(), plain.filter()), (None, "$shared/x"));
    assert!(!plain.has_wildcard());
    assert!(TopicFilter::parse("$share/g//finance", 8).is_ok_and(|it| it.filter() == "/finance"));
}

#[test]
fn removing_the_last_value_frees_the_nodes_for_reuse() {
    let mut trie = FilterTrie::new();
    for round in 0..100 {
        let (filter, literal) = (format!("a{round}/+/c/#"), format!("a/{round}"));
        trie.insert(&filter, round);
        trie.insert(&literal, round);
        assert_eq!(trie.remove(&filter, |_| true), Some(round));
        assert_eq!(trie.remove(&literal, |_| true), Some(round));
    }
    assert!(trie.node_count() <= 7, "{} nodes", trie.node_count());
    assert_eq!(trie.remove("a/+/c/#", |_| true), None);
    assert_eq!(trie.remove("+", |_| true), None);
}

#[test]
fn values_of_one_filter_are_kept_apart() {
    let mut trie = FilterTrie::new();
    for value in [1, 2, 2, 3] {
        trie.insert("a/#", value);
    }
    assert_eq!((trie.len(), trie.filter_count()), (4, 1));
    assert_eq!(trie.remove("a/#", |&value| value == 2), Some(2));
    trie.get_mut("a/#").iter_mut().for_each(|value| *value *= 10);
    let mut values = trie.get("a/#").to_vec();
    values.sort_unstable();
    assert_eq!(values, [10, 20, 30]);
    assert!(trie.get("a/+").is_empty() && trie.get("a").is_empty());
}

#[test]
fn a_search_stops_when_told() {
    let mut tree = TopicTree::new();
    let mut trie = FilterTrie::new();
    for value in 0..10 {
        tree.insert(&format!("t/{value}"), value);
        trie.insert("t/+", value);
    }
    let mut seen = 0;
    let stopped = tree.try_for_each_match("t/#", |_, _| {
        seen += 1;
        if seen == 3 { ControlFlow::Break("full") } else { ControlFlow::Continue(()) }
    });
    assert_eq!((stopped, seen), (ControlFlow::Break("full"), 3));
}
