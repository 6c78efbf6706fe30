//! The hub's state machines and what connects them. No waiting: whatever comes in is handled at
//! once, under one lock, by the one thread that all of the cluster side runs on.

mod forward;
mod leadership;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, Weak};

use broker_core::claim::{
    Arbiter, ClaimAnswer, FromArbiter, NodeAction, NodeClaims, Place, RequestId, Ticket, ToArbiter,
    ToPeer, WorkerIndex,
};
use broker_core::engine::ClaimOutcome;
use broker_core::interest::{InterestAction, InterestExchange};
use broker_core::types::{Millis, NodeId};
use broker_policy::Policy;
use bytes::Bytes;
use tokio::sync::{Notify, oneshot};

use super::carrier::Carrier;
use super::counters::HubCounters;
use super::departures::Departures;
use super::enforcement::Enforcement;
use super::outbox::Outbox;
use super::wire::{self, PeerMessage, Session};
use crate::cluster::meta::Leadership;
use crate::cluster::{Environment, Process, WallClock, spawn};
use crate::node::{InterestUpdateId, ToHub, ToWorker, WORKERS_MAX, WorkerHandle, WorkerId};

/// Everything that the hub knows. Shared by its task, the links' handler and the tasks that wait
/// for workers.
pub(super) struct Core<E: Environment = Process> {
    this: NodeId,
    clock: E::Clock,
    carrier: Box<dyn Carrier>,
    outboxes: Vec<Outbox>,
    claims: NodeClaims<Session>,
    /// While this node leads.
    arbiter: Option<Arbiter>,
    /// Requests to the arbiter that have come while no quorum was known to follow it.
    waiting_requests: VecDeque<(NodeId, ToArbiter)>,
    interest: InterestExchange,
    pub(super) enforcement: Enforcement,
    leadership: Leadership,
    /// The leader: whether a quorum has acknowledged it of late.
    is_quorum_fresh: bool,
    linked: BTreeSet<NodeId>,
    departures: Departures,
    /// Bodies that come in parts.
    parts: BTreeMap<NodeId, Vec<u8>>,
    pub(super) counters: Arc<HubCounters>,
    /// Wakes the hub's task when a timer is due earlier than it thinks, or room was made.
    pub(super) wake: Arc<Notify>,
    armed: Option<Millis>,
    myself: Weak<Mutex<Self>>,
}

/// What a core is made of.
pub(super) struct CoreParts<'a, E: Environment = Process> {
    pub(super) this: NodeId,
    pub(super) clock: E::Clock,
    pub(super) carrier: Box<dyn Carrier>,
    pub(super) workers: &'a [WorkerHandle],
    pub(super) counters: Arc<HubCounters>,
    /// Whether messages for a group stick to one worker.
    pub(super) is_sticky: bool,
}

impl<E: Environment> Core<E> {
    pub(super) fn new(parts: CoreParts<'_, E>) -> Arc<Mutex<Self>> {
        let now = parts.clock.now();
        // In nanoseconds, so that a process that starts after this one begins above all that this
        // one can have counted up to.
        let first = now.0.saturating_mul(1_000_000);
        let workers = u8::try_from(parts.workers.len()).unwrap_or(u8::MAX);
        Arc::new_cyclic(|myself| {
            Mutex::new(Self {
                this: parts.this,
                clock: parts.clock,
                carrier: parts.carrier,
                outboxes: parts.workers.iter().map(Outbox::new).collect(),
                claims: NodeClaims::new(now, parts.this, RequestId(first)),
                arbiter: None,
                waiting_requests: VecDeque::new(),
                interest: InterestExchange::new(workers, WORKERS_MAX as u8, first)
                    .with_sticky_groups(parts.is_sticky),
                enforcement: Enforcement::new(parts.workers.len()),
                leadership: Leadership::default(),
                is_quorum_fresh: false,
                linked: BTreeSet::new(),
                departures: Departures::default(),
                parts: BTreeMap::new(),
                counters: parts.counters,
                wake: Arc::default(),
                armed: None,
                myself: myself.clone(),
            })
        })
    }

    /// Takes a worker's messages in; proposals are not the core's.
    pub(super) fn handle_workers(&mut self, messages: impl IntoIterator<Item = ToHub>) {
        let now = self.clock.now();
        for message in messages {
            self.handle_worker(now, message);
        }
        self.carry_out(now);
    }

