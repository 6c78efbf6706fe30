//! The topic trees against the plain statement of the matching rules.

#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use broker_core::topic::{FilterTrie, LEVELS_MAX, TopicFilter, TopicName, TopicTree, matches};
use proptest::collection::vec;
use proptest::prelude::*;

/// Few different levels, so that topics and filters meet; empty and `$` levels among them, and
/// one longer than a tree's node holds inline.
const LEVEL: &str = "(|a|b|\\$x|\\$|é|日本|a level that is longer than a node)";

fn topic() -> impl Strategy<Value = String> {
    let few = format!("{LEVEL}(/{LEVEL}){{0,4}}");
    let few = proptest::string::string_regex(&few).unwrap();
    prop_oneof![8 => few, 1 => "[^\u{0}+#]{1,10}"].prop_filter("not empty", |text| !text.is_empty())
}

fn filter() -> impl Strategy<Value = String> {
    let level = format!("(\\+|{LEVEL})");
    let few = format!("{level}(/{level}){{0,3}}(/#)?");
    let few = proptest::string::string_regex(&few).unwrap();
    prop_oneof![8 => few, 1 => Just("#".to_owned()), 1 => "[^\u{0}+#]{1,10}"]
        .prop_filter("not empty", |text| !text.is_empty())
}

fn has_match<V>(trie: &FilterTrie<V>, topic: &str) -> bool {
    trie.try_for_each_match(topic, |_| ControlFlow::Break(())).is_break()
}

#[derive(Debug, Clone)]
enum Step {
    Insert(String),
    Remove(prop::sample::Index),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => filter().prop_map(Step::Insert),
        1 => any::<prop::sample::Index>().prop_map(Step::Remove),
    ];
    vec(step, 0..60)
}

proptest! {
    #[test]
    fn the_filter_trie_agrees_with_the_rules(steps in steps(), topics in vec(topic(), 1..10)) {
        let mut trie = FilterTrie::new();
        let mut model: Vec<(String, usize)> = Vec::new();
        for (value, step) in steps.into_iter().enumerate() {
            match step {
                Step::Insert(filter) => {
                    trie.insert(&filter, value);
                    model.push((filter, value));
                }
                Step::Remove(at) if !model.is_empty() => {
                    let (filter, value) = model.swap_remove(at.index(model.len()));
                    prop_assert_eq!(trie.remove(&filter, |&other| other == value), Some(value));
                    prop_assert_eq!(trie.remove(&filter, |&other| other == value), None);
                }
                Step::Remove(_) => {}
            }
        }
        prop_assert_eq!(trie.len(), model.len());
        let filters: BTreeSet<_> = model.iter().map(|(filter, _)| filter).collect();
        prop_assert_eq!(trie.filter_count(), filters.len());
        for topic in &topics {
            let mut found = Vec::new();
            trie.for_each_match(topic, |&value| found.push(value));
            found.sort_unstable();
            let mut expected: Vec<_> = model
                .iter()
                .filter(|(filter, _)| matches(filter, topic))
                .map(|&(_, value)| value)
                .collect();
            expected.sort_unstable();
            prop_assert_eq!(&found, &expected, "{}", topic);
            prop_assert_eq!(has_match(&trie, topic), !expected.is_empty());
        }
        let mut listed = Vec::new();
        trie.for_each(|filter, &value| listed.push((filter.to_owned(), value)));
        listed.sort();
        model.sort();
        prop_assert_eq!(&listed, &model);
        for (filter, value) in model {
            prop_assert!(trie.get(&filter).contains(&value));
            trie.remove(&filter, |&other| other == value);
        }
        prop_assert!(trie.is_empty() && trie.filter_count() == 0);
        prop_assert!(topics.iter().all(|topic| !has_match(&trie, topic)));
    }

    #[test]
    fn the_topic_tree_agrees_with_the_rules(
        inserted in vec(topic(), 0..40),
        removed in vec(any::<prop::sample::Index>(), 0..20),
        filters in vec(filter(), 1..10),
    ) {
        let mut tree = TopicTree::new();
        let mut model = BTreeMap::new();
        for (value, topic) in inserted.iter().enumerate() {
            prop_assert_eq!(tree.insert(topic, value), model.insert(topic.clone(), value));
        }
        for at in removed {
            if !inserted.is_empty() {
                let topic = at.get(&inserted);
                prop_assert_eq!(tree.remove(topic), model.remove(topic));
            }
        }
        prop_assert_eq!(tree.len(), model.len());
        for filter in &filters {
            let mut found = Vec::new();
            tree.for_each_match(filter, |topic, &value| found.push((topic.to_owned(), value)));
            found.sort();
            let expected: Vec<_> = model
                .iter()
                .filter(|(topic, _)| matches(filter, topic))
                .map(|(topic, &value)| (topic.clone(), value))
                .collect();
            prop_assert_eq!(&found, &expected, "{}", filter);
        }
        for (topic, value) in &model {
            prop_assert_eq!(tree.get(topic), Some(value));
        }
    }

    #[test]
    fn arbitrary_text_is_parsed_without_panic(text in "\\PC{0,20}|[$share/+#\u{0}a]{0,20}") {
        if let Ok(name) = TopicName::parse(&text, LEVELS_MAX) {
            prop_assert!(matches(name.as_str(), name.as_str()));
            prop_assert!(text.starts_with('$') || matches("#", name.as_str()));
        }
        if let Ok(filter) = TopicFilter::parse(&text, LEVELS_MAX) {
            prop_assert_eq!(filter.as_str(), &text);
            let name = filter.share_name().map(|name| name.as_str());
            let prefix = name.map_or(String::new(), |name| format!("$share/{name}/"));
            prop_assert_eq!(format!("{prefix}{}", filter.filter()), text);
        }
    }
}

/// More branches at once than the walk keeps aside, at the greatest depth.
#[test]
fn a_filter_of_each_wildcard_pattern_is_found_once() {
    let mut trie = FilterTrie::new();
    for pattern in 0..1 << 12 {
        let levels: Vec<_> =
            (0..12).map(|at| if pattern >> at & 1 == 1 { "+" } else { "a" }).collect();
        trie.insert(&levels.join("/"), pattern);
    }
    let mut found = Vec::new();
    trie.for_each_match(&["a"; 12].join("/"), |&pattern| found.push(pattern));
    found.sort_unstable();
    assert_eq!(found, (0..1 << 12).collect::<Vec<_>>());

    let deep = ["+"; LEVELS_MAX].join("/");
    let topic = ["a"; LEVELS_MAX].join("/");
    trie.insert(&deep, -1);
    trie.insert(&topic, -2);
    for at in 0..LEVELS_MAX {
        let mut levels = ["a"; LEVELS_MAX];
        levels[at] = "+";
        trie.insert(&levels.join("/"), -3);
    }
    let mut count = 0;
    trie.for_each_match(&topic, |_| count += 1);
    assert_eq!(count, LEVELS_MAX + 2);
}
