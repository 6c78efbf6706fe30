//! `/healthz`, `/readyz` and `/metrics` over HTTP, of an operator that runs.

use std::time::Duration;

use mock_api::MockApi;
use operator::health::{Readiness, serve_on};
use operator::kubernetes::{Options, Settings, run};
use operator::metrics::Metrics;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

const DEADLINE: Duration = Duration::from_secs(60);
const LEASE: &str = "/apis/coordination.k8s.io/v1/namespaces/dunlin-system/leases/mqtt-operator";

struct Operator {
    address: std::net::SocketAddr,
    _stop: watch::Sender<bool>,
    _tasks: JoinSet<()>,
}

impl Operator {
    async fn start(server: &MockApi) -> Self {
        let (metrics, readiness) = (Metrics::new().expect("metrics"), Readiness::default());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let options = Options {
            settings: Settings {
                operator_namespace: "dunlin-system".into(),
                identity: "operator-0".into(),
                cluster_domain: "cluster.local".into(),
                concurrency: 1,
            },
            namespaces: vec!["a".into(), "b".into()],
            lease: Some("mqtt-operator".into()),
        };
        let (stop, stopped) = watch::channel(false);
        let clients = (server.client(), server.client());
        let mut tasks = JoinSet::new();
        let served = serve_on(listener, metrics.clone(), readiness.clone());
        tasks.spawn(async move { served.await.expect("served") });
        tasks.spawn(async move {
            run(clients, options, metrics, readiness, stopped).await.expect("it ends well");
        });
        Self { address, _stop: stop, _tasks: tasks }
    }

    /// The status line and the body.
    async fn get(&self, path: &str) -> (String, String) {
        let mut stream = TcpStream::connect(self.address).await.expect("connected");
        let request = format!("GET {path} HTTP/1.1\r\nHost: operator\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        (head.lines().next().expect("a status line").to_owned(), body.to_owned())
    }

    async fn until(&self, path: &str, part: &str) {
        let started = tokio::time::Instant::now();
        loop {
            let (status, body) = self.get(path).await;
            if status.contains(part) || body.contains(part) {
                return;
            }
            assert!(started.elapsed() < DEADLINE, "{path} never says {part}: {status}\n{body}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

fn put_user(server: &MockApi, namespace: &str) {
    let path = format!("/apis/mqtt.dunlin.io/v1alpha1/namespaces/{namespace}/mqttusers/pump");
    server.put(&path, |user| {
        user["apiVersion"] = json!("mqtt.dunlin.io/v1alpha1");
        user["kind"] = json!("MqttUser");
        user["spec"] = json!({"clusterRef": {"name": "nowhere"}});
    });
}

#[tokio::test]
async fn a_leader_is_ready_once_everything_was_read_and_alive_before() {
    let server = MockApi::new();
    let lists = "GET /apis/apps/v1/namespaces/b/statefulsets";
    server.refuse(lists);
    put_user(&server, "a");
    let operator = Operator::start(&server).await;
    operator.until("/metrics", "mqtt_operator_leader 1").await;
    let started = tokio::time::Instant::now();
    while !server.refusals().iter().any(|refusal| refusal == lists) {
        assert!(started.elapsed() < DEADLINE, "nothing was asked for");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(operator.get("/readyz").await.0.contains("503"));
    assert_eq!(operator.get("/healthz").await, ("HTTP/1.1 200 OK".into(), "ok\n".into()));

    server.allow_all();
    operator.until("/readyz", "200 OK").await;
    operator.until("/metrics", "mqtt_operator_objects{kind=\"MqttUser\"} 1").await;
    put_user(&server, "b");
    operator.until("/metrics", "mqtt_operator_objects{kind=\"MqttUser\"} 2").await;
}

#[tokio::test]
async fn a_candidate_is_ready_once_the_api_server_has_answered() {
    let server = MockApi::new();
    server.put(LEASE, |lease| {
        lease["apiVersion"] = json!("coordination.k8s.io/v1");
        lease["kind"] = json!("Lease");
        lease["spec"] = json!({"holderIdentity": "operator-1", "leaseDurationSeconds": 15});
    });
    server.refuse("GET ");
    let operator = Operator::start(&server).await;
    let started = tokio::time::Instant::now();
    while server.refusals().is_empty() {
        assert!(started.elapsed() < DEADLINE, "the lease was never asked for");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(operator.get("/readyz").await.0.contains("503"));
    server.allow_all();
    operator.until("/readyz", "200 OK").await;
    operator.until("/metrics", "mqtt_operator_leader 0").await;
}
