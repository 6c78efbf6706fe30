//! What holds for the whole policy. Pure data.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::realm::RealmSettings;

/// The settings record. A policy without one has the default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Settings {
    /// What is allowed where no ACL matches.
    #[serde(default)]
    pub default_access: DefaultAccess,
    /// The group whose roles a client without a username has; `None`: such clients are refused.
    #[serde(default)]
    pub anonymous_group: Option<String>,
    /// The group whose roles a client has whose username no client record holds; `None`: such
    /// clients are refused. Not part of a dynamic-security document: a listener that believes
    /// usernames, or takes them from certificates, has guests.
    #[serde(default)]
    pub guest_group: Option<String>,
    /// What holds in place of all this for users of each realm, by its name. Left out where there is
    /// none, as an older broker doesn't know it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub realms: BTreeMap<String, RealmSettings>,
}

/// What is allowed where no ACL matches. `$CONTROL` topics are denied all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DefaultAccess {
    /// A client publishes.
    pub publish_client_send: bool,
    /// The broker delivers to a client.
    pub publish_client_receive: bool,
    /// A client subscribes.
    pub subscribe: bool,
    /// A client unsubscribes.
    pub unsubscribe: bool,
}

impl Default for DefaultAccess {
    /// As in a fresh Mosquitto: nothing but to receive and to unsubscribe.
    fn default() -> Self {
        Self {
            publish_client_send: false,
            publish_client_receive: true,
            subscribe: false,
            unsubscribe: true,
        }
    }
}

/// The four kinds of default access.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccessKind {
    /// `publishClientSend`
    PublishClientSend,
    /// `publishClientReceive`
    PublishClientReceive,
    /// `subscribe`
    Subscribe,
    /// `unsubscribe`
    Unsubscribe,
}

impl AccessKind {
    /// All of them, in the order of a dynamic-security document.
    pub const ALL: [Self; 4] =
        [Self::PublishClientSend, Self::PublishClientReceive, Self::Subscribe, Self::Unsubscribe];

    /// The name in a dynamic-security document.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PublishClientSend => "publishClientSend",
            Self::PublishClientReceive => "publishClientReceive",
            Self::Subscribe => "subscribe",
            Self::Unsubscribe => "unsubscribe",
        }
    }
}

impl DefaultAccess {
    /// Whether this kind is allowed.
    pub const fn allows(&self, kind: AccessKind) -> bool {
        match kind {
            AccessKind::PublishClientSend => self.publish_client_send,
            AccessKind::PublishClientReceive => self.publish_client_receive,
            AccessKind::Subscribe => self.subscribe,
            AccessKind::Unsubscribe => self.unsubscribe,
        }
    }

    /// Sets what this kind is.
    pub const fn set(&mut self, kind: AccessKind, allow: bool) {
        match kind {
            AccessKind::PublishClientSend => self.publish_client_send = allow,
            AccessKind::PublishClientReceive => self.publish_client_receive = allow,
            AccessKind::Subscribe => self.subscribe = allow,
            AccessKind::Unsubscribe => self.unsubscribe = allow,
        }
    }
}
