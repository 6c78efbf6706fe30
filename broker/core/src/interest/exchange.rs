//! The exchange of interest between the workers of this node and its peers. Pure.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use super::destination::Destinations;
use super::inbound::{Heard, Inbound};
use super::known::Known;
use super::message::InterestMessage;
use super::outbound::Outbound;
use super::worker_updates::WorkerUpdates;
use super::{ACKNOWLEDGE_MILLIS_MAX, GRACE_MILLIS};
use crate::claim::WorkerIndex;
use crate::engine::{Destination, InterestChange, InterestSeq, RemoteInterest, SharedMembers};
use crate::types::{Millis, NodeId, QoS};

/// What the hub is to do. Actions are in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InterestAction {
    /// Have the workers change their routing tables; each answers with
    /// [`InterestExchange::applied`].
    ToWorkers {
        /// Names it in the answers.
        update: u64,
        /// The worker that the change comes from and that is left out.
        except: Option<WorkerIndex>,
        /// What changed, in order.
        changes: Arc<[RemoteInterest]>,
    },
    /// Send to another node.
    ToPeer {
        /// The node.
        node: NodeId,
        /// What to send.
        message: InterestMessage,
    },
    /// Everyone knows the worker's changes up to this one.
    Confirm {
        /// The worker.
        worker: WorkerIndex,
        /// Its change.
        seq: InterestSeq,
    },
    /// These peers have not acknowledged in time and count as gone. For the log.
    GivenUp {
        /// The peers.
        nodes: Vec<NodeId>,
    },
}

/// Owns both sides: what this node's workers want and what its peers want.
#[derive(Debug)]
pub struct InterestExchange {
    outbound: Outbound,
    inbound: Inbound,
    updates: WorkerUpdates,
    destinations: Destinations,
    /// Peers that messages can be sent to.
    linked: BTreeSet<NodeId>,
    /// Changes of workers that not everyone knows yet, oldest first.
    unconfirmed: VecDeque<Unconfirmed>,
    /// Acknowledgements to peers that wait for this node's workers.
    unacknowledged: VecDeque<(u64, NodeId, InterestMessage)>,
    actions: Vec<InterestAction>,
}

#[derive(Debug)]
struct Unconfirmed {
    worker: WorkerIndex,
    seq: InterestSeq,
    update: u64,
    node_seq: u64,
    deadline: Millis,
}

impl InterestExchange {
    /// An exchange for `workers` workers, which have the destinations below `first_peer`; peers get
    /// those from there. `first_epoch` must be above all epochs that an earlier process of this
    /// node has used (Unix time in nanoseconds will do).
    #[must_use]
    pub fn new(workers: u8, first_peer: u8, first_epoch: u64) -> Self {
        Self {
            outbound: Outbound::new(first_epoch),
            inbound: Inbound::default(),
            updates: WorkerUpdates::new(workers),
            destinations: Destinations::new(first_peer),
            linked: BTreeSet::new(),
            unconfirmed: VecDeque::new(),
            unacknowledged: VecDeque::new(),
            actions: Vec::new(),
        }
    }

    /// Has messages of peers for a group go to the same worker as long as that has connected
    /// members: the part of this level in the strategy that sticks.
    #[must_use]
    pub const fn with_sticky_groups(mut self, is_sticky: bool) -> Self {
        self.outbound.groups.set_sticky(is_sticky);
        self
    }

    /// Takes what is to be done, in order.
    pub fn take_actions(&mut self) -> Vec<InterestAction> {
        std::mem::take(&mut self.actions)
    }

    /// A worker's sessions have changed what they want.
    pub fn changed(
        &mut self,
        now: Millis,
        worker: WorkerIndex,
        seq: InterestSeq,
        changes: &[InterestChange],
    ) {
        for (node, message) in self.outbound.change(worker, changes) {
            self.actions.push(InterestAction::ToPeer { node, message });
        }
        let update = match Destination::new(worker.0) {
            Some(destination) => self.update_workers(Some(worker), destination, None, changes),
            None => self.updates.applied_by_all(),
        };
        let deadline = now.plus(ACKNOWLEDGE_MILLIS_MAX);
        let node_seq = self.outbound.seq();
        self.unconfirmed.push_back(Unconfirmed { worker, seq, update, node_seq, deadline });
        self.confirm();
    }

