//! What a roll did, from what Kubernetes kept of it: which pod went when, and which was ready again when.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::cluster::{Cluster, NAME};
use super::faults::leader;
use crate::program::eventually;

/// The brokers before a roll.
pub(super) struct Before {
    leader: String,
    /// The uid of each broker's pod.
    pods: BTreeMap<String, String>,
}

/// One broker's replacement. The times are those of Kubernetes, to the second, and sort as text.
#[derive(Debug)]
struct Replaced {
    broker: String,
    killed: String,
    ready_again: String,
}

impl Before {
    /// Remembers the pods and who leads.
    pub(super) fn the_roll(cluster: &Cluster) -> Result<Self> {
        let mut pods = BTreeMap::new();
        for broker in cluster.brokers() {
            let uid = text(&cluster.get("pod", &broker)?["metadata"]["uid"])?;
            pods.insert(broker, uid);
        }
        Ok(Self { leader: leader(cluster)?, pods })
    }

    /// Waits for `status.plan`: it names brokers whose pods are still the old ones, with a reason each, the leader last and after
    /// it has handed over. Returns the brokers in the order of the plan.
    pub(super) async fn is_planned(&self, cluster: &Cluster) -> Result<Vec<String>> {
        let plan = eventually("a plan in status", Duration::from_secs(30), async || {
            let object = cluster.get("mqttcluster", NAME)?;
            let plan = object["status"]["plan"].as_array().cloned().unwrap_or_default();
            ensure!(!plan.is_empty(), "status.plan is empty");
            Ok(plan)
        })
        .await?;
        println!("     plan: {}", Value::from(plan.clone()));
        let mut order = Vec::new();
        for step in &plan {
            let broker = text(&step["broker"]).with_context(|| format!("broker of {step}"))?;
            match (step["action"].as_str(), step["reason"].as_str()) {
                (Some("Restart"), Some("VersionChanged")) => order.push(broker),
                (Some("TransferLeadership"), Some("LeaderGoesLast")) => {
                    ensure!(broker == self.leader, "{} leads: {step}", self.leader);
                    let (done, all) = (order.len(), plan.len());
                    ensure!(done + 2 == all, "leadership moves before the last restart");
                }
                _ => anyhow::bail!("unexpected step {step}"),
            }
        }
        ensure!(order.last() == Some(&self.leader), "{} leads and goes last", self.leader);
        // The first may be under way by now, the others are told before it happens.
        ensure!(order.len() > 1, "the plan came when most of it had been done");
        for broker in &order[1..] {
            let now = text(&cluster.get("pod", broker)?["metadata"]["uid"])?;
            ensure!(self.pods[broker] == now, "{broker} was replaced before the plan said so");
        }
        Ok(order)
    }

    /// After the roll: each pod is another, the order was that of the plan and the leader's turn came last, and each was ready
    /// again before the next one was told to end.
    pub(super) fn were_replaced_one_at_a_time(
        &self,
        cluster: &Cluster,
        planned: &[String],
    ) -> Result<()> {
        let events = cluster.kubectl(&[
            "get",
            "events",
            "--field-selector=involvedObject.kind=Pod,reason=Killing",
            "-o",
            "json",
        ])?;
        let events: Value = serde_json::from_str(&events)?;
        let mut replaced = Vec::new();
        for (broker, old) in &self.pods {
            let pod = cluster.get("pod", broker)?;
            ensure!(pod["metadata"]["uid"] != old.as_str(), "{broker} was not replaced");
            let killed = killed_at(&events, old).with_context(|| format!("{broker} ({old})"))?;
            let ready_again = ready_since(&pod).with_context(|| broker.clone())?;
            replaced.push(Replaced { broker: broker.clone(), killed, ready_again });
        }
        replaced.sort_by(|one, other| one.killed.cmp(&other.killed));
        for pair in replaced.windows(2) {
            ensure!(
                pair[0].ready_again <= pair[1].killed,
                "{} was not ready again when {} was told to end: {replaced:?}",
                pair[0].broker,
                pair[1].broker
            );
        }
        let order: Vec<_> = replaced.iter().map(|one| one.broker.clone()).collect();
        println!("     replaced: {}, which led", order.join(", then "));
        ensure!(order.ends_with(planned), "planned {planned:?}, done {replaced:?}");
        ensure!(order.last() == Some(&self.leader), "{} led: {replaced:?}", self.leader);
        Ok(())
    }
}

/// When the kubelet ended the pod's container for the last time.
fn killed_at(events: &Value, pod: &str) -> Result<String> {
    let events = events["items"].as_array().context("no items")?;
    let of_pod = events.iter().filter(|event| event["involvedObject"]["uid"] == pod);
    let times = of_pod.filter_map(|event| event["lastTimestamp"].as_str());
    Ok(times.max().context("no Event says that the old pod was ended")?.to_owned())
}

fn ready_since(pod: &Value) -> Result<String> {
    let conditions = pod["status"]["conditions"].as_array().context("no conditions")?;
    let ready = conditions.iter().find(|condition| condition["type"] == "Ready");
    let ready = ready.filter(|ready| ready["status"] == "True").context("not ready")?;
    text(&ready["lastTransitionTime"])
}

fn text(value: &Value) -> Result<String> {
    Ok(value.as_str().with_context(|| format!("{value} is no text"))?.to_owned())
}
