//! The same against a real API server: the one of the kubeconfig at `DUNLIN_TEST_APISERVER`.
//!
//! What only it does is tested here: defaults, normal forms, server-side apply, ownership.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Namespace, Pod, Service};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use kube::{Client, Config, ResourceExt};
use operator::health::Readiness;
use operator::kubernetes::{AdminFactory, Process, Settings, run_scope};
use operator::metrics::Metrics;
use operator::test_support::FakeBrokers;
use operator_api::{MqttAcl, MqttCluster, MqttUser};
use serde::Deserialize as _;
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// The operator as the API server knows it: with the rights that the chart gives it, and no other.
const OPERATOR: (&str, &str) = ("dunlin-system", "mqtt-operator");
const DEADLINE: Duration = Duration::from_secs(120);
/// The kinds whose objects must not change when the operator restarts.
const KINDS: [(&str, &str, &str); 15] = [
    ("", "v1", "Secret"),
    ("", "v1", "ConfigMap"),
    ("", "v1", "Service"),
    ("", "v1", "ServiceAccount"),
    ("", "v1", "PersistentVolumeClaim"),
    ("", "v1", "Pod"),
    ("apps", "v1", "StatefulSet"),
    ("policy", "v1", "PodDisruptionBudget"),
    ("networking.k8s.io", "v1", "NetworkPolicy"),
    ("rbac.authorization.k8s.io", "v1", "Role"),
    ("rbac.authorization.k8s.io", "v1", "RoleBinding"),
    ("mqtt.dunlin.io", "v1alpha1", "MqttCluster"),
    ("mqtt.dunlin.io", "v1alpha1", "MqttUser"),
    ("mqtt.dunlin.io", "v1alpha1", "MqttAcl"),
    ("apps", "v1", "ControllerRevision"),
];

struct World {
    client: Client,
    operator: Client,
    namespace: String,
    brokers: Arc<FakeBrokers>,
    kubelet: JoinHandle<()>,
}

impl Drop for World {
    fn drop(&mut self) {
        self.kubelet.abort();
    }
}

struct Running {
    metrics: Metrics,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Running {
    async fn stop(self) {
        self.stop.send(true).expect("it listens");
        tokio::time::timeout(DEADLINE, self.task).await.expect("in time").expect("no panic");
    }

    fn passes(&self, controller: &str) -> u64 {
        self.metrics.reconcile_seconds.with_label_values(&[controller]).get_sample_count()
    }
}

/// An administrator, and the operator.
async fn clients() -> Option<(Client, Client)> {
    let Ok(path) = std::env::var("DUNLIN_TEST_APISERVER") else {
        let all = std::env::var_os("DUNLIN_TEST_REQUIRE").is_some_and(|what| what == "all");
        assert!(!all, "DUNLIN_TEST_REQUIRE=all, but DUNLIN_TEST_APISERVER names no kubeconfig");
        return None;
    };
    let kubeconfig = Kubeconfig::read_from(path).expect("kubeconfig");
    let options = KubeConfigOptions::default();
    let config = Config::from_custom_kubeconfig(kubeconfig, &options).await.expect("config");
    let mut operator = config.clone();
    let (namespace, name) = OPERATOR;
    operator.auth_info.impersonate = Some(format!("system:serviceaccount:{namespace}:{name}"));
    let admin = Client::try_from(config).expect("client");
    grant(&admin).await;
    Some((admin, Client::try_from(operator).expect("client")))
}

/// Gives the operator what the chart gives it, as it was rendered.
async fn grant(client: &Client) {
    let rendered = include_str!("../../../charts/golden/default.golden.yaml");
    let params = PatchParams::apply("test").force();
    for document in serde_yaml::Deserializer::from_str(rendered) {
        let object = serde_json::Value::deserialize(document).expect("YAML");
        let kind = object["kind"].as_str().unwrap_or_default().to_owned();
        if !["ClusterRole", "ClusterRoleBinding"].contains(&&*kind) {
            continue;
        }
        let gvk = GroupVersionKind::gvk("rbac.authorization.k8s.io", "v1", &kind);
        let api: Api<DynamicObject> = Api::all_with(client.clone(), &ApiResource::from_gvk(&gvk));
        let name = object["metadata"]["name"].as_str().expect("name");
        api.patch(name, &params, &Patch::Apply(&object)).await.expect("granted");
    }
}

impl World {
    async fn new((client, operator): (Client, Client), test: &str) -> Self {
        let namespace = format!("dunlin-{test}-{}", std::process::id());
        let crds: Api<CustomResourceDefinition> = Api::all(client.clone());
        for crd in operator_api::crds() {
            let name = crd.name_any();
            let params = PatchParams::apply("test").force();
            crds.patch(&name, &params, &Patch::Apply(&crd)).await.expect("accepted");
            let established = kube::runtime::wait::conditions::is_crd_established();
            let wait = kube::runtime::wait::await_condition(crds.clone(), &name, established);
            tokio::time::timeout(DEADLINE, wait).await.expect("in time").expect("watch");
        }
        let object: Namespace =
            serde_json::from_value(json!({"metadata": {"name": namespace}})).expect("namespace");
        let params = PostParams::default();
        Api::<Namespace>::all(client.clone()).create(&params, &object).await.expect("created");
        let names = ["fleet-0", "fleet-1", "fleet-2"];
        let brokers = Arc::new(FakeBrokers::new("", &names));
        let kubelet =
            tokio::spawn(kubelet(client.clone(), namespace.clone(), Arc::clone(&brokers)));
        Self { client, operator, namespace, brokers, kubelet }
    }

