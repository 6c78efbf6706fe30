//! A Kubernetes in memory: API server, StatefulSet controller with kubelet, brokers.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use mock_api::MockApi;
use operator::health::Readiness;
use operator::kubernetes::{AdminFactory, Process, Settings, run_scope};
use operator::metrics::Metrics;
use operator::test_support::FakeBrokers;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;

const GROUP: &str = "/apis/mqtt.dunlin.io/v1alpha1/namespaces/iot";
const STATEFUL_SET: &str = "/apis/apps/v1/namespaces/iot/statefulsets/fleet";
const DEADLINE: Duration = Duration::from_secs(60);
/// The version of which there is no image.
pub(crate) const MISSING_VERSION: &str = "9.9.9";

/// Everything around the operator.
pub(crate) struct World {
    pub(crate) server: MockApi,
    pub(crate) brokers: Arc<FakeBrokers>,
    kubelet: JoinHandle<()>,
}

/// An operator that runs.
pub(crate) struct Running {
    pub(crate) metrics: Metrics,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Running {
    /// Policy records that it sent: `upsert` or `removal`.
    pub(crate) fn records_sent(&self, change: &str) -> u64 {
        let start = format!("mqtt_operator_policy_records_sent_total{{change=\"{change}\"}} ");
        let text = self.metrics.text().expect("metrics");
        let count = text.lines().find_map(|line| line.strip_prefix(&start));
        count.map_or(0, |count| count.parse().expect("a count"))
    }

    /// Stops it and waits until it has.
    pub(crate) async fn stop(self) {
        self.stop.send(true).expect("it listens");
        tokio::time::timeout(DEADLINE, self.task).await.expect("in time").expect("no panic");
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.kubelet.abort();
    }
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with_brokers(3)
    }

