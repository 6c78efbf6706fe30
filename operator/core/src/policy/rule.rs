//! The rules of one MqttAcl: what of them is valid, in evaluation order. Pure.

use std::cmp::Reverse;

use operator_api::MqttAcl;
use operator_api::acl::{AclRule, Effect, RuleAction, TopicMatch};

use super::check::{check_topic, has_name_level};
use super::problem::{Problem, ProblemReason};

/// The valid part of a rule.
#[derive(Debug, Clone)]
pub(super) struct ValidRule<'a> {
    /// Its place in `spec.rules`.
    pub(super) index: usize,
    pub(super) effect: Effect,
    pub(super) actions: Vec<RuleAction>,
    pub(super) topics: Vec<&'a str>,
    pub(super) topic_match: TopicMatch,
    pub(super) priority: i32,
}

impl ValidRule<'_> {
    pub(super) fn allows(&self) -> bool {
        self.effect == Effect::Allow
    }
}

/// The valid parts of all rules, the deciding ones first, with what is wrong with the others.
pub(super) fn check_rules<'a>(acl: &'a MqttAcl, problems: &mut Vec<Problem>) -> Vec<ValidRule<'a>> {
    let rules = acl.spec.rules.iter().enumerate();
    let mut valid: Vec<_> = rules.map(|(index, rule)| check_rule(index, rule, problems)).collect();
    valid.sort_by_key(|rule| (Reverse(rule.priority), rule.allows(), rule.index));
    valid
}

fn check_rule<'a>(index: usize, rule: &'a AclRule, problems: &mut Vec<Problem>) -> ValidRule<'a> {
    let mut report = |reason, field: &str, message: &str| {
        problems.push(Problem::new(reason, format!("spec.rules[{index}]{field}: {message}")));
    };
    if rule.actions.is_empty() {
        report(ProblemReason::InvalidRule, ".actions", "it is empty; name at least one action");
    }
    if rule.topics.is_empty() {
        report(ProblemReason::InvalidRule, ".topics", "it is empty; name at least one topic");
    }
    let is_literal = rule.match_ == TopicMatch::Literal;
    let mut actions = rule.actions.clone();
    actions.sort();
    actions.dedup();
    if is_literal && actions.iter().any(|action| !is_subscription(*action)) {
        report(
            ProblemReason::InvalidRule,
            ".match",
            "Literal is for the actions Subscribe and Unsubscribe; put the others into another rule",
        );
        actions.retain(|action| is_subscription(*action));
    }
    let mut topics = Vec::new();
    for (position, topic) in rule.topics.iter().enumerate() {
        let field = format!(".topics[{position}]");
        if let Err(message) = check_topic(topic) {
            report(ProblemReason::InvalidTopic, &field, &message);
        } else if is_literal && has_name_level(topic) {
            let message = format!(
                "{topic:?}: %u and %c stand for names only where match is Pattern; change one of \
                 the two"
            );
            report(ProblemReason::InvalidTopic, &field, &message);
        } else {
            topics.push(topic.as_str());
        }
    }
    ValidRule {
        index,
        effect: rule.effect,
        actions,
        topics,
        topic_match: rule.match_,
        priority: rule.priority,
    }
}

pub(super) fn is_subscription(action: RuleAction) -> bool {
    matches!(action, RuleAction::Subscribe | RuleAction::Unsubscribe)
}
