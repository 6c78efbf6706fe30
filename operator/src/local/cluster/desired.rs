//! What a cluster's task is told: the objects that concern it, and what was edited. Pure data.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Instant;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use operator_api::{
    MqttAcl, MqttAclStatus, MqttCluster, MqttClusterStatus, MqttUser, MqttUserStatus,
};
use operator_core::user::SecretData;

/// A Secret of the manifests.
pub(crate) type GivenSecret = Arc<(ObjectMeta, SecretData)>;

/// Everything that one cluster is made from.
#[derive(Debug, Clone)]
pub(crate) struct Desired {
    pub(crate) cluster: Arc<MqttCluster>,
    pub(crate) users: Vec<Arc<MqttUser>>,
    pub(crate) acls: Vec<Arc<MqttAcl>>,
    /// Secrets of the manifests, by name.
    pub(crate) secrets: BTreeMap<String, GivenSecret>,
    /// What was edited since the message before.
    pub(crate) edits: Vec<Edit>,
    /// When that was noticed.
    pub(crate) noticed: Instant,
}

/// One object was created, changed or deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Edit {
    /// `created`, `changed` or `deleted`.
    pub(crate) verb: &'static str,
    /// Such as `MqttAcl`.
    pub(crate) kind: &'static str,
    pub(crate) name: String,
    /// The file.
    pub(crate) source: String,
}

/// Statuses as they were written last.
#[derive(Debug, Default)]
pub(crate) struct Statuses {
    pub(crate) cluster: Option<MqttClusterStatus>,
    pub(crate) users: HashMap<String, MqttUserStatus>,
    pub(crate) acls: HashMap<String, MqttAclStatus>,
}
