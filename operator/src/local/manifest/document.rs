//! One document to one object, or to the words that say why not. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use operator_api::admit::{Admission, Refusal};
use operator_api::{MqttAcl, MqttCluster, MqttUser};
use operator_core::user::SecretData;
use serde_json::Value;

use super::object::{Identity, Kind, ManifestObject, SOURCE_ANNOTATION};
use super::{ignored, located};

/// The strict reading of YAML that manifests get: duplicate keys are errors.
pub(super) fn options() -> serde_saphyr::Options {
    serde_saphyr::options! { with_snippet: false, legacy_octal_numbers: false }
}

/// What became of one document.
#[derive(Debug, Clone)]
pub(crate) enum Outcome {
    /// An object, and notes about it.
    Accepted { identity: Identity, object: ManifestObject, notes: Vec<(Option<usize>, String)> },
    /// None: lines (within the document) and what to change. The identity where it could be told.
    Refused { identity: Option<Identity>, problems: Vec<(Option<usize>, String)> },
    /// Of a kind that has no meaning here.
    Skipped { message: String },
}

/// The admission of each kind; made once.
#[derive(Debug)]
pub(crate) struct Admissions {
    cluster: Admission,
    user: Admission,
    acl: Admission,
}

impl Admissions {
    pub(crate) fn new() -> Self {
        Self {
            cluster: Admission::of::<MqttCluster>(),
            user: Admission::of::<MqttUser>(),
            acl: Admission::of::<MqttAcl>(),
        }
    }

    /// Reads one document of `source`; `before` finds the object that it replaces.
    pub(crate) fn read(
        &self,
        text: &str,
        source: &str,
        before: impl Fn(&Identity) -> Option<ManifestObject>,
    ) -> Outcome {
        let value = match serde_saphyr::from_str_with_options::<Value>(text, options()) {
            Ok(value) => value,
            Err(error) => return not_yaml(&error),
        };
        let identity = match identity(&value) {
            Ok(identity) => identity,
            Err(outcome) => return outcome(text),
        };
        if let Some(refused) = wrong_api_version(&identity, &value, text) {
            return refused;
        }
        let old = before(&identity);
        let outcome = match identity.kind {
            Kind::Cluster => {
                let old = old.as_ref().and_then(json_of);
                self.cluster.admit(&value, old.as_ref()).map(|mut object: MqttCluster| {
                    prepare(&mut object.metadata, &identity, source);
                    object.status = None;
                    ManifestObject::Cluster(Arc::new(object))
                })
            }
            Kind::User => {
                let old = old.as_ref().and_then(json_of);
                self.user.admit(&value, old.as_ref()).map(|mut object: MqttUser| {
                    prepare(&mut object.metadata, &identity, source);
                    object.status = None;
                    ManifestObject::User(Arc::new(object))
                })
            }
            Kind::Acl => {
                let old = old.as_ref().and_then(json_of);
                self.acl.admit(&value, old.as_ref()).map(|mut object: MqttAcl| {
                    prepare(&mut object.metadata, &identity, source);
                    object.status = None;
                    ManifestObject::Acl(Arc::new(object))
                })
            }
            Kind::Secret => secret(&value).map(|(mut metadata, data)| {
                prepare(&mut metadata, &identity, source);
                ManifestObject::Secret(Arc::new((metadata, data)))
            }),
        };
        match outcome {
            Ok(object) => {
                let notes = notes(&identity, &value, text);
                Outcome::Accepted { identity, object, notes }
            }
            Err(refusals) => {
                let problems = refusals.iter().map(|refusal| placed(text, refusal)).collect();
                Outcome::Refused { identity: Some(identity), problems }
            }
        }
    }
}

fn not_yaml(error: &serde_saphyr::Error) -> Outcome {
    let line = error.location().and_then(|location| usize::try_from(location.line()).ok());
    let text = error.without_snippet().to_string();
    let message = text.lines().next().unwrap_or_default().to_owned();
    Outcome::Refused {
        identity: None,
        problems: vec![(line, format!("no YAML that can be read: {message}"))],
    }
}

type Refuse = Box<dyn FnOnce(&str) -> Outcome>;

