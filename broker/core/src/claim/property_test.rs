//! Claims under any order of messages, broken links, elections and time-outs.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use proptest::prelude::*;

use super::*;
use crate::types::{ClientId, ConnectionId, Millis, NodeId};

const NODES: u64 = 3;
const WORKERS: u8 = 2;
const CLIENTS: usize = 2;

#[derive(Debug, Clone)]
enum Step {
    Connect {
        node: u64,
        worker: u8,
        client: usize,
        clean_start: bool,
    },
    Disconnect {
        node: u64,
        worker: u8,
        client: usize,
    },
    /// Deliver one of the messages under way, any of them, or let a worker go on.
    Deliver(usize),
    /// The same, but what one node sent to another arrives in order.
    DeliverInOrder(usize),
    Break(u64, u64),
    Mend(u64, u64),
    Elect(u64),
    /// A node hears who leads.
    Learn(u64),
    Advance(u64),
}

enum Letter {
    ToArbiter(ToArbiter),
    FromArbiter(FromArbiter),
    ToPeer(ToPeer<u64>),
}

enum ToWorker {
    Answer { place: Place, client_id: ClientId, answer: ClaimAnswer<u64> },
    TakeOver { client_id: ClientId, ticket: Ticket },
}

#[derive(Default)]
struct Worker {
    inbox: VecDeque<ToWorker>,
    /// Sessions with their claim, their connection if there is one, and their identity.
    sessions: BTreeMap<ClientId, (Claim, Option<ConnectionId>, u64)>,
}

struct Node {
    claims: NodeClaims<u64>,
    arbiter: Option<Arbiter>,
    workers: Vec<Worker>,
}

struct World {
    now: Millis,
    nodes: BTreeMap<NodeId, Node>,
    letters: Vec<(NodeId, NodeId, Letter)>,
    broken: BTreeSet<(NodeId, NodeId)>,
    leader: (NodeId, u64),
    next_connection: u64,
    next_session: u64,
    unanswered: BTreeSet<ConnectionId>,
    granted: BTreeMap<ClientId, Claim>,
    sessions_made: BTreeMap<ClientId, u64>,
    /// Claims whose session ended by itself.
    ended: BTreeSet<Claim>,
}

fn client(number: usize) -> ClientId {
    ClientId::new(&format!("c{number}"))
}

fn link(a: NodeId, b: NodeId) -> (NodeId, NodeId) {
    (a.min(b), a.max(b))
}

impl World {
    fn new() -> Self {
        let now = Millis(1_000_000);
        let node = |id| Node {
            claims: NodeClaims::new(now, NodeId(id), RequestId(id * 1_000_000)),
            arbiter: None,
            workers: (0..WORKERS).map(|_| Worker::default()).collect(),
        };
        let mut world = Self {
            now,
            nodes: (0..NODES).map(|id| (NodeId(id), node(id))).collect(),
            letters: Vec::new(),
            broken: BTreeSet::new(),
            leader: (NodeId(0), 0),
            next_connection: 0,
            next_session: 0,
            unanswered: BTreeSet::new(),
            granted: BTreeMap::new(),
            sessions_made: BTreeMap::new(),
            ended: BTreeSet::new(),
        };
        for a in world.ids() {
            for b in world.ids().into_iter().filter(|b| *b != a) {
                world.node(a).claims.link_up(b);
            }
        }
        world.elect(NodeId(0));
        world.ids().into_iter().for_each(|id| world.learn(id));
        world.settle();
        world
    }

    fn ids(&self) -> Vec<NodeId> {
        self.nodes.keys().copied().collect()
    }

    fn node(&mut self, id: NodeId) -> &mut Node {
        self.nodes.get_mut(&id).unwrap()
    }

    fn is_linked(&self, a: NodeId, b: NodeId) -> bool {
        a == b || !self.broken.contains(&link(a, b))
    }

    fn post(&mut self, from: NodeId, to: NodeId, letter: Letter) {
        if self.is_linked(from, to) {
            self.letters.push((from, to, letter));
        }
    }

    /// Moves what the state machines of a node have put out.
    fn collect(&mut self, id: NodeId) {
        for action in self.node(id).claims.take_actions() {
            match action {
                NodeAction::ToArbiter { leader, message } => {
                    self.post(id, leader, Letter::ToArbiter(message));
                }
                NodeAction::ToPeer { node, message } => {
                    self.post(id, node, Letter::ToPeer(message));
                }
                NodeAction::TakeOver { worker, client_id, ticket, .. } => {
                    let worker = &mut self.node(id).workers[usize::from(worker.0)];
                    worker.inbox.push_back(ToWorker::TakeOver { client_id, ticket });
                }
                NodeAction::Answer { place, client_id, answer } => {
                    assert!(self.unanswered.remove(&place.connection), "answered twice");
                    let worker = &mut self.node(id).workers[usize::from(place.worker.0)];
                    worker.inbox.push_back(ToWorker::Answer { place, client_id, answer });
                }
            }
        }
        let output = self.node(id).arbiter.as_mut().map(Arbiter::take_output);
        for (to, message) in output.into_iter().flatten() {
            self.post(id, to, Letter::FromArbiter(message));
        }
    }

