//! The rules of one MqttAcl as the ACLs of its role. Pure.
//!
//! - A right to (un)subscribe covers shared subscriptions too, so each such pattern has a second
//!   ACL below `$share/+/`: dynamic security looks at a filter with its `$share/<group>/`.
//! - Dynamic security asks literals before all patterns. A literal without wildcards is therefore
//!   written as a pattern, which covers nothing but itself; only literals with wildcards stay, and
//!   those that a pattern comes before are dropped. They speak of the very filter.
//! - No literal names a filter under every share name, so such an Allow does not speak of shared
//!   subscriptions. A Deny must: it denies, below `$share/+/`, its filter and what the filter
//!   covers. It denies more than was written, but never a plain subscription, and nothing that
//!   whoever gets its filter would not get.

use std::collections::HashSet;

use broker_policy::topic::{covers, has_wildcard};
use broker_policy::{Acl, AclType};
use operator_api::acl::{RuleAction, TopicMatch};

use super::check::has_name_level;
use super::rule::ValidRule;

/// A Deny stands just above an Allow of the same priority; both stay within dynsec's limits.
fn entry_priority(rule: &ValidRule<'_>) -> i32 {
    let limit = broker_policy::record::PRIORITY_LIMIT / 2 - 1;
    rule.priority.clamp(-limit, limit) * 2 + i32::from(!rule.allows())
}

/// The ACLs of these rules, which are in evaluation order; of those with one type and one topic
/// the first stays.
pub(super) fn acl_entries(rules: &[ValidRule<'_>]) -> Vec<Acl> {
    let mut entries = Entries::default();
    for rule in rules {
        for action in &rule.actions {
            for topic in &rule.topics {
                entries.add(rule, *action, topic);
            }
        }
    }
    entries.acls
}

#[derive(Default)]
struct Entries {
    acls: Vec<Acl>,
    seen: HashSet<(AclType, String)>,
}

impl Entries {
    fn add(&mut self, rule: &ValidRule<'_>, action: RuleAction, topic: &str) {
        let (pattern, literal) = match action {
            RuleAction::Publish => return self.push(rule, AclType::PublishClientSend, topic),
            RuleAction::Receive => return self.push(rule, AclType::PublishClientReceive, topic),
            RuleAction::Subscribe => (AclType::SubscribePattern, AclType::SubscribeLiteral),
            RuleAction::Unsubscribe => (AclType::UnsubscribePattern, AclType::UnsubscribeLiteral),
        };
        if rule.topic_match == TopicMatch::Literal && has_wildcard(topic) {
            if !self.is_decided_before(rule, pattern, topic) {
                self.push(rule, literal, topic);
            }
            if !rule.allows() {
                self.push(rule, pattern, &shared(topic));
            }
            return;
        }
        self.push(rule, pattern, topic);
        self.push(rule, pattern, &shared(topic));
    }

    fn push(&mut self, rule: &ValidRule<'_>, acl_type: AclType, topic: &str) {
        if self.seen.insert((acl_type, topic.to_owned())) {
            let (priority, allow) = (entry_priority(rule), rule.allows());
            self.acls.push(Acl { acl_type, topic: topic.to_owned(), priority, allow });
        }
    }

    /// Whether a pattern of a rule before this one decides over the literal filter. One with names
    /// may or may not: then an Allow gives way to a Deny, and a Deny stays.
    fn is_decided_before(&self, rule: &ValidRule<'_>, pattern: AclType, topic: &str) -> bool {
        self.acls.iter().filter(|acl| acl.acl_type == pattern).any(|acl| {
            if has_name_level(&acl.topic) {
                rule.allows() && !acl.allow && covers(&before_names(&acl.topic), topic)
            } else {
                covers(&acl.topic, topic)
            }
        })
    }
}

/// The filter of the shared subscriptions to a filter.
pub(super) fn shared(topic: &str) -> String {
    format!("$share/+/{topic}")
}

/// The filter up to its first level that stands for a name, open from there.
fn before_names(topic: &str) -> String {
    let levels = topic.split('/').take_while(|level| *level != "%u" && *level != "%c");
    levels.chain(["#"]).collect::<Vec<_>>().join("/")
}
