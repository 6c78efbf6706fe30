//! A broker that stands alone: it founds its cluster of one, and puts the policy into force. IO.

use std::time::Duration;

use broker_core::cluster_state::{Command, Outcome};
use broker_mosquitto::Faults;
use broker_policy::record::RecordKind;
use broker_policy::{Record, RecordKey, RecordSet, Revision};

use super::policy_files::PolicyFiles;
use crate::cluster::meta::{MembershipError, MetaGroup, MetaPhase, ProposeError};
use crate::hub::Hub;

/// From the start until the broker leads its cluster of one, and until its workers enforce the
/// policy; both take milliseconds.
const READY_TIMEOUT: Duration = Duration::from_secs(10);

/// Records changed by one command, in bytes; below what a command may hold.
const CHANGE_BYTES_MAX: usize = 2 << 20;

/// Why a broker that stands alone has no policy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AloneError {
    /// The cluster of one can't be founded.
    #[error("found a cluster of one")]
    Found {
        /// Why.
        source: MembershipError,
    },
    /// The cluster of one has no leader.
    #[error(
        "this broker does not lead its cluster of one: see the log, or start with an empty data_dir"
    )]
    NotLeading,
    /// A file is wrong.
    #[error(transparent)]
    Files(#[from] Faults),
    /// The policy was not taken.
    #[error("put the policy into force: {reason}")]
    Refused {
        /// Why.
        reason: String,
    },
    /// The policy was not committed.
    #[error("put the policy into force")]
    Propose {
        /// Why.
        source: ProposeError,
    },
    /// The workers don't enforce it.
    #[error("the workers did not take the policy over in time")]
    NotEnforced,
}

impl PolicyFiles {
    /// Reads the files again after HUP. What is wrong is logged, and what was in force stays.
    pub(super) async fn reload(&self, meta: &MetaGroup) {
        let result = match self.read() {
            Ok(records) => put_in_force(meta, &records).await,
            Err(faults) => Err(faults.into()),
        };
        match result {
            Ok(revision) => {
                tracing::info!(revision = revision.short(), "policy files are in force")
            }
            Err(AloneError::Files(Faults(faults))) => {
                for fault in faults {
                    tracing::error!(error = %fault, "policy files are refused, the old policy stays");
                }
            }
            Err(error) => {
                let error = crate::telemetry::Chain(&error).to_string();
                tracing::error!(error, "policy files are not in force, the old policy stays");
            }
        }
    }
}

/// Founds the cluster of one unless that has been done, waits until this broker leads it, and
/// until its workers enforce the policy.
pub(super) async fn start(
    meta: &MetaGroup,
    hub: &Hub,
    policy: &RecordSet,
) -> Result<(), AloneError> {
    if meta.status().phase == MetaPhase::Uninitialised {
        match meta.bootstrap().await {
            // What there is says so a moment later than the disk.
            Ok(_) | Err(MembershipError::AlreadyInitialised) => {}
            Err(source) => return Err(AloneError::Found { source }),
        }
    }
    if !meta.wait_for(READY_TIMEOUT, |status| status.phase == MetaPhase::Serving).await {
        return Err(AloneError::NotLeading);
    }
    let revision = put_in_force(meta, policy).await?;
    let mut enforced = hub.enforced();
    let waiting = enforced.wait_for(|enforced| *enforced == Some(revision));
    match tokio::time::timeout(READY_TIMEOUT, waiting).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(AloneError::NotEnforced),
    }
}

/// Has the policy be these records: what differs is changed, in as many steps as it takes.
async fn put_in_force(meta: &MetaGroup, wanted: &RecordSet) -> Result<Revision, AloneError> {
    let mut current = meta.policy().borrow().policy.records().clone();
    for (upserts, removals) in steps(&current, wanted) {
        let refused = |reason: String| AloneError::Refused { reason };
        let change = current.change(upserts, removals).map_err(|e| refused(e.to_string()))?;
        current = current.apply(&change).map_err(|e| refused(e.to_string()))?;
        let proposed = meta
            .propose(&Command::ApplyPolicy(change))
            .await
            .map_err(|source| AloneError::Propose { source })?;
        match proposed.outcome {
            Outcome::PolicyApplied { .. } => {}
            Outcome::PolicyInvalid { reason } => return Err(refused(reason)),
            outcome => return Err(refused(format!("unexpected outcome {outcome:?}"))),
        }
    }
    Ok(wanted.revision())
}

type Step = (Vec<Record>, Vec<RecordKey>);

/// What leads from one set to the other; what rights are made of comes before the clients that have
/// them.
fn steps(current: &RecordSet, wanted: &RecordSet) -> Vec<Step> {
    let mut changed = wanted.keys_changed_since(current);
    changed.sort_by_key(|key| (key.kind() == RecordKind::Client, key.clone()));
    let (mut steps, mut step, mut bytes) = (Vec::new(), Step::default(), 0);
    for key in changed {
        let record = wanted.get(&key);
        let encoded = record.and_then(|record| serde_json::to_vec(&**record).ok());
        let length = encoded.map_or(0, |encoded| encoded.len()) + key.as_str().len();
        if bytes > 0 && bytes + length > CHANGE_BYTES_MAX {
            steps.push(std::mem::take(&mut step));
            bytes = 0;
        }
        bytes += length;
        match record {
            Some(record) => step.0.push(Record::clone(record)),
            None => step.1.push(key),
        }
    }
    if bytes > 0 {
        steps.push(step);
    }
    steps
}

#[cfg(test)]
mod tests {
    use broker_policy::Client;

    use super::*;

    fn set(names: impl Iterator<Item = u32>, title: &str) -> RecordSet {
        RecordSet::from_records(names.map(|number| {
            let (username, text_name) = (format!("user-{number}"), title.to_owned());
            Record::Client(Client { username, text_name, ..Client::default() })
        }))
        .unwrap()
    }

    #[test]
    fn steps_lead_to_the_wanted_records_each_below_the_limit() {
        let title = "x".repeat(60_000);
        let (before, after) = (set(0..3, ""), set(2..200, &title));
        let steps = steps(&before, &after);
        assert!(steps.len() > 5, "{}", steps.len());
        let mut current = before;
        for (upserts, removals) in steps {
            let change = current.change(upserts, removals).unwrap();
            assert!(serde_json::to_vec(&change).unwrap().len() < CHANGE_BYTES_MAX * 2);
            current = current.apply(&change).unwrap();
        }
        assert_eq!(current.revision(), after.revision());
        assert!(super::steps(&after, &after).is_empty());
    }
}
