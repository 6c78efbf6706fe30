//! A rule applied is a rule enforced: traffic within the rights, edits, deletions, and manifests that can't be right.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rumqttc::v5::mqttbytes::v5::{
    ConnectReturnCode, DisconnectReasonCode, PubAckReason, SubscribeReasonCode,
};
use serde_json::json;

use super::cluster::{Cluster, NAME};
use crate::device::{Device, Identity, refusal};
use crate::program::eventually;
use crate::tunnel::Tunnel;

/// A topic that pump-17 may publish to and the control room may read.
pub(super) const TELEMETRY: &str = "fleet/pump-17/telemetry/pressure";

/// A message published at one broker reaches a subscriber at another, in both directions; what no rule allows is refused.
pub(super) async fn traffic(cluster: &Cluster) -> Result<()> {
    let [first, second, third] = cluster.brokers();
    let mut control = cluster.device("control-room", "control-room-1", &first).await?;
    let answer = control.device.subscribe("fleet/#").await?;
    ensure!(matches!(answer, SubscribeReasonCode::Success(_)), "SUBACK {answer:?}");
    for broker in [&second, &third] {
        let mut pump = cluster.device("pump-17", "pump-17", broker).await?;
        pump.device.publish(TELEMETRY, broker.as_bytes(), false).await?;
        // The control room hears its own commands too.
        let message = loop {
            let message = control.device.receive(Duration::from_secs(10)).await?;
            if message.topic == TELEMETRY {
                break message;
            }
        };
        ensure!(message.payload == broker.as_bytes(), "{message:?}");
        let refused = pump.device.publish("fleet/pump-18/telemetry/x", b"?", false).await?;
        ensure!(refused == PubAckReason::NotAuthorized, "another pump's topic: {refused:?}");

        pump.device.subscribe("fleet/pump-17/commands/+").await?;
        control.device.publish("fleet/pump-17/commands/stop", b"now", false).await?;
        ensure!(pump.device.receive(Duration::from_secs(10)).await?.payload == b"now", "a command");
        pump.device.leave().await;
    }
    Ok(())
}

/// The API server refuses each of these with a sentence that names what to change.
pub(super) async fn refused(cluster: &Cluster) -> Result<()> {
    let base = |kind: &str, spec: serde_json::Value| json!({"apiVersion": "mqtt.dunlin.io/v1alpha1", "kind": kind, "metadata": {"name": "bad"}, "spec": spec});
    let reference = json!({"name": NAME});
    let cases = [
        (base("MqttCluster", json!({"version": "0.1.0", "replicas": 2})), "replicas"),
        (
            base(
                "MqttCluster",
                json!({"version": "0.1.0", "replicas": 3, "listeners": [{"name": "plain", "protocol": "mqtt", "port": 1883}]}),
            ),
            "acknowledgePlaintext",
        ),
        (
            base(
                "MqttUser",
                json!({"clusterRef": reference, "authentication": {"password": {}, "x509": {}}}),
            ),
            "authentication",
        ),
        (
            base("MqttUser", json!({"clusterRef": reference, "authentication": {}})),
            "authentication",
        ),
        (
            base(
                "MqttAcl",
                json!({"clusterRef": reference, "subjects": [{"user": "x"}], "rules": [{"effect": "Allow", "actions": ["Publish"], "topics": ["a/#/b"]}]}),
            ),
            "#",
        ),
        (
            base(
                "MqttAcl",
                json!({"clusterRef": reference, "subjects": [{"user": "x"}], "rules": [{"effect": "Maybe", "actions": ["Publish"], "topics": ["a"]}]}),
            ),
            "effect",
        ),
        (
            base("MqttAcl", json!({"clusterRef": reference, "subjects": [], "rules": []})),
            "subjects",
        ),
    ];
    for (manifest, names) in cases {
        match cluster.apply(&manifest.to_string()) {
            Ok(_) => bail!("accepted: {manifest}"),
            Err(error) => ensure!(format!("{error:#}").contains(names), "{manifest}: {error:#}"),
        }
    }
    Ok(())
}

