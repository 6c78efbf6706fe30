//! Fields that mean nothing without Kubernetes: accepted, with one line that says so. Pure.

use serde_json::Value;

/// Fields of an MqttCluster that have no meaning here.
const CLUSTER_FIELDS: [&str; 7] = [
    "image",
    "resources",
    "storage.size",
    "storage.className",
    "discovery",
    "monitoring",
    "podTemplate",
];

/// The fields of a cluster's manifest, as it was written, that are accepted and have no effect here.
pub(super) fn fields(manifest: &Value) -> Vec<String> {
    let spec = &manifest["spec"];
    let mut found: Vec<String> = CLUSTER_FIELDS
        .iter()
        .filter(|field| {
            let value = field.split('.').fold(spec, |value, part| &value[part]);
            !value.is_null() && *value != Value::Object(serde_json::Map::new())
        })
        .map(|field| format!("spec.{field}"))
        .collect();
    let listeners = spec["listeners"].as_array().map(Vec::as_slice).unwrap_or_default();
    if listeners.iter().any(|listener| !listener["service"].is_null()) {
        found.push("spec.listeners[].service".to_owned());
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_fields_that_were_written_are_named() {
        let manifest = json!({"spec": {"version": "0.1.0", "podTemplate": {}, "image": {"repository": "x"},
            "discovery": "kubernetes", "durabilityRules": [{"filter": "a", "durability": "memory"}],
            "storage": {"size": "1Gi", "whenDeleted": "Delete"},
            "listeners": [{"name": "a"}, {"name": "b", "service": {"type": "NodePort"}}]}});
        assert_eq!(
            fields(&manifest),
            ["spec.image", "spec.storage.size", "spec.discovery", "spec.listeners[].service"]
        );
        assert!(fields(&json!({"spec": {"version": "0.1.0"}})).is_empty());
    }
}
