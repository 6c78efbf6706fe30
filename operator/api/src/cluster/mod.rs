//! `MqttCluster`: a cluster of brokers. Pure.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

mod discovery;
mod durability;
mod limits;
mod listener;
mod monitoring;
mod policy;
mod rollout;
mod status;
mod tls;
mod workload;

pub use discovery::Discovery;
pub use durability::{Durability, DurabilityRule};
pub use limits::{PartitionPolicy, Retained, Sessions};
pub use listener::{
    AuthenticationMethod, ClientCertificates, Listener, ListenerLimits, ListenerService, Protocol,
    ServiceType,
};
pub use monitoring::{Monitoring, Presence};
pub use policy::{Access, DefaultAccess, PolicySettings};
pub use rollout::{OnFailure, Rollout};
pub use status::{BrokerReport, Endpoint, MqttClusterStatus, PlannedStep, PolicyReport};
pub use tls::{Authority, Tls};
pub use workload::{DEFAULT_IMAGE_REPOSITORY, Image, PullPolicy, Resources, Storage, WhenDeleted};

use crate::schema;

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
    {"rule": "!has(self.durability) || self.durability != 'quorum' || !has(self.voters) || self.voters >= 3",
     "message": "durability quorum needs at least 3 voters: raise voters, or use durability local"},
    {"rule": "!has(self.voters) || self.voters <= self.replicas",
     "message": "voters must not be more than replicas: lower voters, or raise replicas"},
    {"rule": "!has(self.durabilityRules) || self.durabilityRules.all(r, r.durability != 'quorum') || \
     (self.replicas >= 3 && (!has(self.voters) || self.voters >= 3))",
     "message": "a durabilityRule with quorum needs at least 3 replicas and 3 voters: raise them, or use local"},
    {"rule": "self.listeners.all(l, self.listeners.exists_one(m, m.port == l.port))",
     "message": "each listener needs a port of its own: change one of those that are equal"},
]))]
#[serde(rename_all = "camelCase")]
pub struct MqttClusterSpec {
    /// The broker's version; editing it is the upgrade.
    #[schemars(schema_with = "schema::version")]
    pub version: String,
    /// How many brokers: 1, or 3 to 7. Each serves clients and keeps a copy of all state; how many
    /// of them vote is said by `voters`.
    #[serde(default = "default_replicas")]
    #[schemars(extend("x-kubernetes-validations" = [
    {"rule": "self == 1 || (self >= 3 && self <= 7)",
     "message": "replicas must be 1, or 3 to 7: of two brokers neither can go on without the other, so two fail more often than one"},
]))]
    pub replicas: i32,
    /// How many of the brokers vote: 1, 3, 5 or 7; default: 3, or 1 with one replica. A message
    /// counts as kept when most voters have it on disk. The others follow: with a copy of all state,
    /// and a vote as soon as a voter is taken away or stays away for five minutes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = [
    {"rule": "self in [1, 3, 5, 7]",
     "message": "voters must be 1, 3, 5 or 7: an even number survives no more failures than one fewer"},
]))]
    pub voters: Option<i32>,
    /// What the cluster is founded from, once: nothing, or a backup. Has no effect afterwards.
    #[serde(default)]
    pub founded_from: FoundedFrom,
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
    /// When a message counts as kept; default: quorum, or local with one voter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub durability: Option<Durability>,
    /// The same by topic: the first rule whose filter matches decides; a topic that none matches has
    /// `durability`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    pub durability_rules: Vec<DurabilityRule>,
    /// What brokers without a quorum do.
    #[serde(default)]
    pub partition_policy: PartitionPolicy,
    /// How brokers find each other.
    #[serde(default)]
    pub discovery: Discovery,
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
    /// Settings of the broker that have no field here, as its configuration file names them:
    /// `workers`, `mqtt`, `limits`, `log`, `sys`, `redirect`, `delayed`, `rewrites`,
    /// `auto_subscriptions`, `durability_rules`; of `sessions` and `retained` the keys that have no
    /// field; of `cluster` `feature_level_max`.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    #[schemars(schema_with = "schema::open_object")]
    pub broker_config: Map<String, Value>,
}

impl MqttClusterSpec {
    /// When a message counts as kept, with the default filled in.
    #[must_use]
    pub fn effective_durability(&self) -> Durability {
        self.durability.unwrap_or(if self.effective_voters() == 1 {
            Durability::Local
        } else {
            Durability::Quorum
        })
    }

    /// How many brokers vote, with the default filled in.
    #[must_use]
    pub fn effective_voters(&self) -> i32 {
        self.voters.unwrap_or(if self.replicas < VOTERS_DEFAULT { 1 } else { VOTERS_DEFAULT })
    }
}

/// How many brokers vote where nothing is said, and there are as many.
pub const VOTERS_DEFAULT: i32 = 3;

/// What a cluster is founded from.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FoundedFrom {
    /// Nothing: it begins empty.
    #[default]
    New,
    /// A backup: the brokers wait until one is restored into the first of them (docs/runbook.md).
    Backup,
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