/// Edits a rule back and forth; times from the edit until every broker has changed its answer.
pub(super) async fn edits(cluster: &Cluster, count: usize) -> Result<()> {
    let acl = cluster.get("mqttacl", "pumps")?;
    let mut devices = Vec::new();
    for (n, broker) in cluster.brokers().iter().enumerate() {
        devices.push(cluster.device("pump-17", &format!("pump-17-{n}"), broker).await?);
    }
    let mut times = Vec::new();
    for n in 0..count {
        let (topics, wanted) = if n % 2 == 0 {
            (json!(["fleet/%u/other/#"]), PubAckReason::NotAuthorized)
        } else {
            (json!(["fleet/%u/telemetry/#"]), PubAckReason::Success)
        };
        let mut rules = acl["spec"]["rules"].clone();
        rules[0]["topics"] = topics;
        let started = Instant::now();
        cluster.patch("mqttacl", "pumps", &json!({"spec": {"rules": rules}}))?;
        for connected in &mut devices {
            eventually("the edit's effect", Duration::from_secs(20), async || {
                let answer = connected.device.publish(TELEMETRY, b"?", false).await?;
                let denied = answer == PubAckReason::NotAuthorized;
                ensure!(denied == (wanted == PubAckReason::NotAuthorized), "still {answer:?}");
                Ok(())
            })
            .await?;
        }
        times.push(started.elapsed());
    }
    cluster.patch("mqttacl", "pumps", &json!({"spec": acl["spec"]}))?;
    cluster.wait("mqttacl", "pumps", "Ready", Duration::from_secs(30)).await?;
    times.sort();
    let at = |q: f64| times[((times.len() - 1) as f64 * q).round() as usize].as_secs_f64() * 1e3;
    println!(
        "     figure: edit (kubectl patch included) to enforced on three brokers, {count} edits: p50 {:.0} ms, p99 {:.0} ms",
        at(0.5),
        at(0.99)
    );
    Ok(())
}

/// A deleted user's live connection is closed and a new one refused; applied again it works again.
pub(super) async fn deleted_user(cluster: &Cluster) -> Result<()> {
    let [_, second, _] = cluster.brokers();
    let old = cluster.credentials("pump-17")?;
    let login = old.1.clone().context("pump-17 has a password")?;
    let server_name = format!("{NAME}-tls.{}.svc", cluster.namespace);
    // By way of a node, as devices come in.
    let address = super::upgrade::listener(cluster).await?;
    let tunnel = Tunnel::open(address, &server_name, &old.0).await?;
    let identity = Identity {
        client_id: "pump-17",
        login: Some((login.0.as_str(), login.1.as_str())),
        session_expiry_seconds: 0,
    };
    let mut pump = Device::connect(tunnel.port, identity.clone()).await?;
    // Not waited for here: the device must be reading when the broker says why it ends.
    cluster.kubectl(&["delete", "mqttuser", "pump-17", "--wait=false"])?;
    let reason = pump.until_closed(Duration::from_secs(30)).await?;
    ensure!(
        matches!(
            reason,
            Some(DisconnectReasonCode::AdministrativeAction | DisconnectReasonCode::NotAuthorized)
        ),
        "DISCONNECT with 0x87 or 0x98 was to come, not {reason:?}"
    );
    cluster.kubectl(&["wait", "mqttuser/pump-17", "--for=delete", "--timeout=60s"])?;
    let tunnel = Tunnel::open(address, &server_name, &old.0).await?;
    match Device::connect(tunnel.port, identity).await {
        Ok(_) => bail!("a deleted user's password still opens the door"),
        Err(error) => match refusal(&error) {
            Some(ConnectReturnCode::BadUserNamePassword | ConnectReturnCode::NotAuthorized) => {}
            other => bail!("CONNACK with 0x86 or 0x87 was to come, not {other:?}: {error:#}"),
        },
    }
    ensure!(cluster.get("secret", "pump-17-mqtt").is_err(), "the user's Secret goes with it");
    cluster.kubectl(&["apply", "-f", "examples/quickstart/users.yaml"])?;
    cluster.wait_all_ready(Duration::from_secs(60)).await?;
    let mut pump = cluster.device("pump-17", "pump-17", &second).await?;
    let answer = pump.device.publish(TELEMETRY, b"again", false).await?;
    ensure!(answer != PubAckReason::NotAuthorized, "the user applied again: {answer:?}");
    Ok(())
}
