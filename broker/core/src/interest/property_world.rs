//! Nodes with their workers, and the wires between them: what the properties of interest are about.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::*;
use crate::claim::WorkerIndex;
use crate::engine::{Destination, InterestChange, InterestSeq, RemoteInterest, SharedMembers};
use crate::types::{Millis, NodeId};

pub(super) const NODES: u64 = 3;
pub(super) const WORKERS: u8 = 2;
const FIRST_PEER: u8 = 32;

/// What is wanted of a filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Wanted {
    QoS0,
    Everything,
}

impl Wanted {
    pub(super) fn change(this: Option<Self>, filter: Arc<str>) -> InterestChange {
        match this {
            None => InterestChange::Removed(filter),
            Some(Self::QoS0) => InterestChange::AddedQoS0(filter),
            Some(Self::Everything) => InterestChange::Added(filter),
        }
    }
}

/// Filters, and groups with their members.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Wants {
    pub(super) filters: BTreeMap<Arc<str>, Wanted>,
    pub(super) groups: BTreeMap<Arc<str>, SharedMembers>,
}

impl Wants {
    pub(super) fn share(&mut self, group: &Arc<str>, members: SharedMembers) {
        if members == SharedMembers::NONE {
            self.groups.remove(group);
        } else {
            self.groups.insert(Arc::clone(group), members);
        }
    }

    /// Whether everything of it is heard where `other` is known.
    pub(super) fn is_heard_by(&self, other: &Self) -> bool {
        self.filters.iter().all(|(filter, wanted)| other.filters.get(filter) >= Some(wanted))
            && self.groups.keys().all(|group| other.groups.contains_key(group))
    }
}

#[derive(Default)]
pub(super) struct Worker {
    inbox: VecDeque<(u64, Arc<[RemoteInterest]>)>,
    /// What it routes to others.
    pub(super) table: BTreeMap<Destination, Wants>,
    /// What its own sessions want.
    pub(super) own: Wants,
    pub(super) seq: u64,
    pub(super) confirmed: u64,
}

pub(super) struct Node {
    pub(super) exchange: InterestExchange,
    pub(super) workers: Vec<Worker>,
}

pub(super) struct World {
    now: Millis,
    pub(super) nodes: BTreeMap<NodeId, Node>,
    wires: BTreeMap<(NodeId, NodeId), VecDeque<InterestMessage>>,
    broken: BTreeSet<(NodeId, NodeId)>,
    /// Whether a change may be confirmed although not everyone knows it.
    pub(super) may_give_up: bool,
}

fn link(a: NodeId, b: NodeId) -> (NodeId, NodeId) {
    (a.min(b), a.max(b))
}

impl World {
    pub(super) fn new() -> Self {
        let node = |id| Node {
            exchange: InterestExchange::new(WORKERS, FIRST_PEER, id * 1_000),
            workers: (0..WORKERS).map(|_| Worker::default()).collect(),
        };
        let mut world = Self {
            now: Millis(0),
            nodes: (0..NODES).map(|id| (NodeId(id), node(id))).collect(),
            wires: BTreeMap::new(),
            broken: BTreeSet::new(),
            may_give_up: false,
        };
        for a in world.ids() {
            for b in world.ids() {
                world.broken.insert(link(a, b));
            }
        }
        world.mend_all();
        world
    }

    pub(super) fn ids(&self) -> Vec<NodeId> {
        self.nodes.keys().copied().collect()
    }

    pub(super) fn node(&mut self, id: NodeId) -> &mut Node {
        self.nodes.get_mut(&id).unwrap()
    }

    pub(super) fn collect(&mut self, id: NodeId) {
        for action in self.node(id).exchange.take_actions() {
            match action {
                InterestAction::ToPeer { node, message } => {
                    if !self.broken.contains(&link(id, node)) {
                        self.wires.entry((id, node)).or_default().push_back(message);
                    }
                }
                InterestAction::ToWorkers { update, except, changes } => {
                    for (number, worker) in self.node(id).workers.iter_mut().enumerate() {
                        if except.is_none_or(|except| usize::from(except.0) != number) {
                            worker.inbox.push_back((update, Arc::clone(&changes)));
                        }
                    }
                }
                InterestAction::Confirm { worker, seq } => {
                    self.check_confirmation(id, worker, seq);
                    self.node(id).workers[usize::from(worker.0)].confirmed = seq.0;
                }
                InterestAction::GivenUp { .. } => {}
            }
        }
    }

    /// What a worker's sessions want at the moment of the confirmation of their last change is
    /// known to every other worker of every node that can be reached.
    pub(super) fn check_confirmation(&self, id: NodeId, worker: WorkerIndex, seq: InterestSeq) {
        let confirmed = &self.nodes[&id].workers[usize::from(worker.0)];
        assert!(seq.0 > confirmed.confirmed, "confirmed twice or out of order");
        if seq.0 != confirmed.seq || self.may_give_up {
            return;
        }
        for (other_id, other) in &self.nodes {
            if *other_id != id && self.broken.contains(&link(id, *other_id)) {
                continue;
            }
            let destination = if *other_id == id {
                Destination::new(worker.0).unwrap()
            } else {
                self.destination(*other_id, id).unwrap()
            };
            for (number, routing) in other.workers.iter().enumerate() {
                if *other_id == id && number == usize::from(worker.0) {
                    continue;
                }
                let known = routing.table.get(&destination).cloned().unwrap_or_default();
                assert!(
                    confirmed.own.is_heard_by(&known),
                    "{other_id}/{number} does not route {:?} of {id}/{}, but {known:?}",
                    confirmed.own,
                    worker.0
                );
            }
        }
    }

