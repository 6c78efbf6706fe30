//! `MqttCluster`: a cluster of brokers. Pure.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

mod listener;
mod status;

pub use listener::{
    AuthenticationMethod, ClientCertificates, Listener, ListenerLimits, ListenerService, Protocol,
    ServiceType,
};
pub use status::{BrokerReport, Endpoint, MqttClusterStatus, PlannedStep, PolicyReport};

use crate::reference::{IssuerRef, SecretName};
use crate::schema;

/// The image repository that is used unless another is named.
pub const DEFAULT_IMAGE_REPOSITORY: &str = "ghcr.io/dunlin/mqtt-broker";

/// A cluster of MQTT brokers.
#[derive(CustomResource, JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "mqtt.dunlin.io",
    version = "v1alpha1",
    kind = "MqttCluster",
    plural = "mqttclusters",
    singular = "mqttcluster",
    shortname = "mqc",
    category = "mqtt",
    category = "dunlin",
    namespaced,
    status = "MqttClusterStatus",
    derive = "PartialEq",
    doc = "A cluster of MQTT brokers: replicated, encrypted, with rights from MqttUser and MqttAcl.",
    scale(
        spec_replicas_path = ".spec.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    printcolumn(name = "Version", type_ = "string", json_path = ".status.version"),
    printcolumn(name = "Brokers", type_ = "string", json_path = ".status.readyBrokers"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#
    ),
    printcolumn(name = "Revision", type_ = "string", json_path = ".status.policy.revision"),
    printcolumn(name = "Connections", type_ = "integer", json_path = ".status.connections"),
    printcolumn(
        name = "Reason",
        type_ = "string",
        priority = 1,
        json_path = r#".status.conditions[?(@.type=="Ready")].reason"#
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = (
        "self.metadata.name.size() <= 40 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
        "metadata.name must have at most 40 lower-case letters, digits and -, and start with a \
         letter: the names of Services and pods are made from it"
    )
)]
#[schemars(extend("x-kubernetes-validations" = [
    {"rule": "!has(self.durability) || self.durability != 'quorum' || self.replicas >= 3",
     "message": "durability quorum needs at least 3 replicas: raise replicas, or use durability local"},
    {"rule": "self.listeners.all(l, self.listeners.exists_one(m, m.port == l.port))",
     "message": "each listener needs a port of its own: change one of those that are equal"},
]))]
#[serde(rename_all = "camelCase")]
pub struct MqttClusterSpec {
    /// The broker's version; editing it is the upgrade.
    #[schemars(schema_with = "schema::version")]
    pub version: String,
    /// How many brokers, all of them voters: 1, 3, 5 or 7.
    #[serde(default = "default_replicas")]
    #[schemars(extend("x-kubernetes-validations" = [
    {"rule": "self in [1, 3, 5, 7]",
     "message": "replicas must be 1, 3, 5 or 7: an even number survives no more failures than one fewer"},
]))]
    pub replicas: i32,
    /// The brokers' image.
    #[serde(default)]
    pub image: Image,
    /// The broker container's requests and limits.
    #[serde(default)]
    pub resources: Resources,
    /// The brokers' volumes.
    #[serde(default)]
    pub storage: Storage,
    /// Where MQTT clients connect.
    #[serde(default = "default_listeners")]
    #[schemars(length(min = 1, max = 16))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub listeners: Vec<Listener>,
    /// Certificates.
    #[serde(default)]
    pub tls: Tls,
    /// When a message counts as kept; default: quorum, or local with one replica.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub durability: Option<Durability>,
    /// What brokers without a quorum do.
    #[serde(default)]
    pub partition_policy: PartitionPolicy,
    /// Into how many shards durable state is cut; fixed at creation. No effect yet.
    #[serde(default = "default_shards")]
    #[schemars(range(min = 1, max = 256))]
    #[schemars(extend("x-kubernetes-validations" = [
    {"rule": "self == oldSelf",
     "message": "shards is fixed at creation: set it to what it was, or create another cluster"},
]))]
    pub shards: u32,
    /// Limits of sessions.
    #[serde(default)]
    pub sessions: Sessions,
    /// Limits of retained messages.
    #[serde(default)]
    pub retained: Retained,
    /// Rights that hold where no MqttAcl speaks.
    #[serde(default)]
    pub policy: PolicySettings,
    /// How brokers are replaced.
    #[serde(default)]
    pub rollout: Rollout,
    /// Objects for the monitoring system. No effect yet: none is made. docs/metrics.md has a
    /// PodMonitor to apply.
    #[serde(default)]
    pub monitoring: Monitoring,
    /// Metadata and spec that are merged over the pod template that the operator builds.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    #[schemars(schema_with = "schema::open_object")]
    pub pod_template: Map<String, Value>,
    /// Settings of the broker that have no field here, as its configuration file names them.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    #[schemars(schema_with = "schema::open_object")]
    pub broker_config: Map<String, Value>,
}

impl MqttClusterSpec {
    /// When a message counts as kept, with the default filled in.
    #[must_use]
    pub fn effective_durability(&self) -> Durability {
        self.durability.unwrap_or(if self.replicas == 1 {
            Durability::Local
        } else {
            Durability::Quorum
        })
    }
}

fn default_replicas() -> i32 {
    3
}

fn default_listeners() -> Vec<Listener> {
    vec![Listener::tls()]
}

fn default_shards() -> u32 {
    16
}

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

/// Certificates of a cluster.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct Tls {
    /// Who issues them.
    pub authority: Authority,
    /// Names in the server certificate beside those of the Services.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::subject_alt_names")]
    pub subject_alt_names: Vec<String>,
    /// How long a certificate lives; it is renewed after two thirds.
    #[schemars(schema_with = "schema::lifetime")]
    pub leaf_lifetime: String,
}

