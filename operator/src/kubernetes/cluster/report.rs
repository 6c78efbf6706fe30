//! Writes a cluster's status when it differs, and says what changed as Events. IO.

use std::time::Duration;

use jiff::Timestamp;
use operator_api::{Condition, MqttCluster, MqttClusterStatus};
use operator_core::cluster::refused;
use operator_core::cluster::status::differs_beyond_counters;

use super::super::apply::write_status;
use super::super::error::Error;
use super::super::events;
use super::super::scope::{ClusterKey, Scope};
use super::apply::Outcome;
use super::in_force::InForce;
use super::plan::Plan;

/// How often the numbers of clients are written when nothing else changes.
const COUNTERS_EVERY: Duration = Duration::from_secs(60);

/// What of a cluster could not be brought about, beside what the planners wait for.
pub(super) struct Problems {
    /// The spec that is acted upon, and why it is not the newest one.
    pub(super) in_force: InForce,
    /// What is wrong with certificates.
    pub(super) certificates: Vec<Error>,
    /// Objects that could not be applied.
    pub(super) applied: Outcome,
}

impl Problems {
    /// Whether there is any.
    pub(super) fn are_any(&self) -> bool {
        !self.in_force.problems.is_empty()
            || !self.certificates.is_empty()
            || !self.applied.problems.is_empty()
    }

    /// Whether the API server refused something, which is to be tried again.
    pub(super) fn are_of_api_server(&self) -> bool {
        self.certificates.iter().chain(&self.applied.problems).any(Error::is_tried_again)
    }

    /// The status that says what was found and what could not be brought about.
    pub(super) fn status(
        &self,
        plan: &Plan,
        cluster: &MqttCluster,
        before: &MqttClusterStatus,
        now: Timestamp,
    ) -> MqttClusterStatus {
        let certificates = messages(&self.certificates, None);
        let mut after = plan.status(&self.in_force.cluster, before, &certificates, now);
        let generation = cluster.metadata.generation;
        if let Some(first) = self.applied.problems.first() {
            let message = messages(&self.applied.problems, None).join("; ");
            refused::refuse(&mut after, (first.as_str(), &message), generation, now);
        }
        // What a person can mend at once comes first.
        if !self.in_force.problems.is_empty() {
            refused::refuse_spec(&mut after, &self.in_force.problems, generation, now);
        }
        after
    }
}

/// Errors in words; `last` only where there is no other.
pub(super) fn messages(problems: &[Error], last: Option<&Error>) -> Vec<String> {
    let last = last.filter(|_| problems.is_empty());
    problems.iter().chain(last).map(Error::chain).collect()
}

/// Says that a pass failed, and why.
pub(super) async fn failed(scope: &Scope, cluster: &MqttCluster, error: &Error) {
    let before = cluster.status.clone().unwrap_or_default();
    let mut after = before.clone();
    let reason = (error.as_str(), &*error.chain());
    refused::refuse(&mut after, reason, cluster.metadata.generation, Timestamp::now());
    if let Err(error) = write(scope, cluster, &before, &after).await {
        tracing::debug!(error = error.chain(), "that a pass failed was not written either");
    }
}

/// Writes the status when it differs.
pub(super) async fn write(
    scope: &Scope,
    cluster: &MqttCluster,
    before: &MqttClusterStatus,
    after: &MqttClusterStatus,
) -> Result<(), Error> {
    if before == after {
        return Ok(());
    }
    let Some(key) = ClusterKey::of(cluster) else { return Ok(()) };
    let differs = differs_beyond_counters(before, after);
    if !differs && !scope.counters_due(&key, COUNTERS_EVERY) {
        return Ok(());
    }
    write_status(scope, cluster, after).await?;
    for condition in &after.conditions {
        let was = before.conditions.iter().find(|before| before.type_ == condition.type_);
        let is_news = match was {
            Some(was) => {
                // Of certificates the message names the Secret.
                let is_another = condition.type_ == "CertificatesValid"
                    && condition.status == "False"
                    && was.message != condition.message;
                was.status != condition.status || was.reason != condition.reason || is_another
            }
            // Of a new cluster, only what is missing is worth an Event.
            None => condition.type_ == "Ready",
        };
        if is_news {
            say(scope, cluster, condition).await;
        }
    }
    Ok(())
}

async fn say(scope: &Scope, cluster: &MqttCluster, condition: &Condition) {
    let is_good = match condition.type_.as_str() {
        "Upgrading" | "Paused" => condition.reason != "BrokerNotReady",
        _ => condition.status == "True",
    };
    let note = format!("{} is {}: {}", condition.type_, condition.status, condition.message);
    if is_good {
        events::normal(scope, cluster, None, &condition.reason, &note).await;
    } else {
        events::warning(scope, cluster, None, &condition.reason, &note).await;
    }
}
