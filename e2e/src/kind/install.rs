//! CRDs, chart, manifests; then: are the objects what the documentation promises?

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use base64::Engine as _;

use super::cluster::{Cluster, NAME, OPERATOR_NAMESPACE};
use crate::program::{self, eventually};

/// Installs everything and waits until all is Ready.
pub(super) async fn run(cluster: &Cluster) -> Result<()> {
    program::run("kubectl", &["apply", "--server-side", "-f", "crds/"])?;
    program::run(
        "helm",
        &[
            "upgrade",
            "--install",
            "mqtt-operator",
            "charts/mqtt-operator",
            "--namespace",
            OPERATOR_NAMESPACE,
            "--create-namespace",
            "--wait",
            "--timeout",
            "3m",
        ],
    )?;
    // The namespace demands restricted pods: a broker that asks for more is not admitted.
    let namespace = format!(
        "{{apiVersion: v1, kind: Namespace, metadata: {{name: {}, labels: {{pod-security.kubernetes.io/enforce: restricted}}}}}}",
        cluster.namespace
    );
    cluster.apply(&namespace)?;
    let started = Instant::now();
    cluster.kubectl(&["apply", "-f", "examples/quickstart/"])?;
    cluster.wait_all_ready(Duration::from_secs(300)).await?;
    println!(
        "     figure: kubectl apply to Ready on every object: {:.1} s",
        started.elapsed().as_secs_f64()
    );
    print!("{}", cluster.kubectl(&["get", "mqttclusters,mqttusers,mqttacls"])?);
    Ok(())
}

/// Looks at what the operator made.
pub(super) async fn objects(cluster: &Cluster) -> Result<()> {
    let set = cluster.get("statefulset", NAME)?;
    ensure!(
        set["spec"]["updateStrategy"]["type"] == "OnDelete",
        "the operator decides who restarts"
    );
    let pod = &set["spec"]["template"]["spec"];
    ensure!(pod["automountServiceAccountToken"] == false, "a broker has no API token");
    let container = &pod["containers"][0]["securityContext"];
    ensure!(container["readOnlyRootFilesystem"] == true, "read-only root");
    ensure!(set["status"]["readyReplicas"] == 3, "three ready brokers");
    for service in ["fleet-brokers", "fleet-tls"] {
        cluster.get("service", service)?;
    }
    ensure!(cluster.get("service", "fleet-brokers")?["spec"]["clusterIP"] == "None", "headless");
    for kind in ["poddisruptionbudget", "networkpolicy", "serviceaccount"] {
        cluster.get(kind, NAME)?;
    }
    for secret in ["fleet-ca", "fleet-ca-bundle", "fleet-server", "fleet-peer-0", "fleet-admin"] {
        cluster.get("secret", secret)?;
    }
    let bundle = cluster.get("secret", "fleet-ca-bundle")?;
    ensure!(
        bundle["data"].as_object().is_some_and(|d| d.len() == 1),
        "the bundle holds ca.crt only"
    );

    let object = cluster.get("mqttcluster", NAME)?;
    let status = &object["status"];
    ensure!(status["clusterID"].as_str().is_some_and(|id| !id.is_empty()), "clusterID issued");
    let brokers = status["brokers"].as_array().cloned().unwrap_or_default();
    ensure!(brokers.len() == 3, "three brokers in status, not {}", brokers.len());
    for broker in &brokers {
        ensure!(
            broker["policyRevision"] == status["policy"]["revision"],
            "{broker} enforces the revision"
        );
    }
    let events = cluster.kubectl(&["get", "events", "-o", "name"])?;
    ensure!(!events.trim().is_empty(), "what happened is told by Events");
    steady(cluster).await
}

/// The text of a generated password is in its Secret and nowhere else that people read: no other object, no Event, no log.
pub(super) async fn secrets(cluster: &Cluster) -> Result<()> {
    let password = String::from_utf8(cluster.secret("pump-17-mqtt", "password")?)?;
    ensure!(password.len() > 16, "a generated password is long");
    let encoded = base64::engine::general_purpose::STANDARD.encode(&password);
    let objects = "configmaps,mqttclusters,mqttusers,mqttacls,events,pods,statefulsets";
    let mut places = vec![vec!["get", objects, "--all-namespaces", "-o", "yaml"]];
    let iot = cluster.namespace.as_str();
    let operator = "app.kubernetes.io/name=mqtt-operator";
    places.push(vec!["-n", OPERATOR_NAMESPACE, "logs", "-l", operator, "--tail=-1"]);
    let brokers = cluster.brokers();
    for broker in &brokers {
        places.push(vec!["-n", iot, "logs", broker, "--tail=-1"]);
    }
    for place in places {
        let text = program::run("kubectl", &place)?;
        ensure!(!text.trim().is_empty(), "kubectl {} prints nothing", place.join(" "));
        // The text itself stays out of the report.
        let found = text.contains(&password) || text.contains(&encoded);
        ensure!(!found, "pump-17's password is in: kubectl {}", place.join(" "));
    }
    Ok(())
}

/// At rest the operator writes nothing: the objects keep their resourceVersion.
async fn steady(cluster: &Cluster) -> Result<()> {
    let versions = || -> Result<String> {
        cluster.kubectl(&[
            "get",
            "mqttclusters,mqttusers,mqttacls,statefulsets,services,configmaps,secrets",
            "-o",
            "jsonpath={range .items[*]}{.kind}/{.metadata.name}={.metadata.resourceVersion}\n{end}",
        ])
    };
    let mut before = versions()?;
    let mut quiet_since = Instant::now();
    eventually("a quiet operator", Duration::from_secs(60), async || {
        let now = versions()?;
        if now != before {
            before = now;
            quiet_since = Instant::now();
        }
        ensure!(
            quiet_since.elapsed() > Duration::from_secs(10),
            "something was written a moment ago"
        );
        Ok(())
    })
    .await
}
