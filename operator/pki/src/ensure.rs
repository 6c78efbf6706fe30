//! The answer of an `ensure` function: keep what is there, or store what was issued, and why. Pure.

use std::collections::BTreeMap;

use jiff::Timestamp;

/// The entries of a Secret: name to content, as Kubernetes keeps them once decoded.
pub type SecretData = BTreeMap<String, Vec<u8>>;

/// What came of comparing what is stored with what is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ensured<T> {
    /// What is stored serves: write nothing.
    Unchanged(T),
    /// Something was issued: store it, and say why.
    Issued {
        /// What to store.
        value: T,
        /// Why it was issued.
        reason: IssueReason,
    },
}

impl<T> Ensured<T> {
    /// What shall be stored, whether or not it is already.
    #[must_use]
    pub fn value(&self) -> &T {
        match self {
            Self::Unchanged(value) | Self::Issued { value, .. } => value,
        }
    }

    /// As [`Ensured::value`], by value.
    #[must_use]
    pub fn into_value(self) -> T {
        match self {
            Self::Unchanged(value) | Self::Issued { value, .. } => value,
        }
    }

    /// Why something was issued, when it was.
    #[must_use]
    pub fn reason(&self) -> Option<&IssueReason> {
        match self {
            Self::Unchanged(_) => None,
            Self::Issued { reason, .. } => Some(reason),
        }
    }
}

/// Why a certificate was issued. The text goes to Events and progress lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IssueReason {
    /// There was none.
    Missing,
    /// Two thirds of its life are over (a little less, by jitter).
    RenewalDue {
        /// When the stored one ends.
        not_after: Timestamp,
    },
    /// The wanted names or the lifetime are not those of the stored one.
    Changed {
        /// What differs, in words.
        what: String,
    },
    /// The stored one was signed by another authority.
    ForeignIssuer,
    /// The stored one can't be read, or its key is not the certificate's.
    Broken {
        /// What is wrong with it.
        problem: String,
    },
}

impl IssueReason {
    /// The reason as one word, for Events, conditions and metrics.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Missing => "Missing",
            Self::RenewalDue { .. } => "RenewalDue",
            Self::Changed { .. } => "Changed",
            Self::ForeignIssuer => "ForeignIssuer",
            Self::Broken { .. } => "Broken",
        }
    }
}

impl std::fmt::Display for IssueReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Missing => write!(f, "there was none"),
            Self::RenewalDue { not_after } => {
                write!(f, "renewed in time; the one before ends at {not_after}")
            }
            Self::Changed { what } => write!(f, "{what}"),
            Self::ForeignIssuer => write!(f, "the one before was signed by another authority"),
            Self::Broken { problem } => write!(f, "the one before can't be used: {problem}"),
        }
    }
}
