//! Objects that manifests describe, by identity. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use operator_api::{MqttAcl, MqttCluster, MqttUser};
use operator_core::user::SecretData;

/// The annotation that says which file an object came from.
pub(crate) const SOURCE_ANNOTATION: &str = "mqtt.dunlin.io/manifest";

/// The kinds that there are here, in the order in which they are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    Cluster,
    User,
    Acl,
    Secret,
}

impl Kind {
    pub(crate) const ALL: [Self; 4] = [Self::Cluster, Self::User, Self::Acl, Self::Secret];

    /// As a manifest's `kind`.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Cluster => "MqttCluster",
            Self::User => "MqttUser",
            Self::Acl => "MqttAcl",
            Self::Secret => "Secret",
        }
    }

    /// As folders and `local get` call several of them.
    pub(crate) fn plural(self) -> &'static str {
        match self {
            Self::Cluster => "mqttclusters",
            Self::User => "mqttusers",
            Self::Acl => "mqttacls",
            Self::Secret => "secrets",
        }
    }

    /// As a manifest's `apiVersion`.
    pub(crate) fn api_version(self) -> &'static str {
        match self {
            Self::Secret => "v1",
            _ => "mqtt.dunlin.io/v1alpha1",
        }
    }
}

/// What tells objects apart.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Identity {
    pub(crate) kind: Kind,
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl std::fmt::Display for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.kind.as_str(), scoped(&self.namespace, &self.name))
    }
}

/// A name as people and folders see it: with its namespace in front unless that is `default`.
pub(crate) fn scoped(namespace: &str, name: &str) -> String {
    if namespace == "default" { name.to_owned() } else { format!("{namespace}_{name}") }
}

/// An object of one of the kinds. `Debug` shows no Secret's content.
#[derive(Clone)]
pub(crate) enum ManifestObject {
    Cluster(Arc<MqttCluster>),
    User(Arc<MqttUser>),
    Acl(Arc<MqttAcl>),
    Secret(Arc<(ObjectMeta, SecretData)>),
}

impl std::fmt::Debug for ManifestObject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {:?}", self.kind().as_str(), self.metadata().name)
    }
}

impl ManifestObject {
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Cluster(_) => Kind::Cluster,
            Self::User(_) => Kind::User,
            Self::Acl(_) => Kind::Acl,
            Self::Secret(_) => Kind::Secret,
        }
    }

    pub(crate) fn metadata(&self) -> &ObjectMeta {
        match self {
            Self::Cluster(object) => &object.metadata,
            Self::User(object) => &object.metadata,
            Self::Acl(object) => &object.metadata,
            Self::Secret(object) => &object.0,
        }
    }

    fn metadata_mut(&mut self) -> &mut ObjectMeta {
        match self {
            Self::Cluster(object) => &mut Arc::make_mut(object).metadata,
            Self::User(object) => &mut Arc::make_mut(object).metadata,
            Self::Acl(object) => &mut Arc::make_mut(object).metadata,
            Self::Secret(object) => &mut Arc::make_mut(object).0,
        }
    }

    fn has_same_spec(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Cluster(a), Self::Cluster(b)) => a.spec == b.spec,
            (Self::User(a), Self::User(b)) => a.spec == b.spec,
            (Self::Acl(a), Self::Acl(b)) => a.spec == b.spec,
            (Self::Secret(a), Self::Secret(b)) => a.1 == b.1,
            _ => false,
        }
    }

    /// This object in the place of an earlier one: created when that was, and of the next generation if its spec is another. The
    /// earlier one itself when nothing differs.
    pub(crate) fn succeeding(mut self, earlier: Option<&Self>, now: jiff::Timestamp) -> Self {
        let Some(earlier) = earlier else {
            let metadata = self.metadata_mut();
            metadata.generation = Some(1);
            metadata.creation_timestamp = Some(Time(whole_seconds(now)));
            return self;
        };
        let before = earlier.metadata();
        let is_same_spec = self.has_same_spec(earlier);
        let generation = before.generation.unwrap_or(1) + i64::from(!is_same_spec);
        let metadata = self.metadata_mut();
        metadata.generation = Some(generation);
        metadata.creation_timestamp.clone_from(&before.creation_timestamp);
        if is_same_spec
            && metadata.labels == before.labels
            && metadata.annotations == before.annotations
        {
            return earlier.clone();
        }
        match (&mut self, earlier) {
            (Self::Cluster(new), Self::Cluster(old)) => {
                Arc::make_mut(new).status.clone_from(&old.status);
            }
            (Self::User(new), Self::User(old)) => {
                Arc::make_mut(new).status.clone_from(&old.status);
            }
            (Self::Acl(new), Self::Acl(old)) => {
                Arc::make_mut(new).status.clone_from(&old.status);
            }
            _ => {}
        }
        self
    }

    /// Whether it is the very same object, not an equal one.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Cluster(a), Self::Cluster(b)) => Arc::ptr_eq(a, b),
            (Self::User(a), Self::User(b)) => Arc::ptr_eq(a, b),
            (Self::Acl(a), Self::Acl(b)) => Arc::ptr_eq(a, b),
            (Self::Secret(a), Self::Secret(b)) => Arc::ptr_eq(a, b),
            _ => false,
        }
    }

    /// The name of the cluster that it belongs to; `None` for a Secret.
    pub(crate) fn cluster(&self) -> Option<&str> {
        match self {
            Self::Cluster(object) => object.metadata.name.as_deref(),
            Self::User(object) => Some(&object.spec.cluster_ref.name),
            Self::Acl(object) => Some(&object.spec.cluster_ref.name),
            Self::Secret(_) => None,
        }
    }
}

fn whole_seconds(now: jiff::Timestamp) -> jiff::Timestamp {
    jiff::Timestamp::from_second(now.as_second()).unwrap_or(now)
}

/// An accepted object and where it came from.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) object: ManifestObject,
    /// The file.
    pub(crate) source: String,
}

/// All accepted objects.
pub(crate) type Objects = BTreeMap<Identity, Stored>;