    async fn apply(&self, storage: serde_json::Value) {
        let params = PostParams::default();
        let clusters: Api<MqttCluster> = self.api();
        let cluster = serde_json::from_value(json!({"metadata": {"name": "fleet"},
            "spec": {"version": "0.1.0", "storage": storage, "discovery": "kubernetes",
                "resources": {"requests": {"cpu": "1000m"}}}}));
        clusters.create(&params, &cluster.expect("cluster")).await.expect("created");
        let users: Api<MqttUser> = self.api();
        for (name, authentication) in
            [("pump-1", json!({"password": {}})), ("pump-2", json!({"x509": {}}))]
        {
            let user = json!({"metadata": {"name": name}, "spec": {"clusterRef":
                {"name": "fleet"}, "authentication": authentication}});
            let user = serde_json::from_value(user).expect("user");
            users.create(&params, &user).await.expect("created");
        }
        let acls: Api<MqttAcl> = self.api();
        let acl = json!({"metadata": {"name": "pumps"}, "spec": {"clusterRef": {"name": "fleet"},
            "subjects": [{"users": {}}],
            "rules": [{"effect": "Allow", "actions": ["Publish"], "topics": ["fleet/%u"]}]}});
        acls.create(&params, &serde_json::from_value(acl).expect("acl")).await.expect("created");
    }

    fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    fn start(&self) -> Running {
        let metrics = Metrics::new().expect("metrics");
        let brokers = Arc::clone(&self.brokers);
        let factory: AdminFactory = Arc::new(move |_| brokers.clone());
        let settings = Settings {
            operator_namespace: "dunlin-system".into(),
            identity: "operator-0".into(),
            cluster_domain: "cluster.local".into(),
            concurrency: 4,
        };
        let (stop, stopped) = watch::channel(false);
        let (client, namespace) = (self.operator.clone(), Some(self.namespace.clone()));
        let readiness = Readiness::default();
        let process = Process { metrics: metrics.clone(), readiness, factory };
        let running = run_scope(client, namespace, settings, process, stopped);
        Running { metrics, stop, task: tokio::spawn(running) }
    }

