//! How brokers find each other. Pure.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How brokers find each other.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Discovery {
    /// By the addresses that DNS has for the headless Service. Brokers have no token of the Kubernetes
    /// API.
    #[default]
    Dns,
    /// By the EndpointSlices of the headless Service, watched: where DNS answers late or not at all.
    /// Brokers get a token of their ServiceAccount, and the operator gives that the right to read the
    /// EndpointSlices of the namespace, and nothing else.
    Kubernetes,
}
