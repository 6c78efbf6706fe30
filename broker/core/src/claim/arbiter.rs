//! The arbiter: the leader's memory of who may hold which Client Identifier. Pure.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};

use super::Claim;
use super::message::{Denial, FromArbiter, Holding, RequestId, ToArbiter};
use super::{RECOVERY_MILLIS_MAX, RECOVERY_REQUESTS_MAX};
use crate::types::{ClientId, Millis, NodeId};

/// Grants claims while this node leads. Made anew at each election that the node wins.
#[derive(Debug)]
pub struct Arbiter {
    term: u64,
    last_seq: u64,
    records: HashMap<ClientId, Record>,
    /// Nodes that have reported to this term and have stayed linked since.
    reported: BTreeSet<NodeId>,
    /// Reports that are under way: what they have named so far.
    reporting: BTreeMap<NodeId, HashSet<ClientId>>,
    recovery: Option<Recovery>,
    output: Vec<(NodeId, FromArbiter)>,
}

#[derive(Debug)]
struct Recovery {
    expected: BTreeSet<NodeId>,
    deadline: Millis,
    waiting: VecDeque<(NodeId, RequestId, ClientId)>,
}

/// Who may hold one identifier, in order of the claims. Mostly one node, so the first is inline.
#[derive(Debug)]
struct Record {
    newest: Holder,
    older: Vec<Holder>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Holder {
    node: NodeId,
    claim: Claim,
    request: RequestId,
    settled: bool,
}

impl Arbiter {
    /// An arbiter for `term` that first asks `live` nodes, this one among them, for what they
    /// hold.
    #[must_use]
    pub fn new(now: Millis, term: u64, live: impl IntoIterator<Item = NodeId>) -> Self {
        let expected: BTreeSet<NodeId> = live.into_iter().collect();
        let output = expected.iter().map(|&node| (node, FromArbiter::AskReport { term })).collect();
        let deadline = now.plus(RECOVERY_MILLIS_MAX);
        Self {
            term,
            last_seq: 0,
            records: HashMap::new(),
            reported: BTreeSet::new(),
            reporting: BTreeMap::new(),
            recovery: Some(Recovery { expected, deadline, waiting: VecDeque::new() }),
            output,
        }
    }

    /// The term it grants for.
    #[must_use]
    pub const fn term(&self) -> u64 {
        self.term
    }

    /// Whether it still waits for reports and grants nothing.
    #[must_use]
    pub const fn is_recovering(&self) -> bool {
        self.recovery.is_some()
    }

    /// Identifiers it knows a holder of.
    #[must_use]
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether nobody holds anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Takes what is to be sent, in order.
    pub fn take_output(&mut self) -> Vec<(NodeId, FromArbiter)> {
        std::mem::take(&mut self.output)
    }

    /// Takes a message of `node` in.
    pub fn handle(&mut self, node: NodeId, message: ToArbiter) {
        match message {
            ToArbiter::Report { term, first, last, requests_below, held } => {
                if term == self.term {
                    self.report(node, first, last.then_some(requests_below), held);
                }
            }
            ToArbiter::Request { term, request, client_id } => {
                if term == self.term {
                    self.request(node, request, client_id);
                }
            }
            ToArbiter::Release { client_id, claim } => self.release(node, &client_id, claim),
            ToArbiter::Settled { client_id, claim, cleared } => {
                self.settled(&client_id, claim, &cleared);
            }
        }
    }

    /// A link to `node` is up: it must report before it may ask.
    pub fn node_up(&mut self, node: NodeId) {
        if let Some(recovery) = &mut self.recovery {
            recovery.expected.insert(node);
        }
        self.output.push((node, FromArbiter::AskReport { term: self.term }));
    }

    /// The link to `node` is down. What it holds is kept: it may well be alive.
    pub fn node_down(&mut self, node: NodeId) {
        self.reported.remove(&node);
        self.reporting.remove(&node);
        if let Some(recovery) = &mut self.recovery {
            recovery.expected.remove(&node);
            recovery.waiting.retain(|(waiting, ..)| *waiting != node);
        }
        self.end_recovery_when_complete();
    }

    /// `node` has left the cluster for good: what it held is forgotten.
    pub fn node_removed(&mut self, node: NodeId) {
        self.node_down(node);
        self.records.retain(|_, record| record.retain(|holder| holder.node != node));
    }

    /// When [`Self::handle_timeout`] wants to be called; ask again after every call.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Millis> {
        self.recovery.as_ref().map(|recovery| recovery.deadline)
    }

    /// Ends a recovery whose time is over.
    pub fn handle_timeout(&mut self, now: Millis) {
        if self.recovery.as_ref().is_some_and(|recovery| recovery.deadline <= now) {
            self.end_recovery();
        }
    }

    fn report(
        &mut self,
        node: NodeId,
        first: bool,
        ended_below: Option<RequestId>,
        held: Vec<Holding>,
    ) {
        if first {
            self.reporting.insert(node, HashSet::new());
        }
        // A later part of a report whose beginning was lost with its link says nothing on what
        // is gone, but what it names is held nevertheless.
        for holding in held {
            if let Some(named) = self.reporting.get_mut(&node) {
                named.insert(holding.client_id.clone());
            }
            self.hold(node, holding);
        }
        let Some(requests_below) = ended_below else { return };
        let Some(named) = self.reporting.remove(&node) else { return };
        self.records.retain(|client_id, record| {
            named.contains(client_id)
                || record.retain(|holder| holder.node != node || holder.request >= requests_below)
        });
        self.reported.insert(node);
        self.end_recovery_when_complete();
    }

