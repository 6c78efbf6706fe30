//! How old this node's copy of the state may be.
//!
//! A message that no durable session wants is acknowledged without the log. That is right only where
//! the copy would show whoever has subscribed. So SUBACK waits until each member has applied the
//! Subscription, or for [`APPLIED_TIMEOUT`]; and a copy counts for [`VIEW_MILLIS_MAX`], which is
//! less, from a moment as of which the leader has confirmed it. A node that is cut off has no such
//! copy by the time at which the SUBACK leaves without it, and proposes all messages.
//!
//! The leader knows whom it has confirmed a copy to. A member that it has not, for that time, is not
//! waited for: a broker that has gone holds no SUBACK up.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use broker_core::shard::SessionStore;
use broker_core::types::{Millis, NodeId};
use openraft::async_runtime::WatchReceiver;
use openraft::raft::ReadPolicy;
use openraft::{AsyncRuntime, Instant};
use serde::{Deserialize, Serialize};

use super::layout::{decode_form, encode_form};
use super::network::kind;
use super::proposals::InstantOf;
use super::service::Heard;
use super::sessions::Applied;
use super::type_config::Raft;
use crate::cluster::environment::{Environment, PeerLinks, WallClock, spawn};
use crate::cluster::link_types::LinkError;
use crate::cluster::replier::Replier;
use crate::sync::lock;

/// Longest wait for a member to apply what is committed. One that is silent for longer counts as
/// gone, as for the interest.
const APPLIED_TIMEOUT: Duration = Duration::from_secs(1);

/// How long a copy counts from the moment as of which it is confirmed, in milliseconds.
const VIEW_MILLIS_MAX: u64 = 800;

/// Between two questions to the leader. Several may be lost before a copy counts no more.
const ASK_PAUSE: Duration = Duration::from_millis(150);

/// Between two looks whether a quorum follows the leader.
const TOUCH_PAUSE: Duration = Duration::from_millis(500);

/// Longest wait for what such a look finds: on a slow network longer than a copy counts.
const TOUCH_TIMEOUT: Duration = Duration::from_secs(2);

/// Longest wait for the leader's answer.
const ASK_TIMEOUT: Duration = Duration::from_millis(300);

/// What a node answers that does not lead, or does not know whether a quorum follows it.
const NOT_LEADING: &str = "this broker does not lead the cluster";

/// Why a leader does not confirm a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unconfirmed {
    /// It does not lead, or does not know whether a quorum follows it.
    NotLeading,
    /// It leads, and the node is no member.
    NotMember(NodeId),
}

impl fmt::Display for Unconfirmed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotLeading => f.write_str(NOT_LEADING),
            Self::NotMember(node) => {
                write!(f, "node {node} is no member of this cluster: add it first")
            }
        }
    }
}

/// The leader's answer: a copy with this entry is as of the question, less the time since a quorum
/// acknowledged the leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Confirmation {
    log_index: u64,
    silent_millis: u32,
}

/// To whom this node has confirmed a copy while it leads.
#[derive(Debug)]
struct Confirmed<E: Environment> {
    term: u64,
    /// When it first knew that it leads in this term: an earlier leader has confirmed what it may.
    since: InstantOf<E>,
    nodes: BTreeMap<NodeId, InstantOf<E>>,
}

/// Copies of the state and how old they are. A clone is the same.
#[derive(Debug, Clone)]
pub(super) struct Views<E: Environment> {
    raft: Raft<E>,
    links: E::Links,
    applied: Arc<Applied>,
    confirmed: Arc<Mutex<Option<Confirmed<E>>>>,
    /// Who has last said that it leads for sure.
    leads: Heard<E>,
}

impl<E: Environment> Views<E> {
    pub(super) fn new(raft: Raft<E>, links: E::Links, applied: Arc<Applied>) -> Self {
        Self { raft, links, applied, confirmed: Arc::default(), leads: Heard::default() }
    }

    /// Looks whether a quorum follows the leader, for as long as consensus runs: one that is cut off
    /// together with this node sends heartbeats all the same.
    pub(super) async fn stay_in_touch(self) {
        loop {
            if self.raft.metrics().borrow_watched().running_state.is_err() {
                return;
            }
            let this = self.links.node_id();
            let leader = self.raft.server_metrics().borrow_watched().current_leader.map(NodeId);
            let mut pause = ASK_PAUSE;
            if let Some(leader) = leader.filter(|leader| *leader != this) {
                let asked = self.links.request(leader, kind::CONFIRM, &[]);
                let leads = match E::Runtime::timeout(TOUCH_TIMEOUT, asked).await {
                    Ok(Ok(_)) => true,
                    // An earlier version does not know the question; one that leads says to who is no
                    // member just that.
                    Ok(Err(LinkError::Refused { reason, .. })) => reason != NOT_LEADING,
                    Ok(Err(_)) | Err(_) => false,
                };
                if leads {
                    self.leads.note(leader);
                    pause = TOUCH_PAUSE;
                }
            }
            E::Runtime::sleep(pause).await;
        }
    }