    pub(super) fn destination(&self, at: NodeId, of: NodeId) -> Option<Destination> {
        let numbers = (FIRST_PEER..64).filter_map(Destination::new);
        let exchange = &self.nodes[&at].exchange;
        numbers.into_iter().find(|number| exchange.node(*number) == Some(of))
    }

    pub(super) fn want(&mut self, id: NodeId, number: u8, filter: usize, wanted: Option<Wanted>) {
        let filter: Arc<str> = Arc::from(format!("f/{filter}"));
        let own = &mut self.node(id).workers[usize::from(number)].own;
        let earlier = match wanted {
            Some(wanted) => own.filters.insert(Arc::clone(&filter), wanted),
            None => own.filters.remove(&filter),
        };
        if earlier != wanted {
            self.change(id, number, Wanted::change(wanted, filter));
        }
    }

    pub(super) fn share(&mut self, id: NodeId, number: u8, group: usize, members: SharedMembers) {
        let filter: Arc<str> = Arc::from(format!("$share/g/{group}"));
        self.node(id).workers[usize::from(number)].own.share(&filter, members);
        self.change(id, number, InterestChange::Shared { filter, members });
    }

    pub(super) fn change(&mut self, id: NodeId, number: u8, change: InterestChange) {
        let now = self.now;
        let node = self.node(id);
        let worker = &mut node.workers[usize::from(number)];
        worker.seq += 1;
        let seq = InterestSeq(worker.seq);
        node.exchange.changed(now, WorkerIndex(number), seq, &[change]);
        self.collect(id);
    }

    pub(super) fn deliver(&mut self, from: NodeId, to: NodeId) -> bool {
        let Some(message) = self.wires.get_mut(&(from, to)).and_then(VecDeque::pop_front) else {
            return false;
        };
        self.node(to).exchange.handle(from, message);
        self.collect(to);
        true
    }

    pub(super) fn work(&mut self, id: NodeId, number: u8) -> bool {
        let node = self.node(id);
        let worker = &mut node.workers[usize::from(number)];
        let Some((update, changes)) = worker.inbox.pop_front() else { return false };
        for change in changes.iter() {
            match change {
                RemoteInterest::Added(destination, filter) => {
                    let known = worker.table.entry(*destination).or_default();
                    known.filters.insert(Arc::clone(filter), Wanted::Everything);
                }
                RemoteInterest::AddedQoS0(destination, filter) => {
                    let known = worker.table.entry(*destination).or_default();
                    known.filters.insert(Arc::clone(filter), Wanted::QoS0);
                }
                RemoteInterest::Removed(destination, filter) => {
                    worker.table.entry(*destination).or_default().filters.remove(filter);
                }
                RemoteInterest::Shared { destination, filter, members, .. } => {
                    worker.table.entry(*destination).or_default().share(filter, *members);
                }
                RemoteInterest::SharedCleared(destination) => {
                    worker.table.entry(*destination).or_default().groups.clear();
                }
                RemoteInterest::Cleared(destination) => {
                    worker.table.remove(destination);
                }
            }
        }
        node.exchange.applied(WorkerIndex(number), update);
        self.collect(id);
        true
    }

    pub(super) fn break_link(&mut self, a: NodeId, b: NodeId) {
        if a == b || !self.broken.insert(link(a, b)) {
            return;
        }
        let now = self.now;
        for (a, b) in [(a, b), (b, a)] {
            self.wires.remove(&(a, b));
            self.node(a).exchange.link_down(b);
            self.node(a).exchange.silent(now, b);
            self.collect(a);
        }
    }

    pub(super) fn mend_link(&mut self, a: NodeId, b: NodeId) {
        if a == b || !self.broken.remove(&link(a, b)) {
            return;
        }
        for (a, b) in [(a, b), (b, a)] {
            assert!(self.node(a).exchange.link_up(b));
            self.collect(a);
        }
    }

    pub(super) fn mend_all(&mut self) {
        for a in self.ids() {
            for b in self.ids() {
                self.mend_link(a, b);
            }
        }
    }

    pub(super) fn advance(&mut self, millis: u64) {
        self.now = self.now.plus(millis);
        let now = self.now;
        for id in self.ids() {
            self.may_give_up = true;
            self.node(id).exchange.handle_timeout(now);
            self.collect(id);
            self.may_give_up = false;
        }
    }

    pub(super) fn settle(&mut self) {
        loop {
            let mut moved = false;
            for a in self.ids() {
                for b in self.ids() {
                    while self.deliver(a, b) {
                        moved = true;
                    }
                }
                for worker in 0..WORKERS {
                    while self.work(a, worker) {
                        moved = true;
                    }
                }
            }
            if !moved {
                break;
            }
        }
    }

    /// What a node wants: the union over its workers, and the sums of their members.
    pub(super) fn wanted(&self, id: NodeId) -> Wants {
        let mut wanted = Wants::default();
        for worker in &self.nodes[&id].workers {
            for (filter, kind) in &worker.own.filters {
                let known = wanted.filters.entry(Arc::clone(filter)).or_insert(*kind);
                *known = (*known).max(*kind);
            }
            for (group, members) in &worker.own.groups {
                let sum = wanted.groups.entry(Arc::clone(group)).or_default();
                *sum = sum.plus(*members);
            }
        }
        wanted
    }

    /// What a node knows of another one.
    pub(super) fn known(&self, at: NodeId, of: NodeId) -> Wants {
        let exchange = &self.nodes[&at].exchange;
        let groups = exchange.groups(of).map(|(group, members)| (Arc::clone(group), members));
        let filters = exchange.filters(of).map(|(filter, is_qos0)| {
            let kind = if is_qos0 { Wanted::QoS0 } else { Wanted::Everything };
            (Arc::clone(filter), kind)
        });
        Wants { filters: filters.collect(), groups: groups.collect() }
    }
}
