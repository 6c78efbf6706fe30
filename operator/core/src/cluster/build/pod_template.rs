//! What `spec.podTemplate` may hold, and how it is merged over the template that is built. Pure.

use k8s_openapi::api::core::v1::PodTemplateSpec;
use serde_json::{Map, Value};

use crate::cluster::names::{INSTANCE_LABEL, MANAGED_BY_LABEL, NAME_LABEL};
use crate::cluster::validate::{Problem, ProblemReason};

/// What the operator's own labels and annotations begin with.
const OWN_PREFIX: &str = "mqtt.dunlin.io/";

/// Checks that an overlay is part of a pod template.
#[must_use]
pub fn check_overlay(overlay: &Map<String, Value>) -> Vec<Problem> {
    if overlay.is_empty() {
        return Vec::new();
    }
    let problem = |message: String| Problem::new(ProblemReason::InvalidPodTemplate, message);
    let overlay = Value::Object(overlay.clone());
    let template: PodTemplateSpec = match serde_json::from_value(completed(overlay.clone())) {
        Ok(template) => template,
        Err(error) => return vec![problem(format!("podTemplate is no pod template: {error}"))],
    };
    let known = serde_json::to_value(&template).unwrap_or_default();
    let mut unknown = Vec::new();
    collect_unknown(&overlay, &known, "podTemplate", &mut unknown);
    let mut problems: Vec<Problem> = unknown
        .into_iter()
        .map(|path| problem(format!("{path} is not a field of a pod template: remove it")))
        .collect();
    problems.extend(taken_keys(&overlay).into_iter().map(problem));
    problems.extend(emptied(&overlay).into_iter().map(problem));
    problems
}

/// Labels and annotations that the operator finds brokers by and keeps its own notes in.
fn taken_keys(overlay: &Value) -> Vec<String> {
    let mut messages = Vec::new();
    for field in ["labels", "annotations"] {
        let keys = overlay["metadata"][field].as_object().into_iter().flat_map(Map::keys);
        for key in keys {
            let is_selector = [NAME_LABEL, INSTANCE_LABEL, MANAGED_BY_LABEL].contains(&&**key);
            let is_own = key.starts_with(OWN_PREFIX);
            if (is_selector && field == "labels") || is_own {
                messages.push(format!(
                    "podTemplate.metadata.{field} must not set {key}, by which the operator knows \
                     brokers: remove it"
                ));
            }
        }
    }
    messages
}

/// What would take away, rather than add to, what the operator needs in a pod.
fn emptied(overlay: &Value) -> Vec<String> {
    let paths =
        ["/metadata", "/metadata/labels", "/metadata/annotations", "/spec", "/spec/containers"];
    let mut messages = Vec::new();
    for path in paths {
        if overlay.pointer(path).is_some_and(Value::is_null) {
            let path = path.replace('/', ".");
            messages.push(format!(
                "podTemplate{path} must not be null, which would remove what brokers need: leave it out"
            ));
        }
    }
    let containers = overlay.pointer("/spec/containers").and_then(Value::as_array);
    if containers.is_some_and(|all| merge_key(all) != Some("name")) {
        messages.push(
            "podTemplate.spec.containers must list containers that each have a name, or it would \
             replace the broker: name them or leave it out"
                .to_owned(),
        );
    }
    messages
}

/// A pod template's spec needs containers, which an overlay may leave out.
fn completed(mut overlay: Value) -> Value {
    if let Some(spec) = overlay.get_mut("spec").and_then(Value::as_object_mut) {
        spec.entry("containers").or_insert_with(|| Value::Array(Vec::new()));
    }
    overlay
}

fn collect_unknown(written: &Value, known: &Value, path: &str, unknown: &mut Vec<String>) {
    match (written, known) {
        (Value::Object(written), Value::Object(known)) => {
            for (key, value) in written {
                let path = format!("{path}.{key}");
                match known.get(key) {
                    Some(known) => collect_unknown(value, known, &path, unknown),
                    None if value.is_null() => {}
                    None => unknown.push(path),
                }
            }
        }
        (Value::Array(written), Value::Array(known)) => {
            for (index, (written, known)) in written.iter().zip(known).enumerate() {
                collect_unknown(written, known, &format!("{path}[{index}]"), unknown);
            }
        }
        _ => {}
    }
}

/// Puts a checked overlay over a template: maps are merged, lists whose items have a `name` (or
/// volume mounts, by `mountPath`) are merged item by item, everything else is replaced.
#[must_use]
pub fn merge_overlay(template: PodTemplateSpec, overlay: &Map<String, Value>) -> PodTemplateSpec {
    if overlay.is_empty() {
        return template;
    }
    let mut merged = serde_json::to_value(&template).unwrap_or_default();
    merge(&mut merged, &Value::Object(overlay.clone()));
    serde_json::from_value(merged).unwrap_or(template)
}

fn merge(value: &mut Value, overlay: &Value) {
    match (value, overlay) {
        (Value::Object(value), Value::Object(overlay)) => {
            for (key, above) in overlay {
                merge(value.entry(key.clone()).or_insert(Value::Null), above);
            }
        }
        (Value::Array(value), Value::Array(overlay)) => match merge_key(overlay) {
            Some(key) => merge_items(value, overlay, key),
            None => value.clone_from(overlay),
        },
        (value, overlay) => *value = overlay.clone(),
    }
}

fn merge_items(items: &mut Vec<Value>, overlay: &[Value], key: &str) {
    for above in overlay {
        match items.iter_mut().find(|item| item[key] == above[key]) {
            Some(item) => merge(item, above),
            None => items.push(above.clone()),
        }
    }
}

fn merge_key(items: &[Value]) -> Option<&'static str> {
    let all_have = |key: &str| !items.is_empty() && items.iter().all(|item| item[key].is_string());
    ["mountPath", "name"].into_iter().find(|key| all_have(key))
}
