//! Ordered roles compiled into ranked rules. Pure.

use std::collections::HashMap;
use std::sync::Arc;

use super::cache::RuleSource;
use super::explanation::{Because, Explanation};
use super::trie::{Search, Trie, UNRANKED};
use super::{Action, Identity};
use crate::digest::Digest;
use crate::record::{AclType, DefaultAccess, Record, Role};
use crate::record_set::Entry;
use crate::topic::{has_wildcard, matches};

/// The one topic below `$SYS` that clients publish to: bridges tell their state there.
const BRIDGE_STATE: &str = "$SYS/broker/connection/+/state";
const CONTROL: &str = "$CONTROL";

/// The rules of all clients that have the same ordered roles under the same default access.
#[derive(Debug)]
pub(crate) struct RuleSet {
    key: Digest,
    basis: Basis,
    default_access: DefaultAccess,
    roles: Vec<Arc<Entry>>,
    /// By rank, in evaluation order.
    rules: Vec<Rule>,
    publish: Trie,
    receive: Trie,
    subscribe: Trie,
    unsubscribe: Trie,
    subscribe_literals: HashMap<Box<str>, u32>,
    unsubscribe_literals: HashMap<Box<str>, u32>,
    /// Rank at which the first role that allows no wildcard subscription is asked.
    wildcard_denial: u32,
    /// By action: whether a rule stands for a name.
    names_matter: [bool; Action::ALL.len()],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Basis {
    Roles,
    UnknownUser,
    AnonymousRefused,
}

/// A rule and where it comes from.
#[derive(Debug, Clone, Copy)]
struct Rule {
    /// Index among the roles.
    role: usize,
    /// Index among the role's ACLs; `None`: the role's denial of wildcard subscriptions.
    acl: Option<usize>,
    allow: bool,
}

/// A decision without its explanation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The rule with this rank.
    Rule { rank: u32, allow: bool },
    /// Default access.
    Default { allow: bool },
    /// No rule, and the topic is a control topic.
    ControlTopic,
    /// Closed to clients whatever the rules say.
    ReservedTopic,
    /// No such client.
    UnknownUser,
    /// Anonymous clients are refused.
    AnonymousRefused,
}

impl Verdict {
    pub(super) const fn is_allowed(self) -> bool {
        matches!(self, Self::Rule { allow: true, .. } | Self::Default { allow: true })
    }
}

impl RuleSet {
    pub(super) fn compile(key: Digest, source: RuleSource, default_access: DefaultAccess) -> Self {
        let (basis, roles) = match source {
            RuleSource::Roles(roles) => (Basis::Roles, roles),
            RuleSource::UnknownUser => (Basis::UnknownUser, Vec::new()),
            RuleSource::AnonymousRefused => (Basis::AnonymousRefused, Vec::new()),
        };
        let mut compiled = Self {
            key,
            basis,
            default_access,
            roles,
            rules: Vec::new(),
            publish: Trie::default(),
            receive: Trie::default(),
            subscribe: Trie::default(),
            unsubscribe: Trie::default(),
            subscribe_literals: HashMap::new(),
            unsubscribe_literals: HashMap::new(),
            wildcard_denial: UNRANKED,
            names_matter: [false; Action::ALL.len()],
        };
        for index in 0..compiled.roles.len() {
            let entry = Arc::clone(&compiled.roles[index]);
            if let Record::Role(role) = &*entry.record {
                compiled.add_role(index, role);
            }
        }
        compiled.names_matter = Action::ALL.map(|action| compiled.trie(action).has_names());
        compiled
    }

    const fn trie(&self, action: Action) -> &Trie {
        match action {
            Action::Publish => &self.publish,
            Action::Receive => &self.receive,
            Action::Subscribe => &self.subscribe,
            Action::Unsubscribe => &self.unsubscribe,
        }
    }

    /// Whether the decision may depend on who asks.
    pub(super) const fn names_matter(&self, action: Action) -> bool {
        self.names_matter[action as usize]
    }

    /// Whether patterns are to be searched for this action.
    pub(super) fn has_rules(&self, action: Action) -> bool {
        !self.trie(action).is_empty()
    }