/// Kind, namespace and name, or what to say when they can't be told.
fn identity(value: &Value) -> Result<Identity, Refuse> {
    let refuse = |path: &'static str, message: String| -> Refuse {
        Box::new(move |text: &str| Outcome::Refused {
            identity: None,
            problems: vec![(located::line_of(text, path), message)],
        })
    };
    let Some(kind) = value["kind"].as_str() else {
        let message = "kind is missing: set it to MqttCluster, MqttUser, MqttAcl or Secret";
        return Err(refuse("", message.to_owned()));
    };
    let Some(kind) = Kind::ALL.into_iter().find(|known| known.as_str() == kind) else {
        let message = match Kind::ALL.iter().find(|known| known.as_str().eq_ignore_ascii_case(kind))
        {
            Some(near) => {
                let message = format!("kind {kind} is not known: write {}", near.as_str());
                return Err(refuse("kind", message));
            }
            None => format!(
                "kind {kind} has no meaning here: MqttCluster, MqttUser, MqttAcl and Secret have"
            ),
        };
        return Err(Box::new(move |_: &str| Outcome::Skipped { message }));
    };
    let Some(name) = value["metadata"]["name"].as_str().filter(|name| is_object_name(name)) else {
        let message = "metadata.name must be given: lower-case letters, digits, - and .";
        return Err(refuse("metadata.name", message.to_owned()));
    };
    let namespace = value["metadata"]["namespace"].as_str().unwrap_or("default");
    if !is_object_name(namespace) {
        let message = "metadata.namespace must be lower-case letters, digits and -";
        return Err(refuse("metadata.namespace", message.to_owned()));
    }
    Ok(Identity { kind, namespace: namespace.to_owned(), name: name.to_owned() })
}

/// A DNS subdomain, as the API server asks for; it also names files and folders here.
fn is_object_name(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    name.len() <= 253
        && name.split('.').all(|label| {
            let bytes = label.as_bytes();
            bytes.first().copied().is_some_and(is_plain)
                && bytes.last().copied().is_some_and(is_plain)
                && bytes.iter().all(|byte| is_plain(*byte) || *byte == b'-')
        })
}

fn wrong_api_version(identity: &Identity, value: &Value, text: &str) -> Option<Outcome> {
    let expected = identity.kind.api_version();
    let found = value["apiVersion"].as_str().unwrap_or_default();
    (found != expected).then(|| {
        let message = format!("apiVersion must be {expected}, not {found:?}");
        Outcome::Refused {
            identity: Some(identity.clone()),
            problems: vec![(located::line_of(text, "apiVersion"), message)],
        }
    })
}

fn placed(text: &str, refusal: &Refusal) -> (Option<usize>, String) {
    let message = match refusal.path.as_str() {
        "" => refusal.message.clone(),
        path => format!("{path}: {}", refusal.message),
    };
    (located::line_of(text, &refusal.path), message)
}

fn notes(identity: &Identity, value: &Value, text: &str) -> Vec<(Option<usize>, String)> {
    if identity.kind != Kind::Cluster {
        return Vec::new();
    }
    let fields = ignored::fields(value);
    let Some(first) = fields.first() else { return Vec::new() };
    let line = located::line_of(text, first.split('[').next().unwrap_or(first));
    vec![(
        line,
        format!("{} mean nothing without Kubernetes and are left aside", fields.join(", ")),
    )]
}

fn prepare(metadata: &mut ObjectMeta, identity: &Identity, source: &str) {
    let mut kept = ObjectMeta {
        name: Some(identity.name.clone()),
        namespace: Some(identity.namespace.clone()),
        labels: metadata.labels.take(),
        annotations: metadata.annotations.take(),
        ..ObjectMeta::default()
    };
    let annotations = kept.annotations.get_or_insert_with(BTreeMap::new);
    annotations.insert(SOURCE_ANNOTATION.to_owned(), source.to_owned());
    *metadata = kept;
}

/// The object as the API server would have stored it, for rules that compare with it.
fn json_of(object: &ManifestObject) -> Option<Value> {
    match object {
        ManifestObject::Cluster(object) => serde_json::to_value(&**object).ok(),
        ManifestObject::User(object) => serde_json::to_value(&**object).ok(),
        ManifestObject::Acl(object) => serde_json::to_value(&**object).ok(),
        ManifestObject::Secret(_) => None,
    }
}

fn secret(value: &Value) -> Result<(ObjectMeta, SecretData), Vec<Refusal>> {
    let refusal = |path: String, message: &str| Refusal { path, message: message.to_owned() };
    let mut refusals = Vec::new();
    let mut data = SecretData::new();
    for (field, is_encoded) in [("data", true), ("stringData", false)] {
        let entries = match &value[field] {
            Value::Null => continue,
            Value::Object(entries) => entries,
            _ => {
                refusals.push(refusal(field.to_owned(), "must be a map of names to strings"));
                continue;
            }
        };
        for (key, content) in entries {
            let path = format!("{field}.{key}");
            let content = match content {
                Value::String(content) if is_encoded => {
                    let text: String = content.split_ascii_whitespace().collect();
                    base64::engine::general_purpose::STANDARD.decode(text).ok()
                }
                Value::String(content) => Some(content.clone().into_bytes()),
                _ => None,
            };
            match content {
                Some(content) => drop(data.insert(key.clone(), content)),
                None if is_encoded => refusals.push(refusal(
                    path,
                    "must be base64; put plain text into stringData instead of data",
                )),
                None => refusals.push(refusal(path, "must be a string: put it in quotes")),
            }
        }
    }
    let metadata = serde_json::from_value(value["metadata"].clone())
        .map_err(|error| vec![refusal("metadata".to_owned(), &error.to_string())])?;
    if refusals.is_empty() { Ok((metadata, data)) } else { Err(refusals) }
}
