//! Certificates of a cluster. Pure.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::reference::IssuerRef;
use crate::schema;

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