    /// Ranks a role's rules after those of the roles before it. The ACLs are in their normal
    /// order: by type, so literals come before patterns, then by priority.
    fn add_role(&mut self, index: usize, role: &Role) {
        if !role.allow_wildcard_subscriptions {
            let rank = self.push(Rule { role: index, acl: None, allow: false });
            self.wildcard_denial = self.wildcard_denial.min(rank);
        }
        for (position, acl) in role.acls.iter().enumerate() {
            let rank = self.push(Rule { role: index, acl: Some(position), allow: acl.allow });
            match acl.acl_type {
                AclType::PublishClientSend => self.publish.insert(&acl.topic, rank),
                AclType::PublishClientReceive => self.receive.insert(&acl.topic, rank),
                AclType::SubscribePattern => self.subscribe.insert(&acl.topic, rank),
                AclType::UnsubscribePattern => self.unsubscribe.insert(&acl.topic, rank),
                AclType::SubscribeLiteral => {
                    self.subscribe_literals.entry(acl.topic.as_str().into()).or_insert(rank);
                }
                AclType::UnsubscribeLiteral => {
                    self.unsubscribe_literals.entry(acl.topic.as_str().into()).or_insert(rank);
                }
            }
        }
    }

    fn push(&mut self, rule: Rule) -> u32 {
        let rank = u32::try_from(self.rules.len()).unwrap_or(UNRANKED);
        self.rules.push(rule);
        rank
    }

    pub(super) const fn key(&self) -> &Digest {
        &self.key
    }

    pub(super) fn decide(&self, action: Action, topic: &str, identity: &Identity) -> Verdict {
        match self.basis {
            Basis::Roles => {}
            Basis::UnknownUser => return Verdict::UnknownUser,
            Basis::AnonymousRefused => return Verdict::AnonymousRefused,
        }
        if action == Action::Publish && is_reserved(topic) {
            return Verdict::ReservedTopic;
        }
        let rank = self.lowest_rank(action, topic, identity);
        if let Some(rule) = self.rules.get(rank as usize) {
            return Verdict::Rule { rank, allow: rule.allow };
        }
        if topic.starts_with(CONTROL) {
            return Verdict::ControlTopic;
        }
        Verdict::Default { allow: self.default_access.allows(action.access_kind()) }
    }

    fn lowest_rank(&self, action: Action, topic: &str, identity: &Identity) -> u32 {
        let literal = |literals: &HashMap<Box<str>, u32>| {
            if literals.is_empty() { UNRANKED } else { *literals.get(topic).unwrap_or(&UNRANKED) }
        };
        let (search, bound) = match action {
            Action::Publish | Action::Receive => (Search::TopicName, UNRANKED),
            Action::Subscribe => {
                let is_denied = self.wildcard_denial != UNRANKED && has_wildcard(topic);
                let denial = if is_denied { self.wildcard_denial } else { UNRANKED };
                (Search::TopicFilter, denial.min(literal(&self.subscribe_literals)))
            }
            Action::Unsubscribe => (Search::TopicFilter, literal(&self.unsubscribe_literals)),
        };
        self.trie(action).search(search, topic, identity, bound)
    }

    pub(super) fn explain(&self, action: Action, verdict: Verdict) -> Explanation {
        let because = match verdict {
            Verdict::Rule { rank, .. } => self.explain_rule(rank),
            Verdict::Default { .. } => {
                Because::Default { kind: action.access_kind().as_str().to_owned() }
            }
            Verdict::ControlTopic => Because::ControlTopic,
            Verdict::ReservedTopic => Because::ReservedTopic,
            Verdict::UnknownUser => Because::UnknownUser,
            Verdict::AnonymousRefused => Because::AnonymousRefused,
        };
        Explanation { is_allowed: verdict.is_allowed(), because }
    }

    fn explain_rule(&self, rank: u32) -> Because {
        let rule = self.rules[rank as usize];
        let entry = &self.roles[rule.role];
        let role = entry.key.name().to_owned();
        match (&*entry.record, rule.acl) {
            (Record::Role(record), Some(acl)) => {
                Because::Acl { role, acl: record.acls[acl].clone() }
            }
            _ => Because::WildcardSubscription { role },
        }
    }
}

/// Whether clients may not publish to the topic, whatever their ACLs.
fn is_reserved(topic: &str) -> bool {
    topic.starts_with('$')
        && (topic.starts_with("$share")
            || topic.starts_with("$SYS") && !matches(BRIDGE_STATE, topic))
}
