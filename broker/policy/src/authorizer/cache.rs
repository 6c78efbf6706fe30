//! Compiled rule sets by the content they were compiled from. Pure, but shared between threads.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::rule_set::RuleSet;
use crate::digest::Digest;
use crate::record::DefaultAccess;
use crate::record_set::Entry;

/// Where a client's rights come from.
pub(crate) enum RuleSource {
    /// These roles, in this order, then default access.
    Roles(Vec<Arc<Entry>>),
    /// Nowhere: there is no such client.
    UnknownUser,
    /// Nowhere: anonymous clients are refused.
    AnonymousRefused,
}

impl RuleSource {
    /// The digest of all that a rule set is compiled from.
    fn key(&self, default_access: DefaultAccess) -> Digest {
        let DefaultAccess { publish_client_send, publish_client_receive, subscribe, unsubscribe } =
            default_access;
        let mut bytes = vec![
            u8::from(publish_client_send),
            u8::from(publish_client_receive),
            u8::from(subscribe),
            u8::from(unsubscribe),
        ];
        match self {
            Self::Roles(roles) => {
                bytes.push(0);
                roles.iter().for_each(|role| bytes.extend(role.digest.as_bytes()));
            }
            Self::UnknownUser => bytes.push(1),
            Self::AnonymousRefused => bytes.push(2),
        }
        Digest::of(&bytes)
    }
}

/// Fewer rule sets than this are kept without looking for unused ones.
const SWEEP_MIN: usize = 64;

/// The rule sets in use. Named by content, so one cache serves all policies that derive from one
/// another; it keeps none alive.
#[derive(Debug, Default)]
pub(crate) struct RuleSetCache {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    rule_sets: HashMap<Digest, Weak<RuleSet>>,
    sweep_at: usize,
}

impl RuleSetCache {
    /// The compiled rule set of the source: a shared one if it is in use.
    pub(crate) fn rule_set(
        &self,
        source: RuleSource,
        default_access: DefaultAccess,
    ) -> Arc<RuleSet> {
        let key = source.key(default_access);
        if let Some(shared) = self.shared(&key) {
            return shared;
        }
        // Compiled outside the lock: two threads may do it at once, the second one's is shared.
        let compiled = Arc::new(RuleSet::compile(key, source, default_access));
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.rule_sets.insert(key, Arc::downgrade(&compiled));
        if inner.rule_sets.len() > inner.sweep_at.max(SWEEP_MIN) {
            inner.rule_sets.retain(|_, rules| rules.strong_count() > 0);
            inner.sweep_at = inner.rule_sets.len() * 2;
        }
        compiled
    }

    fn shared(&self, key: &Digest) -> Option<Arc<RuleSet>> {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.rule_sets.get(key).and_then(Weak::upgrade)
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.inner.lock().unwrap().rule_sets.len()
    }
}