    /// Whether `node` was the last to say that it leads for sure, no longer ago than `within`.
    pub(super) fn leads(&self, node: NodeId, within: Duration) -> bool {
        self.leads.is_recent(node, within)
    }

    /// Keeps the store's time up to date for as long as consensus runs.
    pub(super) async fn follow(self, clock: E::Clock, sessions: Arc<SessionStore>) {
        loop {
            E::Runtime::sleep(ASK_PAUSE).await;
            if self.raft.metrics().borrow_watched().running_state.is_err() {
                return;
            }
            let asked = clock.now();
            let Some(confirmation) = self.ask().await else { continue };
            let reached = self.applied.reached(confirmation.log_index);
            let time = Duration::from_millis(VIEW_MILLIS_MAX);
            if E::Runtime::timeout(time, reached).await.is_ok() {
                let as_of = asked.0.saturating_sub(u64::from(confirmation.silent_millis));
                sessions.confirm_until(Millis(as_of + VIEW_MILLIS_MAX));
            }
        }
    }

    async fn ask(&self) -> Option<Confirmation> {
        let leader = self.raft.server_metrics().borrow_watched().current_leader.map(NodeId)?;
        if leader == self.links.node_id() {
            return self.confirm(leader).await.ok();
        }
        let answer = self.links.request(leader, kind::CONFIRM, &[]);
        let answer = E::Runtime::timeout(ASK_TIMEOUT, answer).await.ok()?.ok()?;
        decode_form("confirmation", &answer).ok()
    }

    /// The leader: what a node must have applied for its copy to be as of now.
    async fn confirm(&self, node: NodeId) -> Result<Confirmation, Unconfirmed> {
        let linearizer = self.raft.get_read_linearizer(ReadPolicy::LeaseRead).await;
        let linearizer = linearizer.map_err(|_| Unconfirmed::NotLeading)?;
        let metrics = self.raft.metrics().borrow_watched().clone();
        let membership = &metrics.membership_config;
        membership.get_node(&node.0).ok_or(Unconfirmed::NotMember(node))?;
        // A quorum of one needs no messages, so nothing refreshes its time.
        let this = metrics.id;
        let silent = match membership.voter_ids().all(|voter| voter == this) {
            true => Duration::ZERO,
            false => metrics.last_quorum_acked.ok_or(Unconfirmed::NotLeading)?.elapsed(),
        };
        self.with_confirmed(metrics.current_term, |confirmed| {
            confirmed.nodes.insert(node, InstantOf::<E>::now());
        });
        let silent_millis = u32::try_from(silent.as_millis()).unwrap_or(u32::MAX);
        Ok(Confirmation { log_index: linearizer.read_log_id().index(), silent_millis })
    }

    /// Answers [`kind::CONFIRM`].
    pub(super) fn answer_confirm(&self, from: NodeId, replier: Replier) {
        let views = self.clone();
        spawn::<E>(async move {
            match views.confirm(from).await.map(|confirmation| encode_form(&confirmation)) {
                Ok(Ok(body)) => replier.reply(&body),
                Ok(Err(error)) => replier.fail(&error.to_string()),
                Err(unconfirmed) => replier.fail(&unconfirmed.to_string()),
            }
        });
    }

    /// Answers [`kind::APPLIED`]: the index, in eight bytes. Waits no longer than the asker.
    pub(super) fn answer_applied(&self, body: &[u8], replier: Replier) {
        let Some([log_index]) = numbers(body) else {
            return replier.fail("an index has eight bytes: run the same version");
        };
        let applied = Arc::clone(&self.applied);
        spawn::<E>(async move {
            let reached = applied.reached(log_index);
            match E::Runtime::timeout(APPLIED_TIMEOUT, reached).await {
                Ok(()) => replier.reply(&[]),
                Err(_) => replier.fail("this broker has not applied the entry in time"),
            }
        });
    }

