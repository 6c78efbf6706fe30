//! `MqttUser`: an identity of MQTT clients. Pure.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, ResourceExt};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::reference::{ClusterRef, SecretKeyRef};
use crate::schema;

/// An identity of MQTT clients.
#[derive(CustomResource, JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "mqtt.dunlin.io",
    version = "v1alpha1",
    kind = "MqttUser",
    plural = "mqttusers",
    singular = "mqttuser",
    shortname = "mqu",
    category = "mqtt",
    category = "dunlin",
    namespaced,
    status = "MqttUserStatus",
    derive = "PartialEq",
    doc = "An identity of MQTT clients, with its credentials, groups and limits.",
    printcolumn(name = "Cluster", type_ = "string", json_path = ".spec.clusterRef.name"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#
    ),
    printcolumn(name = "Revision", type_ = "string", json_path = ".status.revision"),
    printcolumn(name = "Secret", type_ = "string", json_path = ".status.secretName"),
    printcolumn(
        name = "Reason",
        type_ = "string",
        priority = 1,
        json_path = r#".status.conditions[?(@.type=="Ready")].reason"#
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = (
        "self.metadata.name.size() <= 63",
        "metadata.name must have at most 63 characters: a Secret is named after it; a longer name \
         of the user goes into spec.username"
    )
)]
#[schemars(extend("x-kubernetes-validations" = [
    {"rule": "!has(self.username) || !has(self.authentication.x509) || self.username.size() <= 64",
     "message": "username must have at most 64 characters with x509: it is the certificate's common name"},
]))]
#[serde(rename_all = "camelCase")]
pub struct MqttUserSpec {
    /// The cluster that knows this user.
    #[schemars(extend("x-kubernetes-validations" = [
    {"rule": "self == oldSelf",
     "message": "clusterRef can't change: delete this object and create it for the other cluster"},
]))]
    pub cluster_ref: ClusterRef,
    /// The name that clients give; default: the object's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::username")]
    pub username: Option<String>,
    /// How its clients prove who they are; default: a generated password.
    #[serde(default)]
    pub authentication: Authentication,
    /// The client ids that it may take, each literal or with one trailing `*`; default: any.
    #[serde(default, rename = "clientIDs", skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::client_ids")]
    pub client_ids: Vec<String>,
    /// Groups that it belongs to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::groups")]
    pub groups: Vec<String>,
    /// Limits of its clients.
    #[serde(default)]
    pub quotas: Quotas,
    /// Whether its clients are refused and disconnected; nothing is deleted.
    #[serde(default)]
    pub suspended: bool,
}

impl MqttUser {
    /// The name that clients give.
    #[must_use]
    pub fn username(&self) -> String {
        self.spec.username.clone().unwrap_or_else(|| self.name_any())
    }

    /// The Secret that holds what its clients need.
    #[must_use]
    pub fn secret_name(&self) -> String {
        format!("{}-mqtt", self.name_any())
    }
}

/// How clients prove who they are: exactly one of these.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[schemars(extend("x-kubernetes-validations" = [
    {"rule": "has(self.password) != has(self.x509)",
     "message": "authentication takes exactly one of password and x509: set one and leave the other out"},
]))]
#[serde(rename_all = "camelCase")]
pub struct Authentication {
    /// By a password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<PasswordAuthentication>,
    /// By a client certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub x509: Option<X509Authentication>,
}

impl Default for Authentication {
    fn default() -> Self {
        Self { password: Some(PasswordAuthentication::default()), x509: None }
    }
}

/// A password: generated unless a Secret is named.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct PasswordAuthentication {
    /// Where the password stands; the key's default is `password`. The Secret needs the label
    /// `mqtt.dunlin.io/watch=true`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretKeyRef>,
    /// Whether clients may also prove the password by SCRAM-SHA-256 (MQTT 5.0), without sending it. The
    /// brokers then hold a credential from which a weak password is guessed faster than from a hash.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub scram: bool,
}

/// A client certificate: with a key pair that the operator makes unless a request is named.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct X509Authentication {
    /// How long the certificate lives; it is renewed after two thirds.
    #[schemars(schema_with = "schema::lifetime")]
    pub lifetime: String,
    /// Where a certificate signing request stands; the key's default is `tls.csr`. Not supported
    /// yet: the user says CredentialsMissing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub csr_secret_ref: Option<SecretKeyRef>,
}

impl Default for X509Authentication {
    fn default() -> Self {
        Self { lifetime: "2160h".into(), csr_secret_ref: None }
    }
}

/// Limits of one user; what is absent is not limited.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct Quotas {
    /// How many connections with different client ids it may have to each broker; one more is
    /// refused with 0x97 (Quota exceeded). Counts those made since it was set.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub connections: Option<u32>,
    /// How many messages each of its connections may publish each second; further ones wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000_000))]
    pub publishes_per_second: Option<u32>,
    /// How many bytes each of its connections may publish each second; further ones wait. A packet
    /// that would wait for more than 30 seconds is refused with 0x95 (Packet too large).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::bytes")]
    pub bytes_per_second: Option<String>,
}

/// What is true of a user now.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct MqttUserStatus {
    /// The generation of the spec that this status speaks about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The Secret with what a client needs to connect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_name: Option<String>,
    /// The policy revision that first held this generation, short.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// The certificate in the Secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<CertificateReport>,
    /// Ready, CredentialsIssued and Enforced.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// What is known of a certificate.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct CertificateReport {
    /// The serial number in hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serial_number: Option<String>,
    /// When it ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_after: Option<Time>,
}
