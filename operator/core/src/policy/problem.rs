//! What is wrong with an object, as a reason for its condition and a sentence. Pure data.

use std::fmt;

/// What is wrong with an object and what to change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The reason of the condition.
    pub reason: ProblemReason,
    /// The message of the condition: where it is, what is wrong, what to change.
    pub message: String,
}

impl Problem {
    pub(super) fn new(reason: ProblemReason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }

    /// The object names a cluster that does not exist.
    pub fn unknown_cluster(cluster: &str) -> Self {
        let message = format!(
            "spec.clusterRef: there is no MqttCluster {cluster:?} in this namespace; create it or \
             name another one"
        );
        Self::new(ProblemReason::UnknownCluster, message)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason.as_str(), self.message)
    }
}

/// The kind of a problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProblemReason {
    /// The cluster does not exist.
    UnknownCluster,
    /// Another, older MqttUser has the username.
    UsernameTaken,
    /// The username can't be one.
    InvalidUsername,
    /// A client id can't be one.
    InvalidClientId,
    /// A group's name can't be one.
    InvalidGroup,
    /// A quota can't be one.
    InvalidQuota,
    /// The credential is not there yet.
    CredentialsMissing,
    /// A subject names nobody, or more than one thing.
    InvalidSubject,
    /// A rule makes no sense.
    InvalidRule,
    /// A topic can't be one.
    InvalidTopic,
}

impl ProblemReason {
    /// The reason as it stands in a condition.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UnknownCluster => "UnknownCluster",
            Self::UsernameTaken => "UsernameTaken",
            Self::InvalidUsername => "InvalidUsername",
            Self::InvalidClientId => "InvalidClientId",
            Self::InvalidGroup => "InvalidGroup",
            Self::InvalidQuota => "InvalidQuota",
            Self::CredentialsMissing => "CredentialsMissing",
            Self::InvalidSubject => "InvalidSubject",
            Self::InvalidRule => "InvalidRule",
            Self::InvalidTopic => "InvalidTopic",
        }
    }
}
