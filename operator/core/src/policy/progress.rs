//! How far the brokers are with a compiled policy, and what that means for each user and each
//! MqttAcl. Pure.

use std::collections::HashSet;

use broker_policy::{Record, RecordKey, RecordKind, RecordSet, RoleAssignment};
use operator_api::{Condition, MqttAclStatus, MqttUserStatus};

use super::{AclFacts, UserFacts};
use crate::condition::is_true;

/// How far the brokers are with what an object compiles to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Enforcement {
    /// Every serving broker enforces a revision that contains it.
    Enforced {
        /// That revision, short.
        revision: String,
    },
    /// Not yet.
    Pending {
        /// Why, as one word.
        reason: &'static str,
        /// What is waited for, in words.
        message: String,
    },
}

/// What is on its way to the brokers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pending {
    /// Records that not every serving broker is known to enforce as they are wanted.
    pub records: HashSet<RecordKey>,
    /// Roles that are among them, or that a client or a group among them is given or loses.
    pub roles: HashSet<String>,
}

impl Pending {
    /// Whether nothing is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty() && self.roles.is_empty()
    }
}

/// Which records every serving broker is known to enforce: of two edits, the one that is through is
/// `Ready` while the other is on its way.
#[derive(Debug, Default)]
pub struct EnforcedRecords {
    known: Option<Known>,
    wanted: RecordSet,
}

/// What every serving broker enforces: these records, but for those that differ in a way that is
/// not known.
#[derive(Debug)]
struct Known {
    records: RecordSet,
    differing: HashSet<RecordKey>,
}

impl EnforcedRecords {
    /// Notes what is wanted now and whether every serving broker enforces it.
    pub fn note(&mut self, wanted: &RecordSet, is_enforced: bool) {
        self.wanted = wanted.clone();
        if is_enforced {
            self.known = Some(Known { records: wanted.clone(), differing: HashSet::new() });
        }
    }

    /// Notes, after a start, that every serving broker enforces what is wanted but for these
    /// records. Where more is known already, that counts.
    pub fn note_differing(&mut self, keys: &HashSet<RecordKey>) {
        self.known
            .get_or_insert_with(|| Known { records: self.wanted.clone(), differing: keys.clone() });
    }

    /// What is wanted but not known to be enforced; `None`: nothing is known to be enforced.
    ///
    /// Cost: where two sets share buckets nothing; otherwise one look at each record that changed.
    #[must_use]
    pub fn pending(&self) -> Option<Pending> {
        let known = self.known.as_ref()?;
        let mut pending = Pending::default();
        let changed = self.wanted.keys_changed_since(&known.records);
        for key in changed.into_iter().chain(known.differing.iter().cloned()) {
            let wanted = assignments(&self.wanted, &key);
            let before = match known.differing.contains(&key) {
                // What it was is not known: all that it holds may be new.
                true => &[],
                false => assignments(&known.records, &key),
            };
            pending.roles.extend(only_in(wanted, before));
            pending.roles.extend(only_in(before, wanted));
            if key.kind() == RecordKind::Role {
                pending.roles.insert(key.name().to_owned());
            }
            pending.records.insert(key);
        }
        Some(pending)
    }
}

fn only_in<'a>(
    one: &'a [RoleAssignment],
    other: &'a [RoleAssignment],
) -> impl Iterator<Item = String> {
    one.iter().filter(|role| !other.contains(role)).map(|role| role.name.clone())
}

/// The roles that a client or a group is given.
fn assignments<'a>(records: &'a RecordSet, key: &RecordKey) -> &'a [RoleAssignment] {
    match records.get(key).map(|record| &**record) {
        Some(Record::Client(client)) => &client.roles,
        Some(Record::Group(group)) => &group.roles,
        Some(Record::Role(_) | Record::Settings(_)) | None => &[],
    }
}

/// How far the brokers are with what was compiled, for all objects.
#[derive(Clone, Debug)]
pub struct Progress {
    /// What is on its way; `None`: nothing is known, as after a start of the operator.
    pub pending: Option<Pending>,
    /// The wanted revision, short.
    pub revision: String,
    /// Why what is on its way is not through, as one word.
    pub reason: &'static str,
    /// The same in words.
    pub message: String,
}

impl Progress {
    /// How far the brokers are with a user: with its record. `before` is its status until now,
    /// `generation` that of its spec.
    #[must_use]
    pub fn of_user(
        &self,
        before: Option<&MqttUserStatus>,
        generation: Option<i64>,
        facts: Option<&UserFacts>,
    ) -> Enforcement {
        let Some(facts) = facts.filter(|facts| facts.has_record) else {
            let message = "the policy holds no record of it".to_owned();
            return Enforcement::Pending { reason: "NoRecord", message };
        };
        let conditions = before.map(|status| status.conditions.as_slice());
        self.of(conditions, generation, |pending| {
            !pending.is_empty() && pending.records.contains(&RecordKey::client(&facts.username))
        })
    }

    /// How far the brokers are with an MqttAcl: with its role and with whom the role is given to.
    /// `before` is its status until now, `generation` that of its spec.
    #[must_use]
    pub fn of_acl(
        &self,
        before: Option<&MqttAclStatus>,
        generation: Option<i64>,
        facts: Option<&AclFacts>,
    ) -> Enforcement {
        let Some(facts) = facts else {
            let message = "the policy does not hold it yet".to_owned();
            return Enforcement::Pending { reason: "NotCompiled", message };
        };
        let conditions = before.map(|status| status.conditions.as_slice());
        self.of(conditions, generation, |pending| pending.roles.contains(&facts.role))
    }

    fn of(
        &self,
        conditions: Option<&[Condition]>,
        generation: Option<i64>,
        is_pending: impl FnOnce(&Pending) -> bool,
    ) -> Enforcement {
        let is_enforced = match &self.pending {
            Some(pending) => !is_pending(pending),
            // A restart takes nothing back: what was said of this generation holds.
            None => is_true(conditions.unwrap_or_default(), "Enforced", generation),
        };
        if is_enforced {
            return Enforcement::Enforced { revision: self.revision.clone() };
        }
        Enforcement::Pending { reason: self.reason, message: self.message.clone() }
    }
}
