//! Why something is allowed or denied, as data and as a sentence. Pure data.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::record::Acl;

/// A decision with its reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// The decision.
    pub is_allowed: bool,
    /// The reason.
    pub because: Because,
}

/// What decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Because {
    /// An ACL of a role.
    Acl {
        /// The role's name.
        role: String,
        /// The ACL.
        acl: Acl,
    },
    /// A role that allows no subscription with wildcards was asked about one.
    WildcardSubscription {
        /// The role's name.
        role: String,
    },
    /// No ACL matched: the default access of this kind.
    Default {
        /// Its name in a dynamic-security document.
        kind: String,
    },
    /// No ACL matched, and default access never opens a `$CONTROL` topic.
    ControlTopic,
    /// Clients may not publish to this topic: the broker's own `$SYS`, or `$share`.
    ReservedTopic,
    /// The policy has no such client.
    UnknownUser,
    /// A client without a username, and the policy names no anonymous group.
    AnonymousRefused,
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = if self.is_allowed { "allowed" } else { "denied" };
        match &self.because {
            Because::Acl { role, acl } => write!(
                f,
                "{verb} by role {role}: {} {} {} (priority {})",
                if acl.allow { "allow" } else { "deny" },
                acl.acl_type.as_str(),
                acl.topic,
                acl.priority,
            ),
            Because::WildcardSubscription { role } => {
                write!(f, "{verb} by role {role}: it allows no subscription with wildcards")
            }
            Because::Default { kind } => {
                write!(f, "{verb} by default access: {kind}; no acl matches")
            }
            Because::ControlTopic => {
                write!(f, "{verb}: no acl matches, and $CONTROL topics need one")
            }
            Because::ReservedTopic => write!(f, "{verb}: clients may not publish to this topic"),
            Because::UnknownUser => write!(f, "{verb}: the policy has no such user"),
            Because::AnonymousRefused => write!(f, "{verb}: anonymous clients are refused"),
        }
    }
}
