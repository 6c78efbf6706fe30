//! What a node does for the meta group from time to time. Layer: beside the group's handle.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use broker_core::cluster_state::{
    CLUSTER_SECRET_BYTES, ClusterSecret, Command, RetainedStore, SharedSecret,
};
use broker_core::shard::{Operation, SessionStore};
use broker_core::types::NodeId;
use openraft::AsyncRuntime;
use openraft::async_runtime::WatchReceiver;
use tokio::sync::watch;

use super::Leadership;
use super::log_store::LogStore;
use super::proposals::ProposalQueue;
use super::sessions::SessionProposer;
use super::state_machine::{Growth, StateMachine};
use super::type_config::Raft;
use crate::cluster::environment::{Environment, GroupLog, PeerLinks, WallClock};

/// Bytes of log entries since the last snapshot that are always too many: they are read again at the
/// next start.
const SNAPSHOT_BYTES: u64 = 64 << 20;

/// A large state may have so many times the entries between two snapshots.
const LARGE_STATE_FACTOR: u64 = 100;

/// Bytes of the log beyond which what the snapshot covers is not kept for followers that lag: they
/// get the snapshot.
const KEPT_BYTES_MAX: u64 = 2 * SNAPSHOT_BYTES;

/// The same while the disk is nearly full, and the bytes of entries that are worth a snapshot then.
const SCARCE_BYTES: u64 = 4 << 20;

/// What a session takes of a snapshot beside its messages, about.
const SESSION_BYTES: u64 = 256;

/// Retained messages dropped by one command, which holds up readers for as long.
const EXPIRED_AT_ONCE_MAX: u32 = 10_000;

/// How often the log's length is looked at.
const SNAPSHOT_CHECK: Duration = Duration::from_millis(500);

/// Tells who leads, as openraft sees it, and the links who the members are.
pub(super) async fn follow_leadership<E: Environment>(
    raft: Raft<E>,
    links: E::Links,
    sender: watch::Sender<Leadership>,
) {
    let mut metrics = raft.server_metrics();
    let mut membership = None;
    loop {
        let leadership = {
            let metrics = metrics.borrow_watched();
            let members = &metrics.membership_config;
            if membership.as_ref() != Some(members) {
                let named =
                    members.nodes().map(|(node, member)| (NodeId(*node), member.name.clone()));
                links.set_members(named.collect());
                membership = Some(Arc::clone(members));
            }
            let leader = metrics.current_leader.map(NodeId);
            Leadership { term: metrics.vote.leader_id.term, leader }
        };
        sender.send_if_modified(|current| {
            let is_new = *current != leadership;
            *current = leadership;
            is_new
        });
        if metrics.changed().await.is_err() {
            return;
        }
    }
}

/// Makes snapshots when the log has grown by enough. openraft would count entries alone; here a
/// few large ones count for many, and a large state is not written again for a few small ones. While
/// the disk is nearly full, the log is cut as soon as that sets anything free.
pub(super) async fn make_snapshots<E: Environment>(
    raft: Raft<E>,
    machine: StateMachine<E>,
    (log, writer): (LogStore<E>, E::Log),
    snapshot_entries: u64,
) {
    let is_low = writer.is_disk_low();
    loop {
        E::Runtime::sleep(SNAPSHOT_CHECK).await;
        if raft.metrics().borrow_watched().running_state.is_err() {
            return;
        }
        let growth = machine.growth();
        writer.reserve(snapshot_estimate(&machine, &growth));
        let is_low = *is_low.borrow();
        let is_scarce = is_low && growth.bytes >= SCARCE_BYTES && !growth.is_snapshot_being_made;
        let is_due = is_scarce || is_snapshot_due(&growth, snapshot_entries);
        if is_due && raft.trigger().snapshot().await.is_err() {
            return;
        }
        let kept_max = if is_low { SCARCE_BYTES } else { KEPT_BYTES_MAX };
        if let Some(covered) = growth.snapshot_index
            && log.bytes() > kept_max
            && raft.trigger().purge_log(covered).await.is_err()
        {
            return;
        }
    }
}

/// About what the next snapshot takes, at most.
fn snapshot_estimate<E: Environment>(machine: &StateMachine<E>, growth: &Growth) -> u64 {
    let totals = machine.sessions().totals();
    let sessions = totals.bytes + totals.delayed_bytes + totals.sessions * SESSION_BYTES;
    let state = sessions + machine.retained().totals().bytes;
    state.min(growth.snapshot_bytes + growth.bytes)
}

/// A snapshot may cost as much again as the entries that it replaces, not many times as much.
const fn is_snapshot_due(growth: &Growth, snapshot_entries: u64) -> bool {
    if growth.is_snapshot_being_made {
        return false;
    }
    let is_worth_it = growth.bytes >= growth.snapshot_bytes / 2;
    let are_many = growth.entries >= snapshot_entries;
    let are_large = growth.bytes >= SNAPSHOT_BYTES;
    let are_too_many = growth.entries >= snapshot_entries.saturating_mul(LARGE_STATE_FACTOR);
    ((are_many || are_large) && is_worth_it) || are_too_many
}

