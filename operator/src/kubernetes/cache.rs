//! Caches: one watch for each kind, without what nobody here reads. IO.

use std::fmt::Debug;
use std::hash::Hash;

use futures::StreamExt;
use kube::{Api, Client, Resource, ResourceExt};
use kube_runtime::WatchStreamExt;
use kube_runtime::reflector::{Store, store};
use kube_runtime::watcher::{Config, Event, watcher};
use serde::de::DeserializeOwned;
use tokio::task::JoinSet;

/// The annotation that kubectl writes, as large as the object itself.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// How many objects a list asks for at a time.
const PAGE: u32 = 500;

/// What can be cached.
pub(super) trait Cached:
    Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
    + Clone
    + DeserializeOwned
    + Debug
    + Send
    + Sync
    + 'static
{
}

impl<K> Cached for K where
    K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
        + Clone
        + DeserializeOwned
        + Debug
        + Send
        + Sync
        + 'static
{
}

/// Starts watches of one namespace or of all.
pub(super) struct Watches {
    kube_client: Client,
    namespace: Option<String>,
    tasks: JoinSet<()>,
}

impl Watches {
    pub(super) fn new(kube_client: Client, namespace: Option<String>) -> Self {
        Self { kube_client, namespace, tasks: JoinSet::new() }
    }

    /// The tasks that keep the caches; dropping them ends the watches.
    pub(super) fn into_tasks(self) -> JoinSet<()> {
        self.tasks
    }

    /// Caches the objects that a label selector selects, and calls `on_event` with each one that
    /// appears, changes or goes, after the cache shows it.
    pub(super) fn cache<K, F>(&mut self, labels: Option<&str>, on_event: F) -> Store<K>
    where
        K: Cached,
        F: Fn(&Change<'_, K>) + Send + 'static,
    {
        let api: Api<K> = match &self.namespace {
            Some(namespace) => Api::namespaced(self.kube_client.clone(), namespace),
            None => Api::all(self.kube_client.clone()),
        };
        let mut config = Config::default().page_size(PAGE);
        if let Some(labels) = labels {
            config = config.labels(labels);
        }
        let (reader, writer) = store();
        let kind = K::kind(&()).into_owned();
        let mut events =
            watcher(api, config).default_backoff().modify(prune).reflect(writer).boxed();
        self.tasks.spawn(async move {
            while let Some(event) = events.next().await {
                match event {
                    Ok(event) => notify(&event, &on_event),
                    Err(error) => {
                        tracing::warn!(kind, error = %error, "a watch broke and is begun again");
                    }
                }
            }
        });
        reader
    }
}

/// What happened to an object.
pub(super) enum Change<'a, K> {
    /// It is there, new or changed.
    Seen(&'a K),
    /// It is gone.
    Gone(&'a K),
    /// All objects were listed anew: any of those known before may be gone.
    Relisted,
}

/// Tells a callback what an event means.
fn notify<K>(event: &Event<K>, on_event: &impl Fn(&Change<'_, K>)) {
    match event {
        Event::Apply(object) | Event::InitApply(object) => on_event(&Change::Seen(object)),
        Event::Delete(object) => on_event(&Change::Gone(object)),
        Event::InitDone => on_event(&Change::Relisted),
        Event::Init => {}
    }
}

/// Drops what nobody here reads; it is most of what an object weighs.
fn prune<K: Resource>(object: &mut K) {
    object.managed_fields_mut().clear();
    object.annotations_mut().remove(LAST_APPLIED);
}

/// Remembers what of an object matters, so that a change of its status is no change.
pub(super) struct Seen<K> {
    known: std::sync::Mutex<std::collections::HashMap<String, u64>>,
    _kind: std::marker::PhantomData<fn(K)>,
}

impl<K: Resource<DynamicType = ()>> Seen<K> {
    pub(super) fn new() -> Self {
        Self { known: std::sync::Mutex::default(), _kind: std::marker::PhantomData }
    }

    /// Whether a change is one of more than the status.
    pub(super) fn is_news(&self, change: &Change<'_, K>) -> bool {
        use std::hash::{DefaultHasher, Hasher as _};
        let mut known = self.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let key = |object: &K| {
            format!("{}/{}", object.namespace().unwrap_or_default(), object.name_any())
        };
        match change {
            Change::Relisted => true,
            Change::Gone(object) => {
                known.remove(&key(object));
                true
            }
            Change::Seen(object) => {
                let mut hasher = DefaultHasher::new();
                let metadata = object.meta();
                metadata.uid.hash(&mut hasher);
                metadata.generation.hash(&mut hasher);
                metadata.labels.hash(&mut hasher);
                metadata.finalizers.hash(&mut hasher);
                metadata.deletion_timestamp.is_some().hash(&mut hasher);
                let now = hasher.finish();
                known.insert(key(object), now) != Some(now)
            }
        }
    }
}
