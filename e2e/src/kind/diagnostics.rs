//! On failure: the objects, Events and logs that a person would ask for.

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::cluster::{Cluster, OPERATOR_NAMESPACE};
use crate::program::run;

/// Prints them; a part that can't be had is named and left out.
pub(super) fn print(cluster: &Cluster) {
    let iot = cluster.namespace.as_str();
    let all = "mqttclusters,mqttusers,mqttacls,statefulsets,pods,services,pvc";
    let resources = "mqttclusters,mqttusers,mqttacls";
    let events = ["get", "events", "--sort-by=.metadata.creationTimestamp"];
    section(&["get", "nodes", "-o", "wide"]);
    section(&["-n", iot, "get", all, "-o", "wide"]);
    section(&["-n", iot, "get", resources, "-o", "yaml"]);
    section(&["-n", iot, "describe", "pods"]);
    section(&["-n", OPERATOR_NAMESPACE, "get", "pods,leases", "-o", "wide"]);
    section(&["-n", OPERATOR_NAMESPACE, "describe", "pods"]);
    for namespace in [iot, OPERATOR_NAMESPACE] {
        section(&[&["-n", namespace], &events[..]].concat());
        logs(namespace);
    }
}

/// The last lines of every container, and of the one before it where it was started again.
fn logs(namespace: &str) {
    let pods = match pods(namespace) {
        Ok(pods) => pods,
        Err(error) => return println!("---- logs in {namespace}\n({error:#})"),
    };
    for pod in &pods {
        let name = pod["metadata"]["name"].as_str().unwrap_or_default();
        section(&["-n", namespace, "logs", name, "--tail=200"]);
        if has_restarted(pod) {
            section(&["-n", namespace, "logs", name, "--tail=200", "--previous"]);
        }
    }
}

fn pods(namespace: &str) -> Result<Vec<Value>> {
    let text = run("kubectl", &["-n", namespace, "get", "pods", "-o", "json"])?;
    let list: Value = serde_json::from_str(&text)?;
    Ok(list["items"].as_array().context("no items")?.clone())
}

fn has_restarted(pod: &Value) -> bool {
    let containers = pod["status"]["containerStatuses"].as_array();
    containers.into_iter().flatten().any(|one| one["restartCount"].as_u64().is_some_and(|n| n > 0))
}

/// One call of kubectl; a node that is down may not hold up the rest.
fn section(arguments: &[&str]) {
    println!("---- kubectl {}", arguments.join(" "));
    match run("kubectl", &[arguments, &["--request-timeout=20s"]].concat()) {
        Ok(text) => print!("{text}"),
        Err(error) => println!("({error:#})"),
    }
}
