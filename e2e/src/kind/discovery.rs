//! Brokers that find each other by the API server, in a cluster and a namespace of their own.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::cluster::Cluster;
use super::diagnostics;
use crate::program::{eventually, run};

const NAMESPACE: &str = "peers";
/// Another name than the quickstart's: nothing of one may be taken for the other's.
const NAME: &str = "shoal";
/// What a broker says once the API server has answered.
const SOURCE: &str = "the Kubernetes API server tells where brokers are";

/// Three brokers become ready by EndpointSlices alone, and find one again that has a new address.
pub(super) async fn by_endpoint_slices(version: &str) -> Result<()> {
    let cluster = Cluster::new(NAMESPACE);
    let outcome = found_and_found_again(&cluster, version).await;
    if outcome.is_err() {
        diagnostics::print(&cluster);
    }
    // The operator takes its own away first: in a namespace that goes it could not write any more.
    let ended = cluster
        .kubectl(&["delete", "mqttcluster", NAME, "--ignore-not-found", "--timeout=60s"])
        .and_then(|_| run("kubectl", &["delete", "namespace", NAMESPACE, "--timeout=120s"]));
    outcome.and(ended.map(drop))
}

async fn found_and_found_again(cluster: &Cluster, version: &str) -> Result<()> {
    cluster.apply(&manifests(version).to_string())?;
    cluster.wait("mqttcluster", NAME, "Ready", Duration::from_secs(120)).await?;
    has_that_right_only(cluster)?;
    for broker in brokers() {
        let log = cluster.kubectl(&["logs", &broker])?;
        ensure!(log.contains(SOURCE), "{broker} does not say where it has the others from: {log}");
    }

    let victim = brokers().last().cloned().context("three brokers")?;
    let before = cluster.get("pod", &victim)?;
    cluster.kubectl(&["delete", "pod", &victim, "--grace-period=0", "--force"])?;
    let address = eventually("another pod", Duration::from_secs(60), async || {
        let pod = cluster.get("pod", &victim)?;
        ensure!(pod["metadata"]["uid"] != before["metadata"]["uid"], "the old one is there");
        Ok(pod["status"]["podIP"].as_str().context("no address yet")?.to_owned())
    })
    .await?;
    ensure!(before["status"]["podIP"] != address.as_str(), "the new pod has the old address");
    eventually("the others find it", Duration::from_secs(60), async || {
        for broker in brokers().iter().filter(|broker| **broker != victim) {
            let log = cluster.kubectl(&["logs", broker])?;
            let is_linked =
                |line: &str| line.contains("link up") && line.contains(&format!("{address}:"));
            ensure!(log.lines().any(is_linked), "{broker} has no link to {victim} at {address}");
        }
        Ok(())
    })
    .await?;
    cluster.wait("mqttcluster", NAME, "Ready", Duration::from_secs(60)).await
}

fn brokers() -> [String; 3] {
    [0, 1, 2].map(|ordinal| format!("{NAME}-{ordinal}"))
}

/// Namespace and cluster, as restricted as those of the quickstart.
fn manifests(version: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE,
            "labels": {"pod-security.kubernetes.io/enforce": "restricted"}}},
        {"apiVersion": "mqtt.dunlin.io/v1alpha1", "kind": "MqttCluster",
            "metadata": {"name": NAME, "namespace": NAMESPACE},
            "spec": {"version": version, "discovery": "kubernetes",
                "storage": {"size": "1Gi", "whenDeleted": "Delete"}}},
    ]})
}

/// The brokers' account may read EndpointSlices of its namespace, and neither anything else nor elsewhere.
fn has_that_right_only(cluster: &Cluster) -> Result<()> {
    let account = format!("--as=system:serviceaccount:{NAMESPACE}:{NAME}");
    let may = |verb: &str, what: &str, namespace: &str| -> bool {
        // It ends with an error where the answer is no.
        let question = ["auth", "can-i", verb, what, &account, "--namespace", namespace];
        run("kubectl", &question).is_ok_and(|answer| answer.trim() == "yes")
    };
    let slices = "endpointslices.discovery.k8s.io";
    ensure!(may("watch", slices, NAMESPACE), "the brokers may not watch {slices}");
    for (verb, what, namespace) in [
        ("list", slices, "default"),
        ("patch", slices, NAMESPACE),
        ("get", "secrets", NAMESPACE),
        ("list", "pods", NAMESPACE),
    ] {
        ensure!(!may(verb, what, namespace), "the brokers may {verb} {what} in {namespace}");
    }
    let pod = cluster.get("pod", &brokers()[0])?;
    ensure!(
        pod["spec"]["automountServiceAccountToken"] == false,
        "the token is for the broker's container alone"
    );
    Ok(())
}
