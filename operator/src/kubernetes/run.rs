//! Puts the Kubernetes platform together: leader election, caches, controllers, shutdown. IO.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use futures::StreamExt as _;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Secret;
use kube::runtime::Controller;
use kube::runtime::controller::Config;
use kube::runtime::events::{Recorder, Reporter};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Api, Client, Resource, ResourceExt};
use operator_api::{MqttAcl, MqttCluster, MqttUser};
use operator_core::cluster::names::{INSTANCE_LABEL, MANAGED_BY_LABEL, MANAGER, WATCH_LABEL};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::cache::{Cached, Change, Seen, Watches};
use super::cluster;
use super::dirty::DirtySet;
use super::lease::{Election, LEASE_DURATION};
use super::rights::{self, Rights};
use super::scope::{AdminFactory, Caches, ClusterKey, Scope, Settings};
use crate::broker_admin::HttpsAdmin;
use crate::health::Readiness;
use crate::metrics::Metrics;

/// How long changes of a cluster's objects are collected.
const DEBOUNCE: Duration = Duration::from_millis(50);
/// How long the caches may take to fill before that is said.
const SLOW_START: Duration = Duration::from_secs(30);

/// How the operator runs.
#[derive(Clone, Debug)]
pub struct Options {
    /// What it knows of itself.
    pub settings: Settings,
    /// The namespaces that it looks after; empty for all.
    pub namespaces: Vec<String>,
    /// The Lease by which one of several replicas leads; `None` for no election.
    pub lease: Option<String>,
}

/// Runs the operator until `shutdown` says so or the Lease is lost.
///
/// `lease_client` must not try again by itself: a renewal that is late by that is worse than none.
///
/// # Errors
/// The Lease was lost: the process should end, so that nothing of it goes on.
pub async fn run(
    (kube_client, lease_client): (Client, Client),
    options: Options,
    metrics: Metrics,
    readiness: Readiness,
    mut shutdown: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    let settings = &options.settings;
    let mut election = options.lease.as_ref().map(|name| {
        let api: Api<Lease> = Api::namespaced(lease_client.clone(), &settings.operator_namespace);
        Election::new(api, name, &settings.identity, LEASE_DURATION)
    });
    if let Some(election) = &mut election {
        tracing::info!(lease = options.lease, "waiting for the lease");
        tokio::select! {
            // A replica that waits for the Lease is ready to take over.
            () = election.acquire(|| readiness.ready()) => {}
            () = stopped(&mut shutdown) => return Ok(()),
        }
    }
    metrics.leader.set(1);
    tracing::info!(identity = settings.identity, "leading");
    let factory: AdminFactory = Arc::new(|identity| Arc::new(HttpsAdmin::new(identity)));
    let mut scopes = JoinSet::new();
    let namespaces: Vec<Option<String>> = match options.namespaces.as_slice() {
        [] => vec![None],
        some => some.iter().cloned().map(Some).collect(),
    };
    readiness.await_parts(namespaces.len());
    for namespace in namespaces {
        let (client, settings) = (kube_client.clone(), settings.clone());
        let process = Process {
            metrics: metrics.clone(),
            readiness: readiness.clone(),
            factory: Arc::clone(&factory),
        };
        scopes.spawn(run_scope(client, namespace, settings, process, shutdown.clone()));
    }
    let outcome = tokio::select! {
        () = hold(&mut election) => Err(anyhow::anyhow!("the lease was lost to another replica")),
        () = stopped(&mut shutdown) => {
            // The controllers end what they have begun.
            while scopes.join_next().await.is_some() {}
            Ok(())
        }
        Some(ended) = scopes.join_next() => {
            ended.context("a controller failed").and(Err(anyhow::anyhow!("a controller ended")))
        }
    };
    metrics.leader.set(0);
    scopes.shutdown().await;
    if let Some(election) = &election {
        election.release().await;
    }
    outcome
}

/// Waits until the process shall stop; a sender that is gone says so, too.
async fn stopped(shutdown: &mut watch::Receiver<bool>) {
    let _ = shutdown.wait_for(|stop| *stop).await;
}

async fn hold(election: &mut Option<Election>) {
    match election {
        Some(election) => election.hold().await,
        None => std::future::pending().await,
    }
}

/// What the scopes of one process share.
#[derive(Clone)]
pub struct Process {
    /// Numbers about the operator's work.
    pub metrics: Metrics,
    /// Told once the scope has read everything for the first time.
    pub readiness: Readiness,
    /// Makes clients of brokers.
    pub factory: AdminFactory,
}

