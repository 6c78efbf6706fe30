//! The same table of manifests against the local admission and against a real API server.
//!
//! The API server is the one of the kubeconfig at `DUNLIN_TEST_APISERVER`; without it only the
//! local admission is tested.

#![expect(clippy::print_stdout, reason = "a test that tests less must say so")]

use std::time::Duration;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::GroupVersionKind;
use kube::{Api, Client, Config, ResourceExt};
use operator_api::admit::Admission;
use operator_api::{MqttAcl, MqttCluster, MqttUser};
use serde::Deserialize;
use serde_json::Value;

const ADMITTED: &str = include_str!("manifests/admitted.yaml");
const REFUSED: &str = include_str!("manifests/refused.yaml");

#[derive(Deserialize)]
struct Refused {
    says: String,
    replaces: Option<Value>,
    manifest: Value,
}

fn admit(manifest: &Value, old: Option<&Value>) -> Result<Value, String> {
    let admitted = match manifest["kind"].as_str() {
        Some("MqttCluster") => {
            Admission::of::<MqttCluster>().admit::<MqttCluster>(manifest, old).map(to_value)
        }
        Some("MqttUser") => {
            Admission::of::<MqttUser>().admit::<MqttUser>(manifest, old).map(to_value)
        }
        _ => Admission::of::<MqttAcl>().admit::<MqttAcl>(manifest, old).map(to_value),
    };
    admitted
        .map_err(|refusals| refusals.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
}

fn to_value(object: impl serde::Serialize) -> Value {
    serde_json::to_value(object).expect("JSON")
}

fn with_api_version(manifest: &Value) -> Value {
    let mut manifest = manifest.clone();
    manifest["apiVersion"] = "mqtt.dunlin.io/v1alpha1".into();
    manifest
}

#[test]
fn local_admission_admits_what_is_right() {
    for manifest in serde_yaml::from_str::<Vec<Value>>(ADMITTED).unwrap() {
        let manifest = with_api_version(&manifest);
        let admitted = admit(&manifest, None).unwrap_or_else(|why| panic!("{manifest}\n{why}"));
        admit(&admitted, Some(&admitted)).expect("admitted again over itself");
    }
}

#[test]
fn local_admission_refuses_what_is_wrong_with_a_sentence() {
    for refused in serde_yaml::from_str::<Vec<Refused>>(REFUSED).unwrap() {
        let old = refused.replaces.map(|old| admit(&with_api_version(&old), None).unwrap());
        let why = admit(&with_api_version(&refused.manifest), old.as_ref())
            .expect_err(&format!("{} is admitted", refused.manifest));
        assert!(why.contains(&refused.says), "{}\n{why}", refused.manifest);
    }
}

#[test]
fn local_admission_admits_the_example_with_durability_by_topic() {
    let example = include_str!("../../../examples/durability/cluster.yaml");
    admit(&serde_yaml::from_str(example).unwrap(), None).unwrap_or_else(|why| panic!("{why}"));
}

#[test]
fn local_admission_names_what_the_schema_refuses() {
    let cases = [
        (r#"{"kind":"MqttCluster","metadata":{"name":"a"},"spec":{}}"#, "spec.version: is missing"),
        (
            r#"{"kind":"MqttCluster","metadata":{"name":"a"},"spec":{"version":"0.1.0","replica":3}}"#,
            "spec.replica: is not a field",
        ),
        (
            r#"{"kind":"MqttCluster","metadata":{"name":"a"},"spec":{"version":0.1}}"#,
            "spec.version: must be a string",
        ),
        (
            r#"{"kind":"MqttCluster","metadata":{"name":"a"},"spec":{"version":"0.1.0","durability":"all"}}"#,
            "spec.durability: must be one of quorum, local, memory",
        ),
        (
            r#"{"kind":"MqttCluster","metadata":{"name":"a"},"spec":{"version":"0.1.0","listeners":
            [{"name":"a","port":8883},{"name":"a","port":8884}]}}"#,
            r#"spec.listeners[1]: "a" is there twice"#,
        ),
    ];
    for (manifest, says) in cases {
        let why = admit(&serde_json::from_str(manifest).unwrap(), None).unwrap_err();
        assert!(why.contains(says), "{manifest}\n{why}");
    }
}

async fn client() -> Option<Client> {
    let Ok(path) = std::env::var("DUNLIN_TEST_APISERVER") else {
        println!("DUNLIN_TEST_APISERVER is not set: nothing is tested against an API server");
        return None;
    };
    let kubeconfig = Kubeconfig::read_from(path).expect("kubeconfig");
    let options = KubeConfigOptions::default();
    let config = Config::from_custom_kubeconfig(kubeconfig, &options);
    Some(Client::try_from(config.await.expect("config")).expect("client"))
}

async fn install(client: &Client) {
    let crds: Api<CustomResourceDefinition> = Api::all(client.clone());
    let params = PatchParams::apply("test").force();
    for crd in operator_api::crds() {
        let name = crd.name_any();
        crds.patch(&name, &params, &Patch::Apply(&crd)).await.expect("the CRD is accepted");
        let established = kube::runtime::wait::conditions::is_crd_established();
        let wait = kube::runtime::wait::await_condition(crds.clone(), &name, established);
        tokio::time::timeout(Duration::from_secs(30), wait).await.expect("in time").expect("watch");
    }
}

fn api_of(client: &Client, namespace: &str, manifest: &Value) -> Api<DynamicObject> {
    let kind = manifest["kind"].as_str().expect("kind");
    let gvk = GroupVersionKind::gvk("mqtt.dunlin.io", "v1alpha1", kind);
    let resource = kube::core::ApiResource::from_gvk(&gvk);
    Api::namespaced_with(client.clone(), namespace, &resource)
}

#[tokio::test]
async fn api_server_agrees_with_the_table() {
    let Some(client) = client().await else { return };
    install(&client).await;
    let params = PostParams { dry_run: true, ..PostParams::default() };
    let object = |manifest: &Value| -> DynamicObject {
        serde_json::from_value(with_api_version(manifest)).unwrap()
    };
    for manifest in serde_yaml::from_str::<Vec<Value>>(ADMITTED).unwrap() {
        let api = api_of(&client, "default", &manifest);
        let created = api.create(&params, &object(&manifest)).await;
        let created = created.unwrap_or_else(|error| panic!("{manifest}\n{error}"));
        let locally = admit(&with_api_version(&manifest), None).unwrap();
        assert_eq!(created.data["spec"], locally["spec"], "the defaults differ");
    }
    for refused in serde_yaml::from_str::<Vec<Refused>>(REFUSED).unwrap() {
        let api = api_of(&client, "default", &refused.manifest);
        let answer = if let Some(old) = &refused.replaces {
            let name = old["metadata"]["name"].as_str().unwrap();
            api.create(&PostParams::default(), &object(old)).await.expect("created");
            let patch = Patch::Merge(with_api_version(&refused.manifest));
            let answer = api.patch(name, &PatchParams::default(), &patch).await;
            api.delete(name, &DeleteParams::default()).await.expect("deleted");
            answer
        } else {
            api.create(&params, &object(&refused.manifest)).await
        };
        let why = answer.expect_err(&format!("{} is admitted", refused.manifest)).to_string();
        assert!(why.contains(&refused.says), "{}\n{why}", refused.manifest);
    }
}
