//! The broker node's identity as it stands in JSON: hexadecimal, since 64-bit numbers lose digits
//! in many JSON readers.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Identity of a broker's data directory: random, never the ordinal, never used again after the
/// disk was lost. In JSON 16 lower-case hexadecimal digits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u64);

/// A text is no node id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("node id {text:?} must be 16 hexadecimal digits")]
pub struct NodeIdError {
    /// What was given, cut to 32 characters.
    pub text: String,
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for NodeId {
    type Err = NodeIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || NodeIdError { text: text.chars().take(32).collect() };
        if text.len() != 16 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(error());
        }
        u64::from_str_radix(text, 16).map(Self).map_err(|_| error())
    }
}

impl Serialize for NodeId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for NodeId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_id_is_sixteen_hexadecimal_digits_in_json() {
        let id = NodeId(0x7f3a);
        assert_eq!(serde_json::to_string(&id).unwrap(), "\"0000000000007f3a\"");
        assert_eq!(serde_json::from_str::<NodeId>("\"0000000000007f3a\"").unwrap(), id);
    }

    #[test]
    fn other_texts_are_refused_with_what_is_expected() {
        for text in ["", "7f3a", "+000000000007f3a", "zzzzzzzzzzzzzzzz", "0000000000007f3a0"] {
            let error = text.parse::<NodeId>().unwrap_err().to_string();
            assert!(error.contains("16 hexadecimal digits"), "{error}");
        }
    }
}
