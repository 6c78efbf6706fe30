//! The custom resources of group `mqtt.dunlin.io`: [`MqttCluster`], [`MqttUser`] and [`MqttAcl`].
//!
//! This crate holds their types, their schemas with CEL rules, and the same admission that the
//! API server does ([`admit`]), for where there is no API server. It is pure and knows neither a
//! Kubernetes client nor a broker.

pub mod acl;
pub mod admit;
pub mod cluster;
mod crds;
pub mod measure;
mod reference;
mod schema;
#[cfg(test)]
mod schema_test;
pub mod user;

pub use acl::{MqttAcl, MqttAclSpec, MqttAclStatus};
pub use cluster::{MqttCluster, MqttClusterSpec, MqttClusterStatus};
pub use crds::{crd, crds};
pub use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
pub use reference::{ClusterRef, IssuerRef, SecretKeyRef, SecretName};
pub use user::{MqttUser, MqttUserSpec, MqttUserStatus};

/// The API group of all kinds.
pub const GROUP: &str = "mqtt.dunlin.io";
/// The version that is served and stored.
pub const VERSION: &str = "v1alpha1";
