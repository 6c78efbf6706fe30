//! What a node does while its disk is nearly full. Layer: beside the group's handle.

use std::time::Duration;

use openraft::async_runtime::WatchReceiver;
use openraft::{AsyncRuntime, Instant};

use super::proposals::InstantOf;
use super::{MetaGroup, MetaRole};
use crate::cluster::environment::{Environment, GroupLog};

/// How often the disk is asked about, where nothing has changed.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// Wait before the lead is offered to another node again.
const HAND_OVER_PAUSE: Duration = Duration::from_secs(30);

/// Tells this node's engines when its disk is nearly full, and leaves the lead to a node that has room:
/// what can't be written here is not to hold up the others.
pub(super) async fn follow_disk<E: Environment>(meta: MetaGroup<E>) {
    let sessions = meta.machine.sessions();
    let mut is_low = meta.writer.is_disk_low();
    let mut offered_at: Option<InstantOf<E>> = None;
    loop {
        let low = *is_low.borrow_and_update();
        sessions.set_disk_low(low);
        if low && offered_at.is_none_or(|at| at.elapsed() >= HAND_OVER_PAUSE) {
            offered_at = Some(InstantOf::<E>::now());
            hand_over(&meta).await;
        }
        // The log is closed.
        if let Ok(Err(_)) = E::Runtime::timeout(LOOK_INTERVAL, is_low.changed()).await {
            return;
        }
        if meta.raft.metrics().borrow_watched().running_state.is_err() {
            return;
        }
    }
}

async fn hand_over<E: Environment>(meta: &MetaGroup<E>) {
    let status = meta.status();
    if status.role != MetaRole::Leader || meta.best_successor(&status).is_none() {
        return;
    }
    match meta.transfer_leader(None).await {
        Ok(to) => tracing::warn!(node_id = %to, "the disk is nearly full: another broker leads"),
        Err(error) => tracing::warn!(%error, "leadership can't be handed over"),
    }
}
