//! What leads from the policy a broker has to the one it should have. Pure.
//!
//! The one who wishes (the operator) reads the digests of all buckets, then the keys of the
//! buckets that differ, and sends the records that differ. An edit of one record costs one bucket,
//! whatever the policy's size.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::change::PolicyChange;
use crate::digest::{BUCKET_COUNT, BucketIndex, Digest, Revision, bucket_of};
use crate::record::{Record, RecordKey, RecordKind};
use crate::record_set::RecordSet;

/// A policy's revision and the digests of its buckets, in order. As JSON it is the admin API's
/// answer to `GET /v1/policy/digests`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyDigests {
    /// The digest over `buckets`.
    pub revision: Revision,
    /// One digest for each of the 256 buckets.
    pub buckets: Vec<Digest>,
}

/// The keys in one bucket with the digests of their records, without the records: they hold
/// password hashes. As JSON it is the admin API's answer to `GET /v1/policy/buckets/{n}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketKeys {
    /// Which bucket.
    #[serde(rename = "number")]
    pub index: BucketIndex,
    /// Digests by key.
    pub records: BTreeMap<RecordKey, Digest>,
}

impl BucketKeys {
    fn digest(&self) -> Digest {
        Digest::of_bucket(&self.records)
    }
}

/// Why no change could be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DiffError {
    /// Not 256 digests, or a revision that is not the digest over them.
    #[error("the bucket digests do not belong to revision {revision:?}; read them again")]
    InconsistentDigests {
        /// The revision they came with.
        revision: Revision,
    },
    /// A bucket differs, but its keys were not given.
    #[error("the keys of bucket {index} are missing; read them")]
    MissingBucket {
        /// Which bucket.
        index: BucketIndex,
    },
    /// A bucket's keys are of another revision than the digests.
    #[error("the keys of bucket {index} do not belong to revision {revision:?}; start again")]
    StaleBucket {
        /// Which bucket.
        index: BucketIndex,
        /// The revision the digests are of.
        revision: Revision,
    },
}

/// One step of a change.
enum Operation<'a> {
    Upsert { key: RecordKey, digest: Digest, record: &'a Record },
    Remove { key: RecordKey },
}

/// Encoded bytes in one change, unless a single record is longer: half of what brokers take as one
/// command, so that no allowance for what stands around the records is needed.
pub const CHANGE_BYTES_MAX: usize = 2 << 20;

impl Operation<'_> {
    /// How long it is in a change.
    fn json_bytes(&self) -> usize {
        match self {
            Self::Upsert { record, .. } => record.json_bytes(),
            Self::Remove { key } => key.as_str().len() + 3,
        }
    }

    /// Revocations go first; rules go before those who are subject to them, and leave after them.
    fn rank(&self) -> u8 {
        match self {
            Self::Remove { key } if key.kind() == RecordKind::Client => 0,
            Self::Upsert { key, .. } if key.kind() == RecordKind::Role => 1,
            Self::Upsert { key, .. } if key.kind() == RecordKind::Group => 2,
            Self::Upsert { key, .. } if key.kind() == RecordKind::Settings => 3,
            Self::Upsert { .. } => 4,
            Self::Remove { .. } => 5,
        }
    }
}

impl RecordSet {
    /// The buckets whose keys are needed to make a change, given the other's digests.
    ///
    /// # Errors
    /// The digests do not belong to their revision.
    pub fn differing_buckets(&self, theirs: &PolicyDigests) -> Result<Vec<BucketIndex>, DiffError> {
        check_digests(theirs)?;
        let ours = self.digests();
        let differs = |index: &BucketIndex| {
            let at = usize::from(*index);
            ours.buckets[at] != theirs.buckets[at]
        };
        Ok((0..=BucketIndex::MAX).filter(differs).collect())
    }

