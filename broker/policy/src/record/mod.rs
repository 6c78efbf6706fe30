//! The records a policy is made of, in the vocabulary of Mosquitto's dynamic security. Pure data.
//!
//! A membership stands in the client's record, not in the group's, so that an edit of one user is
//! an edit of one record. References to records that do not exist are ignored when rights are
//! evaluated, as Mosquitto ignores them when it loads its file.

mod client;
mod group;
mod key;
mod role;
mod settings;
mod validate;

use serde::{Deserialize, Serialize};

pub use client::{Client, ClientIdPattern, GroupMembership, Quotas};
pub use group::{Group, RoleAssignment};
pub use key::{InvalidKey, RecordKey, RecordKind};
pub use role::{Acl, AclType, Role};
pub use settings::{AccessKind, DefaultAccess, Settings};
pub use validate::{
    ACLS_PER_ROLE_MAX, InvalidRecord, NAME_BYTES_MAX, REFERENCES_MAX, TEXT_BYTES_MAX,
};

/// Lowest and highest priority of a role assignment, a membership or an ACL; others are clamped.
pub const PRIORITY_LIMIT: i32 = 100_000;
/// Priority of a role assignment or a membership that names none.
pub const PRIORITY_UNSET: i32 = -1;

/// Brings a priority into `-PRIORITY_LIMIT..=PRIORITY_LIMIT`.
pub fn clamp_priority(priority: i64) -> i32 {
    let limit = i64::from(PRIORITY_LIMIT);
    i32::try_from(priority.clamp(-limit, limit)).unwrap_or(PRIORITY_UNSET)
}

/// One record of a policy: the unit of change and of comparison.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Record {
    /// A user and what it may authenticate with.
    Client(Client),
    /// A named set of roles that clients can be members of.
    Group(Group),
    /// A named list of ACLs.
    Role(Role),
    /// What holds for the whole policy; there is at most one.
    Settings(Settings),
}

impl Record {
    /// The key under which the record lies; no two records of a policy have the same one.
    pub fn key(&self) -> RecordKey {
        match self {
            Self::Client(client) => RecordKey::client(&client.username),
            Self::Group(group) => RecordKey::group(&group.name),
            Self::Role(role) => RecordKey::role(&role.name),
            Self::Settings(_) => RecordKey::settings(),
        }
    }

    /// Puts the record in its one normal form, so that records that mean the same have the same
    /// digest: assignments in evaluation order, each name once, priorities clamped.
    pub fn normalise(&mut self) {
        match self {
            Self::Client(client) => client.normalise(),
            Self::Group(group) => group.normalise(),
            Self::Role(role) => role.normalise(),
            Self::Settings(_) => {}
        }
    }

    /// Checks names, topics and sizes.
    ///
    /// # Errors
    /// The first thing that is wrong, as a sentence that says what to change.
    pub fn validate(&self) -> Result<(), InvalidRecord> {
        validate::validate(self)
    }

    /// How many bytes it has as JSON, which no other encoding of it exceeds.
    pub fn json_bytes(&self) -> usize {
        let mut counter = Counter(0);
        // Neither the counter nor a record has anything that fails.
        match serde_json::to_writer(&mut counter, self) {
            Ok(()) => counter.0,
            Err(_) => usize::MAX,
        }
    }
}

/// Counts what is written to it.
struct Counter(usize);

impl std::io::Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 = self.0.saturating_add(bytes.len());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
