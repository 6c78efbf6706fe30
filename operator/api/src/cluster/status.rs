//! What an MqttCluster's status says. Pure.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is true of a cluster now.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct MqttClusterStatus {
    /// The generation of the spec that this status speaks about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The identity of the cluster, issued once and never changed.
    #[serde(rename = "clusterID", skip_serializing_if = "Option::is_none")]
    pub cluster_id: Option<String>,
    /// Whether the brokers' group was founded: from then on a broker with an empty disk joins it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub founded: bool,
    /// The version that every broker runs; unchanged while they differ.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The version that the brokers are being brought to; absent when they all run it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_version: Option<String>,
    /// How many brokers there are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,
    /// How many brokers serve, of how many wanted, as `3/3`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready_brokers: Option<String>,
    /// The label selector of the brokers' pods, for autoscalers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// How many MQTT clients are connected to all brokers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connections: Option<i64>,
    /// Ready, Available, QuorumHealthy, MembersAligned, PolicyInSync, CertificatesValid, Upgrading
    /// and Paused.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// The brokers, by ordinal.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub brokers: Vec<BrokerReport>,
    /// The policy that every serving broker enforces.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<PolicyReport>,
    /// Where clients connect.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub endpoints: Vec<Endpoint>,
    /// The Secret with `ca.crt`, which is all that a device needs to trust the brokers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_secret_name: Option<String>,
    /// What will be done next, to which broker and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub plan: Vec<PlannedStep>,
}

/// What one broker reports.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct BrokerReport {
    /// The broker's name, as `fleet-0`.
    pub name: String,
    /// The Raft node id in hex; absent until the broker answers.
    #[serde(rename = "nodeID", skip_serializing_if = "Option::is_none")]
    pub node_id: Option<String>,
    /// Leader, Follower, Learner, None or Unreachable.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// Uninitialised, Joining, Serving or Draining.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// The version it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The policy revision that it enforces, short.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy_revision: Option<String>,
    /// How many MQTT clients are connected to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connections: Option<i64>,
    /// When the certificate that it serves ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate_not_after: Option<Time>,
}

/// The policy that is in force.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct PolicyReport {
    /// The revision that every serving broker enforces, short; absent while they differ.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// How many users it holds.
    pub users: i64,
    /// How many rules it holds.
    pub rules: i64,
}

/// Where clients connect.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct Endpoint {
    /// The listener's name.
    pub listener: String,
    /// Host and port.
    pub address: String,
}

/// A step that is about to be taken.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct PlannedStep {
    /// What will be done, such as Restart.
    pub action: String,
    /// To which broker; absent where it concerns the cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub broker: Option<String>,
    /// Why, as one word.
    pub reason: String,
    /// Why, or what is waited for, in words.
    pub message: String,
}
