//! Editing `spec.version` is the upgrade.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::json;

use super::cluster::{Cluster, NAME, OPERATOR_NAMESPACE};
use super::replacement::Before;
use super::traffic::Traffic;
use crate::program::{eventually, run};

/// Versions of the broker whose images are loaded.
#[derive(Clone, Copy, Debug)]
pub(super) struct Versions<'a> {
    /// The one that is installed.
    pub(super) from: &'a str,
    /// Another that works.
    pub(super) to: &'a str,
    /// One whose containers start and end again at once.
    pub(super) broken: &'a str,
}

/// The version that each broker reports.
fn running(cluster: &Cluster) -> Result<Vec<String>> {
    let object = cluster.get("mqttcluster", NAME)?;
    let brokers = object["status"]["brokers"].as_array().cloned().unwrap_or_default();
    Ok(brokers.iter().map(|b| b["version"].as_str().unwrap_or("?").to_owned()).collect())
}

async fn all_run(cluster: &Cluster, version: &str, within: Duration) -> Result<()> {
    eventually(&format!("every broker runs {version}"), within, async || {
        let seen = running(cluster)?;
        ensure!(seen.len() == 3 && seen.iter().all(|v| v == version), "they run {seen:?}");
        let object = cluster.get("mqttcluster", NAME)?;
        ensure!(
            object["status"]["version"] == version,
            "status.version is {}",
            object["status"]["version"]
        );
        Ok(())
    })
    .await?;
    cluster.wait("mqttcluster", NAME, "Ready", Duration::from_secs(60)).await
}

/// The listener's address on a node, without kubectl in between.
pub(super) async fn listener(cluster: &Cluster) -> Result<std::net::SocketAddr> {
    let tls = json!([{"name": "tls", "protocol": "mqtts", "port": 8883, "service": {"type": "NodePort"}}]);
    cluster.patch("mqttcluster", NAME, &json!({"spec": {"listeners": tls}}))?;
    eventually("a NodePort", Duration::from_secs(30), async || {
        cluster.node_port("dunlin-control-plane")
    })
    .await
}

/// A whole upgrade under traffic, and back again. The operator is restarted when the first broker has been replaced.
pub(super) async fn roll(cluster: &Cluster, versions: Versions<'_>) -> Result<()> {
    let address = listener(cluster).await?;
    cluster.wait("mqttcluster", NAME, "Ready", Duration::from_secs(60)).await?;
    let traffic = Traffic::start(cluster, address).await?;
    let seconds = roll_to(cluster, versions.to, true).await?;
    println!(
        "     figure: a whole upgrade of three brokers, with an operator restart: {seconds:.1} s"
    );
    traffic.flowing(Duration::from_secs(30)).await?;
    let seconds = roll_to(cluster, versions.from, false).await?;
    println!("     figure: and back again: {seconds:.1} s");
    traffic.flowing(Duration::from_secs(30)).await?;
    traffic.stop().await?;
    cluster.wait_all_ready(Duration::from_secs(60)).await
}

/// One roll, and what it must have been like; how many seconds it took.
async fn roll_to(cluster: &Cluster, version: &str, restarts_operator: bool) -> Result<f64> {
    let before = Before::the_roll(cluster)?;
    let started = Instant::now();
    cluster.patch("mqttcluster", NAME, &json!({"spec": {"version": version}}))?;
    let planned = before.is_planned(cluster).await?;
    if restarts_operator {
        eventually("the first broker replaced", Duration::from_secs(180), async || {
            let seen = running(cluster)?;
            ensure!(seen.iter().any(|v| v == version), "they run {seen:?}");
            Ok(())
        })
        .await?;
        let operator =
            ["delete", "pod", "-l", "app.kubernetes.io/name=mqtt-operator", "--wait=false"];
        run("kubectl", &[&["--namespace", OPERATOR_NAMESPACE], &operator[..]].concat())?;
    }
    watch_roll(cluster, version).await?;
    let seconds = started.elapsed().as_secs_f64();
    before.were_replaced_one_at_a_time(cluster, &planned)?;
    Ok(seconds)
}

/// While a roll runs, never more than one broker is away.
async fn watch_roll(cluster: &Cluster, to: &str) -> Result<()> {
    let mut fewest = 3;
    let rolled = eventually("the roll", Duration::from_secs(300), async || {
        let set = cluster.get("statefulset", NAME)?;
        fewest = fewest.min(set["status"]["readyReplicas"].as_u64().unwrap_or(0));
        let seen = running(cluster)?;
        ensure!(seen.len() == 3 && seen.iter().all(|v| v == to), "they run {seen:?}");
        Ok(())
    });
    rolled.await?;
    all_run(cluster, to, Duration::from_secs(60)).await?;
    ensure!(fewest >= 2, "only {fewest} brokers were ready at some moment of the roll");
    Ok(())
}

/// A version that never becomes ready stops the roll at one broker; the old version set back recovers.
pub(super) async fn bad_version(cluster: &Cluster, from: &str, bad: &str) -> Result<()> {
    cluster.patch("mqttcluster", NAME, &json!({"spec": {"version": bad}}))?;
    eventually("the roll stops with a reason", Duration::from_secs(240), async || {
        let object = cluster.get("mqttcluster", NAME)?;
        let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let upgrading =
            conditions.iter().find(|c| c["type"] == "Upgrading").cloned().unwrap_or_default();
        let message = upgrading["message"].as_str().unwrap_or_default();
        let reason = upgrading["reason"].as_str().unwrap_or_default();
        ensure!(reason == "BrokerNotReady", "Upgrading: {reason}: {message}");
        ensure!(message.contains(bad), "the version is named: {message}");
        println!("     condition: {reason}: {message}");
        Ok(())
    })
    .await?;
    let ready = cluster.get("statefulset", NAME)?["status"]["readyReplicas"].as_u64();
    ensure!(ready == Some(2), "the other two serve, not {ready:?}");
    let seen = running(cluster)?;
    ensure!(seen.iter().filter(|v| *v == from).count() == 2, "two run {from}: {seen:?}");
    cluster.patch("mqttcluster", NAME, &json!({"spec": {"version": from}}))?;
    all_run(cluster, from, Duration::from_secs(240)).await?;
    cluster.wait_all_ready(Duration::from_secs(60)).await
}
