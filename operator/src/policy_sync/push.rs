//! Sending what differs. IO.

use std::collections::HashSet;

use broker_admin_api::Reason;
use broker_policy::{
    BucketKeys, DiffError, PolicyChange, PolicyDigests, Record, RecordKey, RecordSet, Revision,
};
use futures::stream::{self, StreamExt as _, TryStreamExt as _};

use crate::broker_admin::{AdminError, BrokerAdmin, BrokerEndpoint};

/// Records in one change: some hundred kilobytes.
const RECORDS_PER_CHANGE: usize = 500;
/// Buckets that are read at the same time.
const BUCKETS_AT_ONCE: usize = 16;
/// How often the comparison starts anew when the policy moves meanwhile.
const ATTEMPTS: usize = 4;

/// What a push sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pushed {
    /// Records added or replaced.
    pub upserts: usize,
    /// Records removed.
    pub removals: usize,
    /// In how many changes.
    pub changes: usize,
}

impl Pushed {
    /// Records added, replaced or removed; 0 when the brokers had the policy already.
    #[must_use]
    pub const fn records(&self) -> usize {
        self.upserts + self.removals
    }
}

/// Why a policy did not reach the brokers.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    /// No broker took it: none answers, or there is no leader. Try again later.
    #[error("no broker takes the policy")]
    NoBroker {
        /// What the last broker said; `None` when there was none to ask.
        source: Option<Box<AdminError>>,
    },
    /// The brokers refused the change itself.
    #[error("the brokers refused the policy")]
    Refused {
        /// The refusal.
        source: Box<AdminError>,
    },
    /// Somebody else kept changing the policy.
    #[error(
        "the policy on the brokers kept changing while it was compared; is another operator at work?"
    )]
    Contended,
}

impl SyncError {
    /// The reason as it stands in a condition.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::NoBroker { .. } => "NoBrokerTakesPolicy",
            Self::Refused { .. } => "PolicyRefused",
            Self::Contended => "PolicyContended",
        }
    }

    /// What is said of every single object that waits: as [`chain`](Self::chain), but the same at
    /// every try, so that ten thousand statuses are not written again at each one.
    #[must_use]
    pub fn summary(&self) -> String {
        match self {
            Self::NoBroker { .. } => {
                format!("{self} now; the cluster's condition PolicyInSync says why")
            }
            Self::Refused { .. } | Self::Contended => self.chain(),
        }
    }

    /// The message with those of its sources, for people.
    #[must_use]
    pub fn chain(&self) -> String {
        match self {
            Self::NoBroker { source: Some(source) } | Self::Refused { source } => {
                format!("{self}: {}", source.chain())
            }
            _ => self.to_string(),
        }
    }
}

/// One cluster's policy on its way to the brokers.
#[derive(Debug, Default)]
pub struct PolicySync {
    /// What the brokers held when they were last seen.
    known: Option<RecordSet>,
    /// The records that differed when the brokers were asked.
    differing: Option<HashSet<RecordKey>>,
}

/// Why one attempt did not succeed.
enum Attempt {
    /// The policy moved: compare again.
    Moved,
    /// This broker can't; another may.
    NextBroker(Box<AdminError>),
    /// None will.
    Refused(Box<AdminError>),
}

impl PolicySync {
    /// Makes the brokers' policy equal to `desired`; sends nothing when it is.
    ///
    /// `brokers` are asked in order (give the leader first: it saves a hop); `applied` is the revision that one of them was seen to
    /// have applied a moment ago, if it was. Safe to repeat and to drop at any time.
    ///
    /// # Errors
    /// [`SyncError`]: see its variants. Some changes of several may have been committed then.
    pub async fn push(
        &mut self,
        admin: &dyn BrokerAdmin,
        brokers: &[BrokerEndpoint],
        desired: &RecordSet,
        applied: Option<Revision>,
    ) -> Result<Pushed, SyncError> {
        if applied == Some(desired.revision()) {
            self.known = Some(desired.clone());
            self.differing = None;
            return Ok(Pushed::default());
        }
        if self.known.as_ref().map(RecordSet::revision) != applied {
            self.known = None;
        }
        let mut last = None;
        for broker in brokers {
            for _ in 0..ATTEMPTS {
                match self.push_to(admin, broker, desired).await {
                    Ok(pushed) => return Ok(pushed),
                    Err(Attempt::Moved) => {
                        self.known = None;
                        last = None;
                    }
                    Err(Attempt::NextBroker(source)) => {
                        last = Some(source);
                        break;
                    }
                    Err(Attempt::Refused(source)) => return Err(SyncError::Refused { source }),
                }
            }
            if last.is_none() {
                return Err(SyncError::Contended);
            }
        }
        Err(SyncError::NoBroker { source: last })
    }

