//! Users and rules of a cluster: compiled, brought to the brokers, and what is said of each object. IO.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use broker_policy::{Record, RecordKey, Revision};
use jiff::Timestamp;
use kube::ResourceExt as _;
use operator_api::{MqttAcl, MqttUser};
use operator_core::acl::{self, AclStatusInput};
use operator_core::cluster::ValidatedCluster;
use operator_core::cluster::status::PolicyState;
use operator_core::condition::is_true;
use operator_core::policy::{CompiledPolicy, PolicyInput, UserCredential, UserInput, compile};
use operator_core::user::status::{self as user_status, Enforcement, UserStatusInput};

use super::super::manifest::{Identity, Kind};
use super::super::store::Store;
use super::brokers::Brokers;
use super::credentials::AllCredentials;
use super::desired::{Desired, Statuses};
use crate::broker_admin::BrokerAdmin;
use crate::policy_sync::{self, EnforcedRecords, PolicySync, Pushed};

/// How long statuses wait for a change that is on its way, so that an edit is written once.
const FRESH: Duration = Duration::from_secs(2);
/// How long a push that failed is left alone.
const RETRY: Duration = Duration::from_millis(200);

/// The rights of one cluster.
#[derive(Debug, Default)]
pub(super) struct Rights {
    pub(super) credentials: AllCredentials,
    compiled: Option<CompiledPolicy>,
    sync: PolicySync,
    enforced: EnforcedRecords,
    problem: Option<String>,
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
struct Written {
    compilations: u64,
    is_complete: bool,
    is_served: bool,
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
        let compiled = compile(&PolicyInput {
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
        self.behind_since.get_or_insert_with(Instant::now);
    }

    pub(super) fn compiled(&self) -> Option<&CompiledPolicy> {
        self.compiled.as_ref()
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
        match self.sync.push(admin, &endpoints, &compiled.records, applied).await {
            Ok(pushed) => {
                (self.problem, self.retry_at) = (None, None);
                pushed
            }
            Err(error) => {
                self.problem = Some(error.chain());
                self.retry_at = Some(Instant::now() + RETRY);
                Pushed::default()
            }
        }
    }

    /// Takes in what the brokers say; whether every serving one enforces what is wanted.
    pub(super) fn note(&mut self, brokers: &Brokers) -> bool {
        let Some(compiled) = &self.compiled else { return false };
        let found = policy_sync::enforcement(compiled.revision(), brokers.statuses());
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
        self.revision().map_or(0, |revision| {
            policy_sync::enforcement(revision, brokers.statuses()).enforced.len()
        })
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
            problem: own.map(ToString::to_string).or_else(|| self.problem.clone()),
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
        let found = policy_sync::enforcement(compiled.revision(), brokers.statuses());
        let written = Written {
            compilations: self.compilations,
            is_complete: found.is_complete(),
            is_served: !(found.enforced.is_empty() && found.pending.is_empty()),
        };
        let is_fresh = self.behind_since.is_some_and(|since| since.elapsed() < FRESH);
        if is_fresh || self.written_for.as_ref() == Some(&written) {
            return;
        }
        // Which brokers are behind is said once, by the cluster's condition, not by every user's.
        let waiting = if written.is_served {
            ("Propagating", "not every serving broker enforces it yet")
        } else {
            ("NoBrokerServes", "no broker serves yet")
        };
        let pending = self.enforced.pending();
        let progress = Progress {
            is_complete: found.is_complete(),
            pending: pending.map(|keys| keys.into_iter().collect()),
            revision: compiled.revision().short(),
            waiting,
        };
        let writer = Writer { store, compiled, progress, now };
        let before = std::mem::take(&mut self.written);
        for user in &desired.users {
            let name = user.name_any();
            let is_same = before.get(&name).is_some_and(|before| Arc::ptr_eq(before, user));
            if !(is_same && writer.is_current(user, &self.credentials, statuses)) {
                writer.user(user, &self.credentials, statuses);
            }
            self.written.insert(name, Arc::clone(user));
        }
        for acl in &desired.acls {
            writer.acl(acl, statuses);
        }
        self.written_for = Some(written);
    }
}

/// How far the brokers are.
struct Progress {
    is_complete: bool,
    /// Records that are not known to be enforced; `None`: nothing is known yet.
    pending: Option<HashSet<RecordKey>>,
    revision: String,
    waiting: (&'static str, &'static str),
}

impl Progress {
    /// What was enforced at this generation stays so unless its own record is on its way: others' edits don't take it back.
    fn of(&self, was_enforced: bool, key: Option<&RecordKey>) -> Enforcement {
        let is_pending = match (&self.pending, key) {
            (Some(pending), Some(key)) => pending.contains(key),
            _ => false,
        };
        if self.is_complete || (was_enforced && !is_pending) {
            return Enforcement::Enforced { revision: self.revision.clone() };
        }
        let (reason, message) = &self.waiting;
        Enforcement::Pending { reason, message: (*message).to_owned() }
    }
}

struct Writer<'a> {
    store: &'a Store,
    compiled: &'a CompiledPolicy,
    progress: Progress,
    now: Timestamp,
}

impl Writer<'_> {
    /// Whether nothing that is said of a user can have changed: it is Ready, and nothing is wrong or on its way.
    fn is_current(
        &self,
        user: &Arc<MqttUser>,
        credentials: &AllCredentials,
        statuses: &Statuses,
    ) -> bool {
        let name = user.name_any();
        let (Some(status), Some(known)) = (statuses.users.get(&name), credentials.get(&name))
        else {
            return false;
        };
        let is_sound = self
            .compiled
            .users
            .get(&name)
            .is_some_and(|facts| facts.has_record && facts.problems.is_empty());
        self.progress.is_complete
            && is_sound
            && known.problem.is_none()
            && known.certificate == status.certificate
            && status.observed_generation == user.metadata.generation
            && is_true(&status.conditions, "Ready", user.metadata.generation)
    }

