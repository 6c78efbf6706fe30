//! Users and rules, worked on as one set for each cluster: credentials, policy, enforcement,
//! statuses. IO.
//!
//! A worker for each cluster that a user or a rule names; it compiles once for all changes that
//! came together, pushes what differs, waits for the brokers, and then writes the statuses that
//! differ.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use operator_core::cluster::ValidatedCluster;
use operator_core::cluster::status::PolicyState;
use tokio::sync::{Notify, Semaphore};
use tokio::task::{Id, JoinSet};

use super::dirty::DirtySet;
use super::scope::{ClusterKey, Scope};

mod credentials;
mod enforce;
mod events;
mod finalizer;
mod statuses;
mod worker;

use worker::Worker;

/// What others tell the workers and learn from them.
#[derive(Default)]
pub(crate) struct Rights {
    dirty: DirtySet,
    clusters: DirtySet,
    known: Mutex<BTreeSet<ClusterKey>>,
    policies: Mutex<HashMap<ClusterKey, PolicyState>>,
    prepared: Mutex<HashMap<ClusterKey, Arc<ValidatedCluster>>>,
}

impl Rights {
    /// No worker yet; `clusters` hears of what a cluster's own status should say.
    #[must_use]
    pub(crate) fn new(clusters: DirtySet) -> Self {
        Self { clusters, ..Self::default() }
    }

    /// Something happened to a user, a rule, a Secret or a cluster.
    pub(crate) fn wake(&self, key: &ClusterKey) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone());
        self.dirty.mark(key.clone());
    }

    /// The clusters that have, or soon have, a worker.
    pub(super) fn known(&self) -> Vec<ClusterKey> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.iter().cloned().collect()
    }

    /// Anything may have happened.
    pub(super) fn wake_known(&self) {
        for key in self.known() {
            self.wake(&key);
        }
    }

    /// A cluster is prepared; only a change of it matters.
    pub(super) fn wake_if_new(&self, key: &ClusterKey, cluster: &Arc<ValidatedCluster>) {
        let mut prepared = self.prepared.lock().unwrap_or_else(PoisonError::into_inner);
        if prepared.get(key).is_some_and(|before| before == cluster) {
            return;
        }
        prepared.insert(key.clone(), Arc::clone(cluster));
        self.wake(key);
    }

    /// What is known of a cluster's policy.
    pub(super) fn policy_state(&self, key: &ClusterKey) -> PolicyState {
        let policies = self.policies.lock().unwrap_or_else(PoisonError::into_inner);
        policies.get(key).cloned().unwrap_or_default()
    }

    /// Notes what is known of a cluster's policy.
    fn set_policy_state(&self, key: &ClusterKey, state: PolicyState) {
        let mut policies = self.policies.lock().unwrap_or_else(PoisonError::into_inner);
        if policies.insert(key.clone(), state.clone()) != Some(state) {
            self.clusters.mark(key.clone());
        }
    }

    /// The cluster's own status should be looked at again.
    fn tell_cluster(&self, key: &ClusterKey) {
        self.clusters.mark(key.clone());
    }

    fn forget(&self, key: &ClusterKey) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
        self.policies.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
        self.prepared.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}

/// Runs the workers; ends only when it is dropped.
pub(super) async fn run(scope: Arc<Scope>) {
    let permits = Arc::new(Semaphore::new(usize::from(scope.settings.concurrency).max(1)));
    let mut workers = JoinSet::new();
    let mut running: HashMap<ClusterKey, (Arc<Notify>, Id)> = HashMap::new();
    loop {
        tokio::select! {
            key = scope.rights.dirty.next() => {
                let (wake, _) = running.entry(key.clone()).or_insert_with(|| {
                    let wake = Arc::new(Notify::new());
                    let scope = Arc::clone(&scope);
                    let worker = Worker::new(scope, key, Arc::clone(&wake), Arc::clone(&permits));
                    let id = workers.spawn(worker.run()).id();
                    (wake, id)
                });
                wake.notify_one();
            }
            Some(ended) = workers.join_next_with_id() => {
                let id = match ended {
                    Ok((id, ())) => id,
                    Err(error) => {
                        tracing::error!(error = %error, "a worker of users and rules failed");
                        error.id()
                    }
                };
                // One that was woken while it ended is started again.
                let ended: Vec<ClusterKey> = running
                    .iter()
                    .filter(|(_, (_, running))| *running == id)
                    .map(|(key, _)| key.clone())
                    .collect();
                for key in ended {
                    running.remove(&key);
                    if worker::has_work(&scope, &key) {
                        scope.rights.wake(&key);
                    }
                }
            }
        }
    }
}
