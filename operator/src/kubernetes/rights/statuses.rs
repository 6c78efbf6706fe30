//! Writes the statuses of users and rules that differ. IO.

use std::collections::HashSet;
use std::sync::Arc;

use broker_policy::RecordKey;
use futures::StreamExt as _;
use jiff::Timestamp;
use kube::ResourceExt;
use operator_api::{MqttAcl, MqttUser};
use operator_core::acl::{self, AclStatusInput};
use operator_core::condition::is_true;
use operator_core::policy::{CompiledPolicy, Problem};
use operator_core::user::status::{self as user_status, Enforcement, UserStatusInput};

use super::super::apply::{Applicable, write_status};
use super::super::scope::Scope;
use super::credentials::AllCredentials;

/// How many statuses are written at the same time.
const WRITES_AT_ONCE: usize = 16;

/// How far the brokers are with what was compiled.
pub(super) struct Progress {
    /// Records that are not known to be enforced; `None` when none is.
    pub(super) pending: Option<HashSet<RecordKey>>,
    /// The wanted revision, short.
    pub(super) revision: String,
    /// What is waited for, as one word and in words.
    pub(super) waiting: (&'static str, String),
}

impl Progress {
    fn of(&self, is_through: bool, key: Option<&RecordKey>) -> Enforcement {
        let is_enforced = match (&self.pending, key) {
            (None, _) => false,
            (Some(pending), Some(key)) => !pending.contains(key),
            (Some(pending), None) => pending.is_empty(),
        };
        // What was enforced at this generation stays so: others' edits don't take it back.
        if is_enforced || is_through {
            return Enforcement::Enforced { revision: self.revision.clone() };
        }
        let (reason, message) = &self.waiting;
        Enforcement::Pending { reason, message: message.clone() }
    }
}

/// Writes the statuses that differ.
pub(super) async fn write(
    scope: &Scope,
    (users, acls): (&[Arc<MqttUser>], &[Arc<MqttAcl>]),
    compiled: &CompiledPolicy,
    credentials: &AllCredentials,
    progress: &Progress,
) {
    let now = Timestamp::now();
    let user_changes = users.iter().filter_map(|user| {
        let name = user.name_any();
        let known = credentials.get(&name)?;
        let facts = compiled.users.get(&name);
        let key =
            facts.filter(|facts| facts.has_record).map(|facts| RecordKey::client(&facts.username));
        let enforcement = if facts.is_some_and(|facts| !facts.has_record) {
            let message = "the policy holds no record of it".to_owned();
            Enforcement::Pending { reason: "NoRecord", message }
        } else {
            progress.of(
                was_enforced(user.status.as_ref().map(|s| &*s.conditions), &**user),
                key.as_ref(),
            )
        };
        let status = user_status::build(&UserStatusInput {
            user,
            credentials: known.problem.as_ref(),
            certificate: known.certificate.clone(),
            facts,
            enforcement: &enforcement,
            now,
        });
        (user.status.as_ref() != Some(&status)).then(|| (user.clone(), status))
    });
    put(scope, user_changes.collect()).await;
    let acl_changes = acls.iter().filter_map(|acl| {
        let facts = compiled.acls.get(&acl.name_any());
        let is_through = was_enforced(acl.status.as_ref().map(|s| &*s.conditions), &**acl);
        let enforcement = progress.of(is_through, None);
        let status = acl::status(&AclStatusInput { acl, facts, enforcement: &enforcement, now });
        (acl.status.as_ref() != Some(&status)).then(|| (acl.clone(), status))
    });
    put(scope, acl_changes.collect()).await;
}

/// Says of all users and rules that nothing can be done with them, and why.
pub(super) async fn refuse(
    scope: &Scope,
    (users, acls): (&[Arc<MqttUser>], &[Arc<MqttAcl>]),
    problem: &Problem,
) {
    let now = Timestamp::now();
    let enforcement =
        Enforcement::Pending { reason: problem.reason.as_str(), message: problem.message.clone() };
    let user_changes = users.iter().filter_map(|user| {
        let input = UserStatusInput {
            user,
            credentials: Some(problem),
            certificate: None,
            facts: None,
            enforcement: &enforcement,
            now,
        };
        let status = user_status::build(&input);
        (user.status.as_ref() != Some(&status)).then(|| (user.clone(), status))
    });
    put(scope, user_changes.collect()).await;
    let facts = operator_core::policy::AclFacts {
        problems: vec![problem.clone()],
        ..operator_core::policy::AclFacts::default()
    };
    let acl_changes = acls.iter().filter_map(|acl| {
        let facts = Some(&facts);
        let status = acl::status(&AclStatusInput { acl, facts, enforcement: &enforcement, now });
        (acl.status.as_ref() != Some(&status)).then(|| (acl.clone(), status))
    });
    put(scope, acl_changes.collect()).await;
}

fn was_enforced<K: kube::Resource>(
    conditions: Option<&[operator_api::Condition]>,
    object: &K,
) -> bool {
    let generation = object.meta().generation;
    conditions.is_some_and(|conditions| is_true(conditions, "Enforced", generation))
}

async fn put<K, S>(scope: &Scope, changes: Vec<(Arc<K>, S)>)
where
    K: Applicable,
    S: serde::Serialize,
{
    futures::stream::iter(changes)
        .for_each_concurrent(WRITES_AT_ONCE, |(object, status)| async move {
            if let Err(error) = write_status(scope, &*object, &status).await {
                tracing::warn!(error = error.chain(), "a status was not written");
            }
        })
        .await;
}
