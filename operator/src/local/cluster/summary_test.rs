//! What is printed for a cluster that is ready.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use operator_api::{MqttAcl, MqttCluster, MqttUser};
use operator_core::cluster::{ClusterFacts, ValidatedCluster, validate};
use operator_core::policy::{CompiledPolicy, PolicyInput, UserCredential, UserInput, compile};
use serde_json::{Value, json};

use super::super::ports::BrokerPorts;
use super::super::state::StateDir;
use super::super::store::Store;
use super::configuration::Configured;
use super::desired::Desired;
use super::summary::Summary;

struct Scene {
    desired: Desired,
    cluster: ValidatedCluster,
    compiled: CompiledPolicy,
}

fn user(name: &str, authentication: Value, extra: Value) -> Arc<MqttUser> {
    let mut spec = json!({"clusterRef": {"name": "fleet"}, "authentication": authentication});
    spec.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    let mut user = MqttUser::new(name, serde_json::from_value(spec).unwrap());
    user.metadata.namespace = Some("default".into());
    Arc::new(user)
}

fn acl(name: &str, of: &str, rules: Value) -> Arc<MqttAcl> {
    let spec = json!({"clusterRef": {"name": "fleet"}, "subjects": [{"user": of}], "rules": rules});
    let mut acl = MqttAcl::new(name, serde_json::from_value(spec).unwrap());
    acl.metadata.namespace = Some("default".into());
    Arc::new(acl)
}

impl Scene {
    fn new(users: Vec<Arc<MqttUser>>, acls: Vec<Arc<MqttAcl>>) -> Self {
        let spec = serde_json::from_value(json!({"version": "0.1.0"})).unwrap();
        let mut cluster = MqttCluster::new("fleet", spec);
        cluster.metadata.namespace = Some("default".into());
        let facts = ClusterFacts { cluster_id: "01K".into(), ..ClusterFacts::default() };
        let validated = validate(&cluster, &facts).unwrap();
        let compiled = compile(&PolicyInput {
            namespace: "default",
            cluster: "fleet",
            settings: &validated.policy,
            users: users
                .iter()
                .map(|user| UserInput { user, credential: UserCredential::Certificate })
                .collect(),
            acls: acls.iter().map(|acl| &**acl).collect(),
        });
        let desired = Desired {
            cluster: Arc::new(cluster),
            users,
            acls,
            secrets: BTreeMap::new(),
            edits: Vec::new(),
            noticed: Instant::now(),
        };
        Self { desired, cluster: validated, compiled }
    }

    fn text(&self) -> String {
        let configured = |ordinal: u16| Configured {
            name: format!("fleet-{ordinal}"),
            file: "f".into(),
            digest: String::new(),
            ports: BrokerPorts {
                listeners: BTreeMap::from([("tls".to_owned(), 8883 + ordinal)]),
                peer: 1,
                admin: 2,
            },
        };
        let brokers: Vec<Configured> = (0..3).map(configured).collect();
        let state = StateDir::new(std::path::Path::new("/my state")).unwrap();
        let summary = Summary {
            cluster: &self.cluster,
            desired: &self.desired,
            compiled: &self.compiled,
            brokers: brokers.iter().collect(),
            store: &Store::new(&state),
            manifests: "m",
        };
        summary.text()
    }
}

const PUBLISH: &str =
    r#"[{"effect": "Allow", "actions": ["Publish"], "topics": ["plant/%u/+/#"]}]"#;

fn rules(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn a_publisher_with_a_password_and_another_subscriber_are_chosen() {
    let read =
        r#"[{"effect": "Allow", "actions": ["Subscribe", "Receive"], "topics": ["plant/#"]}]"#;
    let scene = Scene::new(
        vec![
            user("desk", json!({"x509": {}}), json!({})),
            user("pump", json!({"password": {}}), json!({})),
        ],
        vec![acl("a", "pump", rules(PUBLISH)), acl("b", "desk", rules(read))],
    );
    let text = scene.text();
    assert!(text.contains("-p 8884") && text.contains("-t 'plant/#' -v"), "{text}");
    assert!(
        text.contains("-u pump -P \"$(cat '/my state/secrets/pump-mqtt/password')\""),
        "{text}"
    );
    assert!(text.contains("-t plant/pump/demo/demo -m hello"), "{text}");
    assert!(text.contains("--cafile '/my state/secrets/fleet-ca-bundle/ca.crt'"), "{text}");
}

#[test]
fn what_a_rule_denies_is_not_proposed() {
    let deny = r#"[{"effect": "Deny", "actions": ["Publish"], "topics": ["plant/#"]}]"#;
    let mut high = MqttAcl::clone(&acl("z", "pump", rules(deny)));
    high.spec.priority = 10;
    let users = vec![user("pump", json!({"password": {}}), json!({}))];
    let scene = Scene::new(users, vec![acl("a", "pump", rules(PUBLISH)), Arc::new(high)]);
    let text = scene.text();
    assert!(!text.contains("mosquitto_pub"), "{text}");
    assert!(text.contains("CA certificate"), "{text}");
}

#[test]
fn a_user_that_may_not_take_any_client_id_is_given_one() {
    let users = vec![user("pump", json!({"password": {}}), json!({"clientIDs": ["pump-*"]}))];
    let text = Scene::new(users, vec![acl("a", "pump", rules(PUBLISH))]).text();
    assert!(text.contains(" -i pump-1 "), "{text}");
}

#[test]
fn suspended_users_are_not_proposed_and_many_are_counted() {
    let mut users = vec![user("pump", json!({"password": {}}), json!({"suspended": true}))];
    users.extend((0..20).map(|n| user(&format!("u{n}"), json!({"password": {}}), json!({}))));
    let text = Scene::new(users, vec![acl("a", "pump", rules(PUBLISH))]).text();
    assert!(!text.contains("mosquitto_pub"), "{text}");
    assert!(text.contains("and 13 more users"), "{text}");
}
