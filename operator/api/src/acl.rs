//! `MqttAcl`: rights of users and groups on topics. Pure.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::reference::ClusterRef;
use crate::schema;

/// Rights of users and groups on topics.
#[derive(CustomResource, JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "mqtt.dunlin.io",
    version = "v1alpha1",
    kind = "MqttAcl",
    plural = "mqttacls",
    singular = "mqttacl",
    shortname = "mqa",
    category = "mqtt",
    category = "dunlin",
    namespaced,
    status = "MqttAclStatus",
    derive = "PartialEq",
    doc = "Rights of users and groups on topics.",
    printcolumn(name = "Cluster", type_ = "string", json_path = ".spec.clusterRef.name"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#
    ),
    printcolumn(name = "Revision", type_ = "string", json_path = ".status.revision"),
    printcolumn(name = "Subjects", type_ = "integer", json_path = ".status.subjects"),
    printcolumn(
        name = "Reason",
        type_ = "string",
        priority = 1,
        json_path = r#".status.conditions[?(@.type=="Ready")].reason"#
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = (
        "self.metadata.name.size() <= 63",
        "metadata.name must have at most 63 characters: a role is named after it"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct MqttAclSpec {
    /// The cluster that it holds in.
    #[schemars(extend("x-kubernetes-validations" = [
    {"rule": "self == oldSelf",
     "message": "clusterRef can't change: delete this object and create it for the other cluster"},
]))]
    pub cluster_ref: ClusterRef,
    /// Whom it concerns: all that any of these names.
    #[schemars(length(min = 1, max = 64))]
    pub subjects: Vec<Subject>,
    /// The order between MqttAcls; the higher one decides.
    #[serde(default)]
    #[schemars(range(min = -1000, max = 1000))]
    pub priority: i32,
    /// The rights.
    #[schemars(length(min = 1, max = 64))]
    pub rules: Vec<AclRule>,
}

/// Whom an MqttAcl concerns: exactly one of these.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[schemars(extend("x-kubernetes-validations" = [
    {"rule": "(has(self.users) ? 1 : 0) + (has(self.user) ? 1 : 0) + (has(self.group) ? 1 : 0) + \
         (has(self.anonymous) ? 1 : 0) == 1",
     "message": "a subject takes exactly one of users, user, group and anonymous: make one entry for each"},
    {"rule": "!has(self.anonymous) || self.anonymous",
     "message": "anonymous must be true: leave the entry out for no right"},
]))]
#[serde(rename_all = "camelCase", default)]
pub struct Subject {
    /// The MqttUsers with these labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub users: Option<UserSelector>,
    /// The MqttUser object of this name.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::name")]
    pub user: Option<String>,
    /// The members of this group.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::group")]
    pub group: Option<String>,
    /// Clients without credentials.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub anonymous: Option<bool>,
}

/// Selects MqttUsers by their labels; an empty one selects all.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct UserSelector {
    /// Labels that the user must have with these values.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::labels")]
    pub match_labels: BTreeMap<String, String>,
    /// Requirements that the user's labels must meet.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub match_expressions: Vec<LabelRequirement>,
}

impl UserSelector {
    /// Whether it selects an MqttUser with these labels.
    #[must_use]
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.match_labels.iter().all(|(key, value)| labels.get(key) == Some(value))
            && self.match_expressions.iter().all(|requirement| requirement.is_met_by(labels))
    }
}

/// A requirement on one label.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[schemars(extend("x-kubernetes-validations" = [
    {"rule": "(self.operator in ['In', 'NotIn']) == (has(self.values) && self.values.size() > 0)",
     "message": "operators In and NotIn need values; Exists and DoesNotExist take none"},
]))]
#[serde(rename_all = "camelCase")]
pub struct LabelRequirement {
    /// The label's key.
    #[schemars(schema_with = "schema::name")]
    pub key: String,
    /// How its value relates to `values`.
    pub operator: LabelOperator,
    /// The values.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::label_values")]
    pub values: Vec<String>,
}

impl LabelRequirement {
    fn is_met_by(&self, labels: &BTreeMap<String, String>) -> bool {
        let value = labels.get(&self.key);
        match self.operator {
            LabelOperator::In => value.is_some_and(|value| self.values.contains(value)),
            LabelOperator::NotIn => value.is_none_or(|value| !self.values.contains(value)),
            LabelOperator::Exists => value.is_some(),
            LabelOperator::DoesNotExist => value.is_none(),
        }
    }
}

/// How a label's value relates to the values of a requirement.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum LabelOperator {
    /// It is one of them.
    In,
    /// It is absent or none of them.
    NotIn,
    /// It is present.
    Exists,
    /// It is absent.
    DoesNotExist,
}

/// Whether a rule allows or denies.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It allows.
    Allow,
    /// It denies.
    Deny,
}

/// What a client does with a topic.
#[derive(
    Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord,
)]
pub enum RuleAction {
    /// It publishes to it.
    Publish,
    /// It receives a message from it.
    Receive,
    /// It subscribes to it.
    Subscribe,
    /// It unsubscribes from it.
    Unsubscribe,
}

/// How a rule's topics compare with the topic filter of a subscription.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TopicMatch {
    /// Wildcards stand for what they match.
    #[default]
    Pattern,
    /// The filter must be the very same.
    Literal,
}

/// One right.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[schemars(extend("x-kubernetes-validations" = [
    {"rule": "self.match == 'Pattern' || self.actions.all(a, a == 'Subscribe' || a == 'Unsubscribe')",
     "message": "match Literal is for the actions Subscribe and Unsubscribe: put the others into another rule"},
]))]
#[serde(rename_all = "camelCase")]
pub struct AclRule {
    /// Whether it allows or denies.
    pub effect: Effect,
    /// What is allowed or denied.
    #[schemars(length(min = 1, max = 4))]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub actions: Vec<RuleAction>,
    /// The topics, with the wildcards + and # and with %u and %c for the user's and the client's
    /// name.
    #[schemars(schema_with = "schema::topics")]
    pub topics: Vec<String>,
    /// How the topics compare with the filter of a subscription.
    #[serde(default, rename = "match")]
    pub match_: TopicMatch,
    /// The order between rules of one MqttAcl; the higher one decides, then a Deny.
    #[serde(default)]
    #[schemars(range(min = -1000, max = 1000))]
    pub priority: i32,
}

/// What is true of an MqttAcl now.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct MqttAclStatus {
    /// The generation of the spec that this status speaks about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// How many users it concerns now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subjects: Option<i64>,
    /// The policy revision that first held this generation, short.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// Ready, Compiled, Enforced and Conflicts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}
