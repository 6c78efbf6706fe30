//! Policy as it is compared and changed: digests, one bucket's records by digest, and the answer
//! to a change. The change itself is `broker_policy`'s own type.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Answer to `GET /v1/policy/digests`: what the state machine has applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyDigests {
    /// Digest over all bucket digests.
    pub revision: String,
    /// The 256 bucket digests in order of the bucket's number.
    pub buckets: Vec<String>,
}

/// Answer to `GET /v1/policy/buckets/{n}`: which records a bucket holds, without their contents
/// (they hold password hashes).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyBucket {
    /// The bucket's number, 0 to 255.
    pub number: u8,
    /// Digest over the bucket's sorted records.
    pub digest: String,
    /// Record key, e.g. `client/pump-17`, to the record's digest.
    pub records: BTreeMap<String, String>,
}

/// A policy change is committed and applied on the broker that answers; when each broker enforces
/// it shows in its status.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyChangeApplied {
    /// The revision after the change.
    pub revision: String,
    /// Log index of the change.
    pub log_index: u64,
}