impl Default for Tls {
    fn default() -> Self {
        Self {
            authority: Authority::default(),
            subject_alt_names: Vec::new(),
            leaf_lifetime: "2160h".into(),
        }
    }
}

/// Who issues the certificates: the operator itself unless one of these is named.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[schemars(extend("x-kubernetes-validations" = [
    {"rule": "!has(self.secretName) || !has(self.issuerRef)",
     "message": "authority takes secretName or issuerRef, not both: leave one out"},
]))]
#[serde(rename_all = "camelCase", default)]
pub struct Authority {
    /// A Secret laid out as the operator's own `<cluster>-ca`: `root.crt`, and `<purpose>.crt` and
    /// `<purpose>.key` for server, peer, client and admin. It needs the label
    /// `mqtt.dunlin.io/watch=true`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::name")]
    pub secret_name: Option<String>,
    /// An issuer of certificates outside the operator. Not supported yet: the cluster says
    /// NotSupported and is not acted upon.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issuer_ref: Option<IssuerRef>,
}

/// When a message counts as kept; default: quorum, or local with one replica. No effect yet:
/// sessions are in memory, retained messages are kept by quorum.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// When a majority of brokers has it on disk.
    Quorum,
    /// When the broker that received it has it on disk.
    Local,
    /// When it is in memory.
    Memory,
}

/// What brokers without a quorum do.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum PartitionPolicy {
    /// They refuse clients until they have one again.
    #[default]
    Fence,
    /// They serve what needs none.
    Serve,
}

/// Limits of sessions.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct Sessions {
    /// The longest time that a session is kept without a connection.
    #[schemars(schema_with = "schema::duration")]
    pub expiry_max: String,
    /// How many messages to one client may be unacknowledged.
    #[schemars(range(min = 1, max = 65535))]
    pub inflight_max: u32,
    /// How many messages may wait for one client.
    #[schemars(range(min = 1, max = 100_000_000))]
    pub queued_messages_max: u32,
    /// How many bytes may wait for one client.
    #[schemars(schema_with = "schema::bytes")]
    pub queued_bytes_max: String,
}

impl Default for Sessions {
    fn default() -> Self {
        Self {
            expiry_max: "168h".into(),
            inflight_max: 100,
            queued_messages_max: 10_000,
            queued_bytes_max: "64Mi".into(),
        }
    }
}

/// Limits of retained messages, in the whole cluster.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct Retained {
    /// How many there may be.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub messages_max: u32,
    /// How many bytes they may have together.
    #[schemars(schema_with = "schema::bytes")]
    pub bytes_max: String,
}

impl Default for Retained {
    fn default() -> Self {
        Self { messages_max: 1_000_000, bytes_max: "1Gi".into() }
    }
}

/// Whether something is allowed.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// It is.
    Allow,
    /// It isn't.
    Deny,
}

/// Rights that hold where no rule matches.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct DefaultAccess {
    /// Whether a client may publish to a topic.
    pub publish: Access,
    /// Whether a client receives a message of a subscription that it has.
    pub receive: Access,
    /// Whether a client may subscribe to a filter.
    pub subscribe: Access,
    /// Whether a client may unsubscribe from a filter.
    pub unsubscribe: Access,
}

impl Default for DefaultAccess {
    fn default() -> Self {
        Self {
            publish: Access::Deny,
            receive: Access::Allow,
            subscribe: Access::Deny,
            unsubscribe: Access::Allow,
        }
    }
}

/// Rights of the whole cluster.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct PolicySettings {
    /// Rights that hold where no rule matches.
    pub default_access: DefaultAccess,
    /// `Deny`, or the group whose rights a client without credentials gets.
    #[schemars(schema_with = "schema::group")]
    pub anonymous: String,
    /// Whether `$CONTROL/dynamic-security/v1` edits what the operator doesn't own. No effect yet:
    /// brokers have no such API.
    pub dynamic_security_api: bool,
}

impl Default for PolicySettings {
    fn default() -> Self {
        Self {
            default_access: DefaultAccess::default(),
            anonymous: "Deny".into(),
            dynamic_security_api: true,
        }
    }
}

/// How brokers are replaced.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct Rollout {
    /// Whether nothing disruptive may be done; the status is still kept.
    pub paused: bool,
    /// How many clients are asked to reconnect each second when a broker is drained. No effect yet:
    /// all of them are disconnected when their broker stops.
    #[schemars(range(min = 1, max = 100_000))]
    pub clients_moved_per_second: u32,
    /// How long a replaced broker must be well before the next one.
    #[schemars(schema_with = "schema::duration")]
    pub minimum_stable: String,
    /// What is done when a replaced broker doesn't become well. No effect yet: Revert, the default,
    /// also stops the rollout, until spec.version is set to one that works.
    pub on_failure: OnFailure,
}

impl Default for Rollout {
    fn default() -> Self {
        Self {
            paused: false,
            clients_moved_per_second: 200,
            minimum_stable: "10s".into(),
            on_failure: OnFailure::Revert,
        }
    }
}

/// What is done when a rollout fails.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFailure {
    /// The brokers go back to the version before.
    Revert,
    /// The rollout stops.
    Stop,
}

/// Objects for the monitoring system.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct Monitoring {
    /// A PodMonitor.
    pub pod_monitor: Presence,
    /// Dashboards.
    pub dashboards: Presence,
    /// Alerting rules.
    pub alerts: Presence,
}

/// Whether an optional object is made.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Presence {
    /// Where its kind is installed.
    #[default]
    Auto,
    /// Never.
    Never,
}