    /// Answers [`kind::APPLIED_BY`]: the index and the node, eight bytes each.
    pub(super) fn answer_applied_by(&self, body: &[u8], replier: Replier) {
        let Some([log_index, node]) = numbers(body) else {
            return replier.fail("an index and a node have eight bytes each: run the same version");
        };
        let views = self.clone();
        spawn::<E>(async move {
            match views.outlast(NodeId(node), log_index).await {
                Some(()) => replier.reply(&[]),
                None => replier.fail(NOT_LEADING),
            }
        });
    }

    fn with_confirmed<T>(&self, term: u64, act: impl FnOnce(&mut Confirmed<E>) -> T) -> T {
        let mut confirmed = lock(&self.confirmed);
        confirmed.take_if(|confirmed| confirmed.term != term);
        let new = || Confirmed { term, since: InstantOf::<E>::now(), nodes: BTreeMap::new() };
        act(confirmed.get_or_insert_with(new))
    }

    /// The leader: waits until the node has applied the entry, or has no copy that counts. `None`
    /// where this node does not lead.
    async fn outlast(&self, node: NodeId, log_index: u64) -> Option<()> {
        let term = self.raft.is_leader().then(|| self.raft.metrics().borrow_watched().current_term);
        let last = self.with_confirmed(term?, |confirmed| {
            confirmed.nodes.get(&node).copied().unwrap_or(confirmed.since)
        });
        let left = APPLIED_TIMEOUT.saturating_sub(last.elapsed());
        let until = InstantOf::<E>::now() + left;
        if !left.is_zero() && !self.has_applied(node, log_index, until).await {
            E::Runtime::sleep_until(until).await;
        }
        Some(())
    }

    /// Whether a linked node says within [`APPLIED_TIMEOUT`] that it has applied an entry.
    pub(super) async fn has_applied_soon(&self, node: NodeId, log_index: u64) -> bool {
        self.has_applied(node, log_index, InstantOf::<E>::now() + APPLIED_TIMEOUT).await
    }

    /// Waits for a linked node to apply an entry; false when it can't say so in time.
    async fn has_applied(&self, node: NodeId, log_index: u64, until: InstantOf<E>) -> bool {
        let asked = self.links.request(node, kind::APPLIED, &log_index.to_le_bytes());
        matches!(E::Runtime::timeout_at(until, asked).await, Ok(Ok(_)))
    }

    /// Waits until every other node has applied an entry, or has no copy that counts.
    pub(super) async fn applied_by_others(&self, log_index: u64) {
        let until = InstantOf::<E>::now() + APPLIED_TIMEOUT;
        let mut nodes = self.links.live();
        {
            let metrics = self.raft.metrics().borrow_watched().clone();
            let members = metrics.membership_config.nodes();
            nodes.extend(members.map(|(node, _)| NodeId(*node)));
        }
        nodes.sort_unstable();
        nodes.dedup();
        nodes.retain(|node| *node != self.links.node_id());
        let all = nodes.into_iter().map(|node| self.applied_by(node, log_index, until));
        futures::future::join_all(all).await;
    }

    async fn applied_by(&self, node: NodeId, log_index: u64, until: InstantOf<E>) {
        if self.has_applied(node, log_index, until).await {
            return;
        }
        let metrics = self.raft.metrics().borrow_watched().clone();
        let leader = metrics.current_leader.map(NodeId);
        let is_over = match leader {
            Some(leader) if leader == self.links.node_id() => {
                self.outlast(node, log_index).await.is_some()
            }
            Some(leader) if leader != node => {
                let body = [log_index.to_le_bytes(), node.0.to_le_bytes()].concat();
                let asked = self.links.request(leader, kind::APPLIED_BY, &body);
                matches!(E::Runtime::timeout_at(until, asked).await, Ok(Ok(_)))
            }
            _ => false,
        };
        if !is_over {
            tracing::debug!(node_id = %node, log_index, "peer is behind, or gone");
            E::Runtime::sleep_until(until).await;
        }
    }
}

/// So many numbers of eight bytes each, and nothing behind them.
fn numbers<const N: usize>(body: &[u8]) -> Option<[u64; N]> {
    let (numbers, rest) = body.as_chunks::<8>();
    let numbers: [[u8; 8]; N] = numbers.try_into().ok()?;
    rest.is_empty().then(|| numbers.map(u64::from_le_bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_holds_as_many_numbers_as_are_asked_for_or_none() {
        let body = [7u64.to_le_bytes(), 9u64.to_le_bytes()].concat();
        assert_eq!(numbers(&body), Some([7, 9]));
        assert_eq!(numbers(&body[..8]), Some([7]));
        assert_eq!(numbers::<1>(&body), None);
        assert_eq!(numbers::<2>(&body[..15]), None);
        assert_eq!(numbers::<1>(&[]), None);
    }
}
