//! Keys of records: `client/pump-17`, `group/pumps`, `role/k8s:iot:pumps`, `settings`. Pure.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What a record is, and thereby what its key begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RecordKind {
    /// `client/<username>`
    Client,
    /// `group/<name>`
    Group,
    /// `role/<name>`
    Role,
    /// `settings`
    Settings,
}

const CLIENT: &str = "client/";
const GROUP: &str = "group/";
const ROLE: &str = "role/";
const SETTINGS: &str = "settings";

/// The key of a record: its kind and its name as one string, ordered by bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordKey(Box<str>);

/// A text that is no record key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("record key {text:?} is not client/NAME, group/NAME, role/NAME or settings")]
pub struct InvalidKey {
    /// What was read.
    pub text: String,
}

impl RecordKey {
    /// The key of the client with this username.
    pub fn client(username: &str) -> Self {
        Self([CLIENT, username].concat().into())
    }

    /// The key of the group with this name.
    pub fn group(name: &str) -> Self {
        Self([GROUP, name].concat().into())
    }

    /// The key of the role with this name.
    pub fn role(name: &str) -> Self {
        Self([ROLE, name].concat().into())
    }

    /// The key of the one settings record.
    pub fn settings() -> Self {
        Self(SETTINGS.into())
    }

    /// What the record is.
    pub fn kind(&self) -> RecordKind {
        if self.0.starts_with(CLIENT) {
            RecordKind::Client
        } else if self.0.starts_with(GROUP) {
            RecordKind::Group
        } else if self.0.starts_with(ROLE) {
            RecordKind::Role
        } else {
            RecordKind::Settings
        }
    }

    /// The name after the kind; empty for the settings.
    pub fn name(&self) -> &str {
        self.0.split_once('/').map_or("", |(_, name)| name)
    }

    /// The whole key.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RecordKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for RecordKey {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        let named = [CLIENT, GROUP, ROLE]
            .iter()
            .any(|kind| text.strip_prefix(kind).is_some_and(|name| !name.is_empty()));
        if named || text == SETTINGS {
            Ok(Self(text.into()))
        } else {
            Err(InvalidKey { text: text.to_owned() })
        }
    }
}

impl Serialize for RecordKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for RecordKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_gives_back_kind_and_name() {
        let key: RecordKey = "client/pump/17".parse().unwrap();
        assert_eq!((key.kind(), key.name()), (RecordKind::Client, "pump/17"));
        let key: RecordKey = "role/k8s:iot:pumps".parse().unwrap();
        assert_eq!((key.kind(), key.name()), (RecordKind::Role, "k8s:iot:pumps"));
        assert_eq!(RecordKey::settings().kind(), RecordKind::Settings);
        assert_eq!(RecordKey::group("g").to_string(), "group/g");
    }

    #[test]
    fn a_key_without_a_known_kind_or_a_name_is_refused() {
        for text in ["", "client", "client/", "user/x", "settings/x"] {
            assert!(text.parse::<RecordKey>().is_err(), "{text}");
        }
    }
}
