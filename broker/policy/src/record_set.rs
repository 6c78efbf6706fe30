//! The records of a policy in 256 buckets, cheap to copy and to change. Pure.

use std::sync::Arc;

use crate::change::{ChangeError, PolicyChange};
use crate::diff::{BucketKeys, PolicyDigests};
use crate::digest::{BUCKET_COUNT, BucketIndex, Digest, Revision, bucket_of};
use crate::record::{InvalidRecord, Record, RecordKey};

/// A record with its key and its digest.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) key: RecordKey,
    pub(crate) digest: Digest,
    pub(crate) record: Arc<Record>,
}

/// The records whose keys share a hash byte, sorted by key.
#[derive(Debug, Clone)]
struct Bucket {
    entries: Vec<Arc<Entry>>,
    digest: Digest,
}

impl Bucket {
    fn empty() -> Self {
        Self { entries: Vec::new(), digest: Digest::of_bucket([]) }
    }

    fn position(&self, key: &RecordKey) -> Result<usize, usize> {
        self.entries.binary_search_by(|entry| entry.key.cmp(key))
    }

    fn seal(&mut self) {
        self.digest = Digest::of_bucket(self.entries.iter().map(|e| (&e.key, &e.digest)));
    }
}

/// Records in buckets. A copy shares the buckets; a change copies those it touches.
#[derive(Debug, Clone)]
pub struct RecordSet {
    buckets: Vec<Arc<Bucket>>,
    revision: Revision,
}

impl Default for RecordSet {
    fn default() -> Self {
        let empty = Arc::new(Bucket::empty());
        let buckets = vec![empty; BUCKET_COUNT];
        let revision = Revision::of_buckets(buckets.iter().map(|bucket| &bucket.digest));
        Self { buckets, revision }
    }
}

impl RecordSet {
    /// The set of these records; of several with one key the last stays.
    ///
    /// # Errors
    /// The first record that is invalid.
    pub fn from_records(records: impl IntoIterator<Item = Record>) -> Result<Self, InvalidRecord> {
        Self::default().derive(records, [])
    }

    /// The set with these records put in or replaced, and those with these keys taken out.
    /// Removing what is not there changes nothing.
    ///
    /// Cost: the touched buckets' entries are copied and hashed again, as references.
    ///
    /// # Errors
    /// The first record that is invalid.
    pub fn derive(
        &self,
        upserts: impl IntoIterator<Item = Record>,
        removals: impl IntoIterator<Item = RecordKey>,
    ) -> Result<Self, InvalidRecord> {
        let mut derived = self.clone();
        let mut touched = [false; BUCKET_COUNT];
        for mut record in upserts {
            record.validate()?;
            record.normalise();
            let (key, digest) = (record.key(), Digest::of_record(&record));
            let index = usize::from(bucket_of(&key));
            touched[index] = true;
            let bucket = Arc::make_mut(&mut derived.buckets[index]);
            let position = bucket.position(&key);
            let entry = Arc::new(Entry { key, digest, record: Arc::new(record) });
            match position {
                Ok(at) => bucket.entries[at] = entry,
                Err(at) => bucket.entries.insert(at, entry),
            }
        }
        for key in removals {
            let index = usize::from(bucket_of(&key));
            if let Ok(at) = derived.buckets[index].position(&key) {
                touched[index] = true;
                Arc::make_mut(&mut derived.buckets[index]).entries.remove(at);
            }
        }
        for (bucket, _) in derived.buckets.iter_mut().zip(touched).filter(|(_, is)| *is) {
            Arc::make_mut(bucket).seal();
        }
        derived.revision = Revision::of_buckets(derived.buckets.iter().map(|b| &b.digest));
        Ok(derived)
    }

    /// The set that a change leads to.
    ///
    /// # Errors
    /// The change leads from another revision, holds an invalid record, or does not lead to the
    /// revision it names.
    pub fn apply(&self, change: &PolicyChange) -> Result<Self, ChangeError> {
        if change.from != self.revision {
            return Err(ChangeError::WrongBase { current: self.revision, from: change.from });
        }
        let derived = self
            .derive(change.upserts.iter().cloned(), change.removals.iter().cloned())
            .map_err(|source| ChangeError::Invalid { source })?;
        if derived.revision != change.to {
            return Err(ChangeError::WrongResult { reached: derived.revision, to: change.to });
        }
        Ok(derived)
    }

    /// The change that puts these records in and takes those out.
    ///
    /// # Errors
    /// The first record that is invalid.
    pub fn change(
        &self,
        upserts: Vec<Record>,
        removals: Vec<RecordKey>,
    ) -> Result<PolicyChange, InvalidRecord> {
        let derived = self.derive(upserts.iter().cloned(), removals.iter().cloned())?;
        Ok(PolicyChange { from: self.revision, to: derived.revision, upserts, removals })
    }

    /// The name of the set's content.
    pub const fn revision(&self) -> Revision {
        self.revision
    }

    /// The record with this key.
    pub fn get(&self, key: &RecordKey) -> Option<&Arc<Record>> {
        self.entry(key).map(|entry| &entry.record)
    }

    pub(crate) fn entry(&self, key: &RecordKey) -> Option<&Arc<Entry>> {
        let bucket = &self.buckets[usize::from(bucket_of(key))];
        bucket.position(key).ok().map(|at| &bucket.entries[at])
    }

    /// All records, bucket by bucket.
    pub fn records(&self) -> impl Iterator<Item = &Arc<Record>> {
        self.buckets.iter().flat_map(|bucket| bucket.entries.iter().map(|entry| &entry.record))
    }

    /// How many records there are.
    pub fn len(&self) -> usize {
        self.buckets.iter().map(|bucket| bucket.entries.len()).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.buckets.iter().all(|bucket| bucket.entries.is_empty())
    }

    /// The revision and every bucket's digest.
    pub fn digests(&self) -> PolicyDigests {
        PolicyDigests {
            revision: self.revision,
            buckets: self.buckets.iter().map(|bucket| bucket.digest).collect(),
        }
    }

    /// A bucket's keys with their records' digests.
    pub fn bucket_keys(&self, index: BucketIndex) -> BucketKeys {
        let entries = self.entries(index).map(|entry| (entry.key.clone(), entry.digest));
        BucketKeys { index, records: entries.collect() }
    }

    pub(crate) fn all_entries(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.buckets.iter().flat_map(|bucket| &bucket.entries)
    }

    pub(crate) fn entries(&self, index: BucketIndex) -> impl Iterator<Item = &Arc<Entry>> {
        self.buckets[usize::from(index)].entries.iter()
    }

    /// The keys of the records that were added, replaced or removed since an earlier set.
    /// Cheap where the two share buckets.
    pub fn keys_changed_since(&self, earlier: &Self) -> Vec<RecordKey> {
        let mut changed = Vec::new();
        for (new, old) in self.buckets.iter().zip(&earlier.buckets) {
            if Arc::ptr_eq(new, old) || new.digest == old.digest {
                continue;
            }
            let differs = |other: &Bucket, entry: &Entry| match other.position(&entry.key) {
                Ok(at) => other.entries[at].digest != entry.digest,
                Err(_) => true,
            };
            let upserted = new.entries.iter().filter(|entry| differs(old, entry));
            let removed = old.entries.iter().filter(|entry| new.position(&entry.key).is_err());
            changed.extend(upserted.chain(removed).map(|entry| entry.key.clone()));
        }
        changed
    }
}

impl PartialEq for RecordSet {
    /// Equal revisions are equal contents.
    fn eq(&self, other: &Self) -> bool {
        self.revision == other.revision
    }
}

impl Eq for RecordSet {}
