//! On failure: the objects, Events and logs that a person would ask for.

use super::cluster::{Cluster, OPERATOR_NAMESPACE};
use crate::program::run;

/// Prints them; a part that can't be had is named and left out.
pub(super) fn print(cluster: &Cluster) {
    let iot = cluster.namespace.as_str();
    let all = "mqttclusters,mqttusers,mqttacls,statefulsets,pods,services,pvc";
    let mut sections: Vec<Vec<&str>> = vec![
        vec!["get", "nodes", "-o", "wide"],
        vec!["-n", iot, "get", all, "-o", "wide"],
        vec!["-n", iot, "get", "mqttclusters,mqttusers,mqttacls", "-o", "yaml"],
        vec!["-n", iot, "describe", "pods"],
        vec!["-n", iot, "get", "events", "--sort-by=.lastTimestamp"],
        vec!["-n", OPERATOR_NAMESPACE, "get", "pods,leases", "-o", "wide"],
        vec![
            "-n",
            OPERATOR_NAMESPACE,
            "logs",
            "-l",
            "app.kubernetes.io/name=mqtt-operator",
            "--tail=200",
        ],
        vec![
            "-n",
            OPERATOR_NAMESPACE,
            "logs",
            "-l",
            "app.kubernetes.io/name=mqtt-operator",
            "--tail=60",
            "--previous",
        ],
    ];
    let brokers = cluster.brokers();
    for broker in &brokers {
        sections.push(vec!["-n", iot, "logs", broker, "--tail=80"]);
    }
    for arguments in sections {
        println!("---- kubectl {}", arguments.join(" "));
        match run("kubectl", &arguments) {
            Ok(text) => print!("{text}"),
            Err(error) => println!("({error:#})"),
        }
    }
}