    fn deliver(&mut self, index: usize) {
        let (from, to, letter) = self.letters.remove(index);
        let now = self.now;
        let node = self.node(to);
        match letter {
            Letter::ToArbiter(message) => {
                if let Some(arbiter) = &mut node.arbiter {
                    arbiter.handle(now, from, message);
                }
            }
            Letter::FromArbiter(message) => node.claims.handle_arbiter(now, from, message),
            Letter::ToPeer(message) => node.claims.handle_peer(from, message),
        }
        self.collect(to);
    }

    /// Lets a worker do one thing.
    fn work(&mut self, id: NodeId, worker: usize) -> bool {
        let Some(message) = self.node(id).workers[worker].inbox.pop_front() else { return false };
        match message {
            ToWorker::TakeOver { client_id, ticket } => {
                let session = self.node(id).workers[worker].sessions.remove(&client_id);
                self.node(id).claims.extracted(ticket, session.map(|(.., session)| session));
            }
            ToWorker::Answer { place, client_id, answer } => {
                if let ClaimAnswer::Granted { claim, session } = answer {
                    let newest = self.granted.entry(client_id.clone()).or_default();
                    *newest = claim.max(*newest);
                    let session = session.unwrap_or_else(|| {
                        self.next_session += 1;
                        *self.sessions_made.entry(client_id.clone()).or_default() += 1;
                        self.next_session
                    });
                    let session = (claim, Some(place.connection), session);
                    self.node(id).workers[worker].sessions.insert(client_id, session);
                }
            }
        }
        self.collect(id);
        true
    }

    fn connect(&mut self, id: NodeId, worker: u8, client_id: &ClientId, clean_start: bool) {
        self.next_connection += 1;
        let connection = ConnectionId(self.next_connection);
        self.unanswered.insert(connection);
        let place = Place { worker: WorkerIndex(worker), connection };
        let now = self.now;
        self.node(id).claims.claim(now, place, client_id, clean_start);
        self.collect(id);
    }

    /// Sessions of even clients stay, those of odd ones end.
    fn disconnect(&mut self, id: NodeId, worker: u8, number: usize) {
        let client_id = client(number);
        let sessions = &mut self.node(id).workers[usize::from(worker)].sessions;
        let Some((claim, connection, _)) = sessions.get_mut(&client_id) else { return };
        let claim = *claim;
        if number.is_multiple_of(2) {
            *connection = None;
            return;
        }
        sessions.remove(&client_id);
        self.ended.insert(claim);
        self.node(id).claims.release(&client_id, claim);
        self.collect(id);
    }

    fn break_link(&mut self, a: NodeId, b: NodeId) {
        if a == b || !self.broken.insert(link(a, b)) {
            return;
        }
        self.letters.retain(|(from, to, _)| link(*from, *to) != link(a, b) || from == to);
        let now = self.now;
        for (a, b) in [(a, b), (b, a)] {
            self.node(a).claims.link_down(b);
            if let Some(arbiter) = &mut self.node(a).arbiter {
                arbiter.node_down(now, b);
            }
            self.collect(a);
        }
    }

    fn mend_link(&mut self, a: NodeId, b: NodeId) {
        if !self.broken.remove(&link(a, b)) {
            return;
        }
        for (a, b) in [(a, b), (b, a)] {
            self.node(a).claims.link_up(b);
            if let Some(arbiter) = &mut self.node(a).arbiter {
                arbiter.node_up(b);
            }
            self.collect(a);
        }
    }

    fn elect(&mut self, id: NodeId) {
        let term = self.leader.1 + 1;
        self.leader = (id, term);
        let live: Vec<NodeId> =
            self.ids().into_iter().filter(|other| self.is_linked(id, *other)).collect();
        let now = self.now;
        self.node(id).arbiter = Some(Arbiter::new(now, term, live));
        self.collect(id);
    }

    fn learn(&mut self, id: NodeId) {
        let (now, leader) = (self.now, self.leader);
        let node = self.node(id);
        if node.arbiter.as_ref().is_some_and(|arbiter| arbiter.term() < leader.1) {
            node.arbiter = None;
        }
        node.claims.leader_changed(now, Some(leader));
        self.collect(id);
    }

    fn advance(&mut self, millis: u64) {
        self.now = self.now.plus(millis);
        let now = self.now;
        for id in self.ids() {
            let node = self.node(id);
            node.claims.handle_timeout(now);
            if let Some(arbiter) = &mut node.arbiter {
                arbiter.handle_timeout(now);
            }
            self.collect(id);
        }
    }

    /// Delivers all there is, oldest first.
    fn settle(&mut self) {
        let mut delivered = 0;
        loop {
            let mut moved = !self.letters.is_empty();
            while !self.letters.is_empty() {
                self.deliver(0);
                delivered += 1;
                assert!(delivered < 10_000, "messages beget messages without end");
            }
            for id in self.ids() {
                for worker in 0..usize::from(WORKERS) {
                    while self.work(id, worker) {
                        moved = true;
                    }
                }
            }
            if !moved {
                break;
            }
        }
    }

