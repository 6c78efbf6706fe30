//! Applies the objects of a cluster, in an order in which each finds what it needs. IO.

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Service};
use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use kube::runtime::reflector::{Lookup, ObjectRef, Store};
use operator_api::measure;
use operator_core::cluster::ValidatedCluster;
use operator_core::cluster::build::ClusterResources;
use operator_core::cluster::names::INSTANCE_LABEL;

use super::super::apply::{Applicable, Applied, apply as apply_one, delete};
use super::super::error::{Error, kubernetes};
use super::super::scope::Scope;

/// Applies all objects; `Unchanged` when every one was as it shall be.
pub(super) async fn apply(
    scope: &Scope,
    cluster: &ValidatedCluster,
    resources: ClusterResources,
) -> Result<Applied, Error> {
    // Exhaustive: an object that is built and not applied does not compile.
    let ClusterResources {
        service_account,
        config_map,
        headless_service,
        listener_services,
        pod_disruption_budget,
        network_policy,
        stateful_set,
    } = resources;
    let caches = &scope.caches;
    let mut steps = vec![
        put(scope, &caches.service_accounts, &service_account).await?,
        put(scope, &caches.config_maps, &config_map).await?,
        put(scope, &caches.network_policies, &network_policy).await?,
        put(scope, &caches.services, &headless_service).await?,
    ];
    for service in &listener_services {
        steps.push(put(scope, &caches.services, service).await?);
    }
    forget_services(scope, cluster, &headless_service, &listener_services).await?;
    let budget = ObjectRef::new(&cluster.names.stateful_set()).within(&cluster.namespace);
    match &pod_disruption_budget {
        Some(budget) => steps.push(put(scope, &caches.pod_disruption_budgets, budget).await?),
        None => {
            if let Some(budget) = caches.pod_disruption_budgets.get(&budget) {
                delete(scope, &*budget).await?;
            }
        }
    }
    // The brokers come last: their pods need all the others.
    steps.push(put(scope, &caches.stateful_sets, &stateful_set).await?);
    grow_volumes(scope, cluster).await?;
    let is_unchanged = steps.iter().all(|step| *step == Applied::Unchanged);
    Ok(if is_unchanged { Applied::Unchanged } else { Applied::Written })
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
) -> Result<(), Error> {
    for service in scope.caches.services.state() {
        let is_of_cluster = service.metadata.namespace.as_ref() == Some(&cluster.namespace)
            && service.labels().get(INSTANCE_LABEL) == Some(&cluster.name)
            && service.owner_references().iter().any(|owner| owner.uid == cluster.uid);
        let name = service.name_any();
        let is_wanted = listeners.iter().chain([headless]).any(|wanted| wanted.name_any() == name);
        if is_of_cluster && !is_wanted {
            delete(scope, &*service).await?;
        }
    }
    Ok(())
}

/// Asks for more room where a volume is smaller than the spec says.
async fn grow_volumes(scope: &Scope, cluster: &ValidatedCluster) -> Result<(), Error> {
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
    }
    Ok(())
}