    async fn until_ready(&self) {
        let started = tokio::time::Instant::now();
        loop {
            let mut unready = Vec::new();
            for (group, version, kind) in KINDS.iter().filter(|kind| kind.0 == "mqtt.dunlin.io") {
                for object in self.list(group, version, kind).await {
                    let conditions = object.data["status"]["conditions"].as_array().cloned();
                    let is_ready = conditions.into_iter().flatten().any(|condition| {
                        condition["type"] == "Ready" && condition["status"] == "True"
                    });
                    if !is_ready {
                        unready.push(object);
                    }
                }
            }
            if unready.is_empty() {
                return;
            }
            assert!(started.elapsed() < DEADLINE, "not ready in time: {unready:#?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Waits until both controllers have looked at everything several times.
    async fn until_at_rest(&self, running: &Running) {
        let started = tokio::time::Instant::now();
        let services: Api<Service> = self.api();
        for touch in 0.. {
            if running.passes("cluster") >= 4 && running.passes("rights") >= 1 {
                return;
            }
            assert!(started.elapsed() < DEADLINE, "no passes in time");
            // An edit that is nobody's business has the cluster looked at again.
            let patch = json!({"metadata": {"annotations": {"touched": touch.to_string()}}});
            let params = PatchParams::default();
            services.patch("fleet-tls", &params, &Patch::Merge(&patch)).await.expect("patched");
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    }

    async fn delete_all(&self) {
        let now = DeleteParams::default();
        self.api::<MqttCluster>().delete("fleet", &now).await.expect("deleted");
        for user in ["pump-1", "pump-2"] {
            self.api::<MqttUser>().delete(user, &now).await.expect("deleted");
        }
        self.api::<MqttAcl>().delete("pumps", &now).await.expect("deleted");
    }

    async fn delete_namespace(&self) {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        let now = DeleteParams::default();
        namespaces.delete(&self.namespace, &now).await.expect("deleted");
    }

    async fn volume_claims(&self) -> usize {
        self.list("", "v1", "PersistentVolumeClaim").await.len()
    }

    /// Waits until nothing is left but volume claims and Kubernetes' own.
    async fn until_only_volumes_are_left(&self) {
        let started = tokio::time::Instant::now();
        loop {
            let mut left: Vec<String> = self.snapshot().await.into_keys().collect();
            left.retain(|name| {
                !name.starts_with("PersistentVolumeClaim data-fleet-")
                    && name != "ServiceAccount default"
                    && name != "ConfigMap kube-root-ca.crt"
            });
            if left.is_empty() {
                return;
            }
            assert!(started.elapsed() < DEADLINE, "left in place: {left:#?}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    async fn list(&self, group: &str, version: &str, kind: &str) -> Vec<DynamicObject> {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.client.clone(), &self.namespace, &resource);
        api.list(&ListParams::default()).await.expect("list").items
    }

    /// Every object with what it holds, but for what the test itself touches.
    async fn snapshot(&self) -> BTreeMap<String, String> {
        let mut all = BTreeMap::new();
        for (group, version, kind) in KINDS {
            for mut object in self.list(group, version, kind).await {
                let mut version = object.resource_version().unwrap_or_default();
                if object.name_any() == "fleet-tls" {
                    object.metadata.resource_version = None;
                    object.metadata.managed_fields = None;
                    object.annotations_mut().remove("touched");
                    version = format!("{:?} {}", object.metadata, object.data);
                }
                all.insert(format!("{kind} {}", object.name_any()), version);
            }
        }
        all
    }
}

/// Says of each pod that it runs and is ready, as there is no kubelet.
async fn kubelet(client: Client, namespace: String, brokers: Arc<FakeBrokers>) {
    let pods: Api<Pod> = Api::namespaced(client.clone(), &namespace);
    let clusters: Api<MqttCluster> = Api::namespaced(client, &namespace);
    loop {
        tokio::time::sleep(Duration::from_millis(100)).await;
        if let Ok(cluster) = clusters.get("fleet").await {
            let cluster_id = cluster.status.and_then(|status| status.cluster_id);
            brokers.set_cluster_id(&cluster_id.unwrap_or_default());
        }
        let Ok(found) = pods.list(&ListParams::default()).await else { continue };
        for pod in found.items {
            let has_address = pod.status.as_ref().is_some_and(|status| status.pod_ip.is_some());
            if pod.metadata.deletion_timestamp.is_some() {
                let now = DeleteParams::default().grace_period(0);
                pods.delete(&pod.name_any(), &now).await.ok();
            } else if !has_address {
                let now = Timestamp::from_second(Timestamp::now().as_second()).expect("a time");
                let status = json!({"status": {
                    "phase": "Running",
                    "podIP": "10.0.0.1",
                    "podIPs": [{"ip": "10.0.0.1"}],
                    "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": now}],
                }});
                let params = PatchParams::default();
                pods.patch_status(&pod.name_any(), &params, &Patch::Merge(&status)).await.ok();
            }
        }
    }
}

#[tokio::test]
async fn on_a_real_api_server_manifests_become_ready_restarts_write_nothing_and_all_goes() {
    let Some(clients) = clients().await else { return };
    let world = World::new(clients, "retain").await;
    world.apply(json!({})).await;
    let running = world.start();
    world.until_ready().await;
    world.until_at_rest(&running).await;
    running.stop().await;

    let before = world.snapshot().await;
    assert!(before.contains_key("StatefulSet fleet") && before.contains_key("Secret pump-1-mqtt"));
    assert!(before.contains_key("Role fleet-peer-discovery"));
    let restarted = world.start();
    world.until_at_rest(&restarted).await;
    restarted.stop().await;
    let after = world.snapshot().await;
    let changed: Vec<_> =
        after.iter().filter(|(key, version)| before.get(*key) != Some(version)).collect();
    assert!(changed.is_empty(), "{changed:#?}");

    let restarted = world.start();
    world.delete_all().await;
    world.until_only_volumes_are_left().await;
    assert_eq!(world.volume_claims().await, 3, "whenDeleted is Retain");
    restarted.stop().await;
    world.delete_namespace().await;
}

#[tokio::test]
async fn on_a_real_api_server_volumes_go_with_a_cluster_whose_storage_says_so() {
    let Some(clients) = clients().await else { return };
    let world = World::new(clients, "delete").await;
    world.apply(json!({"whenDeleted": "Delete"})).await;
    let running = world.start();
    world.until_ready().await;
    assert_eq!(world.volume_claims().await, 3);
    world.delete_all().await;
    world.until_only_volumes_are_left().await;
    let started = tokio::time::Instant::now();
    while world.volume_claims().await > 0 {
        assert!(started.elapsed() < DEADLINE, "volume claims are left");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    running.stop().await;
    world.delete_namespace().await;
}
