//! The arbiter: the leader's memory of who may hold which Client Identifier. Pure.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::Claim;
use super::message::{Denial, FromArbiter, Holding, RequestId, ToArbiter};
use super::{RECOVERY_MILLIS_MAX, RECOVERY_REQUESTS_MAX, SETTLE_MILLIS_MAX};
use crate::types::{ClientId, Millis, NodeId};

/// Grants claims while this node leads. Made anew at each election that the node wins.
#[derive(Debug)]
pub struct Arbiter {
    term: u64,
    last_seq: u64,
    records: BTreeMap<ClientId, Record>,
    /// Nodes that have reported to this term and have stayed linked since.
    reported: BTreeSet<NodeId>,
    /// Nodes that have begun a report in this term: a later one is compared with what they said.
    has_spoken: BTreeSet<NodeId>,
    /// Reports that are under way: what they have named so far, where that is to be compared.
    reporting: BTreeMap<NodeId, Option<BTreeSet<ClientId>>>,
    recovery: Option<Recovery>,
    /// Identifiers whose newest grant is not settled: the next one waits.
    contended: BTreeMap<ClientId, Contended>,
    /// When a grant is no longer waited for, in order; one that has settled is skipped.
    settle_deadlines: VecDeque<(Millis, ClientId, Claim)>,
    output: Vec<(NodeId, FromArbiter)>,
}