    fn user(&self, user: &Arc<MqttUser>, credentials: &AllCredentials, statuses: &mut Statuses) {
        let name = user.name_any();
        let Some(known) = credentials.get(&name) else { return };
        let before = statuses.users.get(&name);
        let generation = user.metadata.generation;
        let conditions = before.map(|status| status.conditions.as_slice()).unwrap_or_default();
        let was_enforced = is_true(conditions, "Enforced", generation);
        let facts = self.compiled.users.get(&name);
        let has_record = facts.is_some_and(|facts| facts.has_record);
        let enforcement = if has_record {
            let key = facts.map(|facts| RecordKey::client(&facts.username));
            self.progress.of(was_enforced, key.as_ref())
        } else {
            let message = "the policy holds no record of it".to_owned();
            Enforcement::Pending { reason: "NoRecord", message }
        };
        let mut object = MqttUser::clone(user);
        object.status = before.cloned();
        let status = user_status::build(&UserStatusInput {
            user: &object,
            credentials: known.problem.as_ref(),
            certificate: known.certificate.clone(),
            facts,
            enforcement: &enforcement,
            now: self.now,
        });
        object.status = Some(status.clone());
        self.put(Kind::User, &object);
        statuses.users.insert(name, status);
    }

    fn acl(&self, acl: &Arc<MqttAcl>, statuses: &mut Statuses) {
        let name = acl.name_any();
        let before = statuses.acls.get(&name);
        let conditions = before.map(|status| status.conditions.as_slice()).unwrap_or_default();
        let was_enforced = is_true(conditions, "Enforced", acl.metadata.generation);
        let facts = self.compiled.acls.get(&name);
        let key = facts.map(|facts| RecordKey::role(&facts.role));
        let enforcement = self.progress.of(was_enforced, key.as_ref());
        let mut object = MqttAcl::clone(acl);
        object.status = before.cloned();
        let input =
            AclStatusInput { acl: &object, facts, enforcement: &enforcement, now: self.now };
        let status = acl::status(&input);
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
