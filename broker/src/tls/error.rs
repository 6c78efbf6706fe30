//! Why a set of TLS files can't be used.

use std::path::PathBuf;

/// A set of TLS files can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file can't be read.
    #[error("read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file is longer than any chain of certificates.
    #[error("{} is longer than {max} bytes: is it a PEM file?", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
        /// The longest one read.
        max: u64,
    },
    /// A file does not hold what it should.
    #[error("{} holds no usable {what}: {reason}", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// `certificate`, `private key` or `trust anchor`.
        what: &'static str,
        /// What the parser said.
        reason: String,
    },
    /// Certificate and key don't belong together, or the provider can't use them.
    #[error("{} and {} can't be used together: {reason}", certificate.display(), key.display())]
    Pair {
        /// The chain.
        certificate: PathBuf,
        /// The key.
        key: PathBuf,
        /// What rustls said.
        reason: String,
    },
    /// The trust anchors make no verifier.
    #[error("{} can't be used to verify certificates: {reason}", path.display())]
    Anchor {
        /// The file.
        path: PathBuf,
        /// What rustls said.
        reason: String,
    },
    /// The random source or the ticket cipher failed.
    #[error("make the key of session tickets: {reason}")]
    Tickets {
        /// What rustls said.
        reason: String,
    },
}