    fn handle_worker(&mut self, now: Millis, message: ToHub) {
        match message {
            ToHub::Claim { worker, connection, client_id, clean_start } => {
                let place = Place { worker: WorkerIndex(worker.0), connection };
                self.claims.claim(now, place, &client_id, clean_start);
            }
            ToHub::Withdraw { worker, connection, client_id } => {
                let place = Place { worker: WorkerIndex(worker.0), connection };
                self.claims.withdraw(place, &client_id);
            }
            ToHub::Release { client_id, claim, worker: _ } => {
                self.claims.release(&client_id, claim);
            }
            ToHub::Interest { worker, seq, changes } => {
                self.interest.changed(now, WorkerIndex(worker.0), seq, &changes);
            }
            ToHub::InterestApplied { worker, update } => {
                self.interest.applied(WorkerIndex(worker.0), update.0);
            }
            ToHub::Forward { destination, batch } => self.forward(destination, batch),
            ToHub::PolicyEnforced { worker, revision } => {
                self.enforcement.enforced(worker, revision);
            }
            ToHub::Propose { .. } | ToHub::ProposeSessions { .. } => {
                debug_assert!(false, "proposals go to the meta group");
            }
        }
    }

    /// A frame of a peer.
    pub(super) fn peer_frame(&mut self, from: NodeId, kind: u8, body: Bytes) {
        let now = self.clock.now();
        match kind {
            wire::PUBLISHES => self.deliver(body),
            wire::PART => {
                let whole = self.parts.entry(from).or_default();
                if whole.len() + body.len() <= wire::WHOLE_BYTES_MAX {
                    whole.extend_from_slice(&body);
                }
            }
            _ => {
                let message = match self.parts.remove(&from) {
                    None => PeerMessage::decode(kind, &body),
                    Some(mut whole) => {
                        whole.extend_from_slice(&body);
                        PeerMessage::decode(kind, &whole)
                    }
                };
                match message {
                    Some(message) => self.handle_peer(now, from, message),
                    None => {
                        HubCounters::add(&self.counters.malformed_frames, 1);
                        tracing::warn!(node_id = %from, kind, "a peer's frame can't be read");
                    }
                }
            }
        }
        self.carry_out(now);
    }

    fn handle_peer(&mut self, now: Millis, from: NodeId, message: PeerMessage) {
        match message {
            PeerMessage::Interest(message) => self.interest.handle(from, message),
            PeerMessage::ToArbiter(message) => self.handle_to_arbiter(now, from, message),
            PeerMessage::FromArbiter(message) => self.claims.handle_arbiter(now, from, message),
            PeerMessage::ToPeer(message) => self.claims.handle_peer(from, message),
        }
    }

    /// The link that this node dialled came up.
    pub(super) fn link_up(&mut self, node: NodeId) {
        let now = self.clock.now();
        self.linked.insert(node);
        self.claims.link_up(node);
        if let Some(arbiter) = &mut self.arbiter {
            arbiter.node_up(node);
        }
        if !self.interest.link_up(node) {
            tracing::error!(node_id = %node, "too many peers: messages for it are not forwarded");
        }
        self.leader_changed(now);
        self.carry_out(now);
    }

    /// The link that this node dialled broke.
    pub(super) fn link_down(&mut self, node: NodeId) {
        let now = self.clock.now();
        self.linked.remove(&node);
        self.claims.link_down(node);
        if let Some(arbiter) = &mut self.arbiter {
            arbiter.node_down(now, node);
        }
        self.interest.link_down(node);
        self.leader_changed(now);
        self.carry_out(now);
    }

    /// The node has a new link to here; the parts of a message that broke off with the old one are
    /// none of the next.
    pub(super) fn begins_anew(&mut self, node: NodeId) {
        self.parts.remove(&node);
    }

    /// The node has no link to here any more.
    pub(super) fn silent(&mut self, node: NodeId) {
        let now = self.clock.now();
        self.parts.remove(&node);
        self.interest.silent(now, node);
        self.carry_out(now);
    }

    /// The members of the group: what a node that is no longer one held is forgotten.
    pub(super) fn set_members(&mut self, members: BTreeSet<NodeId>) {
        let now = self.clock.now();
        for node in self.departures.gone(members, &self.linked) {
            if let Some(arbiter) = &mut self.arbiter {
                arbiter.node_removed(now, node);
            }
        }
        self.carry_out(now);
    }

    /// Whether clients are let in without the cluster's word.
    pub(super) fn set_alone(&mut self, is_alone: bool) {
        self.claims.set_alone(is_alone);
    }