    fn heal(&mut self) {
        for a in self.ids() {
            for b in self.ids() {
                self.mend_link(a, b);
            }
        }
        self.ids().into_iter().for_each(|id| self.learn(id));
        for _ in 0..4 {
            self.settle();
            self.advance(GRANT_MILLIS_MAX);
        }
        self.settle();
    }

    fn live(&self, client_id: &ClientId) -> Vec<Claim> {
        let workers = self.nodes.values().flat_map(|node| &node.workers);
        workers
            .filter_map(|worker| worker.sessions.get(client_id))
            .map(|(claim, ..)| *claim)
            .collect()
    }

    fn go_on(&mut self, choice: usize, in_order: bool) {
        let workers = usize::try_from(NODES).unwrap() * usize::from(WORKERS);
        let choice = choice % (self.letters.len() + workers);
        let Some(index) = choice.checked_sub(workers) else {
            let node = NodeId((choice / usize::from(WORKERS)) as u64);
            self.work(node, choice % usize::from(WORKERS));
            return;
        };
        let (from, to) = (self.letters[index].0, self.letters[index].1);
        let first = self.letters.iter().position(|letter| (letter.0, letter.1) == (from, to));
        self.deliver(if in_order { first.unwrap() } else { index });
    }

    fn apply(&mut self, step: &Step) {
        match *step {
            Step::Connect { node, worker, client: number, clean_start } => {
                self.connect(NodeId(node), worker, &client(number), clean_start);
            }
            Step::Disconnect { node, worker, client } => {
                self.disconnect(NodeId(node), worker, client);
            }
            Step::Deliver(choice) => self.go_on(choice, false),
            Step::DeliverInOrder(choice) => self.go_on(choice, true),
            Step::Break(a, b) => self.break_link(NodeId(a), NodeId(b)),
            Step::Mend(a, b) => self.mend_link(NodeId(a), NodeId(b)),
            Step::Elect(node) => self.elect(NodeId(node)),
            Step::Learn(node) => self.learn(NodeId(node)),
            Step::Advance(millis) => self.advance(millis),
        }
    }
}

fn calm_step() -> impl Strategy<Value = Step> {
    let connect = (0..NODES, 0..WORKERS, 0..CLIENTS).prop_map(|(node, worker, client)| {
        Step::Connect { node, worker, client, clean_start: false }
    });
    prop_oneof![2 => connect, 6 => any::<usize>().prop_map(Step::DeliverInOrder)]
}

fn any_step() -> impl Strategy<Value = Step> {
    let connect = (0..NODES, 0..WORKERS, 0..CLIENTS, any::<bool>()).prop_map(
        |(node, worker, client, clean_start)| Step::Connect { node, worker, client, clean_start },
    );
    let disconnect = (0..NODES, 0..WORKERS, 0..CLIENTS)
        .prop_map(|(node, worker, client)| Step::Disconnect { node, worker, client });
    prop_oneof![
        4 => connect,
        2 => disconnect,
        16 => any::<usize>().prop_map(Step::Deliver),
        1 => (0..NODES, 0..NODES).prop_map(|(a, b)| Step::Break(a, b)),
        1 => (0..NODES, 0..NODES).prop_map(|(a, b)| Step::Mend(a, b)),
        1 => (0..NODES).prop_map(Step::Elect),
        2 => (0..NODES).prop_map(Step::Learn),
        1 => (0..1_500u64).prop_map(Step::Advance),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn one_session_per_client_remains_and_it_is_the_last_granted(
        steps in prop::collection::vec(any_step(), 0..80),
    ) {
        let mut world = World::new();
        for step in &steps {
            world.apply(step);
        }
        world.heal();
        prop_assert!(world.unanswered.is_empty(), "a claim got no answer");
        for number in 0..CLIENTS {
            let live = world.live(&client(number));
            prop_assert!(live.len() <= 1, "client {number} is live under {live:?}");
            // Where the last one has ended, an earlier one that it couldn't reach may be left.
            let newest = world.granted.get(&client(number));
            if newest.is_some_and(|newest| !world.ended.contains(newest)) {
                prop_assert_eq!(live.first(), newest);
            }
        }
        let pending: usize = world.nodes.values().map(|node| node.claims.pending_count()).sum();
        prop_assert_eq!(pending, 0);
    }

    #[test]
    fn without_faults_no_two_are_ever_live_and_the_session_is_never_lost(
        steps in prop::collection::vec(calm_step(), 0..80),
    ) {
        let mut world = World::new();
        for step in &steps {
            world.apply(step);
            for number in 0..CLIENTS {
                prop_assert!(world.live(&client(number)).len() <= 1);
            }
        }
        world.settle();
        prop_assert!(world.unanswered.is_empty());
        for (client_id, made) in &world.sessions_made {
            prop_assert_eq!(*made, 1, "{} got a fresh session", client_id);
        }
        let arbiter = world.nodes[&NodeId(0)].arbiter.as_ref().unwrap();
        prop_assert_eq!(arbiter.len(), world.sessions_made.len());
    }
}
