//! References to other objects. Pure.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema::{bounded, name};

/// The cluster that an object belongs to, in the same namespace.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ClusterRef {
    /// The name of the MqttCluster.
    #[schemars(schema_with = "name")]
    pub name: String,
}

/// The name of a Secret in the same namespace.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct SecretName {
    /// The name of the Secret.
    #[schemars(schema_with = "name")]
    pub name: String,
}

/// One key of a Secret in the same namespace.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct SecretKeyRef {
    /// The name of the Secret.
    #[schemars(schema_with = "name")]
    pub name: String,
    /// The key within the Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "bounded::<253>")]
    pub key: Option<String>,
}

/// An issuer of certificates outside this operator.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct IssuerRef {
    /// The name of the issuer.
    #[schemars(schema_with = "name")]
    pub name: String,
    /// The kind of the issuer; default: Issuer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "bounded::<63>")]
    pub kind: Option<String>,
    /// The API group of the issuer; default: cert-manager.io.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "bounded::<253>")]
    pub group: Option<String>,
}