    /// A policy is to be enforced.
    pub(super) fn set_policy(&mut self, policy: &Arc<Policy>) {
        self.enforcement.sent(policy.revision());
        self.tell_workers(|| ToWorker::Policy(Arc::clone(policy)));
    }

    /// Sends the same to every worker.
    pub(super) fn tell_workers(&mut self, message: impl Fn() -> ToWorker) {
        for worker in 0..self.outboxes.len() {
            self.tell_worker(worker, message());
        }
    }

    /// Sends to one worker.
    pub(super) fn answer(&mut self, worker: WorkerId, message: ToWorker) {
        self.tell_worker(usize::from(worker.0), message);
    }

    /// Does what is due.
    pub(super) fn handle_timeout(&mut self) {
        let now = self.clock.now();
        self.claims.handle_timeout(now);
        if let Some(arbiter) = &mut self.arbiter {
            arbiter.handle_timeout(now);
        }
        self.interest.handle_timeout(now);
        self.carry_out(now);
    }

    /// When [`Self::handle_timeout`] wants to be called; `wake` tells when that has become earlier.
    pub(super) fn arm(&mut self) -> Option<Millis> {
        self.armed = self.next_timeout();
        self.armed
    }

    /// Whether a worker is so far behind that the hub must take nothing more.
    pub(super) fn is_backed_up(&self) -> bool {
        self.outboxes.iter().any(Outbox::is_stuck)
    }

    /// Whether this node knows what the sessions of all these nodes want to hear.
    pub(super) fn has_heard(&self, nodes: impl IntoIterator<Item = NodeId>) -> bool {
        nodes.into_iter().all(|node| node == self.this || self.interest.is_heard(node))
    }

    /// Whether there is a leader that identifiers can be claimed of.
    pub(super) const fn has_arbiter(&self) -> bool {
        self.claims.has_arbiter()
    }

    /// Publishes the numbers that are not counted as they happen.
    pub(super) fn publish_counters(&self) {
        let (local, peers) = self.interest.filter_counts();
        HubCounters::set(&self.counters.local_filters, local);
        HubCounters::set(&self.counters.peer_filters, peers);
        HubCounters::set(&self.counters.claims_known, self.claims.len());
        let arbitrated = self.arbiter.as_ref().map_or(0, Arbiter::len);
        HubCounters::set(&self.counters.claims_arbitrated, arbitrated);
        let waiting = self.outboxes.iter().map(Outbox::waiting).sum();
        HubCounters::set(&self.counters.messages_waiting, waiting);
    }

    fn next_timeout(&self) -> Option<Millis> {
        let arbiter = self.arbiter.as_ref().and_then(Arbiter::next_timeout);
        let timeouts = [self.claims.next_timeout(), arbiter, self.interest.next_timeout()];
        timeouts.into_iter().flatten().min()
    }

    /// Does what the state machines ask for, until none asks for anything more.
    fn carry_out(&mut self, now: Millis) {
        loop {
            let claims = self.claims.take_actions();
            let arbiter = self.arbiter.as_mut().map(Arbiter::take_output).unwrap_or_default();
            let interest = self.interest.take_actions();
            if claims.is_empty() && arbiter.is_empty() && interest.is_empty() {
                break;
            }
            for action in claims {
                self.carry_out_claim(now, action);
            }
            for (node, message) in arbiter {
                self.tell_node(now, node, message);
            }
            for action in interest {
                self.carry_out_interest(action);
            }
        }
        let next = self.next_timeout();
        if next.is_some_and(|next| self.armed.is_none_or(|armed| next < armed)) {
            self.wake.notify_one();
        }
    }

    fn tell_node(&mut self, now: Millis, node: NodeId, message: FromArbiter) {
        if node == self.this {
            self.claims.handle_arbiter(now, node, message);
        } else {
            self.to_peer(node, &PeerMessage::FromArbiter(message));
        }
    }