/// Looks after one namespace, or after all, until `shutdown` says so.
pub async fn run_scope(
    kube_client: Client,
    namespace: Option<String>,
    settings: Settings,
    Process { metrics, readiness, factory }: Process,
    mut shutdown: watch::Receiver<bool>,
) {
    let clusters = DirtySet::default();
    let rights = Arc::new(Rights::new(clusters.clone()));
    let mut watches = Watches::new(kube_client.clone(), namespace);
    let caches = caches(&mut watches, &clusters, &rights);
    let _watching = watches.into_tasks();
    let ready = wait_until_ready(&caches);
    tokio::select! {
        () = ready => {}
        () = stopped(&mut shutdown) => return,
    }
    readiness.part_is_ready();
    count_objects(&metrics, &caches);
    let reporter =
        Reporter { controller: MANAGER.into(), instance: Some(settings.identity.clone()) };
    let recorder = Recorder::new(kube_client.clone(), reporter);
    let concurrency = settings.concurrency;
    let parts = (factory, Arc::clone(&rights));
    let scope = Arc::new(Scope::new(kube_client, caches, recorder, settings, metrics, parts));
    for cluster in scope.caches.clusters.state() {
        if let Some(key) = ClusterKey::of(&cluster) {
            clusters.mark(key);
        }
    }
    wake_all(&scope);
    let triggered = Arc::clone(&scope);
    let triggers = clusters.into_stream(DEBOUNCE).map(move |key| {
        let at = ObjectRef::<MqttCluster>::new(&key.name).within(&key.namespace);
        // One that is gone has no pass any more that could see it go.
        if triggered.caches.clusters.get(&at).is_none() {
            triggered.forget(&key);
        }
        at
    });
    let controller =
        Controller::for_stream(futures::stream::pending(), scope.caches.clusters.clone())
            .reconcile_on(triggers)
            .with_config(Config::default().concurrency(concurrency.max(1)))
            .graceful_shutdown_on(async move {
                stopped(&mut shutdown).await;
            })
            .run(cluster::reconcile, cluster::on_error, Arc::clone(&scope))
            // Failures are told where they are handled: in the error policy.
            .for_each(|_| std::future::ready(()));
    tokio::select! {
        () = controller => {}
        () = rights::run(scope) => {}
    }
}

/// Wakes the workers of all clusters that anything names.
fn wake_all(scope: &Scope) {
    let users = scope.caches.users.state();
    let acls = scope.caches.acls.state();
    let keys = users
        .iter()
        .filter_map(|user| ClusterKey::of_user(user))
        .chain(acls.iter().filter_map(|acl| ClusterKey::of_acl(acl)));
    for key in keys {
        scope.rights.wake(&key);
    }
}

fn count_objects(metrics: &Metrics, caches: &Caches) {
    let (clusters, users) = (caches.clusters.clone(), caches.users.clone());
    let acls = caches.acls.clone();
    metrics.count_objects(move || {
        vec![("MqttCluster", clusters.len()), ("MqttUser", users.len()), ("MqttAcl", acls.len())]
    });
}

async fn wait_until_ready(caches: &Caches) {
    let all = async {
        // Nothing is decided on half of what there is: half the users would lose their rights.
        ready(&caches.clusters).await;
        ready(&caches.users).await;
        ready(&caches.acls).await;
        ready(&caches.own_secrets).await;
        ready(&caches.given_secrets).await;
        ready(&caches.pods).await;
        ready(&caches.stateful_sets).await;
        ready(&caches.config_maps).await;
        ready(&caches.services).await;
        ready(&caches.service_accounts).await;
        ready(&caches.roles).await;
        ready(&caches.role_bindings).await;
        ready(&caches.pod_disruption_budgets).await;
        ready(&caches.network_policies).await;
        ready(&caches.volume_claims).await;
    };
    tokio::pin!(all);
    loop {
        tokio::select! {
            () = &mut all => return,
            () = tokio::time::sleep(SLOW_START) => {
                tracing::warn!("still waiting for the first list of every kind");
            }
        }
    }
}

async fn ready<K: Cached>(store: &Store<K>) {
    if store.wait_until_ready().await.is_err() {
        // The watch task is gone, and with it the process.
        std::future::pending::<()>().await;
    }
}

