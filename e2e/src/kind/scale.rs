//! Editing `spec.replicas` adds brokers and takes them away again, under traffic.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::cluster::{Cluster, NAME};
use super::faults::delete_operator;
use super::traffic::Traffic;
use super::upgrade::listener;
use crate::program::eventually;

/// From three brokers to five and back: two more follow, three vote all the time, nobody is restarted, and nothing that was
/// acknowledged is lost.
pub(super) async fn up_and_down(cluster: &Cluster) -> Result<()> {
    let address = listener(cluster).await?;
    cluster.wait("mqttcluster", NAME, "Ready", Duration::from_secs(60)).await?;
    let traffic = Traffic::start(cluster, address).await?;
    let before = pods(cluster)?;
    let membership = memberships(cluster)?.len();
    to(cluster, 5).await?;
    let roles = roles(cluster)?;
    let count = |role: &str| roles.iter().filter(|found| *found == role).count();
    ensure!(
        (count("Leader"), count("Follower"), count("Learner")) == (1, 2, 2),
        "three of five vote, not {roles:?}"
    );
    traffic.flowing(Duration::from_secs(60)).await?;
    to(cluster, 3).await?;
    traffic.flowing(Duration::from_secs(60)).await?;
    let after = pods(cluster)?;
    ensure!(before == after, "the first three ran on: before {before:?}, after {after:?}");
    steps_are_told(cluster)?;
    is_one_step_at_a_time(&memberships(cluster)?[membership..])?;
    traffic.stop().await?;
    cluster.wait_all_ready(Duration::from_secs(60)).await
}

/// Scales as a person does; the operator is replaced when the first step is done, and finds out from the brokers what is left.
async fn to(cluster: &Cluster, replicas: usize) -> Result<()> {
    let before = memberships(cluster)?.len();
    cluster.kubectl(&["scale", "mqttcluster", NAME, &format!("--replicas={replicas}")])?;
    eventually("a first step", Duration::from_secs(120), async || {
        ensure!(memberships(cluster)?.len() > before, "no broker was added or removed");
        Ok(())
    })
    .await?;
    delete_operator()?;
    serves(cluster, replicas).await
}

/// Waits until so many brokers serve and no others are there.
async fn serves(cluster: &Cluster, replicas: usize) -> Result<()> {
    let within = Duration::from_secs(240);
    eventually(&format!("{replicas} brokers"), within, async || {
        let object = cluster.get("mqttcluster", NAME)?;
        let status = &object["status"];
        let brokers = status["brokers"].as_array().map_or(0, Vec::len);
        ensure!(
            brokers == replicas && status["readyBrokers"] == format!("{replicas}/{replicas}"),
            "{brokers} brokers, {} ready, {}",
            status["readyBrokers"],
            status["conditions"]
        );
        let set = cluster.get("statefulset", NAME)?;
        ensure!(set["status"]["replicas"] == replicas, "pods: {}", set["status"]);
        Ok(())
    })
    .await?;
    cluster.wait("mqttcluster", NAME, "Ready", Duration::from_secs(60)).await
}

/// The uid of each pod of the first three brokers.
fn pods(cluster: &Cluster) -> Result<BTreeMap<String, String>> {
    let mut pods = BTreeMap::new();
    for broker in cluster.brokers() {
        let pod = cluster.get("pod", &broker)?;
        let restarts = &pod["status"]["containerStatuses"][0]["restartCount"];
        pods.insert(broker, format!("{} restarted {restarts} times", pod["metadata"]["uid"]));
    }
    Ok(pods)
}

fn roles(cluster: &Cluster) -> Result<Vec<String>> {
    let object = cluster.get("mqttcluster", NAME)?;
    let brokers = object["status"]["brokers"].as_array().cloned().unwrap_or_default();
    Ok(brokers.iter().map(|b| b["role"].as_str().unwrap_or("?").to_owned()).collect())
}

/// Each of the two was added and removed by a step of its own, which an Event tells of.
fn steps_are_told(cluster: &Cluster) -> Result<()> {
    let events = cluster.kubectl(&["get", "events", "-o", "json"])?;
    let events: Value = serde_json::from_str(&events)?;
    let events = events["items"].as_array().cloned().unwrap_or_default();
    let told = |event: &Value| {
        let text = |key: &str| event[key].as_str().unwrap_or_default().to_owned();
        (text("reason"), text("message"))
    };
    let told: Vec<_> = events.iter().map(told).collect();
    for broker in [3, 4] {
        for reason in ["AddLearner", "Remove"] {
            let name = format!("{NAME}-{broker} ");
            let is_told = |(r, m): &(String, String)| r == reason && m.starts_with(&name);
            ensure!(told.iter().any(is_told), "no Event {reason} of {name}: {}", json!(told));
        }
    }
    Ok(())
}

/// Who votes, and who follows.
type Membership = (BTreeSet<String>, BTreeSet<String>);

/// Each membership that a broker's log tells of, from its start on.
fn memberships(cluster: &Cluster) -> Result<Vec<Membership>> {
    let log = cluster.kubectl(&["logs", &cluster.brokers()[0]])?;
    let told = log.lines().filter(|line| line.contains("membership applied"));
    told.map(|line| {
        let line: Value = serde_json::from_str(line).with_context(|| format!("log: {line}"))?;
        let names = |key: &str| {
            let names = line[key].as_str().unwrap_or_default().split(',');
            names.filter(|name| !name.is_empty()).map(str::to_owned).collect()
        };
        Ok((names("voters"), names("learners")))
    })
    .collect()
}

/// It changed by one broker at a time, up to five and down to three, and the same three voted.
fn is_one_step_at_a_time(steps: &[Membership]) -> Result<()> {
    let sizes = steps.iter().map(|(voters, learners)| voters.len() + learners.len());
    ensure!(sizes.collect::<Vec<_>>() == [4, 5, 4, 3], "one broker at a time, not {steps:?}");
    let (first, _) = &steps[0];
    ensure!(steps.iter().all(|(voters, _)| voters == first), "the voters stay, not {steps:?}");
    Ok(())
}