    /// So many brokers can be started.
    pub(crate) fn with_brokers(count: usize) -> Self {
        let server = MockApi::new();
        let names: Vec<String> = (0..count).map(|ordinal| format!("fleet-{ordinal}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let brokers = Arc::new(FakeBrokers::new("", &names));
        let kubelet = tokio::spawn(kubelet(server.clone(), Arc::clone(&brokers)));
        Self { server, brokers, kubelet }
    }

    pub(crate) fn start(&self) -> Running {
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
        let client = self.server.client();
        let (metrics, readiness) = (metrics, Readiness::default());
        let process = Process { metrics: metrics.clone(), readiness, factory };
        let running = run_scope(client, None, settings, process, stopped);
        Running { metrics, stop, task: tokio::spawn(running) }
    }

    pub(crate) async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let started = tokio::time::Instant::now();
        while !holds(self) {
            if started.elapsed() > DEADLINE {
                let objects = [self.cluster(), self.user("pump-1"), self.acl("pumps")];
                let writes = self.writes();
                let last = &writes[writes.len().saturating_sub(20)..];
                panic!("waited in vain until {what}: {objects:#?}\n{last:#?}");
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub(crate) fn apply_quickstart(&self) {
        self.apply_cluster(json!({"version": "0.1.0", "rollout": {"minimumStable": "0s"}}));
        self.apply_user("pump-1", json!({"clusterRef": {"name": "fleet"}}));
        self.apply_user(
            "pump-2",
            json!({"clusterRef": {"name": "fleet"}, "authentication": {"x509": {}}}),
        );
        let rule = json!({"effect": "Allow", "actions": ["Publish"],
            "topics": ["fleet/%u/telemetry"]});
        let spec = json!({"clusterRef": {"name": "fleet"}, "subjects": [{"users": {}}],
            "rules": [rule]});
        self.apply_acl("pumps", spec);
    }

    pub(crate) fn apply_acl(&self, name: &str, spec: Value) {
        self.server.put(&self.acl_path(name), |acl| fill(acl, "MqttAcl", spec));
    }

    pub(crate) fn apply_cluster(&self, spec: Value) {
        self.server.put(&self.cluster_path(), |cluster| fill(cluster, "MqttCluster", spec));
    }

    pub(crate) fn apply_user(&self, name: &str, spec: Value) {
        self.server.put(&self.user_path(name), |user| fill(user, "MqttUser", spec));
    }

    pub(crate) fn cluster_path(&self) -> String {
        format!("{GROUP}/mqttclusters/fleet")
    }

    pub(crate) fn user_path(&self, name: &str) -> String {
        format!("{GROUP}/mqttusers/{name}")
    }

    pub(crate) fn acl_path(&self, name: &str) -> String {
        format!("{GROUP}/mqttacls/{name}")
    }

    pub(crate) fn cluster(&self) -> Value {
        self.server.object(&self.cluster_path()).unwrap_or_default()
    }

    pub(crate) fn user(&self, name: &str) -> Value {
        self.server.object(&self.user_path(name)).unwrap_or_default()
    }

    pub(crate) fn acl(&self, name: &str) -> Value {
        self.server.object(&self.acl_path(name)).unwrap_or_default()
    }

    pub(crate) fn secret(&self, name: &str) -> Value {
        self.server.object(&format!("/api/v1/namespaces/iot/secrets/{name}")).unwrap_or_default()
    }

    /// Edits the rule, so that the policy changes.
    pub(crate) fn edit_rule(&self, topic: &str) {
        self.server.put(&self.acl_path("pumps"), |acl| {
            acl["spec"]["rules"][0]["topics"] = json!([topic]);
        });
    }

    /// Whether the brokers enforce a rule with this topic filter.
    pub(crate) fn is_enforced(&self, topic: &str) -> bool {
        let policy = self.brokers.policy();
        policy.records().any(|record| format!("{record:?}").contains(topic))
    }

    /// Deletes an object as a person does.
    pub(crate) fn delete(&self, path: &str) {
        self.server.put(path, |object| {
            object["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        });
    }

    /// Damages an entry of a Secret of the cluster, and says what it held.
    pub(crate) fn damage(&self, secret: &str, entry: &str) -> Value {
        let mut before = Value::Null;
        self.server.put(&format!("/api/v1/namespaces/iot/secrets/{secret}"), |secret| {
            before = std::mem::replace(&mut secret["data"][entry], json!("bm9uc2Vuc2U="));
        });
        before
    }

    /// Puts an entry of a Secret of the cluster back.
    pub(crate) fn restore(&self, secret: &str, entry: &str, content: &Value) {
        self.server.put(&format!("/api/v1/namespaces/iot/secrets/{secret}"), |secret| {
            secret["data"][entry] = content.clone();
        });
    }

    /// Has the cluster looked at, by an edit that is nobody's business.
    pub(crate) fn touch(&self) {
        self.server.put("/api/v1/namespaces/iot/services/fleet-brokers", |service| {
            service["metadata"]["annotations"]["touched"] = json!(Timestamp::now().to_string());
        });
    }

    /// The Events about the cluster, each as "Type Reason: note".
    pub(crate) fn cluster_events(&self) -> Vec<String> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let paths = self.server.paths().into_iter().filter(|path| path.contains("/events/"));
        paths
            .filter_map(|path| self.server.object(&path))
            .filter(|event| event["regarding"]["kind"] == "MqttCluster")
            .map(|e| format!("{} {}: {}", text(&e["type"]), text(&e["reason"]), text(&e["note"])))
            .collect()
    }

    /// Whether there is an Event about the cluster whose "Type Reason: note" begins so.
    pub(crate) fn has_event(&self, start: &str) -> bool {
        self.cluster_events().iter().any(|event| event.starts_with(start))
    }

    /// The message of a condition of the cluster.
    pub(crate) fn cluster_message(&self, type_: &str) -> String {
        Self::message(&self.cluster(), type_)
    }

    /// What was written, but for Events.
    pub(crate) fn writes(&self) -> Vec<String> {
        self.server.writes().into_iter().filter(|write| !write.contains("/events")).collect()
    }

    /// The Events there are, each as "Warning UsernameTaken MqttUser pump-3".
    pub(crate) fn events(&self) -> Vec<String> {
        let prefix = "/apis/events.k8s.io/v1/namespaces/iot/events/";
        let paths = self.server.paths().into_iter().filter(|path| path.starts_with(prefix));
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let told = paths.filter_map(|path| self.server.object(&path)).map(|event| {
            let about = &event["regarding"];
            [&event["type"], &event["reason"], &about["kind"], &about["name"]].map(text).join(" ")
        });
        told.collect()
    }

    /// The pods that were deleted, in order.
    pub(crate) fn deleted_pods(&self) -> Vec<String> {
        let prefix = "DELETE /api/v1/namespaces/iot/pods/";
        let writes = self.server.writes();
        writes.iter().filter_map(|write| Some(write.strip_prefix(prefix)?.to_owned())).collect()
    }

    pub(crate) fn is_ready(object: &Value) -> bool {
        let generation = &object["metadata"]["generation"];
        condition(object, "Ready").is_some_and(|ready| {
            ready["status"] == "True" && ready["observedGeneration"] == *generation
        })
    }

    pub(crate) fn message(object: &Value, type_: &str) -> String {
        let found = condition(object, type_);
        found.and_then(|c| c["message"].as_str()).unwrap_or_default().to_owned()
    }

    pub(crate) fn reason(object: &Value, type_: &str) -> String {
        let found = condition(object, type_);
        found.and_then(|c| c["reason"].as_str()).unwrap_or_default().to_owned()
    }

    /// What a condition of the cluster says in words.
    pub(crate) fn condition_message(&self, type_: &str) -> String {
        let cluster = self.cluster();
        let found = condition(&cluster, type_);
        found.and_then(|c| c["message"].as_str()).unwrap_or_default().to_owned()
    }

    pub(crate) fn is_all_ready(&self) -> bool {
        [self.cluster(), self.user("pump-1"), self.user("pump-2"), self.acl("pumps")]
            .iter()
            .all(Self::is_ready)
    }

    /// Whether both controllers have looked at everything several times. Each look at this has the
    /// cluster looked at again, by an edit that is nobody's business.
    pub(crate) fn is_at_rest(&self, running: &Running) -> bool {
        self.server.put("/api/v1/namespaces/iot/services/fleet-tls", |service| {
            service["metadata"]["annotations"]["touched"] = json!(Timestamp::now().to_string());
        });
        let passes = |controller: &str| {
            running.metrics.reconcile_seconds.with_label_values(&[controller]).get_sample_count()
        };
        passes("cluster") >= 4 && passes("rights") >= 1 && self.is_all_ready()
    }
}

fn fill(object: &mut Value, kind: &str, spec: Value) {
    object["apiVersion"] = json!("mqtt.dunlin.io/v1alpha1");
    object["kind"] = json!(kind);
    object["spec"] = spec;
}

fn condition<'a>(object: &'a Value, type_: &str) -> Option<&'a Value> {
    let conditions = object["status"]["conditions"].as_array()?;
    conditions.iter().find(|condition| condition["type"] == type_)
}

/// Makes the pods of the StatefulSet and keeps its status, as the controllers of Kubernetes do.
async fn kubelet(server: MockApi, brokers: Arc<FakeBrokers>) {
    loop {
        tokio::time::sleep(Duration::from_millis(5)).await;
        if let Some(cluster) = server.object(&format!("{GROUP}/mqttclusters/fleet")) {
            brokers.set_cluster_id(cluster["status"]["clusterID"].as_str().unwrap_or_default());
        }
        let Some(set) = server.object(STATEFUL_SET) else { continue };
        let template = &set["spec"]["template"];
        let revision = format!("r{}", hash(&template.to_string()));
        let generation = &set["metadata"]["generation"];
        if set["status"]["observedGeneration"] != *generation {
            server.put(STATEFUL_SET, |set| {
                set["status"] = json!({"observedGeneration": generation,
                    "updateRevision": revision, "replicas": set["spec"]["replicas"]});
            });
        }
        for ordinal in 0..set["spec"]["replicas"].as_i64().unwrap_or(0) {
            let name = format!("fleet-{ordinal}");
            let path = format!("/api/v1/namespaces/iot/pods/{name}");
            if server.object(&path).is_some() {
                continue;
            }
            let version = &template["metadata"]["annotations"]["mqtt.dunlin.io/version"];
            brokers.set_version(&name, version.as_str().unwrap_or_default());
            server.put(&path, |pod| {
                *pod = json!({
                    "apiVersion": "v1",
                    "kind": "Pod",
                    "metadata": {
                        "labels": template["metadata"]["labels"],
                        "annotations": template["metadata"]["annotations"],
                        "ownerReferences": [{"apiVersion": "apps/v1", "kind": "StatefulSet",
                            "name": "fleet", "uid": set["metadata"]["uid"], "controller": true}],
                    },
                    "spec": template["spec"],
                    "status": {
                        "podIP": format!("10.0.0.{}", ordinal + 1),
                        "conditions": [{"type": "Ready", "status": "True",
                            "lastTransitionTime": Timestamp::now().to_string()}],
                    },
                });
                pod["metadata"]["labels"]["controller-revision-hash"] = json!(revision);
                if version == MISSING_VERSION {
                    let waiting = json!({"reason": "ImagePullBackOff", "message": "no image"});
                    pod["status"]["conditions"][0]["status"] = json!("False");
                    pod["status"]["containerStatuses"] =
                        json!([{"name": "broker", "ready": false, "restartCount": 0,
                            "image": "", "imageID": "", "state": {"waiting": waiting}}]);
                }
            });
        }
    }
}

fn hash(text: &str) -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}
