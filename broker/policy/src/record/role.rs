//! The role record and its ACLs. Pure data.

use std::cmp::Reverse;
use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::clamp_priority;

/// A named list of ACLs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Role {
    /// Unique among roles, never empty.
    pub name: String,
    /// A title for people.
    #[serde(default)]
    pub text_name: String,
    /// A description for people.
    #[serde(default)]
    pub text_description: String,
    /// `false`: where this role is asked, a subscription with `+` or `#` is denied at once.
    #[serde(default = "yes")]
    pub allow_wildcard_subscriptions: bool,
    /// In the order they were added, which decides between equal priorities.
    #[serde(default)]
    pub acls: Vec<Acl>,
}

const fn yes() -> bool {
    true
}

impl Role {
    /// A role without ACLs that leaves subscriptions with wildcards to them.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            text_name: String::new(),
            text_description: String::new(),
            allow_wildcard_subscriptions: true,
            acls: Vec::new(),
        }
    }

    pub(super) fn normalise(&mut self) {
        for acl in &mut self.acls {
            acl.priority = clamp_priority(acl.priority.into());
        }
        // A second ACL with the type and the topic of another was never asked.
        let mut seen = HashSet::new();
        self.acls.retain(|acl| seen.insert((acl.acl_type, acl.topic.clone())));
        // Asked in this order anyhow: the sort is stable, so ties keep theirs.
        self.acls.sort_by_key(|acl| (acl.acl_type, Reverse(acl.priority)));
    }
}

/// One rule: what may (not) be done with which topics.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Acl {
    /// What it is about.
    pub acl_type: AclType,
    /// A topic filter, in which a level `%u` stands for the username and `%c` for the client
    /// identifier; for the literal types the very text of the topic filter.
    pub topic: String,
    /// Higher is asked first, among the ACLs of one type in one role.
    #[serde(default)]
    pub priority: i32,
    /// Whether it is allowed or denied.
    pub allow: bool,
}

/// What an ACL is about. The order is the one in which a role's ACLs are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AclType {
    /// A client publishes to the broker.
    PublishClientSend,
    /// The broker delivers to a client.
    PublishClientReceive,
    /// A client subscribes to exactly this topic filter.
    SubscribeLiteral,
    /// A client subscribes to a topic filter that this one covers.
    SubscribePattern,
    /// A client unsubscribes from exactly this topic filter.
    UnsubscribeLiteral,
    /// A client unsubscribes from a topic filter that this one covers.
    UnsubscribePattern,
}

impl AclType {
    /// All of them, in order.
    pub const ALL: [Self; 6] = [
        Self::PublishClientSend,
        Self::PublishClientReceive,
        Self::SubscribeLiteral,
        Self::SubscribePattern,
        Self::UnsubscribeLiteral,
        Self::UnsubscribePattern,
    ];

    /// The name in a dynamic-security document.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PublishClientSend => "publishClientSend",
            Self::PublishClientReceive => "publishClientReceive",
            Self::SubscribeLiteral => "subscribeLiteral",
            Self::SubscribePattern => "subscribePattern",
            Self::UnsubscribeLiteral => "unsubscribeLiteral",
            Self::UnsubscribePattern => "unsubscribePattern",
        }
    }

    /// Reads a name in any case, as Mosquitto does.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str().eq_ignore_ascii_case(text))
    }

    /// Whether the topic is compared as a text, without wildcards and substitution.
    pub const fn is_literal(self) -> bool {
        matches!(self, Self::SubscribeLiteral | Self::UnsubscribeLiteral)
    }
}
