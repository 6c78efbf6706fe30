//! Manifests into policies, for tests.

use broker_policy::{PasswordHash, Policy};
use operator_api::cluster::PolicySettings;
use operator_api::{MqttAcl, MqttUser};
use serde::Deserialize as _;

use super::{CompiledPolicy, Compiler, PolicyInput, UserCredential, UserInput};

/// The objects of one namespace.
#[derive(Debug, Clone, Default)]
pub(super) struct Objects {
    pub(super) users: Vec<MqttUser>,
    pub(super) acls: Vec<MqttAcl>,
    pub(super) settings: PolicySettings,
}

impl Objects {
    /// Reads a stream of manifests; `kind: MqttCluster` gives `spec.policy`.
    pub(super) fn from_yaml(yaml: &str) -> Self {
        let mut objects = Self::default();
        for document in serde_yaml::Deserializer::from_str(yaml) {
            let value = serde_yaml::Value::deserialize(document).unwrap();
            match value["kind"].as_str().unwrap() {
                "MqttUser" => objects.users.push(serde_yaml::from_value(value).unwrap()),
                "MqttAcl" => objects.acls.push(serde_yaml::from_value(value).unwrap()),
                _ => {
                    let policy = value["spec"]["policy"].clone();
                    objects.settings = serde_yaml::from_value(policy).unwrap();
                }
            }
        }
        objects
    }

    /// Compiles the objects of cluster `fleet` in namespace `iot`; a user with x509 has a
    /// certificate, others a password, those labelled `credential: none` nothing.
    pub(super) fn compile(&self) -> CompiledPolicy {
        self.compile_with(&mut Compiler::default())
    }

    /// As [`Self::compile`], by a compiler that may have compiled other objects before.
    pub(super) fn compile_with(&self, compiler: &mut Compiler) -> CompiledPolicy {
        let users = self.users.iter().map(|user| {
            let labels = user.metadata.labels.clone().unwrap_or_default();
            let credential = if labels.get("credential").is_some_and(|value| value == "none") {
                UserCredential::Missing
            } else if user.spec.authentication.x509.is_some() {
                UserCredential::Certificate
            } else {
                let hash = PasswordHash::pbkdf2_sha512(b"secret", b"twelve bytes", 1);
                UserCredential::Password(hash.unwrap(), None)
            };
            UserInput { user, credential }
        });
        compiler.compile(&PolicyInput {
            namespace: "iot",
            cluster: "fleet",
            settings: &self.settings,
            users: users.collect(),
            acls: self.acls.iter().collect(),
        })
    }

    pub(super) fn policy(&self) -> Policy {
        Policy::from(self.compile().records)
    }
}

/// What is said of the objects, line by line.
pub(super) fn facts(compiled: &CompiledPolicy) -> String {
    let mut lines: Vec<String> =
        compiled.problems.iter().map(|problem| format!("cluster: {problem}")).collect();
    for (name, facts) in &compiled.users {
        let record = if facts.has_record { "" } else { ", no record" };
        lines.push(format!("user {name} as {:?}{record}", facts.username));
        lines.extend(facts.problems.iter().map(|problem| format!("  {problem}")));
    }
    for (name, facts) in &compiled.acls {
        lines.push(format!("acl {name}: {} subjects", facts.subjects));
        lines.extend(facts.problems.iter().map(|problem| format!("  {problem}")));
        lines.extend(facts.notes.iter().map(|note| format!("  note: {note}")));
        lines.extend(facts.conflicts.iter().map(|conflict| format!("  conflict: {conflict}")));
    }
    lines.join("\n")
}