/// Expired messages are invisible at once; this gives their room back. The leader does it for
/// all, with its own clock.
pub(super) async fn expire_retained<E: Environment>(
    raft: Raft<E>,
    clock: E::Clock,
    retained: Arc<RetainedStore>,
    proposals: ProposalQueue<E>,
    every: Duration,
) {
    loop {
        E::Runtime::sleep(every).await;
        loop {
            if raft.metrics().borrow_watched().running_state.is_err() {
                return;
            }
            let now = clock.now();
            let is_due = retained.next_expiry().is_some_and(|at| at <= now);
            if !is_due || !raft.is_leader() {
                break;
            }
            let command = Command::ExpireRetained { now, messages_max: EXPIRED_AT_ONCE_MAX };
            if let Err(error) = proposals.propose(&command).await {
                tracing::debug!(%error, "expired messages were not dropped");
                break;
            }
        }
    }
}

/// Wait before the leader proposes a secret again.
const SECRET_PAUSE: Duration = Duration::from_millis(100);

/// Has the cluster agree on a secret, once: the leader draws it.
pub(super) async fn give_secret<E: Environment>(
    raft: Raft<E>,
    secret: SharedSecret,
    proposals: ProposalQueue<E>,
) {
    let mut metrics = raft.server_metrics();
    while secret.get().is_none() {
        if raft.metrics().borrow_watched().running_state.is_err() {
            return;
        }
        if !raft.is_leader() {
            if metrics.changed().await.is_err() {
                return;
            }
            continue;
        }
        let mut bytes = [0; CLUSTER_SECRET_BYTES];
        if let Err(error) = E::fill_random(&mut bytes) {
            return tracing::error!(%error, "the cluster has no secret: nobody comes in by SCRAM");
        }
        if let Err(error) = proposals.propose(&Command::SetSecret(ClusterSecret(bytes))).await {
            tracing::debug!(%error, "the cluster has no secret yet");
            E::Runtime::sleep(SECRET_PAUSE).await;
        }
    }
}

/// Sessions looked at by one command, which holds up readers for as long.
const SESSIONS_AT_ONCE_MAX: u32 = 1_000;

/// Looks at which a node has no link, after which its clients' sessions count as left.
const LOOKS_GONE: u32 = 10;

/// Wills whose delay is over, sessions that have expired, sessions whose broker has gone without a
/// word: the leader sees to them for all, with its own clock.
pub(super) async fn keep_sessions<E: Environment>(
    raft: Raft<E>,
    (links, clock): (E::Links, E::Clock),
    sessions: Arc<SessionStore>,
    proposer: SessionProposer<E>,
    every: Duration,
) {
    let mut silent = BTreeMap::new();
    let mut pause = every;
    loop {
        E::Runtime::sleep(pause).await;
        pause = every;
        if raft.metrics().borrow_watched().running_state.is_err() {
            return;
        }
        if !raft.is_leader() {
            silent.clear();
            continue;
        }
        let now = clock.now();
        let mut operations = Vec::new();
        if sessions.next_due().is_some_and(|at| at <= now) {
            let expire = Operation::Expire { sessions_max: SESSIONS_AT_ONCE_MAX };
            let _ = expire.encode(&mut operations);
        }
        for (node, start) in gone::<E>(&sessions, &links, &mut silent) {
            tracing::info!(node_id = %node, "a broker has gone: its clients' sessions are left");
            let _ = Operation::NodeGone { node, start }.encode(&mut operations);
        }
        if operations.is_empty() {
            continue;
        }
        match proposer.propose(now, operations.into()).await {
            // More than one command looks at: delayed messages are not to wait for the next turn.
            Ok(_) if sessions.next_due().is_some_and(|at| at <= now) => {
                pause = Duration::ZERO;
            }
            Ok(_) => {}
            Err(error) => tracing::debug!(%error, "due sessions were not looked at"),
        }
    }
}

/// Processes that have sessions and have had no link for a while.
fn gone<E: Environment>(
    sessions: &SessionStore,
    links: &E::Links,
    silent: &mut BTreeMap<(NodeId, u64), u32>,
) -> Vec<(NodeId, u64)> {
    let mut processes = sessions.processes();
    let accepted = links.accepted();
    processes.retain(|(node, _)| {
        *node != links.node_id() && !links.is_live(*node) && !accepted.contains(node)
    });
    silent.retain(|process, _| processes.contains(process));
    processes.retain(|process| {
        let looks = silent.entry(*process).or_default();
        *looks += 1;
        *looks >= LOOKS_GONE
    });
    processes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_is_due_by_entries_or_bytes_but_not_for_a_fraction_of_the_state() {
        let growth = |entries, bytes, snapshot_bytes| Growth {
            entries,
            bytes,
            snapshot_bytes,
            snapshot_index: None,
            is_snapshot_being_made: false,
        };
        let is_due = |growth: Growth| is_snapshot_due(&growth, 5000);
        assert!(!is_due(growth(4999, 1 << 20, 0)));
        assert!(is_due(growth(5000, 1 << 20, 0)));
        assert!(is_due(growth(10, SNAPSHOT_BYTES, 0)));
        assert!(!is_due(growth(5000, 1 << 20, 1 << 30)));
        assert!(!is_due(growth(10, SNAPSHOT_BYTES, 1 << 30)));
        assert!(is_due(growth(5000, 1 << 29, 1 << 30)));
        assert!(is_due(growth(500_000, 1 << 20, 1 << 30)));
        let being_made = Growth { is_snapshot_being_made: true, ..growth(5000, 1 << 20, 0) };
        assert!(!is_due(being_made));
    }
}
