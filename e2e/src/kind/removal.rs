//! Deleting the manifests leaves nothing but what `whenDeleted` keeps.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::cluster::{Cluster, NAME};
use crate::program::eventually;

pub(super) async fn run(cluster: &Cluster) -> Result<()> {
    cluster.kubectl(&["delete", "-f", "examples/quickstart/", "--timeout=120s"])?;
    eventually("nothing is left", Duration::from_secs(120), async || {
        let left = cluster.kubectl(&[
            "get", "mqttclusters,mqttusers,mqttacls,statefulsets,pods,services,secrets,poddisruptionbudgets,networkpolicies", "-o", "name",
        ])?;
        let accounts = cluster.kubectl(&["get", "serviceaccounts,configmaps", "-o", "name"])?;
        let mine: Vec<_> = accounts.lines().filter(|line| line.contains(NAME)).collect();
        ensure!(left.trim().is_empty() && mine.is_empty(), "left: {left} {mine:?}");
        Ok(())
    })
    .await?;
    let volumes = cluster.kubectl(&["get", "pvc", "-o", "name"])?;
    // Brokers that were there for a while have left theirs: whenScaled is Retain too.
    let is_kept =
        |n: usize| volumes.lines().any(|line| line.ends_with(&format!("/data-{NAME}-{n}")));
    ensure!((0..3).all(is_kept), "whenDeleted: Retain keeps the three volumes: {volumes}");
    cluster.kubectl(&["delete", "pvc", "--all", "--timeout=60s"]).map(drop)
}
