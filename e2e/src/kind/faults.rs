//! What a cluster must survive: a killed broker, a lost disk, a stopped node.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::cluster::{Cluster, NAME};
use crate::program::{eventually, run};

/// Publishing a rule change while a broker is away, and finding it enforced there when it is back.
async fn edit_while_away(cluster: &Cluster, marker: &str) -> Result<()> {
    let extra = json!({"apiVersion": "mqtt.dunlin.io/v1alpha1", "kind": "MqttAcl",
        "metadata": {"name": "while-away"},
        "spec": {"clusterRef": {"name": NAME}, "subjects": [{"user": "pump-17"}],
            "rules": [{"effect": "Allow", "actions": ["Publish"], "topics": [format!("away/{marker}")]}]}});
    cluster.apply(&extra.to_string()).map(drop)
}

async fn enforced_everywhere(cluster: &Cluster, marker: &str) -> Result<()> {
    cluster.wait_all_ready(Duration::from_secs(240)).await?;
    cluster.wait("mqttacl", "while-away", "Ready", Duration::from_secs(60)).await?;
    for broker in cluster.brokers() {
        let mut pump = cluster.device("pump-17", "pump-17", &broker).await?;
        let answer = pump.device.publish(&format!("away/{marker}"), b"x", false).await?;
        ensure!(!format!("{answer:?}").contains("NotAuthorized"), "{broker}: {answer:?}");
    }
    cluster.kubectl(&["delete", "mqttacl", "while-away", "--timeout=60s"]).map(drop)
}

fn leader(cluster: &Cluster) -> Result<String> {
    let object = cluster.get("mqttcluster", NAME)?;
    let brokers = object["status"]["brokers"].as_array().cloned().unwrap_or_default();
    let leader = brokers.iter().find(|b| b["role"] == "Leader").context("no leader in status")?;
    Ok(leader["name"].as_str().unwrap_or_default().to_owned())
}

/// Kills the leader's pod; rules go on being enforced meanwhile; it comes back and knows them.
pub(super) async fn kill_pod(cluster: &Cluster) -> Result<()> {
    let victim = leader(cluster)?;
    let before = cluster.get("pod", &victim)?["metadata"]["uid"].clone();
    cluster.kubectl(&["delete", "pod", &victim, "--grace-period=0", "--force"])?;
    edit_while_away(cluster, "killed").await?;
    eventually("a new pod", Duration::from_secs(60), async || {
        ensure!(
            cluster.get("pod", &victim)?["metadata"]["uid"] != before,
            "the old pod is still there"
        );
        Ok(())
    })
    .await?;
    enforced_everywhere(cluster, "killed").await
}

/// Deletes a follower's volume together with its pod: it comes back with an empty disk and joins under a new node id.
pub(super) async fn lose_disk(cluster: &Cluster) -> Result<()> {
    let leads = leader(cluster)?;
    let victim = cluster.brokers().into_iter().find(|b| *b != leads).context("a follower")?;
    let node_id = |cluster: &Cluster| -> Result<String> {
        let object = cluster.get("mqttcluster", NAME)?;
        let brokers = object["status"]["brokers"].as_array().cloned().unwrap_or_default();
        let found = brokers.iter().find(|b| b["name"] == victim.as_str()).context("in status")?;
        Ok(found["nodeID"].as_str().unwrap_or_default().to_owned())
    };
    let cluster_id = cluster.get("mqttcluster", NAME)?["status"]["clusterID"].clone();
    let before = node_id(cluster)?;
    cluster.kubectl(&["delete", "pvc", &format!("data-{victim}"), "--wait=false"])?;
    cluster.kubectl(&["delete", "pod", &victim, "--grace-period=0", "--force"])?;
    edit_while_away(cluster, "disk").await?;
    eventually("a new node id in status", Duration::from_secs(180), async || {
        let now = node_id(cluster)?;
        ensure!(!now.is_empty() && now != before, "{victim} is still {now}");
        Ok(())
    })
    .await?;
    enforced_everywhere(cluster, "disk").await?;
    ensure!(
        cluster.get("mqttcluster", NAME)?["status"]["clusterID"] == cluster_id,
        "one clusterID for life"
    );
    Ok(())
}

/// Stops the Kubernetes node that a broker runs on, and starts it again.
pub(super) async fn stop_node(cluster: &Cluster) -> Result<()> {
    let pod = &cluster.brokers()[1];
    let node =
        cluster.get("pod", pod)?["spec"]["nodeName"].as_str().context("nodeName")?.to_owned();
    run("docker", &["stop", "--time", "5", &node])?;
    let outcome = while_stopped(cluster, pod).await;
    run("docker", &["start", &node])?;
    outcome?;
    enforced_everywhere(cluster, "node").await
}

async fn while_stopped(cluster: &Cluster, away: &str) -> Result<()> {
    cluster.wait_for("mqttcluster", NAME, "Ready", "False", Duration::from_secs(120)).await?;
    edit_while_away(cluster, "node").await?;
    for broker in cluster.brokers().iter().filter(|b| *b != away) {
        eventually(
            &format!("{broker} enforces the new rule"),
            Duration::from_secs(60),
            async || {
                let mut pump = cluster.device("pump-17", "pump-17", broker).await?;
                let answer = pump.device.publish("away/node", b"x", false).await?;
                ensure!(!format!("{answer:?}").contains("NotAuthorized"), "{broker}: {answer:?}");
                Ok(())
            },
        )
        .await?;
    }
    Ok(())
}
