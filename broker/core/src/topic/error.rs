//! What can be wrong with a Topic Name or Topic Filter. Pure.

use thiserror::Error;

use crate::codec::ReasonCode;

/// Why text is not an accepted Topic Name or Topic Filter. Spec: MQTT 5.0 sections 4.7 and 4.8.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TopicError {
    /// No characters at all. [MQTT-4.7.3-1]
    #[error("is empty")]
    Empty,
    /// More than 65,535 bytes. [MQTT-4.7.3-3]
    #[error("is longer than 65535 bytes")]
    TooLong,
    /// U+0000. [MQTT-4.7.3-2]
    #[error("contains the null character")]
    NullCharacter,
    /// `+` or `#` in a Topic Name. [MQTT-3.3.2-2]
    #[error("contains a wildcard")]
    WildcardInName,
    /// `+` beside other characters in its level. [MQTT-4.7.1-2]
    #[error("has a + that does not fill its level")]
    SingleLevelWildcard,
    /// `#` beside other characters in its level, or not at the end. [MQTT-4.7.1-1]
    #[error("has a # that is not its whole last level")]
    MultiLevelWildcard,
    /// `$share/` with an empty ShareName, or one with a wildcard. [MQTT-4.8.2-1] [MQTT-4.8.2-2]
    #[error("has a share name that is empty or contains a wildcard")]
    ShareName,
    /// `$share/name` without a Topic Filter behind it. [MQTT-4.8.2-2]
    #[error("has no topic filter after the share name")]
    ShareWithoutFilter,
    /// More levels than accepted.
    #[error("has more than {levels_max} levels")]
    TooManyLevels {
        /// The limit in force.
        levels_max: usize,
    },
}

impl TopicError {
    /// The reason code of the DISCONNECT that answers it.
    ///
    /// Only the limit on levels concerns well formed text; a filter that breaks it is better
    /// refused alone, with `TopicFilterInvalid` in the SUBACK.
    #[must_use]
    pub const fn reason_code(&self) -> ReasonCode {
        match self {
            Self::TooManyLevels { .. } => ReasonCode::TopicNameInvalid,
            _ => ReasonCode::MalformedPacket,
        }
    }
}