    /// Takes one reported holding in; where a newer one is live, the reporter is told.
    fn hold(&mut self, node: NodeId, holding: Holding) {
        let Holding { client_id, claim, settled } = holding;
        let holder = Holder { node, claim, request: RequestId::default(), settled };
        let record = match self.records.entry(client_id.clone()) {
            Entry::Vacant(vacant) => {
                vacant.insert(Record { newest: holder, older: Vec::new() });
                return;
            }
            Entry::Occupied(occupied) => occupied.into_mut(),
        };
        record.insert(holder);
        revoke_below_live(record, &client_id, &mut self.output);
    }

    fn request(&mut self, node: NodeId, request: RequestId, client_id: ClientId) {
        let denial = if !self.reported.contains(&node) {
            Denial::NotReported
        } else if let Some(recovery) = &mut self.recovery {
            if recovery.waiting.len() < RECOVERY_REQUESTS_MAX {
                recovery.waiting.push_back((node, request, client_id));
                return;
            }
            Denial::Overloaded
        } else {
            self.grant(node, request, client_id);
            return;
        };
        let denied = FromArbiter::Denied { term: self.term, request, client_id, denial };
        self.output.push((node, denied));
    }

    fn grant(&mut self, node: NodeId, request: RequestId, client_id: ClientId) {
        self.last_seq += 1;
        let claim = Claim { term: self.term, seq: self.last_seq };
        let mut previous = Vec::new();
        match self.records.entry(client_id.clone()) {
            Entry::Vacant(vacant) => {
                let newest = Holder { node, claim, request, settled: true };
                vacant.insert(Record { newest, older: Vec::new() });
            }
            Entry::Occupied(mut occupied) => {
                let record = occupied.get_mut();
                previous.extend(record.iter().map(|holder| holder.node));
                previous.sort_unstable();
                previous.dedup();
                record.insert(Holder { node, claim, request, settled: false });
            }
        }
        self.output.push((node, FromArbiter::Granted { request, client_id, claim, previous }));
    }

    fn release(&mut self, node: NodeId, client_id: &ClientId, claim: Claim) {
        if let Some(record) = self.records.get_mut(client_id)
            && !record.retain(|holder| holder.node != node || holder.claim != claim)
        {
            self.records.remove(client_id);
        }
    }

    fn settled(&mut self, client_id: &ClientId, claim: Claim, cleared: &[NodeId]) {
        let Some(record) = self.records.get_mut(client_id) else { return };
        if !record.settle(claim) {
            return;
        }
        record.retain(|holder| holder.claim >= claim || !cleared.contains(&holder.node));
        revoke_below_live(record, client_id, &mut self.output);
    }

    fn end_recovery_when_complete(&mut self) {
        let complete = |recovery: &Recovery| recovery.expected.is_subset(&self.reported);
        if self.recovery.as_ref().is_some_and(complete) {
            self.end_recovery();
        }
    }

    fn end_recovery(&mut self) {
        let Some(recovery) = self.recovery.take() else { return };
        for (node, request, client_id) in recovery.waiting {
            self.grant(node, request, client_id);
        }
    }
}

/// Tells every holder below the newest live one to let go.
fn revoke_below_live(
    record: &Record,
    client_id: &ClientId,
    output: &mut Vec<(NodeId, FromArbiter)>,
) {
    let live = record.iter().filter(|holder| holder.settled).map(|holder| holder.claim).max();
    let Some(claim) = live else { return };
    for holder in record.iter().filter(|holder| holder.claim < claim) {
        output.push((holder.node, FromArbiter::Revoke { client_id: client_id.clone(), claim }));
    }
}

impl Record {
    fn iter(&self) -> impl Iterator<Item = &Holder> {
        self.older.iter().chain([&self.newest])
    }

    fn insert(&mut self, mut holder: Holder) {
        let same = |known: &&mut Holder| known.node == holder.node && known.claim == holder.claim;
        if let Some(known) = self.older.iter_mut().chain([&mut self.newest]).find(same) {
            known.settled |= holder.settled;
            return;
        }
        if holder.claim > self.newest.claim {
            std::mem::swap(&mut self.newest, &mut holder);
        }
        self.older.push(holder);
        self.older.sort_unstable_by_key(|older| older.claim);
    }

    /// Keeps the holders that `keep` says; false when none is left (and the record is of no use).
    fn retain(&mut self, keep: impl Fn(&Holder) -> bool) -> bool {
        self.older.retain(&keep);
        if keep(&self.newest) {
            return true;
        }
        match self.older.pop() {
            Some(newest) => {
                self.newest = newest;
                true
            }
            None => false,
        }
    }

    /// Marks the holder under `claim` live; false when there is none.
    fn settle(&mut self, claim: Claim) -> bool {
        let holder = self.older.iter_mut().chain([&mut self.newest]).find(|h| h.claim == claim);
        holder.map(|holder| holder.settled = true).is_some()
    }
}