    /// What makes the other's policy equal to this one, in changes of at most `records_max` records
    /// and [`CHANGE_BYTES_MAX`] bytes each (but at least one record), every one leading from the
    /// revision of the one before; none if it is.
    /// Clients are removed first and added last.
    ///
    /// # Errors
    /// The digests or the keys do not fit together.
    pub fn changes_for(
        &self,
        theirs: &PolicyDigests,
        keys: &[BucketKeys],
        records_max: usize,
    ) -> Result<Vec<PolicyChange>, DiffError> {
        let mut buckets = BTreeMap::new();
        let mut operations = Vec::new();
        for index in self.differing_buckets(theirs)? {
            let their_bucket = checked_bucket(index, theirs, keys)?;
            self.collect_operations(their_bucket, &mut operations);
            buckets.insert(index, their_bucket.records.clone());
        }
        operations.sort_by_key(Operation::rank);
        let mut state = Progress { digests: theirs.buckets.clone(), buckets, at: theirs.revision };
        let (mut changes, mut rest) = (Vec::new(), &operations[..]);
        while !rest.is_empty() {
            let (chunk, after) = rest.split_at(chunk_length(rest, records_max));
            changes.push(state.step(chunk));
            rest = after;
        }
        Ok(changes)
    }

    fn collect_operations<'a>(&'a self, theirs: &BucketKeys, operations: &mut Vec<Operation<'a>>) {
        let mut gone = theirs.records.clone();
        for entry in self.entries(theirs.index) {
            if gone.remove(&entry.key) != Some(entry.digest) {
                let (key, digest) = (entry.key.clone(), entry.digest);
                operations.push(Operation::Upsert { key, digest, record: &entry.record });
            }
        }
        operations.extend(gone.into_keys().map(|key| Operation::Remove { key }));
    }
}

/// How many of the operations, of which there are some, go into one change.
fn chunk_length(operations: &[Operation<'_>], records_max: usize) -> usize {
    let mut bytes = 0_usize;
    let fits = operations.iter().take(records_max).take_while(|operation| {
        bytes = bytes.saturating_add(operation.json_bytes());
        bytes <= CHANGE_BYTES_MAX
    });
    fits.count().max(1)
}

/// The other's policy while changes are applied to it, as digests.
struct Progress {
    digests: Vec<Digest>,
    buckets: BTreeMap<BucketIndex, BTreeMap<RecordKey, Digest>>,
    at: Revision,
}

impl Progress {
    fn step(&mut self, operations: &[Operation<'_>]) -> PolicyChange {
        let (mut upserts, mut removals) = (Vec::new(), Vec::new());
        let mut touched = std::collections::BTreeSet::new();
        for operation in operations {
            match operation {
                Operation::Upsert { key, digest, record } => {
                    let index = bucket_of(key);
                    touched.insert(index);
                    self.buckets.entry(index).or_default().insert(key.clone(), *digest);
                    upserts.push((*record).clone());
                }
                Operation::Remove { key } => {
                    let index = bucket_of(key);
                    touched.insert(index);
                    self.buckets.entry(index).or_default().remove(key);
                    removals.push(key.clone());
                }
            }
        }
        for index in touched {
            let digest = Digest::of_bucket(&self.buckets[&index]);
            self.digests[usize::from(index)] = digest;
        }
        let from = std::mem::replace(&mut self.at, Revision::of_buckets(&self.digests));
        PolicyChange { from, to: self.at, upserts, removals }
    }
}

fn check_digests(theirs: &PolicyDigests) -> Result<(), DiffError> {
    let is_whole = theirs.buckets.len() == BUCKET_COUNT;
    if is_whole && Revision::of_buckets(&theirs.buckets) == theirs.revision {
        Ok(())
    } else {
        Err(DiffError::InconsistentDigests { revision: theirs.revision })
    }
}

fn checked_bucket<'a>(
    index: BucketIndex,
    theirs: &PolicyDigests,
    keys: &'a [BucketKeys],
) -> Result<&'a BucketKeys, DiffError> {
    let bucket =
        keys.iter().find(|k| k.index == index).ok_or(DiffError::MissingBucket { index })?;
    let is_whole = bucket.digest() == theirs.buckets[usize::from(index)];
    // A key in a bucket that is not its own would be looked for elsewhere when it is removed.
    if is_whole && bucket.records.keys().all(|key| bucket_of(key) == index) {
        Ok(bucket)
    } else {
        Err(DiffError::StaleBucket { index, revision: theirs.revision })
    }
}