#[derive(Debug)]
struct Contended {
    claim: Claim,
    /// At most one request of each node, oldest first.
    waiting: VecDeque<(NodeId, RequestId)>,
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
            records: BTreeMap::new(),
            reported: BTreeSet::new(),
            has_spoken: BTreeSet::new(),
            reporting: BTreeMap::new(),
            recovery: Some(Recovery { expected, deadline, waiting: VecDeque::new() }),
            contended: BTreeMap::new(),
            settle_deadlines: VecDeque::new(),
            output,
        }
    }

    /// The term it grants for.
    #[must_use]
    pub const fn term(&self) -> u64 {
        self.term
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
    pub fn handle(&mut self, now: Millis, node: NodeId, message: ToArbiter) {
        match message {
            ToArbiter::Report { term, first, last, requests_below, held } => {
                if term == self.term {
                    self.report(now, node, first, last.then_some(requests_below), held);
                }
            }
            ToArbiter::Request { term, request, client_id } => {
                if term == self.term {
                    self.request(now, node, request, client_id);
                }
            }
            ToArbiter::Release { client_id, claim } => {
                self.release(node, &client_id, claim);
                self.grant_next(now, &client_id, claim);
            }
            ToArbiter::Settled { client_id, claim, cleared } => {
                self.settled(node, &client_id, claim, &cleared);
                self.grant_next(now, &client_id, claim);
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
    pub fn node_down(&mut self, now: Millis, node: NodeId) {
        self.reported.remove(&node);
        self.reporting.remove(&node);
        if let Some(recovery) = &mut self.recovery {
            recovery.expected.remove(&node);
            recovery.waiting.retain(|(waiting, ..)| *waiting != node);
        }
        self.end_recovery_when_complete(now);
    }

    /// `node` has left the cluster for good: what it held is forgotten.
    pub fn node_removed(&mut self, now: Millis, node: NodeId) {
        self.node_down(now, node);
        self.records.retain(|_, record| record.retain(|holder| holder.node != node));
    }

    /// When [`Self::handle_timeout`] wants to be called; ask again after every call.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Millis> {
        let recovery = self.recovery.as_ref().map(|recovery| recovery.deadline);
        let settle = self.settle_deadlines.front().map(|(due, ..)| *due);
        recovery.into_iter().chain(settle).min()
    }

    /// Ends a recovery whose time is over, and goes on without what has not settled in time.
    pub fn handle_timeout(&mut self, now: Millis) {
        if self.recovery.as_ref().is_some_and(|recovery| recovery.deadline <= now) {
            self.end_recovery(now);
        }
        while let Some((_, client_id, claim)) =
            self.settle_deadlines.pop_front_if(|(due, ..)| *due <= now)
        {
            self.grant_next(now, &client_id, claim);
        }
    }

    fn report(
        &mut self,
        now: Millis,
        node: NodeId,
        first: bool,
        ended_below: Option<RequestId>,
        held: Vec<Holding>,
    ) {
        if first {
            // The first report, of each node after each election, has nothing to compare with: a
            // look at every record would hold the new leader up.
            let is_compared = !self.has_spoken.insert(node);
            self.reporting.insert(node, is_compared.then(BTreeSet::new));
        }
        // A later part of a report whose beginning was lost with its link says nothing on what
        // is gone, but what it names is held nevertheless.
        for holding in held {
            if let Some(Some(named)) = self.reporting.get_mut(&node) {
                named.insert(holding.client_id.clone());
            }
            self.hold(now, node, holding);
        }
        let Some(requests_below) = ended_below else { return };
        let Some(named) = self.reporting.remove(&node) else { return };
        if let Some(named) = named {
            self.records.retain(|client_id, record| {
                named.contains(client_id)
                    || record
                        .retain(|holder| holder.node != node || holder.request >= requests_below)
            });
        }
        self.reported.insert(node);
        self.end_recovery_when_complete(now);
    }

    /// Takes one reported holding in; where a newer one is live, the reporter is told.
    fn hold(&mut self, now: Millis, node: NodeId, holding: Holding) {
        let Holding { client_id, claim, settled } = holding;
        if !settled {
            self.await_settled(now, &client_id, claim);
        }
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

    fn request(&mut self, now: Millis, node: NodeId, request: RequestId, client_id: ClientId) {
        let denial = if !self.reported.contains(&node) {
            Denial::NotReported
        } else if let Some(recovery) = &mut self.recovery {
            if recovery.waiting.len() < RECOVERY_REQUESTS_MAX {
                recovery.waiting.push_back((node, request, client_id));
                return;
            }
            Denial::Overloaded
        } else {
            self.grant_in_turn(now, node, request, client_id);
            return;
        };
        let denied = FromArbiter::Denied { term: self.term, request, client_id, denial };
        self.output.push((node, denied));
    }

    /// Grants, unless an earlier grant is not settled: one take-over at a time, so that a session
    /// is never asked for in two directions.
    fn grant_in_turn(&mut self, now: Millis, node: NodeId, request: RequestId, client: ClientId) {
        if let Some(contended) = self.contended.get_mut(&client) {
            contended.waiting.retain(|(waiting, _)| *waiting != node);
            contended.waiting.push_back((node, request));
        } else {
            self.grant(now, node, request, client);
        }
    }

    /// The grant under `claim` is settled, or not waited for any more.
    fn grant_next(&mut self, now: Millis, client_id: &ClientId, claim: Claim) {
        if self.contended.get(client_id).is_none_or(|contended| contended.claim != claim) {
            return;
        }
        let Some(contended) = self.contended.remove(client_id) else { return };
        for (node, request) in contended.waiting {
            self.grant_in_turn(now, node, request, client_id.clone());
        }
    }

    /// Holds further grants back until this one is settled or its time is over.
    fn await_settled(&mut self, now: Millis, client_id: &ClientId, claim: Claim) {
        let contended = self
            .contended
            .entry(client_id.clone())
            .or_insert_with(|| Contended { claim, waiting: VecDeque::new() });
        contended.claim = contended.claim.max(claim);
        let claim = contended.claim;
        let is_over = |(_, client_id, claim): &mut (Millis, ClientId, Claim)| {
            self.contended.get(client_id).is_none_or(|contended| contended.claim != *claim)
        };
        // Most have settled within milliseconds: next to none are kept.
        while self.settle_deadlines.pop_front_if(is_over).is_some() {}
        self.settle_deadlines.push_back((now.plus(SETTLE_MILLIS_MAX), client_id.clone(), claim));
    }

    fn grant(&mut self, now: Millis, node: NodeId, request: RequestId, client_id: ClientId) {
        self.last_seq += 1;
        let claim = Claim { term: self.term, seq: self.last_seq };
        let holder = Holder { node, claim, request, settled: false };
        let mut previous = Vec::new();
        match self.records.entry(client_id.clone()) {
            Entry::Vacant(vacant) => {
                vacant.insert(Record { newest: holder, older: Vec::new() });
            }
            Entry::Occupied(mut occupied) => {
                let record = occupied.get_mut();
                previous.extend(record.iter().map(|holder| holder.node));
                previous.sort_unstable();
                previous.dedup();
                record.insert(holder);
            }
        }
        self.await_settled(now, &client_id, claim);
        self.output.push((node, FromArbiter::Granted { request, client_id, claim, previous }));
    }

    fn release(&mut self, node: NodeId, client_id: &ClientId, claim: Claim) {
        if let Some(record) = self.records.get_mut(client_id)
            && !record.retain(|holder| holder.node != node || holder.claim != claim)
        {
            self.records.remove(client_id);
        }
    }

    fn settled(&mut self, node: NodeId, client_id: &ClientId, claim: Claim, cleared: &[NodeId]) {
        let holder = Holder { node, claim, request: RequestId::default(), settled: true };
        // Unknown to a new arbiter when it comes before the node's report.
        let record = self
            .records
            .entry(client_id.clone())
            .or_insert_with(|| Record { newest: holder, older: Vec::new() });
        record.insert(holder);
        record.retain(|holder| holder.claim >= claim || !cleared.contains(&holder.node));
        revoke_below_live(record, client_id, &mut self.output);
    }

    fn end_recovery_when_complete(&mut self, now: Millis) {
        let complete = |recovery: &Recovery| recovery.expected.is_subset(&self.reported);
        if self.recovery.as_ref().is_some_and(complete) {
            self.end_recovery(now);
        }
    }

    fn end_recovery(&mut self, now: Millis) {
        let Some(recovery) = self.recovery.take() else { return };
        for (node, request, client_id) in recovery.waiting {
            self.grant_in_turn(now, node, request, client_id);
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
}