    /// A worker has applied an update.
    pub fn applied(&mut self, worker: WorkerIndex, update: u64) {
        self.updates.applied(worker, update);
        self.workers_moved_on();
    }

    /// The link to `node` is up: it is told everything. False when there is no number left for it.
    pub fn link_up(&mut self, node: NodeId) -> bool {
        for (node, message) in self.outbound.snapshot(node) {
            self.actions.push(InterestAction::ToPeer { node, message });
        }
        self.linked.insert(node);
        let Some(destination) = self.destinations.assign(node) else { return false };
        let shared = self.inbound.shared_changes(node);
        self.update_workers(None, destination, Some(node), &shared);
        true
    }

    /// The link to `node` is down: it is not waited for, and gets nothing that others of a group
    /// can get.
    pub fn link_down(&mut self, node: NodeId) {
        self.outbound.link_down(node);
        self.linked.remove(&node);
        if self.inbound.groups(node).next().is_some()
            && let Some(destination) = self.destinations.of(node)
        {
            let update = self.updates.send(None);
            let changes = Arc::from([RemoteInterest::SharedCleared(destination)]);
            self.actions.push(InterestAction::ToWorkers { update, except: None, changes });
        }
        self.confirm();
    }

    /// `node` has no link to here any more: what it wants is kept for a while.
    pub fn silent(&mut self, now: Millis, node: NodeId) {
        self.inbound.silent(node, now.plus(GRACE_MILLIS));
    }

    /// A message of `node`.
    pub fn handle(&mut self, node: NodeId, message: InterestMessage) {
        match message {
            InterestMessage::Snapshot {
                epoch,
                seq,
                first,
                last,
                filters,
                filters_qos0,
                groups,
            } => {
                let told = Known::new(filters, filters_qos0, groups);
                let heard = self.inbound.snapshot(node, epoch, (first, last), seq, told);
                self.heard(node, epoch, heard);
            }
            InterestMessage::Delta { epoch, seq, changes } => {
                let heard = self.inbound.delta(node, epoch, seq, changes);
                self.heard(node, epoch, heard);
            }
            InterestMessage::Acknowledge { epoch, seq } => {
                self.outbound.acknowledged(node, epoch, seq);
                self.confirm();
            }
            InterestMessage::Resync { epoch } => {
                if self.outbound.is_current(node, epoch) {
                    for (node, message) in self.outbound.snapshot(node) {
                        self.actions.push(InterestAction::ToPeer { node, message });
                    }
                }
            }
        }
    }

