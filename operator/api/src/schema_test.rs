//! Tests of the schemas as a whole.

use serde_json::Value;

use crate::crds;

/// Walks a schema and returns the paths of strings, lists and maps without a bound.
fn unbounded(schema: &Value, path: &str, found: &mut Vec<String>) {
    let has_bound = match schema["type"].as_str() {
        Some("string") => schema["enum"].is_array() || schema["maxLength"].is_u64(),
        Some("array") => schema["maxItems"].is_u64(),
        Some("object") if schema["properties"].is_object() => true,
        Some("object") => schema["maxProperties"].is_u64(),
        _ => true,
    };
    if !has_bound {
        found.push(path.to_owned());
    }
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        unbounded(field, &format!("{path}.{name}"), found);
    }
    for inner in ["items", "additionalProperties"] {
        if schema[inner].is_object() {
            unbounded(&schema[inner], &format!("{path}[]"), found);
        }
    }
}

#[test]
fn every_string_list_and_map_of_a_spec_is_bounded() {
    for crd in crds() {
        let crd = serde_json::to_value(crd).unwrap();
        let spec = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
        let mut found = Vec::new();
        unbounded(spec, "spec", &mut found);
        assert!(found.is_empty(), "{}: {found:?}", crd["metadata"]["name"]);
    }
}

#[test]
fn every_field_is_described() {
    fn walk(schema: &Value, path: &str) {
        for (name, field) in schema["properties"].as_object().into_iter().flatten() {
            let path = format!("{path}.{name}");
            let is_open = path.starts_with(".status.conditions");
            assert!(is_open || field["description"].is_string(), "{path} has no description");
            walk(field, &path);
            walk(&field["items"], &path);
        }
    }
    for crd in crds() {
        let crd = serde_json::to_value(crd).unwrap();
        let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        walk(&schema["properties"]["spec"], "spec");
        walk(&schema["properties"]["status"], "status");
    }
}

#[test]
fn no_field_is_nullable() {
    for crd in crds() {
        assert!(!serde_json::to_string(&crd).unwrap().contains("nullable"));
    }
}