fn caches(watches: &mut Watches, clusters: &DirtySet, rights: &Arc<Rights>) -> Caches {
    let own = format!("{MANAGED_BY_LABEL}={MANAGER}");
    let own = Some(own.as_str());
    let given = format!("{WATCH_LABEL}=true");
    Caches {
        clusters: watch_clusters(watches, clusters, rights),
        users: watch_users(watches, rights),
        acls: watch_acls(watches, rights),
        own_secrets: {
            let (clusters, rights) = (clusters.clone(), Arc::clone(rights));
            watches.cache(own, move |change| {
                if let Some(key) = instance_of(change) {
                    rights.wake(&key);
                    if !is_of_user(change) {
                        clusters.mark(key);
                    }
                }
            })
        },
        given_secrets: watch_given_secrets(watches, &given, clusters, rights),
        pods: watch_owned(watches, own, clusters),
        stateful_sets: watch_owned(watches, own, clusters),
        config_maps: watch_owned(watches, own, clusters),
        services: watch_owned(watches, own, clusters),
        service_accounts: watch_owned(watches, own, clusters),
        roles: watch_owned(watches, own, clusters),
        role_bindings: watch_owned(watches, own, clusters),
        pod_disruption_budgets: watch_owned(watches, own, clusters),
        network_policies: watch_owned(watches, own, clusters),
        volume_claims: watch_owned(watches, own, clusters),
    }
}

/// Objects of clusters: their own spec matters as much as their status.
fn watch_owned<K: Cached>(
    watches: &mut Watches,
    own: Option<&str>,
    clusters: &DirtySet,
) -> Store<K> {
    let clusters = clusters.clone();
    watches.cache(own, move |change| {
        if let Some(key) = instance_of(change) {
            clusters.mark(key);
        }
    })
}

/// The cluster that an object of ours belongs to, by its label.
fn instance_of<K: Resource<DynamicType = ()>>(change: &Change<'_, K>) -> Option<ClusterKey> {
    let (Change::Seen(object) | Change::Gone(object)) = change else { return None };
    let name = object.labels().get(INSTANCE_LABEL)?.clone();
    Some(ClusterKey { namespace: object.namespace()?, name })
}

/// Whether a Secret holds the credentials of a user: no cluster depends on it.
fn is_of_user(change: &Change<'_, Secret>) -> bool {
    let (Change::Seen(secret) | Change::Gone(secret)) = change else { return false };
    secret.owner_references().iter().any(|owner| owner.kind == "MqttUser")
}

fn watch_clusters(
    watches: &mut Watches,
    clusters: &DirtySet,
    rights: &Arc<Rights>,
) -> Store<MqttCluster> {
    let (clusters, rights, seen) = (clusters.clone(), Arc::clone(rights), Seen::new());
    watches.cache(None, move |change: &Change<'_, MqttCluster>| {
        let (Change::Seen(cluster) | Change::Gone(cluster)) = change else {
            for key in rights.known() {
                rights.wake(&key);
                clusters.mark(key);
            }
            return;
        };
        if seen.is_news(change)
            && let Some(key) = ClusterKey::of(cluster)
        {
            rights.wake(&key);
            clusters.mark(key);
        }
    })
}

fn watch_users(watches: &mut Watches, rights: &Arc<Rights>) -> Store<MqttUser> {
    let (rights, seen) = (Arc::clone(rights), Seen::new());
    watches.cache(None, move |change: &Change<'_, MqttUser>| {
        let (Change::Seen(user) | Change::Gone(user)) = change else {
            rights.wake_known();
            return;
        };
        if seen.is_news(change)
            && let Some(key) = ClusterKey::of_user(user)
        {
            rights.wake(&key);
        }
    })
}

fn watch_acls(watches: &mut Watches, rights: &Arc<Rights>) -> Store<MqttAcl> {
    let (rights, seen) = (Arc::clone(rights), Seen::new());
    watches.cache(None, move |change: &Change<'_, MqttAcl>| {
        let (Change::Seen(acl) | Change::Gone(acl)) = change else {
            rights.wake_known();
            return;
        };
        if seen.is_news(change)
            && let Some(key) = ClusterKey::of_acl(acl)
        {
            rights.wake(&key);
        }
    })
}

/// Secrets that people made: whoever names one is found by looking, as they are few.
fn watch_given_secrets(
    watches: &mut Watches,
    label: &str,
    clusters: &DirtySet,
    rights: &Arc<Rights>,
) -> Store<Secret> {
    let (clusters, rights) = (clusters.clone(), Arc::clone(rights));
    watches.cache(Some(label), move |change: &Change<'_, Secret>| {
        let (Change::Seen(secret) | Change::Gone(secret)) = change else { return };
        for key in rights.known() {
            if Some(&key.namespace) == secret.metadata.namespace.as_ref() {
                rights.wake(&key);
                clusters.mark(key);
            }
        }
    })
}
