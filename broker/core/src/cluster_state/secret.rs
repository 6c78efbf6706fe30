//! A secret that all nodes of a cluster have, and nobody else. Pure: it is given.

use std::fmt;
use std::sync::{Arc, OnceLock};

/// Length of the secret, in bytes.
pub const CLUSTER_SECRET_BYTES: usize = 32;

/// What no client can know or foresee, the same on every node as long as the cluster lives. Never
/// shown by `Debug`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ClusterSecret(pub [u8; CLUSTER_SECRET_BYTES]);

impl ClusterSecret {
    /// The bytes, as a key.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for ClusterSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClusterSecret(redacted)")
    }
}

/// The secret as other threads read it: nothing until the first one is committed, and that one from
/// then on.
pub type SharedSecret = Arc<OnceLock<ClusterSecret>>;
