//! One watched scope: its caches, its client and what its controllers share. IO.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{
    ConfigMap, PersistentVolumeClaim, Pod, Secret, Service, ServiceAccount,
};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::runtime::events::Recorder;
use kube::runtime::reflector::Store;
use kube::{Api, Client, Resource, ResourceExt};
use operator_api::{MqttAcl, MqttCluster, MqttUser};

use super::backoff::Backoff;
use super::cluster::brokers::Brokers;
use super::rights::Rights;
use crate::broker_admin::{AdminIdentity, BrokerAdmin};
use crate::metrics::Metrics;

/// Makes the client of the brokers' admin API from the operator's certificate for one cluster.
pub type AdminFactory = Arc<dyn Fn(AdminIdentity) -> Arc<dyn BrokerAdmin> + Send + Sync>;

/// Names a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ClusterKey {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl ClusterKey {
    /// The key of a cluster; `None` for an object without namespace, which can't be.
    #[must_use]
    pub(crate) fn of(cluster: &MqttCluster) -> Option<Self> {
        Some(Self { namespace: cluster.namespace()?, name: cluster.name_any() })
    }

    /// The key of the cluster that a user names.
    #[must_use]
    pub(crate) fn of_user(user: &MqttUser) -> Option<Self> {
        Some(Self { namespace: user.namespace()?, name: user.spec.cluster_ref.name.clone() })
    }

    /// The key of the cluster that an MqttAcl names.
    #[must_use]
    pub(crate) fn of_acl(acl: &MqttAcl) -> Option<Self> {
        Some(Self { namespace: acl.namespace()?, name: acl.spec.cluster_ref.name.clone() })
    }
}

impl fmt::Display for ClusterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// What the operator knows of itself.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The namespace that it runs in.
    pub operator_namespace: String,
    /// What names this process among its replicas: the pod's name.
    pub identity: String,
    /// The DNS domain of the Kubernetes cluster; empty for none.
    pub cluster_domain: String,
    /// How many objects of a kind are worked on at the same time.
    pub concurrency: u16,
}

/// What was last seen of every kind that the operator looks at; nothing is asked for twice.
#[derive(Clone)]
pub(crate) struct Caches {
    /// Clusters.
    pub clusters: Store<MqttCluster>,
    /// Users.
    pub users: Store<MqttUser>,
    /// Rules.
    pub acls: Store<MqttAcl>,
    /// Secrets that the operator made.
    pub own_secrets: Store<Secret>,
    /// Secrets that people made for the operator to see.
    pub given_secrets: Store<Secret>,
    /// The brokers' pods.
    pub pods: Store<Pod>,
    /// The brokers.
    pub stateful_sets: Store<StatefulSet>,
    /// The brokers' configuration.
    pub config_maps: Store<ConfigMap>,
    /// Services of clusters.
    pub services: Store<Service>,
    /// The brokers' identities.
    pub service_accounts: Store<ServiceAccount>,
    /// What brokers may read.
    pub roles: Store<Role>,
    /// Whose brokers may.
    pub role_bindings: Store<RoleBinding>,
    /// Disruption budgets.
    pub pod_disruption_budgets: Store<PodDisruptionBudget>,
    /// Network policies.
    pub network_policies: Store<NetworkPolicy>,
    /// The brokers' volumes.
    pub volume_claims: Store<PersistentVolumeClaim>,
}

/// What the controllers of one scope share.
pub(crate) struct Scope {
    /// The client of the Kubernetes API.
    pub kube_client: Client,
    /// What was last seen.
    pub caches: Caches,
    /// Writes Events.
    pub recorder: Recorder,
    /// What the operator knows of itself.
    pub settings: Settings,
    /// Numbers about the operator's work.
    pub metrics: Metrics,
    /// The brokers of each cluster, and how to talk to them.
    pub brokers: Brokers,
    /// Wakes the workers of users and rules.
    pub rights: Arc<Rights>,
    /// Failures in a row.
    pub backoff: Backoff,
    counters_written: Mutex<HashMap<ClusterKey, Instant>>,
}

impl Scope {
    /// Puts a scope together.
    #[must_use]
    pub(crate) fn new(
        kube_client: Client,
        caches: Caches,
        recorder: Recorder,
        settings: Settings,
        metrics: Metrics,
        (factory, rights): (AdminFactory, Arc<Rights>),
    ) -> Self {
        let brokers = Brokers::new(factory, caches.clusters.clone());
        Self {
            kube_client,
            caches,
            recorder,
            settings,
            metrics,
            brokers,
            rights,
            backoff: Backoff::default(),
            counters_written: Mutex::default(),
        }
    }

    /// The API of a kind in a namespace.
    pub(crate) fn api<K>(&self, namespace: &str) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.kube_client.clone(), namespace)
    }

    /// Forgets all that is remembered of a cluster that is gone.
    pub(super) fn forget(&self, key: &ClusterKey) {
        self.brokers.forget(key);
        self.backoff.succeeded(&key.to_string());
        self.counters_written.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }

    /// Whether the numbers of a cluster's clients were last written long enough ago. Says yes once,
    /// then no until `every` has passed.
    pub(super) fn counters_due(&self, key: &ClusterKey, every: Duration) -> bool {
        let mut written = self.counters_written.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        // The first time only starts the clock: a restarted operator writes nothing.
        let last = written.entry(key.clone()).or_insert(now);
        let is_due = now.duration_since(*last) >= every;
        if is_due {
            *last = now;
        }
        is_due
    }
}
