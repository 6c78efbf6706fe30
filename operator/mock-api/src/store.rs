//! The objects and the rules by which they change.

use std::collections::BTreeMap;

use http::StatusCode;
use serde_json::{Value, json};

use super::patch;

/// Objects by full path, and what each field manager applied last.
#[derive(Default)]
pub(crate) struct Store {
    version: u64,
    pub(crate) objects: BTreeMap<String, Value>,
    applied: BTreeMap<(String, String), Value>,
    pub(crate) writes: Vec<String>,
    pub(crate) refused: Vec<String>,
    pub(crate) refusals: Vec<String>,
}

/// An answer that is not 200.
pub(crate) struct Refused {
    pub(crate) status: StatusCode,
    reason: &'static str,
    message: String,
}

impl Refused {
    pub(crate) fn bad_request(message: &str) -> Self {
        Self { status: StatusCode::BAD_REQUEST, reason: "BadRequest", message: message.to_owned() }
    }

    fn not_found(path: &str) -> Self {
        Self {
            status: StatusCode::NOT_FOUND,
            reason: "NotFound",
            message: format!("{path} not found"),
        }
    }

    fn conflict(reason: &'static str, message: &str) -> Self {
        Self { status: StatusCode::CONFLICT, reason, message: message.to_owned() }
    }

    /// The Status object of the answer.
    pub(crate) fn body(&self) -> Value {
        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "reason": self.reason, "message": self.message, "code": self.status.as_u16()})
    }
}

type Changed = Result<(Value, Vec<(String, Value)>), Refused>;

/// Whether an object's path lies in a collection; a collection without namespace holds those of every namespace.
pub(crate) fn is_in(collection: &str, path: &str) -> bool {
    let Some((base, plural)) = collection.rsplit_once('/') else { return false };
    let Some(rest) = path.strip_prefix(base) else { return false };
    let parts: Vec<&str> = rest.trim_start_matches('/').split('/').collect();
    match parts[..] {
        [kind, _] => kind == plural,
        ["namespaces", _, kind, _] => kind == plural,
        _ => false,
    }
}

/// Whether an object has every label that a selector asks for.
pub(crate) fn selected(object: &Value, selector: &[(String, String)]) -> bool {
    selector.iter().all(|(key, value)| object["metadata"]["labels"][key] == value.as_str())
}

