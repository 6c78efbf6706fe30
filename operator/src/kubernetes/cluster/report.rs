//! Writes a cluster's status when it differs, and says what changed as Events. IO.

use std::time::Duration;

use operator_api::{Condition, MqttCluster, MqttClusterStatus};
use operator_core::cluster::status::differs_beyond_counters;

use super::super::apply::write_status;
use super::super::error::Error;
use super::super::events;
use super::super::scope::{ClusterKey, Scope};

/// How often the numbers of clients are written when nothing else changes.
const COUNTERS_EVERY: Duration = Duration::from_secs(60);

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
    scope.backoff.succeeded(&key.to_string());
    for condition in &after.conditions {
        let was = before.conditions.iter().find(|before| before.type_ == condition.type_);
        let is_news = match was {
            Some(was) => was.status != condition.status || was.reason != condition.reason,
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
        events::normal(scope, cluster, &condition.reason, &note).await;
    } else {
        events::warning(scope, cluster, &condition.reason, &note).await;
    }
}
