//! Asks every broker of a cluster how it is, and looks at its pod. IO.

use futures::future::join_all;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;
use operator_core::cluster::ValidatedCluster;
use operator_core::cluster::names::{REPLICAS_MAX, VERSION_ANNOTATION};
use operator_core::rollout::{Instance, Observed, Readiness};

use super::super::scope::{ClusterKey, Scope};
use super::brokers::{Prepared, endpoint};

/// The label by which a StatefulSet tells its revisions apart.
const REVISION_LABEL: &str = "controller-revision-hash";
/// What keeps a container from starting, as the kubelet calls it.
const FAILURES: [&str; 7] = [
    "ErrImagePull",
    "ImagePullBackOff",
    "ErrImageNeverPull",
    "InvalidImageName",
    "CrashLoopBackOff",
    "CreateContainerConfigError",
    "CreateContainerError",
];

/// Every broker that runs or should run, by ordinal.
pub(super) async fn observe(scope: &Scope, key: &ClusterKey, prepared: &Prepared) -> Vec<Observed> {
    let cluster = &prepared.cluster;
    let pod = |ordinal: u16| {
        let name = cluster.names.broker(ordinal);
        scope.caches.pods.get(&ObjectRef::<Pod>::new(&name).within(&key.namespace))
    };
    let ordinals =
        (0..REPLICAS_MAX).filter(|ordinal| *ordinal < cluster.replicas || pod(*ordinal).is_some());
    let asked = ordinals.map(|ordinal| {
        let instance = pod(ordinal).map(|pod| instance(&pod));
        async move {
            let name = cluster.names.broker(ordinal);
            let status = match endpoint(scope, cluster, ordinal) {
                None if instance.is_none() => Err("its pod is not there".to_owned()),
                None => Err("its pod has no address yet".to_owned()),
                Some(endpoint) => {
                    prepared.admin.status(&endpoint).await.map_err(|error| error.chain())
                }
            };
            Observed { name, instance, status }
        }
    });
    join_all(asked).await
}

/// The wanted template of a cluster's pods; `None` while the StatefulSet is behind its spec.
pub(super) fn wanted_template(scope: &Scope, cluster: &ValidatedCluster) -> Option<String> {
    let at = ObjectRef::new(&cluster.names.stateful_set()).within(&cluster.namespace);
    let stateful_set = scope.caches.stateful_sets.get(&at)?;
    let status = stateful_set.status.as_ref()?;
    let is_current = status.observed_generation >= stateful_set.metadata.generation;
    status.update_revision.clone().filter(|_| is_current)
}

fn instance(pod: &Pod) -> Instance {
    let status = pod.status.as_ref();
    let conditions = status.and_then(|status| status.conditions.as_ref());
    let ready = conditions.into_iter().flatten().find(|condition| condition.type_ == "Ready");
    let created = pod.metadata.creation_timestamp.as_ref().map_or(Timestamp::UNIX_EPOCH, |t| t.0);
    let since =
        ready.and_then(|ready| ready.last_transition_time.as_ref()).map_or(created, |t| t.0);
    Instance {
        version: pod.annotations().get(VERSION_ANNOTATION).cloned().unwrap_or_default(),
        template: pod.labels().get(REVISION_LABEL).cloned().unwrap_or_default(),
        readiness: if ready.is_some_and(|ready| ready.status == "True") {
            Readiness::Ready(since)
        } else {
            Readiness::Unready(since)
        },
        is_terminating: pod.metadata.deletion_timestamp.is_some(),
        failure: failure(pod),
    }
}

/// Why a pod can't start, when the platform knows.
fn failure(pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref()?;
    let containers: &[ContainerStatus] = status.container_statuses.as_deref().unwrap_or_default();
    let waiting = containers.iter().find_map(|container| {
        let waiting = container.state.as_ref()?.waiting.as_ref()?;
        let reason = waiting.reason.as_deref()?;
        FAILURES.contains(&reason).then(|| match waiting.message.as_deref() {
            Some(message) => format!("{reason}: {message}"),
            None => reason.to_owned(),
        })
    });
    let unscheduled = || {
        let conditions = status.conditions.as_ref()?;
        let scheduled = conditions.iter().find(|condition| condition.type_ == "PodScheduled")?;
        (scheduled.status == "False").then(|| {
            let message = scheduled.message.as_deref().unwrap_or_default();
            format!("{}: {message}", scheduled.reason.as_deref().unwrap_or("Unschedulable"))
        })
    };
    waiting.or_else(unscheduled)
}
