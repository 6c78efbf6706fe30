//! Recent decisions, for a worker that asks the same things again and again. Pure.

use std::sync::Arc;

use super::rule_set::RuleSet;
use super::{Action, Authorizer, Identity};

/// How many decisions are kept; a power of two. With short topics some 500 KB.
const SLOTS: usize = 4_096;
/// Decisions over longer topics are not kept.
const TOPIC_BYTES_KEPT: usize = 256;

/// Recent decisions of one worker: publishers stay with their topics, and a message goes to many
/// subscribers with the same roles.
///
/// A decision is kept for an authorizer, whose answers never change, so nothing has to be dropped
/// when the policy changes. Where the rules of an action name nobody by `%u` or `%c`, a decision
/// serves all clients with the same rules. A hit costs about a comparison of the topic.
#[derive(Debug)]
pub struct DecisionCache {
    slots: Vec<Slot>,
}

/// One decision. It holds what it is about, so no other one can come to the same addresses.
#[derive(Debug, Clone, Default)]
struct Slot {
    asked: Option<Asked>,
    topic: String,
    is_allowed: bool,
}

#[derive(Debug, Clone)]
struct Asked {
    rules: Arc<RuleSet>,
    /// `None`: the answer does not depend on it.
    identity: Option<Identity>,
    action: Action,
}

impl Default for DecisionCache {
    fn default() -> Self {
        Self { slots: vec![Slot::default(); SLOTS] }
    }
}

impl DecisionCache {
    /// The same as [`Authorizer::allows`].
    pub fn allows(&mut self, authorizer: &Authorizer, action: Action, topic: &str) -> bool {
        let rules = &authorizer.rules;
        if topic.len() > TOPIC_BYTES_KEPT || !rules.has_rules(action) {
            return authorizer.allows(action, topic);
        }
        let identity = rules.names_matter(action).then_some(&authorizer.identity);
        let slot = &mut self.slots[place(rules, identity, action, topic)];
        if slot.topic != topic
            || !slot.asked.as_ref().is_some_and(|asked| asked.is(rules, identity, action))
        {
            slot.is_allowed = authorizer.allows(action, topic);
            slot.topic.clear();
            slot.topic.push_str(topic);
            let (rules, identity) = (Arc::clone(rules), identity.cloned());
            slot.asked = Some(Asked { rules, identity, action });
        }
        slot.is_allowed
    }
}

impl Asked {
    fn is(&self, rules: &Arc<RuleSet>, identity: Option<&Identity>, action: Action) -> bool {
        let is_same_identity = match (&self.identity, identity) {
            (None, None) => true,
            (Some(own), Some(other)) => own.is_same_allocation(other),
            _ => false,
        };
        is_same_identity && self.action == action && Arc::ptr_eq(&self.rules, rules)
    }
}

/// The slot of a question. Whoever makes topics meet in one slot only makes it slow for himself:
/// the slot's content is compared whole.
fn place(rules: &Arc<RuleSet>, identity: Option<&Identity>, action: Action, topic: &str) -> usize {
    const FACTOR: u64 = 0x9E37_79B9_7F4A_7C15;
    let mix = |hash: u64, word: u64| (hash.rotate_left(5) ^ word).wrapping_mul(FACTOR);
    let mut hash = mix(action as u64, Arc::as_ptr(rules).addr() as u64);
    if let Some(identity) = identity {
        hash = mix(hash, identity.client_id.as_ptr().addr() as u64);
    }
    let mut words = topic.as_bytes().chunks_exact(8);
    for word in &mut words {
        hash = mix(hash, word.try_into().map_or(0, u64::from_le_bytes));
    }
    for byte in words.remainder() {
        hash = mix(hash, u64::from(*byte));
    }
    // The product's high bits are the mixed ones.
    (hash >> 52) as usize % SLOTS
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Acl, AclType, Client, Record, Role, RoleAssignment};
    use crate::snapshot::Policy;

    fn policy(topics: &[(&str, bool)]) -> Policy {
        let acl = |(topic, allow): &(&str, bool)| Acl {
            acl_type: AclType::PublishClientSend,
            topic: (*topic).into(),
            priority: 0,
            allow: *allow,
        };
        let role = Role { acls: topics.iter().map(acl).collect(), ..Role::new("r") };
        let client = |name: String| {
            let roles = vec![RoleAssignment::new("r")];
            Record::Client(Client { username: name, roles, ..Client::default() })
        };
        let clients = (0..20).map(|number| client(format!("u{number}")));
        Policy::from_records(clients.chain([Record::Role(role)])).unwrap()
    }

    fn check_all(cache: &mut DecisionCache, policy: &Policy) {
        for _ in 0..2 {
            for number in 0..20 {
                let authorizer = policy.authorizer(Some(&format!("u{number}")), "c");
                for other in 0..20 {
                    for topic in [format!("t/u{other}"), format!("t/u{other}/x"), "t".into()] {
                        for action in Action::ALL {
                            assert_eq!(
                                cache.allows(&authorizer, action, &topic),
                                authorizer.allows(action, &topic),
                                "{action:?} u{number} {topic}"
                            );
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn a_kept_decision_is_the_one_that_would_be_made() {
        let mut cache = DecisionCache::default();
        check_all(&mut cache, &policy(&[("t/%u/#", true), ("t/+/x", false)]));
        // Another policy, other rules for the same names and topics.
        check_all(&mut cache, &policy(&[("t/u3", true)]));
        check_all(&mut cache, &policy(&[]));
    }

    /// How many decisions are kept on one question of twenty clients, and whether they tell the
    /// clients apart.
    fn kept(topics: &[(&str, bool)]) -> Vec<bool> {
        let (mut cache, policy) = (DecisionCache::default(), policy(topics));
        for number in 0..20 {
            let authorizer = policy.authorizer(Some(&format!("u{number}")), "c");
            cache.allows(&authorizer, Action::Publish, "t/u1");
        }
        let asked = cache.slots.iter().filter_map(|slot| slot.asked.as_ref());
        asked.map(|asked| asked.identity.is_some()).collect()
    }

    #[test]
    fn clients_share_a_decision_where_no_rule_names_them() {
        assert_eq!(kept(&[("t/#", true)]), [false]);
        // Two of them may meet in one slot; all twenty don't.
        let named = kept(&[("t/%u", true)]);
        assert!(named.len() > 1 && named.iter().all(|is_named| *is_named), "{named:?}");
    }
}
