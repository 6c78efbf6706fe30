//! Applies the objects of a cluster, in an order in which each finds what it needs. IO.

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, Service};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use kube::runtime::reflector::{Lookup, ObjectRef, Store};
use operator_api::measure;
use operator_core::cluster::ValidatedCluster;
use operator_core::cluster::build::{ClusterResources, has_token};
use operator_core::cluster::names::INSTANCE_LABEL;

use super::super::apply::{Applicable, Applied, apply as apply_one, delete};
use super::super::error::{Error, kubernetes};
use super::super::scope::Scope;

/// What came of applying the objects of a cluster.
pub(super) struct Outcome {
    /// `Unchanged` when every one was as it shall be.
    pub(super) applied: Applied,
    /// Those that could not be applied.
    pub(super) problems: Vec<Error>,
}

impl Outcome {
    /// Nothing applied yet.
    pub(super) fn new() -> Self {
        Self { applied: Applied::Unchanged, problems: Vec::new() }
    }

    /// Notes what came of one object.
    pub(super) fn note(&mut self, outcome: Result<Applied, Error>) {
        match outcome {
            Ok(Applied::Unchanged) => {}
            Ok(Applied::Written) => self.applied = Applied::Written,
            Err(problem) => self.problems.push(problem),
        }
    }
}

/// Applies all objects; one that can't be applied holds only those back that need it.
pub(super) async fn apply(
    scope: &Scope,
    cluster: &ValidatedCluster,
    resources: ClusterResources,
) -> Outcome {
    // Exhaustive: an object that is built and not applied does not compile.
    let ClusterResources {
        service_account,
        peer_discovery,
        config_map,
        headless_service,
        listener_services,
        pod_disruption_budget,
        network_policy,
        stateful_set,
    } = resources;
    let caches = &scope.caches;
    let mut outcome = Outcome::new();
    outcome.note(put(scope, &caches.service_accounts, &service_account).await);
    match &peer_discovery {
        Some(rights) => {
            outcome.note(put(scope, &caches.roles, &rights.role).await);
            outcome.note(put(scope, &caches.role_bindings, &rights.binding).await);
        }
        None => take_rights_away(scope, cluster, &mut outcome).await,
    }
    outcome.note(put(scope, &caches.config_maps, &config_map).await);
    outcome.note(put(scope, &caches.network_policies, &network_policy).await);
    outcome.note(put(scope, &caches.services, &headless_service).await);
    let has_all_that_brokers_need = outcome.problems.is_empty();
    for service in &listener_services {
        outcome.note(put(scope, &caches.services, service).await);
    }
    outcome.note(forget_services(scope, cluster, &headless_service, &listener_services).await);
    outcome.note(put_budget(scope, cluster, pod_disruption_budget.as_ref()).await);
    // The brokers come last: pods without configuration, names or walls would be worse than none.
    if has_all_that_brokers_need {
        outcome.note(put(scope, &caches.stateful_sets, &stateful_set).await);
    }
    outcome.note(grow_volumes(scope, cluster).await);
    outcome
}

async fn put_budget(
    scope: &Scope,
    cluster: &ValidatedCluster,
    wanted: Option<&PodDisruptionBudget>,
) -> Result<Applied, Error> {
    let budgets = &scope.caches.pod_disruption_budgets;
    if let Some(wanted) = wanted {
        return put(scope, budgets, wanted).await;
    }
    remove(scope, cluster, budgets, &cluster.names.stateful_set()).await
}

/// What brokers could read of Kubernetes is theirs until the last pod is gone that asks for it: one
/// that could not would not find those that have a new address.
async fn take_rights_away(scope: &Scope, cluster: &ValidatedCluster, outcome: &mut Outcome) {
    let is_of_cluster = |pod: &Pod| {
        pod.metadata.namespace.as_ref() == Some(&cluster.namespace)
            && pod.labels().get(INSTANCE_LABEL) == Some(&cluster.name)
    };
    let pods = scope.caches.pods.state();
    if pods.iter().any(|pod| is_of_cluster(pod) && has_token(pod)) {
        return;
    }
    let name = cluster.names.peer_discovery_role();
    outcome.note(remove(scope, cluster, &scope.caches.role_bindings, &name).await);
    outcome.note(remove(scope, cluster, &scope.caches.roles, &name).await);
}

/// Deletes an object of this cluster if it is there.
async fn remove<K>(
    scope: &Scope,
    cluster: &ValidatedCluster,
    cache: &Store<K>,
    name: &str,
) -> Result<Applied, Error>
where
    K: Applicable + Lookup<DynamicType = ()> + 'static,
{
    let at = ObjectRef::new(name).within(&cluster.namespace);
    let is_ours =
        |object: &K| object.owner_references().iter().any(|owner| owner.uid == cluster.uid);
    match cache.get(&at).filter(|object| is_ours(object)) {
        Some(object) => delete(scope, &*object).await.map(|()| Applied::Written),
        None => Ok(Applied::Unchanged),
    }
}

async fn put<K>(scope: &Scope, cache: &Store<K>, built: &K) -> Result<Applied, Error>
where
    K: Applicable + Lookup<DynamicType = ()> + 'static,
{
    let live = cache.get(&ObjectRef::from_obj(built));
    apply_one(scope, built, live.as_deref()).await
}

/// Deletes the Services of listeners that are not there any more.
async fn forget_services(
    scope: &Scope,
    cluster: &ValidatedCluster,
    headless: &Service,
    listeners: &[Service],
) -> Result<Applied, Error> {
    let mut applied = Applied::Unchanged;
    for service in scope.caches.services.state() {
        let is_of_cluster = service.metadata.namespace.as_ref() == Some(&cluster.namespace)
            && service.labels().get(INSTANCE_LABEL) == Some(&cluster.name)
            && service.owner_references().iter().any(|owner| owner.uid == cluster.uid);
        let name = service.name_any();
        let is_wanted = listeners.iter().chain([headless]).any(|wanted| wanted.name_any() == name);
        if is_of_cluster && !is_wanted {
            delete(scope, &*service).await?;
            applied = Applied::Written;
        }
    }
    Ok(applied)
}

/// Asks for more room where a volume is smaller than the spec says.
async fn grow_volumes(scope: &Scope, cluster: &ValidatedCluster) -> Result<Applied, Error> {
    let mut applied = Applied::Unchanged;
    for ordinal in 0..cluster.replicas {
        let name = cluster.names.volume_claim(ordinal);
        let at = ObjectRef::<PersistentVolumeClaim>::new(&name).within(&cluster.namespace);
        let Some(claim) = scope.caches.volume_claims.get(&at) else { continue };
        let requests = claim
            .spec
            .as_ref()
            .and_then(|spec| spec.resources.as_ref()?.requests.as_ref()?.get("storage"));
        let has = requests.and_then(|size| measure::bytes(&size.0)).unwrap_or(u64::MAX);
        if has >= cluster.storage.size_bytes {
            continue;
        }
        let patch = serde_json::json!({
            "spec": {"resources": {"requests": {"storage": cluster.storage.size}}}
        });
        let api = scope.api::<PersistentVolumeClaim>(&cluster.namespace);
        api.patch(&name, &PatchParams::default(), &Patch::Merge(&patch))
            .await
            .map_err(kubernetes::<PersistentVolumeClaim>("grow", &cluster.namespace, &name))?;
        scope.metrics.writes.with_label_values(&["PersistentVolumeClaim"]).inc();
        applied = Applied::Written;
    }
    Ok(applied)
}