impl Store {
    /// An object, or a list.
    pub(crate) fn read(&self, path: &str, selector: &[(String, String)]) -> Result<Value, Refused> {
        if let Some(object) = self.objects.get(path) {
            return Ok(object.clone());
        }
        if !is_collection(path) {
            return Err(Refused::not_found(path));
        }
        let items: Vec<&Value> = self
            .objects
            .iter()
            .filter(|(at, object)| is_in(path, at) && selected(object, selector))
            .map(|(_, object)| object)
            .collect();
        let version = self.version.to_string();
        Ok(
            json!({"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": version}, "items": items}),
        )
    }

    /// ADDED events for what has changed in a collection since a version.
    pub(crate) fn since(
        &self,
        collection: &str,
        selector: &[(String, String)],
        version: u64,
    ) -> Vec<Value> {
        let newer = |object: &Value| {
            let at =
                object["metadata"]["resourceVersion"].as_str().and_then(|v| v.parse::<u64>().ok());
            at.is_some_and(|at| at > version)
        };
        self.objects
            .iter()
            .filter(|(at, object)| {
                is_in(collection, at) && selected(object, selector) && newer(object)
            })
            .map(|(_, object)| json!({"type": "ADDED", "object": object}))
            .collect()
    }

    /// Refuses a request, "METHOD path", that shall be.
    pub(crate) fn check(&mut self, request: &str) -> Result<(), Refused> {
        if !self.refused.iter().any(|refused| request.starts_with(refused.as_str())) {
            return Ok(());
        }
        self.refusals.push(request.to_owned());
        let message = format!("{request} is forbidden");
        Err(Refused { status: StatusCode::FORBIDDEN, reason: "Forbidden", message })
    }

    pub(crate) fn create(&mut self, collection: &str, mut object: Value) -> Changed {
        let name = match object["metadata"]["name"].as_str() {
            Some(name) => name.to_owned(),
            None => format!(
                "{}{}",
                object["metadata"]["generateName"].as_str().unwrap_or("x-"),
                self.version
            ),
        };
        object["metadata"]["name"] = json!(name);
        let path = format!("{collection}/{name}");
        if self.objects.contains_key(&path) {
            return Err(Refused::conflict("AlreadyExists", &format!("{path} already exists")));
        }
        self.writes.push(format!("POST {path}"));
        let events = self.put(&path, object);
        Ok((self.objects[&path].clone(), events))
    }

    pub(crate) fn replace(&mut self, path: &str, mut object: Value) -> Changed {
        let at = path.trim_end_matches("/status").to_owned();
        let current = self.objects.get(&at).ok_or_else(|| Refused::not_found(&at))?.clone();
        let sent = &object["metadata"]["resourceVersion"];
        if !sent.is_null() && *sent != current["metadata"]["resourceVersion"] {
            return Err(Refused::conflict("Conflict", "the object has been modified"));
        }
        self.writes.push(format!("PUT {path}"));
        keep_other_half(path, &current, &mut object);
        let events = self.put(&at, object);
        Ok((self.objects.get(&at).cloned().unwrap_or(current), events))
    }

    pub(crate) fn patch(&mut self, path: &str, query: &str, kind: &str, body: &Value) -> Changed {
        let at = path.trim_end_matches("/status").to_owned();
        let is_status = path.ends_with("/status");
        let current = self.objects.get(&at).cloned();
        let mut object = match (&current, kind.contains("apply-patch")) {
            (Some(object), _) => object.clone(),
            (None, true) if !is_status => json!({"metadata": {}}),
            (None, _) => return Err(Refused::not_found(&at)),
        };
        if kind.contains("apply-patch") {
            let manager = super::parameter(query, "fieldManager").unwrap_or_default();
            let key = (path.to_owned(), manager);
            if let Some(before) = self.applied.get(&key) {
                patch::remove_missing(&mut object, before, body);
            }
            patch::merge(&mut object, body);
            self.applied.insert(key, body.clone());
        } else if kind.contains("json-patch") {
            patch::json_patch(&mut object, body).map_err(|why| Refused::bad_request(&why))?;
        } else {
            patch::merge(&mut object, body);
        }
        if let Some(current) = &current {
            keep_other_half(path, current, &mut object);
            // A write that changes nothing is none: no new version, no event.
            if *current == object {
                self.writes.push(format!("NOOP {path}"));
                return Ok((object, Vec::new()));
            }
        }
        self.writes.push(format!("PATCH {path}"));
        let events = self.put(&at, object.clone());
        Ok((self.objects.get(&at).cloned().unwrap_or(object), events))
    }

    pub(crate) fn delete(&mut self, path: &str, options: &Value) -> Changed {
        let current = self.objects.get(path).ok_or_else(|| Refused::not_found(path))?.clone();
        let wanted = &options["preconditions"]["uid"];
        if !wanted.is_null() && *wanted != current["metadata"]["uid"] {
            return Err(Refused::conflict("Conflict", "the uid differs"));
        }
        self.writes.push(format!("DELETE {path}"));
        let mut object = current.clone();
        if object["metadata"]["deletionTimestamp"].is_null() {
            object["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        }
        let events = self.put(path, object);
        Ok((current, events))
    }

    /// Stores an object: versions, generation, the end of what has a deletionTimestamp and no finalizer, owners' garbage.
    pub(crate) fn put(&mut self, path: &str, mut object: Value) -> Vec<(String, Value)> {
        self.version += 1;
        let before = self.objects.get(path);
        let metadata = &mut object["metadata"];
        metadata["resourceVersion"] = json!(self.version.to_string());
        let parts: Vec<&str> = path.split('/').collect();
        metadata["name"] = json!(parts.last());
        if let Some(at) = parts.iter().position(|part| *part == "namespaces") {
            metadata["namespace"] = json!(parts[at + 1]);
        }
        match before {
            None => {
                metadata["uid"] = json!(format!("uid-{}", self.version));
                metadata["creationTimestamp"] = json!("2026-01-01T00:00:00Z");
                metadata["generation"] = json!(1);
            }
            Some(before) if before["spec"] != object["spec"] => {
                let generation = before["metadata"]["generation"].as_i64().unwrap_or(1) + 1;
                object["metadata"]["generation"] = json!(generation);
            }
            Some(_) => {}
        }
        let is_new = before.is_none();
        let held = object["metadata"]["finalizers"].as_array().is_some_and(|f| !f.is_empty());
        if !object["metadata"]["deletionTimestamp"].is_null() && !held {
            return self.remove(path, object);
        }
        self.objects.insert(path.to_owned(), object.clone());
        let kind = if is_new { "ADDED" } else { "MODIFIED" };
        vec![(path.to_owned(), json!({"type": kind, "object": object}))]
    }

    fn remove(&mut self, path: &str, object: Value) -> Vec<(String, Value)> {
        self.objects.remove(path);
        self.applied.retain(|(at, _), _| at.trim_end_matches("/status") != path);
        let uid = object["metadata"]["uid"].clone();
        let mut events = vec![(path.to_owned(), json!({"type": "DELETED", "object": object}))];
        let owned: Vec<String> = self
            .objects
            .iter()
            .filter(|(_, object)| {
                let owners = object["metadata"]["ownerReferences"].as_array();
                owners.is_some_and(|owners| owners.iter().any(|owner| owner["uid"] == uid))
            })
            .map(|(path, _)| path.clone())
            .collect();
        for path in owned {
            let mut object = self.objects[&path].clone();
            object["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
            events.extend(self.put(&path, object));
        }
        events
    }
}

/// A write to the object leaves its status alone, and the other way round.
fn keep_other_half(path: &str, current: &Value, object: &mut Value) {
    // Only the custom resources here have the subresource; pods' and StatefulSets' statuses come through `MockApi::put`.
    if path.ends_with("/status") {
        let status = object["status"].take();
        *object = current.clone();
        object["status"] = status;
    } else if path.contains("/mqtt.dunlin.io/") && object["status"] != current["status"] {
        object["status"] = current["status"].clone();
    }
    if object["status"].is_null()
        && let Some(fields) = object.as_object_mut()
    {
        fields.remove("status");
    }
}

/// A path that names a kind rather than an object: its last part is a plural.
fn is_collection(path: &str) -> bool {
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let after_version = match parts[..] {
        ["api", _, ref rest @ ..] | ["apis", _, _, ref rest @ ..] => rest.len(),
        _ => 0,
    };
    matches!(after_version, 1 | 3)
}
