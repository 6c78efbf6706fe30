//! Rights of the whole cluster. Pure.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema;

/// Whether something is allowed.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// It is.
    Allow,
    /// It isn't.
    Deny,
}

/// Rights that hold where no rule matches.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct DefaultAccess {
    /// Whether a client may publish to a topic.
    pub publish: Access,
    /// Whether a client receives a message of a subscription that it has.
    pub receive: Access,
    /// Whether a client may subscribe to a filter.
    pub subscribe: Access,
    /// Whether a client may unsubscribe from a filter.
    pub unsubscribe: Access,
}

impl Default for DefaultAccess {
    fn default() -> Self {
        Self {
            publish: Access::Deny,
            receive: Access::Allow,
            subscribe: Access::Deny,
            unsubscribe: Access::Allow,
        }
    }
}

/// Rights of the whole cluster.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct PolicySettings {
    /// Rights that hold where no rule matches.
    pub default_access: DefaultAccess,
    /// `Deny`, or the group whose rights a client without credentials gets.
    #[schemars(schema_with = "schema::group")]
    pub anonymous: String,
    /// Whether `$CONTROL/dynamic-security/v1` edits what the operator doesn't own. No effect yet:
    /// brokers have no such API.
    pub dynamic_security_api: bool,
}

impl Default for PolicySettings {
    fn default() -> Self {
        Self {
            default_access: DefaultAccess::default(),
            anonymous: "Deny".into(),
            dynamic_security_api: true,
        }
    }
}
