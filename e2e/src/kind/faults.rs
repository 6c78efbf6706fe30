//! What a cluster must survive: a killed broker, a lost disk, a stopped node.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rumqttc::v5::mqttbytes::v5::PubAckReason;
use serde_json::{Value, json};

use super::cluster::{Cluster, NAME, OPERATOR_NAMESPACE};
use super::policy::TELEMETRY;
use super::traffic::Traffic;
use super::upgrade::listener;
use crate::program::{eventually, run};

/// How long a client may be away.
const SESSION_SECONDS: u32 = 600;

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
        may_publish(cluster, &broker, marker).await?;
    }
    cluster.kubectl(&["delete", "mqttacl", "while-away", "--timeout=60s"]).map(drop)
}

async fn may_publish(cluster: &Cluster, broker: &str, marker: &str) -> Result<()> {
    let mut pump = cluster.device("pump-17", "pump-17", broker).await?;
    let answer = pump.device.publish(&format!("away/{marker}"), b"x", false).await?;
    ensure!(answer != PubAckReason::NotAuthorized, "{broker}: {answer:?}");
    Ok(())
}

/// The broker that leads, according to the status.
pub(super) fn leader(cluster: &Cluster) -> Result<String> {
    let object = cluster.get("mqttcluster", NAME)?;
    let brokers = object["status"]["brokers"].as_array().cloned().unwrap_or_default();
    let leader = brokers.iter().find(|b| b["role"] == "Leader").context("no leader in status")?;
    Ok(leader["name"].as_str().unwrap_or_default().to_owned())
}

/// Does something to the cluster while messages go to and fro; all that was acknowledged arrives, and what is of QoS 2 once.
pub(super) async fn under_traffic(
    cluster: &Cluster,
    fault: impl Future<Output = Result<()>>,
) -> Result<()> {
    let address = listener(cluster).await?;
    cluster.wait("mqttcluster", NAME, "Ready", Duration::from_secs(60)).await?;
    let traffic = Traffic::start(cluster, address).await?;
    let before = traffic.acknowledged();
    fault.await?;
    let meanwhile = traffic.acknowledged() - before;
    ensure!(meanwhile > 10, "only {meanwhile} messages were acknowledged meanwhile");
    traffic.flowing(Duration::from_secs(60)).await?;
    traffic.stop().await
}

/// Kills the leader's pod and keeps it away; the others serve and enforce new rules meanwhile; it comes back and knows them.
pub(super) async fn kill_pod(cluster: &Cluster) -> Result<()> {
    let victim = leader(cluster)?;
    let pod = cluster.get("pod", &victim)?;
    let node = pod["spec"]["nodeName"].as_str().context("nodeName")?;
    // Its volume is on this node: a new pod has to wait until the node takes pods again.
    run("kubectl", &["cordon", node])?;
    leave_session(cluster, &victim, "killed").await?;
    let outcome = async {
        cluster.kubectl(&["delete", "pod", &victim, "--grace-period=0", "--force"])?;
        while_away(cluster, &victim, "killed").await?;
        let phase = cluster.get("pod", &victim)?["status"]["phase"].clone();
        ensure!(phase == "Pending", "{victim} was away all the time, but is {phase}");
        Ok(())
    };
    let outcome = outcome.await;
    run("kubectl", &["uncordon", node])?;
    outcome?;
    enforced_everywhere(cluster, "killed").await?;
    let now = cluster.get("pod", &victim)?["metadata"]["uid"].clone();
    ensure!(now != pod["metadata"]["uid"], "the old pod is still there");
    Ok(())
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

/// Has all pods of the operator replaced.
pub(super) fn delete_operator() -> Result<()> {
    let pods = ["delete", "pod", "-l", "app.kubernetes.io/name=mqtt-operator", "--wait=true"];
    run("kubectl", &[&["--namespace", OPERATOR_NAMESPACE], &pods[..]].concat()).map(drop)
}

/// Restarts the operator; brokers and their clients do not notice, and a rule that is made meanwhile is enforced.
pub(super) async fn restart_operator(cluster: &Cluster) -> Result<()> {
    let before = cluster.get("mqttcluster", NAME)?["status"]["brokers"].clone();
    delete_operator()?;
    edit_while_away(cluster, "operator").await?;
    enforced_everywhere(cluster, "operator").await?;
    let identities = |brokers: &Value| -> Vec<String> {
        let brokers = brokers.as_array().cloned().unwrap_or_default();
        brokers.iter().map(|broker| format!("{} {}", broker["name"], broker["nodeID"])).collect()
    };
    let now = cluster.get("mqttcluster", NAME)?["status"]["brokers"].clone();
    ensure!(identities(&before) == identities(&now), "before {before}, now {now}");
    Ok(())
}

/// Stops the Kubernetes node that the leader runs on, and starts it again.
pub(super) async fn stop_node(cluster: &Cluster) -> Result<()> {
    let pod = &leader(cluster)?;
    let node =
        cluster.get("pod", pod)?["spec"]["nodeName"].as_str().context("nodeName")?.to_owned();
    leave_session(cluster, pod, "node").await?;
    run("docker", &["stop", "--time", "5", &node])?;
    let outcome = while_away(cluster, pod, "node").await;
    run("docker", &["start", &node])?;
    outcome?;
    enforced_everywhere(cluster, "node").await
}

/// A client of the broker that goes away, whose session outlives its connection.
async fn leave_session(cluster: &Cluster, broker: &str, marker: &str) -> Result<()> {
    let id = format!("left-at-{marker}");
    let mut client = cluster.device_for("control-room", &id, broker, SESSION_SECONDS).await?;
    client.device.subscribe(TELEMETRY).await?;
    Ok(())
}

/// Its session is at another broker, with what came while it was away.
async fn go_on_elsewhere(cluster: &Cluster, broker: &str, marker: &str) -> Result<()> {
    let id = format!("left-at-{marker}");
    let mut client = cluster.device_for("control-room", &id, broker, SESSION_SECONDS).await?;
    ensure!(client.device.session_present, "{broker} has no session of {id}");
    let message = client.device.receive(Duration::from_secs(10)).await?;
    ensure!(message.payload == marker.as_bytes(), "of {id}'s session came {message:?}");
    Ok(())
}

/// The cluster says that it is not whole, the others serve and go on with the sessions of the one that is away, and a rule that is
/// made now is enforced by them.
async fn while_away(cluster: &Cluster, away: &str, marker: &str) -> Result<()> {
    cluster.wait_for("mqttcluster", NAME, "Ready", "False", Duration::from_secs(120)).await?;
    edit_while_away(cluster, marker).await?;
    let others: Vec<_> = cluster.brokers().into_iter().filter(|b| b != away).collect();
    for broker in &others {
        let what = format!("{broker} enforces the new rule");
        eventually(&what, Duration::from_secs(60), async || {
            may_publish(cluster, broker, marker).await
        })
        .await?;
    }
    let mut control = cluster.device("control-room", "control-room-1", &others[0]).await?;
    control.device.subscribe(TELEMETRY).await?;
    let mut pump = cluster.device("pump-17", "pump-17", &others[1]).await?;
    pump.device.publish(TELEMETRY, marker.as_bytes(), false).await?;
    let message = control.device.receive(Duration::from_secs(10)).await?;
    ensure!(message.payload == marker.as_bytes(), "{message:?}");
    go_on_elsewhere(cluster, &others[1], marker).await
}
