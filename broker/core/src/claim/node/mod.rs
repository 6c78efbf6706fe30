//! A node's registry of Client Identifiers: who holds them here, who waits for them. Pure.

mod action;
mod alone;
mod entry;
mod grant;
mod let_go;
mod report;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use self::alone::Alone;
use self::entry::{Entry, Extraction, Pending, Phase, Whom};
use super::message::{FromArbiter, RequestId, ToArbiter, ToPeer};
use super::{Claim, GRANT_MILLIS_MAX};
use crate::types::{ClientId, Millis, NodeId};

pub use self::action::{ClaimAnswer, NodeAction, Place, Ticket, WorkerIndex};

/// The registry. `S` is a session's state, which passes through unread.
#[derive(Debug)]
pub struct NodeClaims<S> {
    node: NodeId,
    leader: Option<(NodeId, u64)>,
    leaderless_since: Millis,
    linked: BTreeSet<NodeId>,
    next_request: u64,
    next_ticket: u64,
    entries: BTreeMap<ClientId, Entry<S>>,
    extracting: BTreeMap<Ticket, Extraction>,
    /// When something may be due, in order; an entry that has moved on is skipped.
    deadlines: VecDeque<(Millis, ClientId)>,
    taking_deadlines: VecDeque<(Millis, ClientId, Claim)>,
    actions: Vec<NodeAction<S>>,
    alone: Alone,
}

impl<S> NodeClaims<S> {
    /// An empty registry. `first_request` must be above all numbers that an earlier process of
    /// this node has used (Unix time in nanoseconds will do).
    #[must_use]
    pub fn new(now: Millis, node: NodeId, first_request: RequestId) -> Self {
        Self {
            node,
            leader: None,
            leaderless_since: now,
            linked: BTreeSet::from([node]),
            next_request: first_request.0,
            next_ticket: 0,
            entries: BTreeMap::new(),
            extracting: BTreeMap::new(),
            deadlines: VecDeque::new(),
            taking_deadlines: VecDeque::new(),
            actions: Vec::new(),
            alone: Alone::default(),
        }
    }

    /// Takes what is to be done, in order.
    pub fn take_actions(&mut self) -> Vec<NodeAction<S>> {
        std::mem::take(&mut self.actions)
    }

    /// Identifiers that are held here, with the claim and the worker.
    pub fn held(&self) -> impl Iterator<Item = (&ClientId, Claim, WorkerIndex)> {
        let held = |(id, entry): (_, &Entry<S>)| entry.held.map(|h| (id, h.claim, h.worker));
        self.entries.iter().filter_map(held)
    }

    /// Identifiers that are held or waited for here.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing is held or waited for here.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Connections that wait for their claim.
    #[cfg(test)]
    pub(super) fn pending_count(&self) -> usize {
        self.entries.values().filter(|entry| entry.pending.is_some()).count()
    }

    /// A connection claims an identifier. An earlier one that still waits for it is superseded.
    pub fn claim(&mut self, now: Millis, place: Place, client_id: &ClientId, clean_start: bool) {
        let is_leaderless =
            self.leader.is_none() && now.since(self.leaderless_since) >= GRANT_MILLIS_MAX;
        if is_leaderless && !self.is_alone() {
            self.answer(place, client_id.clone(), ClaimAnswer::Unavailable);
            return;
        }
        let entry = self.entries.entry(client_id.clone()).or_insert_with(Entry::empty);
        if let Some(pending) = &mut entry.pending {
            let earlier = std::mem::replace(&mut pending.place, place);
            pending.clean_start = clean_start;
            self.answer(earlier, client_id.clone(), ClaimAnswer::Superseded);
            return;
        }
        let request = RequestId(self.next_request);
        self.next_request += 1;
        let deadline = now.plus(GRANT_MILLIS_MAX);
        let phase = Phase::Asked { request, deadline };
        entry.pending =
            Some(Box::new(Pending { place, clean_start, phase, fence: Claim::default() }));
        if is_leaderless {
            return self.grant_alone(now, client_id);
        }
        self.skip_deadlines();
        self.deadlines.push_back((deadline, client_id.clone()));
        self.send_request(request, client_id.clone());
    }

    /// The connection is gone that claimed an identifier. Where the arbiter has not answered yet,
    /// what it grants is released: it ends no live connection for one that is not there.
    pub fn withdraw(&mut self, place: Place, client_id: &ClientId) {
        let Some(entry) = self.entries.get_mut(client_id) else { return };
        let waits = |pending: &mut Box<Pending<S>>| {
            pending.place == place && matches!(pending.phase, Phase::Asked { .. })
        };
        if entry.pending.take_if(waits).is_some() {
            self.forget_if_empty(client_id);
            self.answer(place, client_id.clone(), ClaimAnswer::Withdrawn);
        }
    }

    /// A worker's session is gone. Ignored unless it is held under exactly this claim.
    pub fn release(&mut self, client_id: &ClientId, claim: Claim) {
        let Some(entry) = self.entries.get_mut(client_id) else { return };
        if entry.held.is_none_or(|held| held.claim != claim) {
            return;
        }
        entry.held = None;
        self.forget_if_empty(client_id);
        self.tell_arbiter(ToArbiter::Release { client_id: client_id.clone(), claim });
    }

