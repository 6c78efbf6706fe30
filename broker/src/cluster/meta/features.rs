//! Raises the cluster's feature level once every member can read the next one. Layer: beside the
//! group's handle.

use std::sync::Arc;
use std::time::Duration;

use broker_core::cluster_state::{Command, CommandBatch, FEATURE_LEVEL_MAX, RetainedLimits};
use broker_core::types::NodeId;
use openraft::AsyncRuntime;
use openraft::async_runtime::WatchReceiver;
use tokio::sync::watch;

use super::proposals::PROPOSE_TIMEOUT;
use super::type_config::Raft;
use crate::cluster::environment::{Environment, PeerLinks};

/// Held by whoever founds the cluster here, changes its members or raises the level, so that what was
/// checked stays true until the entry is written.
pub(super) type Steps = Arc<tokio::sync::Mutex<()>>;

/// What the level is raised by.
pub(super) struct FeatureLevel<E: Environment> {
    pub(super) raft: Raft<E>,
    pub(super) links: E::Links,
    pub(super) steps: Steps,
    /// Between two looks at what the members know.
    pub(super) interval: Duration,
    /// The level in force here.
    pub(super) current: watch::Receiver<u16>,
    /// The cluster's own bound.
    pub(super) highest: u16,
    pub(super) retained_limits: RetainedLimits,
}

impl<E: Environment> FeatureLevel<E> {
    /// Looks from time to time, as long as consensus runs.
    pub(super) async fn raise(self) {
        loop {
            E::Runtime::sleep(self.interval).await;
            if self.raft.metrics().borrow_watched().running_state.is_err() {
                return;
            }
            let is_behind = *self.current.borrow() < self.highest;
            if !is_behind || !self.raft.is_leader() {
                continue;
            }
            let _step = self.steps.lock().await;
            if let Some(level) = self.known_to_all() {
                self.write(level).await;
            }
        }
    }

    /// The level that all members know, if it is above the current one. One that has no link says
    /// nothing: it is waited for.
    fn known_to_all(&self) -> Option<u16> {
        let metrics = self.raft.server_metrics().borrow_watched().clone();
        let this = self.links.node_id();
        let mut level = self.highest;
        for (node, _) in metrics.membership_config.nodes() {
            let node = NodeId(*node);
            if node != this {
                level = level.min(self.links.feature_level_max(node)?);
            }
        }
        (level > *self.current.borrow()).then_some(level)
    }

    /// Writes the entry itself: what goes by way of another leader would be written without a look
    /// at who its members are.
    async fn write(&self, level: u16) {
        let Ok(command) = (Command::RaiseFeatureLevel { level }).encode() else { return };
        let batch = CommandBatch::new(self.retained_limits, [&command]);
        let written = self.raft.client_write(batch);
        match E::Runtime::timeout(PROPOSE_TIMEOUT, written).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::debug!(%error, "the feature level is not raised"),
            Err(_) => tracing::debug!("the feature level is not raised in time"),
        }
    }
}

/// Tells the links of the level, and people of its changes.
pub(super) async fn announce<E: Environment>(links: E::Links, mut current: watch::Receiver<u16>) {
    let mut told = None;
    loop {
        let level = *current.borrow_and_update();
        links.set_feature_level(level);
        if told.is_some_and(|told| told != level) {
            tracing::info!(
                feature_level = level,
                newest = FEATURE_LEVEL_MAX,
                "the cluster's feature level has risen"
            );
        }
        told = Some(level);
        if current.changed().await.is_err() {
            return;
        }
    }
}
