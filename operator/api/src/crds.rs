//! The CustomResourceDefinitions as they are installed. Pure.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use serde_json::Value;

use crate::{MqttAcl, MqttCluster, MqttUser};

/// All CustomResourceDefinitions, in the order in which they are installed.
#[must_use]
pub fn crds() -> Vec<CustomResourceDefinition> {
    vec![crd::<MqttCluster>(), crd::<MqttUser>(), crd::<MqttAcl>()]
}

/// The CustomResourceDefinition of one kind.
///
/// It differs from the derived one in that nothing is nullable, so that the API server drops a
/// `null` and fills in the default, and in that only formats are named that Kubernetes knows.
#[must_use]
pub fn crd<K: CustomResourceExt>() -> CustomResourceDefinition {
    let mut crd = K::crd();
    for version in &mut crd.spec.versions {
        let Some(schema) = version.schema.as_mut() else { continue };
        let derived = serde_json::to_value(&*schema).unwrap_or_default();
        schema.clone_from(&serde_json::from_value(tidied(derived)).unwrap_or_default());
    }
    crd
}

/// A schema without `nullable` and without formats that Kubernetes doesn't know.
fn tidied(mut schema: Value) -> Value {
    tidy(&mut schema);
    schema
}

fn tidy(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            if fields.get("nullable").is_some_and(Value::is_boolean) {
                fields.remove("nullable");
            }
            if fields.get("format").and_then(Value::as_str).is_some_and(|f| f.starts_with("uint")) {
                fields.remove("format");
            }
            fields.values_mut().for_each(tidy);
        }
        Value::Array(items) => items.iter_mut().for_each(tidy),
        _ => {}
    }
}