    /// When [`Self::handle_timeout`] wants to be called; ask again after each call.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Millis> {
        let waits_for_peers = |entry: &&Unconfirmed| !self.outbound.is_known(entry.node_seq);
        let confirm = self.unconfirmed.iter().find(waits_for_peers).map(|entry| entry.deadline);
        confirm.into_iter().chain(self.inbound.next_timeout()).min()
    }

    /// Gives up what has been waited for long enough.
    pub fn handle_timeout(&mut self, now: Millis) {
        let overdue = self.unconfirmed.iter().rev().find(|entry| entry.deadline <= now);
        if let Some(node_seq) = overdue.map(|entry| entry.node_seq) {
            let nodes = self.outbound.give_up(node_seq);
            if !nodes.is_empty() {
                self.actions.push(InterestAction::GivenUp { nodes });
            }
            self.confirm();
        }
        for node in self.inbound.take_gone(now) {
            let Some(destination) = self.destinations.of(node) else { continue };
            let update = self.updates.send(None);
            let changes = Arc::from([RemoteInterest::Cleared(destination)]);
            self.actions.push(InterestAction::ToWorkers { update, except: None, changes });
            self.destinations.retire(node, update);
        }
    }

    /// The node that a destination stands for.
    #[must_use]
    pub fn node(&self, destination: Destination) -> Option<NodeId> {
        self.destinations.node(destination)
    }

    /// Whether any session of the worker wants anything.
    #[must_use]
    pub const fn has_filters(&self, worker: WorkerIndex) -> bool {
        self.outbound.has_filters(worker)
    }

    /// Whether all that `node` wants is known here, and in every worker's routing table.
    #[must_use]
    pub fn is_heard(&self, node: NodeId) -> bool {
        self.inbound.is_complete(node)
            && !self.unacknowledged.iter().any(|(_, waiting, _)| *waiting == node)
    }

    /// The filters that `node` wants, as known here, and of which messages of QoS 0 alone.
    pub fn filters(&self, node: NodeId) -> impl Iterator<Item = (&Arc<str>, bool)> {
        self.inbound.filters(node)
    }

    /// The groups that `node` has members of, and how many, as known here.
    pub fn groups(&self, node: NodeId) -> impl Iterator<Item = (&Arc<str>, SharedMembers)> {
        self.inbound.groups(node)
    }

    /// The worker for a message that a peer sends for one member of a group, by the member's
    /// position among those of the node that get messages of this QoS from engines, and the
    /// position among those of the worker. `None` if this node has no member any more.
    pub fn member(&mut self, filter: &str, position: u32, qos: QoS) -> Option<(WorkerIndex, u32)> {
        self.outbound.groups.member(filter, position, qos)
    }

    /// Filters, groups included, of this node and of all peers together.
    #[must_use]
    pub fn filter_counts(&self) -> (usize, usize) {
        (self.outbound.filter_count(), self.inbound.filter_count())
    }

    fn heard(&mut self, node: NodeId, epoch: u64, heard: Heard) {
        match heard {
            Heard::Nothing => {}
            Heard::Missed => {
                let message = InterestMessage::Resync { epoch };
                self.actions.push(InterestAction::ToPeer { node, message });
            }
            Heard::Changed { seq, mut changes } => {
                if !self.linked.contains(&node) {
                    changes.retain(|change| !matches!(change, InterestChange::Shared { .. }));
                }
                // Without a number the node's filters can't be routed to, and are not
                // acknowledged: there are more peers than destinations.
                let Some(destination) = self.destinations.assign(node) else { return };
                let update = self.update_workers(None, destination, Some(node), &changes);
                let message = InterestMessage::Acknowledge { epoch, seq };
                self.unacknowledged.push_back((update, node, message));
                self.workers_moved_on();
            }
        }
    }

    fn update_workers(
        &mut self,
        except: Option<WorkerIndex>,
        destination: Destination,
        node: Option<NodeId>,
        changes: &[InterestChange],
    ) -> u64 {
        if changes.is_empty() {
            return self.updates.last();
        }
        let update = self.updates.send(except);
        let remote = |change: &InterestChange| change.clone().at(destination, node);
        let changes = changes.iter().map(remote).collect();
        self.actions.push(InterestAction::ToWorkers { update, except, changes });
        update
    }

    fn workers_moved_on(&mut self) {
        let applied = self.updates.applied_by_all();
        self.destinations.applied(applied);
        while let Some((_, node, message)) =
            self.unacknowledged.pop_front_if(|(update, ..)| *update <= applied)
        {
            self.actions.push(InterestAction::ToPeer { node, message });
        }
        self.confirm();
    }

    /// Confirms what everyone knows. A later change never is known before an earlier one.
    fn confirm(&mut self) {
        let applied = self.updates.applied_by_all();
        while let Some(Unconfirmed { worker, seq, .. }) = self
            .unconfirmed
            .pop_front_if(|entry| entry.update <= applied && self.outbound.is_known(entry.node_seq))
        {
            self.actions.push(InterestAction::Confirm { worker, seq });
        }
    }
}
