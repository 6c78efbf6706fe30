//! Users and rules of a cluster: compiled, brought to the brokers, and what is said of each object. IO.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use broker_policy::{Record, Revision};
use jiff::Timestamp;
use kube::ResourceExt as _;
use operator_api::{MqttAcl, MqttUser};
use operator_core::acl::{self, AclStatusInput};
use operator_core::cluster::ValidatedCluster;
use operator_core::cluster::status::PolicyState;
use operator_core::policy::{
    CompiledPolicy, Compiler, EnforcedRecords, PolicyInput, Progress, UserCredential, UserInput,
};
use operator_core::user::status::{self as user_status, UserStatusInput};

use super::super::manifest::{Identity, Kind};
use super::super::store::Store;
use super::brokers::Brokers;
use super::credentials::AllCredentials;
use super::desired::{Desired, Statuses};
use crate::broker_admin::BrokerAdmin;
use crate::policy_sync::{PolicySync, Pushed, SyncError};

/// How long statuses wait for a change that is on its way, so that an edit is written once.
const FRESH: Duration = Duration::from_secs(2);
/// How long a push that failed is left alone, the first time; twice as long each time after that.
const RETRY: Duration = Duration::from_millis(200);
/// How often that doubles, to 25 seconds. An edit is tried at once.
const DOUBLINGS_MAX: u32 = 7;
/// The same for what no broker took: a leader may be there any moment.
const UNREACHED_DOUBLINGS_MAX: u32 = 3;

