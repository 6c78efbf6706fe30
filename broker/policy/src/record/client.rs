//! The client record: one user, its credentials, its roles and groups. Pure data.

use std::cmp::Reverse;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::group::{RoleAssignment, normalise_assignments};
use super::{PRIORITY_UNSET, clamp_priority};
use crate::password::PasswordHash;
use crate::scram::ScramCredential;

/// A user. `clients` in a dynamic-security document.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Client {
    /// The name it connects with; unique in a policy, never empty.
    pub username: String,
    /// A title for people.
    #[serde(default)]
    pub text_name: String,
    /// A description for people.
    #[serde(default)]
    pub text_description: String,
    /// Suspended: refused, and disconnected if it is connected.
    #[serde(default)]
    pub disabled: bool,
    /// The password's hash. Without one no password is accepted.
    #[serde(default)]
    pub password: Option<PasswordHash>,
    /// What proves the password by SCRAM-SHA-256. Without it that method is not accepted. Left out
    /// where there is none, as an older broker doesn't know it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scram: Option<ScramCredential>,
    /// Whether a verified client certificate that names this user is accepted.
    #[serde(default)]
    pub certificate: bool,
    /// The client identifiers it may take; empty: any.
    #[serde(default)]
    pub client_ids: Vec<ClientIdPattern>,
    /// The client's own roles; they come before those of its groups.
    #[serde(default)]
    pub roles: Vec<RoleAssignment>,
    /// The groups it is a member of.
    #[serde(default)]
    pub groups: Vec<GroupMembership>,
    /// Limits on what it uses.
    #[serde(default)]
    pub quotas: Quotas,
}

impl Client {
    /// Whether the client may take this client identifier.
    pub fn allows_client_id(&self, client_id: &str) -> bool {
        self.client_ids.is_empty() || self.client_ids.iter().any(|p| p.matches(client_id))
    }

    pub(super) fn normalise(&mut self) {
        normalise_assignments(&mut self.roles);
        for group in &mut self.groups {
            group.priority = clamp_priority(group.priority.into());
        }
        self.groups.sort_by(|a, b| a.evaluation_key().cmp(&b.evaluation_key()));
        let mut seen = std::collections::BTreeSet::new();
        self.groups.retain(|group| seen.insert(group.name.clone()));
        self.client_ids.sort();
        self.client_ids.dedup();
    }
}

/// A client's membership of a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GroupMembership {
    /// The group's name.
    pub name: String,
    /// Higher comes first; ties by name.
    #[serde(default = "unset")]
    pub priority: i32,
}

const fn unset() -> i32 {
    PRIORITY_UNSET
}

impl GroupMembership {
    /// A membership with the priority that stands for none given.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), priority: PRIORITY_UNSET }
    }

    fn evaluation_key(&self) -> (Reverse<i32>, &str) {
        (Reverse(self.priority), &self.name)
    }
}

/// Which client identifiers a user may take.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ClientIdPattern {
    /// This one.
    Literal(String),
    /// Every one that begins so.
    Prefix(String),
}

impl ClientIdPattern {
    /// Reads `pump-17` as a literal and `pump-*` as a prefix; an asterisk elsewhere is literal.
    pub fn parse(text: &str) -> Self {
        match text.strip_suffix('*') {
            Some(prefix) => Self::Prefix(prefix.to_owned()),
            None => Self::Literal(text.to_owned()),
        }
    }

    /// Whether the client identifier is one of those.
    pub fn matches(&self, client_id: &str) -> bool {
        match self {
            Self::Literal(literal) => literal == client_id,
            Self::Prefix(prefix) => client_id.starts_with(prefix.as_str()),
        }
    }
}

impl fmt::Display for ClientIdPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Literal(literal) => f.write_str(literal),
            Self::Prefix(prefix) => write!(f, "{prefix}*"),
        }
    }
}

/// Limits on what one user uses, over all its connections; `None`: no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Quotas {
    /// Connections at a time.
    #[serde(default)]
    pub connections: Option<u32>,
    /// PUBLISH packets it may send, per second.
    #[serde(default)]
    pub publishes_per_second: Option<u32>,
    /// Bytes it may send, per second.
    #[serde(default)]
    pub bytes_per_second: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trailing_asterisk_is_a_prefix_and_no_pattern_allows_any() {
        let mut client = Client::default();
        assert!(client.allows_client_id("anything"));
        client.client_ids = vec![ClientIdPattern::parse("pump-*"), ClientIdPattern::parse("a*b")];
        assert!(client.allows_client_id("pump-"));
        assert!(client.allows_client_id("pump-17"));
        assert!(client.allows_client_id("a*b"));
        assert!(!client.allows_client_id("pump"));
        assert!(!client.allows_client_id("axb"));
    }
}
