//! The group record and the assignment of roles. Pure data.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{PRIORITY_UNSET, clamp_priority};

/// A named set of roles. Its members are written in the clients' records.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Group {
    /// Unique among groups, never empty.
    pub name: String,
    /// A title for people.
    #[serde(default)]
    pub text_name: String,
    /// A description for people.
    #[serde(default)]
    pub text_description: String,
    /// The roles every member holds.
    #[serde(default)]
    pub roles: Vec<RoleAssignment>,
}

impl Group {
    pub(super) fn normalise(&mut self) {
        normalise_assignments(&mut self.roles);
    }
}

/// A role as held by a client or a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RoleAssignment {
    /// The role's name.
    pub name: String,
    /// Higher is asked first; ties by name.
    #[serde(default = "unset")]
    pub priority: i32,
}

const fn unset() -> i32 {
    PRIORITY_UNSET
}

impl RoleAssignment {
    /// An assignment with the priority that stands for none given.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), priority: PRIORITY_UNSET }
    }

    /// An assignment with a priority, which is clamped.
    pub fn with_priority(name: impl Into<String>, priority: i32) -> Self {
        Self { name: name.into(), priority: clamp_priority(priority.into()) }
    }

    fn evaluation_key(&self) -> (Reverse<i32>, &str) {
        (Reverse(self.priority), &self.name)
    }
}

/// Brings assignments into evaluation order and keeps each role's highest.
pub(super) fn normalise_assignments(roles: &mut Vec<RoleAssignment>) {
    for role in roles.iter_mut() {
        role.priority = clamp_priority(role.priority.into());
    }
    roles.sort_by(|a, b| a.evaluation_key().cmp(&b.evaluation_key()));
    let mut seen = BTreeSet::new();
    roles.retain(|role| seen.insert(role.name.clone()));
}