/// The rights of one cluster.
#[derive(Debug, Default)]
pub(super) struct Rights {
    pub(super) credentials: AllCredentials,
    compiler: Compiler,
    compiled: Option<CompiledPolicy>,
    sync: PolicySync,
    enforced: EnforcedRecords,
    /// Why the last push failed; `None`: it didn't.
    problem: Option<PushProblem>,
    /// Pushes that failed in a row.
    failures: u32,
    retry_at: Option<Instant>,
    /// Since when the brokers are behind; `None`: they aren't.
    behind_since: Option<Instant>,
    /// What the statuses were last written from.
    written_for: Option<Written>,
    /// Raised by every compilation.
    compilations: u64,
    /// Users and rules that were compiled.
    counts: (usize, usize),
    /// The users whose objects were written as they are.
    written: HashMap<String, Arc<MqttUser>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct PushProblem {
    reason: &'static str,
    /// For each object that waits.
    summary: String,
    /// For the cluster.
    chain: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Written {
    compilations: u64,
    is_complete: bool,
    reason: &'static str,
    message: String,
}

impl Rights {
    /// Compiles users and rules anew.
    pub(super) fn compile(&mut self, cluster: &ValidatedCluster, desired: &Desired) {
        let users = desired
            .users
            .iter()
            .map(|user| UserInput {
                user,
                credential: self
                    .credentials
                    .get(&user.name_any())
                    .map_or(UserCredential::Missing, |known| known.credential.clone()),
            })
            .collect();
        let compiled = self.compiler.compile(&PolicyInput {
            namespace: &cluster.namespace,
            cluster: &cluster.name,
            settings: &cluster.policy,
            users,
            acls: desired.acls.iter().map(|acl| &**acl).collect(),
        });
        self.counts =
            compiled.records.records().fold((0, 0), |(users, rules), record| match &**record {
                Record::Client(_) => (users + 1, rules),
                Record::Role(role) => (users, rules + role.acls.len()),
                Record::Group(_) | Record::Settings(_) => (users, rules),
            });
        self.compiled = Some(compiled);
        self.compilations += 1;
        (self.failures, self.retry_at) = (0, None);
        self.behind_since.get_or_insert_with(Instant::now);
    }

    pub(super) fn compiled(&self) -> Option<&CompiledPolicy> {
        self.compiled.as_ref()
    }

    /// How often they were compiled.
    pub(super) fn compilations(&self) -> u64 {
        self.compilations
    }

    pub(super) fn revision(&self) -> Option<Revision> {
        self.compiled.as_ref().map(CompiledPolicy::revision)
    }

    /// Sends what the brokers don't have; nothing when the leader was last seen with it.
    pub(super) async fn push(&mut self, admin: &dyn BrokerAdmin, brokers: &Brokers) -> Pushed {
        let Some(compiled) = &self.compiled else { return Pushed::default() };
        let Some(leader) = brokers.leader() else { return Pushed::default() };
        let applied: Option<Revision> = leader.policy.applied_revision.parse().ok();
        let is_due = self.retry_at.is_none_or(|at| Instant::now() >= at);
        if applied == Some(compiled.revision()) || !is_due {
            return Pushed::default();
        }
        let endpoints = brokers.endpoints();
        let pushed = self.sync.push(admin, &endpoints, &compiled.records, applied).await;
        // They differ in nothing but what is sent if they all enforced what it is compared with.
        let enforced = applied.map(|applied| brokers.enforcement(applied));
        if enforced.is_some_and(|enforced| enforced.is_complete())
            && let Some(differing) = self.sync.differing()
        {
            self.enforced.note(&compiled.records, false);
            self.enforced.note_differing(differing);
        }
        match pushed {
            Ok(pushed) => {
                (self.problem, self.failures, self.retry_at) = (None, 0, None);
                pushed
            }
            Err(error) => {
                self.failed(&error);
                Pushed::default()
            }
        }
    }

    fn failed(&mut self, error: &SyncError) {
        let doublings_max = match error {
            SyncError::Refused { .. } => DOUBLINGS_MAX,
            SyncError::NoBroker { .. } | SyncError::Contended => UNREACHED_DOUBLINGS_MAX,
        };
        self.retry_at = Some(Instant::now() + RETRY * (1 << self.failures.min(doublings_max)));
        self.failures = self.failures.saturating_add(1);
        self.problem = Some(PushProblem {
            reason: error.reason(),
            summary: error.summary(),
            chain: error.chain(),
        });
    }

    /// Takes in what the brokers say; whether every serving one enforces what is wanted.
    pub(super) fn note(&mut self, brokers: &Brokers) -> bool {
        let Some(compiled) = &self.compiled else { return false };
        let found = brokers.enforcement(compiled.revision());
        let is_complete = found.is_complete();
        self.enforced.note(&compiled.records, is_complete);
        if is_complete {
            (self.behind_since, self.problem) = (None, None);
        } else {
            self.behind_since.get_or_insert_with(Instant::now);
        }
        is_complete
    }

    /// How many brokers enforce what is wanted.
    pub(super) fn enforced_by(&self, brokers: &Brokers) -> usize {
        self.revision().map_or(0, |revision| brokers.enforcement(revision).enforced.len())
    }

    /// Since when the brokers are behind.
    pub(super) fn behind_since(&self) -> Option<Instant> {
        self.behind_since
    }

    /// What the cluster's status says of the policy.
    pub(super) fn state(&self) -> PolicyState {
        let own = self.compiled.as_ref().and_then(|compiled| compiled.problems.first());
        PolicyState {
            wanted_revision: self.revision().map(|revision| revision.to_string()),
            users: self.counts.0,
            rules: self.counts.1,
            problem: self
                .problem
                .as_ref()
                .map(|problem| problem.chain.clone())
                .or_else(|| own.map(ToString::to_string)),
        }
    }

    /// Writes the statuses that differ. While a change is fresh on its way nothing is written: a moment later it is through.
    pub(super) fn write_statuses(
        &mut self,
        store: &Store,
        desired: &Desired,
        brokers: &Brokers,
        statuses: &mut Statuses,
        now: Timestamp,
    ) {
        let Some(compiled) = &self.compiled else { return };
        let found = brokers.enforcement(compiled.revision());
        let is_served = [&found.enforced, &found.pending, &found.silent]
            .iter()
            .any(|brokers| !brokers.is_empty());
        let waits_for = found.waits_for();
        // Which brokers are behind is said once, by the cluster's condition, not by every user's.
        let (reason, message) = match &self.problem {
            Some(problem) if is_served => (problem.reason, problem.summary.as_str()),
            _ if is_served => ("Propagating", waits_for.as_str()),
            _ => ("NoBrokerServes", "no broker serves yet"),
        };
        let (is_complete, message) = (found.is_complete(), message.to_owned());
        let written = Written { compilations: self.compilations, is_complete, reason, message };
        let is_fresh = self.behind_since.is_some_and(|since| since.elapsed() < FRESH);
        if is_fresh || self.written_for.as_ref() == Some(&written) {
            return;
        }
        let progress = Progress {
            pending: self.enforced.pending(),
            revision: compiled.revision().short(),
            reason,
            message: written.message.clone(),
        };
        let writer = Writer { store, compiled, progress, now };
        let before = std::mem::take(&mut self.written);
        for user in &desired.users {
            let name = user.name_any();
            let is_same = before.get(&name).is_some_and(|before| Arc::ptr_eq(before, user));
            writer.user(user, is_same, &self.credentials, statuses);
            self.written.insert(name, Arc::clone(user));
        }
        for acl in &desired.acls {
            writer.acl(acl, statuses);
        }
        self.written_for = Some(written);
    }
}

struct Writer<'a> {
    store: &'a Store,
    compiled: &'a CompiledPolicy,
    progress: Progress,
    now: Timestamp,
}

impl Writer<'_> {
    /// Writes a user with its status, unless nothing of it is new; `is_same`: its object was written like this.
    fn user(
        &self,
        user: &Arc<MqttUser>,
        is_same: bool,
        credentials: &AllCredentials,
        statuses: &mut Statuses,
    ) {
        let name = user.name_any();
        let Some(known) = credentials.get(&name) else { return };
        let before = statuses.users.get(&name);
        let facts = self.compiled.users.get(&name);
        let enforcement = self.progress.of_user(before, user.metadata.generation, facts);
        let changed = user_status::changed(&UserStatusInput {
            user,
            before,
            credentials: known.problem.as_ref(),
            certificate: known.certificate.as_ref(),
            facts,
            enforcement: &enforcement,
            now: self.now,
        });
        if changed.is_none() && is_same {
            return;
        }
        let Some(status) = changed.or_else(|| before.cloned()) else { return };
        let mut object = MqttUser::clone(user);
        object.status = Some(status.clone());
        self.put(Kind::User, &object);
        statuses.users.insert(name, status);
    }

    fn acl(&self, acl: &Arc<MqttAcl>, statuses: &mut Statuses) {
        let name = acl.name_any();
        let before = statuses.acls.get(&name);
        let facts = self.compiled.acls.get(&name);
        let enforcement = self.progress.of_acl(before, acl.metadata.generation, facts);
        let status = acl::status(&AclStatusInput {
            acl,
            before,
            facts,
            enforcement: &enforcement,
            now: self.now,
        });
        let mut object = MqttAcl::clone(acl);
        object.status = Some(status.clone());
        self.put(Kind::Acl, &object);
        statuses.acls.insert(name, status);
    }

    fn put<T: kube::Resource + serde::Serialize>(&self, kind: Kind, object: &T) {
        let metadata = object.meta();
        let identity = Identity {
            kind,
            namespace: metadata.namespace.clone().unwrap_or_default(),
            name: metadata.name.clone().unwrap_or_default(),
        };
        if let Err(error) = self.store.write(&identity, object) {
            tracing::error!(%error, object = %identity, "the object's status was not written");
        }
    }
}
