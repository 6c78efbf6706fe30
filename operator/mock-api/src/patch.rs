//! Patches of JSON objects.

use serde_json::Value;

/// Merges `from` into `into`: objects field by field, everything else as a whole; null removes.
pub(crate) fn merge(into: &mut Value, from: &Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                if value.is_null() {
                    into.remove(key);
                } else {
                    merge(into.entry(key.clone()).or_insert(Value::Null), value);
                }
            }
        }
        (into, from) => *into = from.clone(),
    }
}

/// Removes what a field manager applied before and no longer does.
pub(crate) fn remove_missing(object: &mut Value, before: &Value, now: &Value) {
    let (Some(fields), Some(before)) = (object.as_object_mut(), before.as_object()) else { return };
    for (key, old) in before {
        match now.get(key) {
            None => {
                fields.remove(key);
            }
            Some(new) => {
                if let Some(field) = fields.get_mut(key) {
                    remove_missing(field, old, new);
                }
            }
        }
    }
}

/// RFC 6902, the operations that controllers send: add, replace, remove, test.
pub(crate) fn json_patch(object: &mut Value, operations: &Value) -> Result<(), String> {
    for operation in operations.as_array().ok_or("a JSON patch is a list")? {
        let path = operation["path"].as_str().unwrap_or_default();
        match operation["op"].as_str().unwrap_or_default() {
            "test" => {
                if object.pointer(path).unwrap_or(&Value::Null) != &operation["value"] {
                    return Err(format!("test of {path} failed"));
                }
            }
            "remove" => change(object, path, None)?,
            "add" | "replace" => change(object, path, Some(operation["value"].clone()))?,
            other => return Err(format!("operation {other}")),
        }
    }
    Ok(())
}

fn change(object: &mut Value, path: &str, value: Option<Value>) -> Result<(), String> {
    let (parent, key) = path.rsplit_once('/').ok_or("a path starts with /")?;
    let parent = object.pointer_mut(parent).ok_or_else(|| format!("no {parent}"))?;
    let key = key.replace("~1", "/").replace("~0", "~");
    match (parent, value) {
        (Value::Object(fields), Some(value)) => {
            fields.insert(key, value);
        }
        (Value::Object(fields), None) => {
            fields.remove(&key).ok_or_else(|| format!("no {path}"))?;
        }
        (Value::Array(items), Some(value)) if key == "-" => items.push(value),
        (Value::Array(items), value) => {
            let at: usize = key.parse().map_err(|_| format!("index {key}"))?;
            match value {
                Some(value) if at <= items.len() => items.insert(at, value),
                None if at < items.len() => drop(items.remove(at)),
                _ => return Err(format!("index {at}")),
            }
        }
        _ => return Err(format!("{path} leads nowhere")),
    }
    Ok(())
}