    fn carry_out_claim(&mut self, now: Millis, action: NodeAction<Session>) {
        match action {
            NodeAction::ToArbiter { leader, message } if leader == self.this => {
                self.handle_to_arbiter(now, leader, message);
            }
            NodeAction::ToArbiter { leader, message } => {
                self.to_peer(leader, &PeerMessage::ToArbiter(message));
            }
            NodeAction::ToPeer { node, mut message } => {
                self.make_portable(node, &mut message);
                self.to_peer(node, &PeerMessage::ToPeer(message));
            }
            NodeAction::TakeOver { worker, client_id, claim, clean_start, ticket } => {
                let (reply, session) = oneshot::channel();
                let message = ToWorker::TakeOver { client_id, claim, clean_start, reply };
                self.tell_worker(usize::from(worker.0), message);
                self.await_session(ticket, session);
            }
            NodeAction::Answer { place, client_id: _, answer } => {
                let outcome = match answer {
                    ClaimAnswer::Granted { claim, session } => {
                        ClaimOutcome::Granted { claim, session }
                    }
                    ClaimAnswer::Superseded => {
                        HubCounters::add(&self.counters.claims_superseded, 1);
                        ClaimOutcome::Superseded
                    }
                    // Nobody is there any more to be told.
                    ClaimAnswer::Withdrawn => ClaimOutcome::Superseded,
                    ClaimAnswer::Unavailable => {
                        HubCounters::add(&self.counters.claims_unavailable, 1);
                        ClaimOutcome::Unavailable
                    }
                };
                let message = ToWorker::Claimed { connection: place.connection, outcome };
                self.tell_worker(usize::from(place.worker.0), message);
            }
        }
    }

    fn carry_out_interest(&mut self, action: InterestAction) {
        match action {
            InterestAction::ToWorkers { update, except, changes } => {
                let update = InterestUpdateId(update);
                for worker in 0..self.outboxes.len() {
                    if except.is_none_or(|except| usize::from(except.0) != worker) {
                        let changes = Arc::clone(&changes);
                        self.tell_worker(worker, ToWorker::InterestUpdate { update, changes });
                    }
                }
            }
            InterestAction::ToPeer { node, message } => {
                self.to_peer(node, &PeerMessage::Interest(message));
            }
            InterestAction::Confirm { worker, seq } => {
                self.tell_worker(usize::from(worker.0), ToWorker::InterestConfirmed { seq });
            }
            InterestAction::GivenUp { nodes } => {
                HubCounters::add(&self.counters.interest_given_up, nodes.len());
                for node in nodes {
                    tracing::warn!(
                        node_id = %node,
                        "peer does not acknowledge subscriptions in time and counts as gone"
                    );
                }
            }
        }
    }

    /// A session larger than a link carries would close it, and be lost as a whole.
    fn make_portable(&self, node: NodeId, message: &mut ToPeer<Session>) {
        let ToPeer::TakenOver { client_id, session: Some(session), .. } = message else { return };
        let dropped = session.drop_messages_beyond(wire::SESSION_BYTES_MAX);
        if dropped > 0 {
            HubCounters::add(&self.counters.dropped_in_handover, dropped);
            tracing::warn!(
                %client_id,
                node_id = %node,
                messages = dropped,
                "session is too large to move, its oldest waiting messages are dropped"
            );
        }
    }

    /// Sends a message to a peer's hub. Where there is no way to it, it is lost: the state machines
    /// hear of the link.
    fn to_peer(&self, node: NodeId, message: &PeerMessage) {
        let Some((kind, body)) = message.encode() else {
            tracing::error!(node_id = %node, "a message for a peer can't be encoded");
            return;
        };
        let mut rest = body.as_slice();
        while rest.len() > wire::PART_BYTES_MAX {
            let (part, behind) = rest.split_at(wire::PART_BYTES_MAX);
            if !self.carrier.send(node, wire::PART, part) {
                return;
            }
            rest = behind;
        }
        self.carrier.send(node, kind, rest);
    }

    fn tell_worker(&mut self, worker: usize, message: ToWorker) {
        if let Some(outbox) = self.outboxes.get_mut(worker)
            && outbox.push(message)
        {
            spawn::<E>(flush(self.myself.clone(), worker, outbox.inbox()));
        }
    }

    fn await_session(&self, ticket: Ticket, session: oneshot::Receiver<Option<Session>>) {
        let core = self.myself.clone();
        spawn::<E>(async move {
            // A worker that has ended has no session any more.
            let session = session.await.ok().flatten();
            if let Some(core) = core.upgrade() {
                let mut core = crate::sync::lock(&core);
                core.claims.extracted(ticket, session);
                let now = core.clock.now();
                core.carry_out(now);
            }
        });
    }
}

/// Puts what waits for a worker into its queue as room is made.
async fn flush<E: Environment>(
    core: Weak<Mutex<Core<E>>>,
    worker: usize,
    inbox: tokio::sync::mpsc::Sender<ToWorker>,
) {
    while let Ok(room) = inbox.reserve().await {
        let Some(core) = core.upgrade() else { return };
        let mut core = crate::sync::lock(&core);
        match core.outboxes[worker].pop() {
            Some(message) => room.send(message),
            None => {
                core.wake.notify_one();
                return;
            }
        }
    }
}
