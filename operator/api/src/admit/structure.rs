//! Checks a value against a structural schema: types, bounds, required and unknown fields. Pure.

use serde_json::{Map, Value};

use super::Refusal;

/// Fields that each object has at its top beside those of its schema.
const TOP_FIELDS: [&str; 3] = ["apiVersion", "kind", "metadata"];

/// All places where a whole object disagrees with its schema.
pub(super) fn refusals(schema: &Value, object: &Value) -> Vec<Refusal> {
    let mut walk = Walk { refusals: Vec::new() };
    walk.value(schema, object, "");
    walk.refusals
}

struct Walk {
    refusals: Vec<Refusal>,
}

impl Walk {
    fn refuse(&mut self, path: &str, message: String) {
        self.refusals.push(Refusal { path: path.to_owned(), message });
    }

    fn value(&mut self, schema: &Value, value: &Value, path: &str) {
        if schema["x-kubernetes-int-or-string"] == true {
            if !value.is_i64() && !value.is_string() {
                self.refuse(path, "must be a whole number or a string".into());
            }
            return;
        }
        match (schema["type"].as_str(), value) {
            (Some("object"), Value::Object(fields)) => self.object(schema, fields, path),
            (Some("array"), Value::Array(items)) => self.array(schema, items, path),
            (Some("string"), Value::String(text)) => self.string(schema, text, path),
            (Some("integer"), Value::Number(number)) if !number.is_f64() => {
                self.number(schema, number.as_f64().unwrap_or(f64::MAX), path);
            }
            (Some("number"), Value::Number(number)) => {
                self.number(schema, number.as_f64().unwrap_or(f64::MAX), path);
            }
            (Some("boolean"), Value::Bool(_)) | (None, _) => {}
            (Some(wanted), _) => {
                self.refuse(path, format!("must be {}, not {}", article(wanted), kind_of(value)));
            }
        }
    }

    fn object(&mut self, schema: &Value, fields: &Map<String, Value>, path: &str) {
        for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            if !fields.contains_key(name) {
                self.refuse(&below(path, name), "is missing: set it".into());
            }
        }
        if let Some(max) = schema["maxProperties"].as_u64()
            && fields.len() as u64 > max
        {
            self.refuse(path, format!("must have at most {max} entries"));
        }
        let known = schema["properties"].as_object();
        let others = &schema["additionalProperties"];
        let is_open = schema["x-kubernetes-preserve-unknown-fields"] == true;
        for (name, value) in fields {
            let path_below = below(path, name);
            if path.is_empty() && TOP_FIELDS.contains(&name.as_str()) {
                continue;
            }
            if let Some(field) = known.and_then(|known| known.get(name)) {
                self.value(field, value, &path_below);
            } else if others.is_object() {
                self.value(others, value, &path_below);
            } else if !is_open {
                let names: Vec<&str> = known.into_iter().flatten().map(|(n, _)| &**n).collect();
                let message = format!("is not a field; the fields here are {}", names.join(", "));
                self.refuse(&path_below, message);
            }
        }
    }

    fn array(&mut self, schema: &Value, items: &[Value], path: &str) {
        let length = items.len() as u64;
        if schema["minItems"].as_u64().is_some_and(|min| length < min) {
            self.refuse(path, format!("must have at least {} entries", schema["minItems"]));
        }
        if schema["maxItems"].as_u64().is_some_and(|max| length > max) {
            self.refuse(path, format!("must have at most {} entries", schema["maxItems"]));
        }
        let keys = schema["x-kubernetes-list-map-keys"].as_array();
        let is_set = schema["x-kubernetes-list-type"] == "set";
        for (index, item) in items.iter().enumerate() {
            let path_below = format!("{path}[{index}]");
            self.value(&schema["items"], item, &path_below);
            let is_same = |earlier: &Value| match keys {
                Some(keys) => keys.iter().filter_map(Value::as_str).all(|k| earlier[k] == item[k]),
                None => is_set && earlier == item,
            };
            if items[..index].iter().any(is_same) {
                let what = keys.map_or_else(
                    || item.to_string(),
                    |keys| {
                        keys.iter().filter_map(|k| Some(item[k.as_str()?].to_string())).collect()
                    },
                );
                self.refuse(&path_below, format!("{what} is there twice: remove or rename one"));
            }
        }
    }

    fn string(&mut self, schema: &Value, text: &str, path: &str) {
        let length = text.chars().count() as u64;
        if schema["minLength"].as_u64().is_some_and(|min| length < min) {
            self.refuse(path, "must not be empty".into());
        }
        if schema["maxLength"].as_u64().is_some_and(|max| length > max) {
            self.refuse(path, format!("must have at most {} characters", schema["maxLength"]));
        }
        if let Some(allowed) = schema["enum"].as_array()
            && !allowed.iter().any(|allowed| allowed == text)
        {
            let allowed: Vec<&str> = allowed.iter().filter_map(Value::as_str).collect();
            self.refuse(path, format!("must be one of {}, not {text:?}", allowed.join(", ")));
        }
    }

    fn number(&mut self, schema: &Value, number: f64, path: &str) {
        if schema["minimum"].as_f64().is_some_and(|min| number < min) {
            self.refuse(path, format!("must be at least {}", schema["minimum"]));
        }
        if schema["maximum"].as_f64().is_some_and(|max| number > max) {
            self.refuse(path, format!("must be at most {}", schema["maximum"]));
        }
    }
}

fn below(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

fn article(kind: &str) -> &'static str {
    match kind {
        "object" => "a map",
        "array" => "a list",
        "string" => "a string (in quotes if it looks like something else)",
        "integer" => "a whole number",
        "number" => "a number",
        _ => "true or false",
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "a map",
    }
}