    /// The worker has let go, as [`NodeAction::TakeOver`] asked.
    pub fn extracted(&mut self, ticket: Ticket, session: Option<S>) {
        let Some(Extraction { client_id, claim, whom }) = self.extracting.remove(&ticket) else {
            return;
        };
        match whom {
            Whom::Here => self.taken_over(self.node, &client_id, claim, session),
            Whom::Peer(node) => {
                self.send(node, ToPeer::TakenOver { client_id, claim, session });
            }
            Whom::Nobody { held } => {
                self.tell_arbiter(ToArbiter::Release { client_id, claim: held });
            }
        }
    }

    /// Who leads, and its term, has changed; `None` while nobody is known to. News of a term
    /// before the known one is ignored.
    pub fn leader_changed(&mut self, now: Millis, leader: Option<(NodeId, u64)>) {
        let is_older = |(known, new): ((NodeId, u64), (NodeId, u64))| new.1 < known.1;
        if self.leader == leader || self.leader.zip(leader).is_some_and(is_older) {
            return;
        }
        if self.leader.is_some() && leader.is_none() {
            self.leaderless_since = now;
        }
        self.leader = leader;
        self.report();
    }

    /// Whether there is an arbiter to ask.
    #[must_use]
    pub const fn has_arbiter(&self) -> bool {
        self.leader.is_some()
    }

    /// The link to `node` is up.
    pub fn link_up(&mut self, node: NodeId) {
        self.linked.insert(node);
        if self.leader.is_some_and(|(leader, _)| leader == node) {
            self.report();
        }
    }

    /// The link to `node` is down: nobody waits for it any longer.
    pub fn link_down(&mut self, node: NodeId) {
        self.linked.remove(&node);
        let awaits = |(id, entry): (&ClientId, &mut Entry<S>)| {
            let taking = entry.taking_mut().filter(|taking| taking.is_awaited(node))?;
            taking.give_up(node);
            taking.is_complete().then(|| id.clone())
        };
        let complete: Vec<ClientId> = self.entries.iter_mut().filter_map(awaits).collect();
        for client_id in complete {
            self.finish_taking(&client_id);
        }
    }

    /// A message of the arbiter on `node`.
    pub fn handle_arbiter(&mut self, now: Millis, node: NodeId, message: FromArbiter) {
        match message {
            FromArbiter::AskReport { term } => {
                if self.leader.is_none_or(|(_, known)| known < term) {
                    self.leader = Some((node, term));
                }
                if self.leader == Some((node, term)) {
                    self.report();
                }
            }
            FromArbiter::Granted { request, client_id, claim, previous } => {
                self.granted(now, request, client_id, claim, previous);
            }
            FromArbiter::Denied { term, request, client_id, denial } => {
                self.denied(node, term, request, &client_id, denial);
            }
            FromArbiter::Revoke { client_id, claim } => self.revoke(&client_id, claim),
        }
    }

    /// A message of another node's registry.
    pub fn handle_peer(&mut self, node: NodeId, message: ToPeer<S>) {
        match message {
            ToPeer::TakeOver { client_id, claim, clean_start } => {
                self.take_over(node, client_id, claim, clean_start);
            }
            ToPeer::TakenOver { client_id, claim, session } => {
                self.taken_over(node, &client_id, claim, session);
            }
        }
    }

    /// When [`Self::handle_timeout`] wants to be called; may be early. Ask again after each call.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Millis> {
        let asked = self.deadlines.front().map(|(due, _)| *due);
        let taking = self.taking_deadlines.front().map(|(due, ..)| *due);
        asked.into_iter().chain(taking).min()
    }

    /// Gives up what has been waited for long enough.
    pub fn handle_timeout(&mut self, now: Millis) {
        while let Some((_, client_id)) = self.deadlines.pop_front_if(|(due, _)| *due <= now) {
            self.give_up_request(now, &client_id);
        }
        while let Some((_, client_id, claim)) =
            self.taking_deadlines.pop_front_if(|(due, ..)| *due <= now)
        {
            let taking = self.entries.get_mut(&client_id).and_then(Entry::taking_mut);
            if taking.is_some_and(|taking| taking.claim == claim) {
                self.finish_taking(&client_id);
            }
        }
    }

    /// Drops the deadlines at the front whose requests were answered: most are within milliseconds,
    /// so that next to none are kept.
    fn skip_deadlines(&mut self) {
        let entries = &self.entries;
        let is_over = |(due, client_id): &mut (Millis, ClientId)| {
            let pending = entries.get(client_id).and_then(|entry| entry.pending.as_deref());
            !pending.is_some_and(|pending| match &pending.phase {
                Phase::Asked { deadline, .. } => deadline == due,
                Phase::Taking(_) => false,
            })
        };
        while self.deadlines.pop_front_if(is_over).is_some() {}
    }

    fn send(&mut self, node: NodeId, message: ToPeer<S>) {
        self.actions.push(NodeAction::ToPeer { node, message });
    }

    fn answer(&mut self, place: Place, client_id: ClientId, answer: ClaimAnswer<S>) {
        self.actions.push(NodeAction::Answer { place, client_id, answer });
    }

    fn forget_if_empty(&mut self, client_id: &ClientId) {
        let is_empty = |entry: &Entry<S>| entry.held.is_none() && entry.pending.is_none();
        if self.entries.get(client_id).is_some_and(is_empty) {
            self.entries.remove(client_id);
        }
    }
}
