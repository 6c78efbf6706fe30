//! Which messages are acknowledged without waiting for the state. Pure data.

use std::sync::Arc;

use crate::topic::FilterTrie;

/// When PUBACK and PUBREC of a message may leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AcknowledgeWhen {
    /// The state has committed what is to be kept of it.
    Committed,
    /// That was proposed: what follows may still lose it.
    Proposed,
}

/// A rule for the topics that a filter matches. The first one that matches decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DurabilityRule {
    /// The Topic Filter, not of a Shared Subscription.
    pub filter: Arc<str>,
    /// What holds for them.
    pub when: AcknowledgeWhen,
}

/// The rules, ready to be asked.
#[derive(Debug)]
pub(crate) struct DurabilityRules(Option<FilterTrie<(usize, AcknowledgeWhen)>>);

impl DurabilityRules {
    pub(crate) fn new(rules: &[DurabilityRule], seed: u64) -> Self {
        if rules.is_empty() {
            return Self(None);
        }
        let mut trie = FilterTrie::with_seed(seed);
        for (place, rule) in rules.iter().enumerate() {
            trie.insert(&rule.filter, (place, rule.when));
        }
        Self(Some(trie))
    }

    /// Whether a message of this topic is acknowledged at once.
    pub(crate) fn acknowledges_at_once(&self, topic: &str) -> bool {
        let Some(trie) = &self.0 else { return false };
        let mut first: Option<(usize, AcknowledgeWhen)> = None;
        trie.for_each_match(topic, |rule| {
            if first.is_none_or(|(place, _)| rule.0 < place) {
                first = Some(*rule);
            }
        });
        first.is_some_and(|(_, when)| when == AcknowledgeWhen::Proposed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_rule_that_matches_decides_and_without_one_the_state_is_waited_for() {
        let rule = |filter: &str, when| DurabilityRule { filter: filter.into(), when };
        let rules = [
            rule("a/b", AcknowledgeWhen::Committed),
            rule("a/#", AcknowledgeWhen::Proposed),
            rule("a/+/c", AcknowledgeWhen::Committed),
        ];
        let rules = DurabilityRules::new(&rules, 1);
        let at_once = |topic| rules.acknowledges_at_once(topic);
        assert_eq!(
            ["a", "a/b", "a/x/c", "b", "$SYS/a"].map(at_once),
            [true, false, true, false, false]
        );
        assert!(!DurabilityRules::new(&[], 1).acknowledges_at_once("a"));
    }
}