    /// The keys of the records in which the brokers differed from what was wanted, whenever they
    /// were asked since they last had it all; `None`: they were not asked.
    #[must_use]
    pub const fn differing(&self) -> Option<&HashSet<RecordKey>> {
        self.differing.as_ref()
    }

    async fn push_to(
        &mut self,
        admin: &dyn BrokerAdmin,
        broker: &BrokerEndpoint,
        desired: &RecordSet,
    ) -> Result<Pushed, Attempt> {
        let changes = match self.known.take() {
            Some(known) => changes_from(desired, &known)?,
            None => {
                let changes = changes_by_asking(admin, broker, desired).await?;
                let differing = self.differing.get_or_insert_default();
                differing.extend(changes.iter().flat_map(keys_of));
                changes
            }
        };
        let mut pushed = Pushed::default();
        for change in changes {
            admin.change_policy(broker, &change).await.map_err(classified)?;
            pushed.upserts += change.upserts.len();
            pushed.removals += change.removals.len();
            pushed.changes += 1;
        }
        self.known = Some(desired.clone());
        Ok(pushed)
    }
}

/// The changes from what the brokers are known to have: no question is asked.
fn changes_from(desired: &RecordSet, known: &RecordSet) -> Result<Vec<PolicyChange>, Attempt> {
    let theirs = known.digests();
    let buckets = desired.differing_buckets(&theirs).map_err(|_| Attempt::Moved)?;
    let keys: Vec<BucketKeys> = buckets.into_iter().map(|index| known.bucket_keys(index)).collect();
    changes(desired, &theirs, &keys)
}

async fn changes_by_asking(
    admin: &dyn BrokerAdmin,
    broker: &BrokerEndpoint,
    desired: &RecordSet,
) -> Result<Vec<PolicyChange>, Attempt> {
    let theirs = admin.policy_digests(broker).await.map_err(classified)?;
    if theirs.revision == desired.revision() {
        return Ok(Vec::new());
    }
    let buckets = desired.differing_buckets(&theirs).map_err(|_| Attempt::Moved)?;
    let keys: Vec<BucketKeys> = stream::iter(buckets)
        .map(|index| admin.policy_bucket(broker, index))
        .buffer_unordered(BUCKETS_AT_ONCE)
        .try_collect()
        .await
        .map_err(classified)?;
    changes(desired, &theirs, &keys)
}

fn changes(
    desired: &RecordSet,
    theirs: &PolicyDigests,
    keys: &[BucketKeys],
) -> Result<Vec<PolicyChange>, Attempt> {
    desired.changes_for(theirs, keys, RECORDS_PER_CHANGE).map_err(|error| match error {
        DiffError::InconsistentDigests { .. }
        | DiffError::MissingBucket { .. }
        | DiffError::StaleBucket { .. } => Attempt::Moved,
    })
}

fn keys_of(change: &PolicyChange) -> impl Iterator<Item = RecordKey> {
    change.upserts.iter().map(Record::key).chain(change.removals.iter().cloned())
}

fn classified(error: AdminError) -> Attempt {
    match error.reason() {
        Some(Reason::RevisionMismatch) => Attempt::Moved,
        Some(Reason::BadRequest | Reason::InvalidField | Reason::PayloadTooLarge) => {
            Attempt::Refused(Box::new(error))
        }
        _ => Attempt::NextBroker(Box::new(error)),
    }
}
