//! Why a certificate could not be made or a stored one not be used.

/// Why the authority could not be used or a certificate not be issued.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// The stored authority can't be used. It is never replaced by itself: every certificate and
    /// every device that trusts it would be cut off.
    #[error(
        "the stored certificate authority can't be used: {entry}: {problem}; restore the entry from \
         a backup, or delete the whole authority to have a new one made (every device then needs \
         the new ca.crt)"
    )]
    AuthorityBroken {
        /// The entry of the Secret that is wrong, such as `peer.key`.
        entry: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Only the root is missing or offline, and an intermediate has to be renewed.
    #[error(
        "the {intermediate} intermediate certificate must be renewed by {not_after}, which needs \
         root.key in the authority; bring the key or a renewed {intermediate}.crt"
    )]
    RootKeyMissing {
        /// The intermediate to renew.
        intermediate: String,
        /// When it ends.
        not_after: jiff::Timestamp,
    },
    /// A certificate of an authority that somebody else keeps has ended.
    #[error(
        "{entry} of the given certificate authority ended at {not_after}: put a renewed one there"
    )]
    GivenAuthorityEnded {
        /// The entry of the Secret that ended, such as `peer.crt`.
        entry: String,
        /// When it ended.
        not_after: jiff::Timestamp,
    },
    /// A certificate is due, and the key that would sign it can't be used.
    #[error(
        "no {purpose} certificate can be issued while the certificate authority can't be used; \
         mend the authority first"
    )]
    KeyMissing {
        /// What the certificate would be for.
        purpose: String,
    },
    /// A name can't stand in a certificate.
    #[error("{name:?} can't be a name in a certificate; use a DNS name or an IP address")]
    InvalidName {
        /// The name as given.
        name: String,
    },
    /// A leaf without a common name would be refused by the brokers.
    #[error("a certificate needs a common name; give the user a non-empty username")]
    EmptyCommonName,
    /// A lifetime that is out of bounds.
    #[error("a leaf lifetime of {hours} h is out of bounds; use between 1h and 87600h")]
    LifetimeOutOfBounds {
        /// The lifetime as given, in whole hours.
        hours: u64,
    },
    /// The time given is outside what certificates can express.
    #[error("the time {at} can't stand in a certificate; set the clock of this machine")]
    TimeOutOfBounds {
        /// The time.
        at: jiff::Timestamp,
    },
    /// Making a key or signing failed.
    #[error("could not make the {what}")]
    Issue {
        /// What was being made.
        what: String,
        /// Why it failed.
        source: rcgen::Error,
    },
}
