//! What a broker's pod runs on: image, resources, volume. Pure.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::reference::SecretName;
use crate::schema;

/// The image repository that is used unless another is named.
pub const DEFAULT_IMAGE_REPOSITORY: &str = "ghcr.io/dunlin/mqtt-broker";

/// The brokers' image.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct Image {
    /// The repository, without tag and digest; the tag is the version.
    #[schemars(schema_with = "schema::image_repository")]
    pub repository: String,
    /// The image's digest, which then decides instead of the tag.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::image_digest")]
    pub digest: Option<String>,
    /// When the image is pulled.
    pub pull_policy: PullPolicy,
    /// Secrets for pulling the image.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub pull_secrets: Vec<SecretName>,
}

impl Default for Image {
    fn default() -> Self {
        Self {
            repository: DEFAULT_IMAGE_REPOSITORY.into(),
            digest: None,
            pull_policy: PullPolicy::default(),
            pull_secrets: Vec::new(),
        }
    }
}

/// When an image is pulled.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PullPolicy {
    /// At each start.
    Always,
    /// When the node doesn't have it.
    #[default]
    IfNotPresent,
    /// Never: the node must have it.
    Never,
}

impl PullPolicy {
    /// The name Kubernetes has for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Always => "Always",
            Self::IfNotPresent => "IfNotPresent",
            Self::Never => "Never",
        }
    }
}

/// Requests and limits of the broker's container.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct Resources {
    /// What is set aside for it.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::resource_amounts")]
    pub requests: BTreeMap<String, Quantity>,
    /// What it may use at most.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::resource_amounts")]
    pub limits: BTreeMap<String, Quantity>,
}

/// The brokers' volumes.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[schemars(extend("x-kubernetes-validations" = [
    {"rule": "has(self.className) == has(oldSelf.className) && \
     (!has(self.className) || self.className == oldSelf.className)",
     "message": "storage.className is fixed at creation: set it to what it was, or create another cluster"},
]))]
#[serde(rename_all = "camelCase", default)]
pub struct Storage {
    /// The size of each broker's volume; it grows and never shrinks.
    #[schemars(schema_with = "schema::volume_size")]
    pub size: String,
    /// The storage class; default: the Kubernetes cluster's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::name")]
    pub class_name: Option<String>,
    /// What becomes of the volumes when the MqttCluster is deleted.
    pub when_deleted: WhenDeleted,
}

impl Default for Storage {
    fn default() -> Self {
        Self { size: "10Gi".into(), class_name: None, when_deleted: WhenDeleted::Retain }
    }
}

/// What becomes of something when its owner is deleted.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenDeleted {
    /// It is kept.
    #[default]
    Retain,
    /// It is deleted too.
    Delete,
}
