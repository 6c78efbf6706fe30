//! Admission of manifests without an API server: the same schema, defaults and CEL rules. Pure.

use kube::CustomResourceExt;
use kube::core::cel::{CompiledSchema, apply_defaults, compile_schema, validate_compiled};
use serde::de::DeserializeOwned;
use serde_json::Value;
use thiserror::Error;

use crate::crd;

mod structure;

/// Why a manifest is refused: where it is wrong and what to change.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Error)]
#[error("{path}: {message}")]
pub struct Refusal {
    /// The field, as `spec.listeners[0].port`.
    pub path: String,
    /// What to change.
    pub message: String,
}

/// The admission of one kind; made once, as it compiles the kind's rules.
#[derive(Debug)]
pub struct Admission {
    schema: Value,
    compiled: CompiledSchema,
}

impl Admission {
    /// The admission of kind `K`.
    #[must_use]
    pub fn of<K: CustomResourceExt>() -> Self {
        let crd = serde_json::to_value(crd::<K>()).unwrap_or_default();
        let schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone();
        let compiled = compile_schema(&schema);
        Self { schema, compiled }
    }

    /// Reads a manifest, with the object that it replaces where there is one.
    ///
    /// A `null` counts as absent, and defaults are filled in, as the API server does both.
    ///
    /// # Errors
    /// All reasons for which the API server would refuse it, in the order of their paths.
    pub fn admit<K: DeserializeOwned>(
        &self,
        manifest: &Value,
        old: Option<&Value>,
    ) -> Result<K, Vec<Refusal>> {
        let mut manifest = manifest.clone();
        prune_nulls(&mut manifest);
        let manifest = apply_defaults(&self.schema, &manifest);
        let mut refusals = structure::refusals(&self.schema, &manifest);
        if refusals.is_empty()
            && let Err(errors) = validate_compiled(&self.compiled, &manifest, old)
        {
            refusals.extend(errors.into_iter().map(|error| Refusal {
                path: error.field_path.trim_start_matches('.').to_owned(),
                message: error.message,
            }));
        }
        if !refusals.is_empty() {
            refusals.sort();
            refusals.dedup();
            return Err(refusals);
        }
        serde_json::from_value(manifest)
            .map_err(|error| vec![Refusal { path: String::new(), message: error.to_string() }])
    }
}

fn prune_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, value| !value.is_null());
            fields.values_mut().for_each(prune_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(prune_nulls),
        _ => {}
    }
}
