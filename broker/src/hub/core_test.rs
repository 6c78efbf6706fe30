//! Two hubs in one process: links and workers are the test's.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};

use broker_core::claim::{FromArbiter, ToArbiter};
use broker_core::codec::packet::{Publish, PublishProperties};
use broker_core::engine::{
    Claim, ClaimOutcome, Destination, InterestChange, InterestSeq, RemoteInterest, SharedMembers,
};
use broker_core::forward::{Shared, encode_record, push_record};
use broker_core::session::SessionState;
use broker_core::types::{ClientId, ConnectionId, Millis, NodeId, PacketId, QoS};
use bytes::Bytes;
use tokio::sync::mpsc;

use super::carrier::{Carried, Carrier};
use super::core::{Core, CoreParts};
use super::wire;
use crate::cluster::meta::Leadership;
use crate::node::{Clock, ToHub, ToWorker, WORKERS_MAX, WorkerHandle, WorkerId};
use crate::sync::lock;

const A: NodeId = NodeId(1);
const B: NodeId = NodeId(2);
const WORKERS: u8 = 2;
const QUEUE: usize = 8;
const SHARED: &str = "$share/g/a";

type Frames = Arc<Mutex<VecDeque<(NodeId, NodeId, u8, Vec<u8>)>>>;

/// Puts frames where the test takes them from.
struct Wire {
    from: NodeId,
    frames: Frames,
    carried: Arc<Mutex<Carried>>,
}

impl Carrier for Wire {
    fn send(&self, node: NodeId, kind: u8, body: &[u8]) -> bool {
        assert!(body.len() <= crate::cluster::FRAME_BODY_BYTES_MAX);
        self.frames.lock().unwrap().push_back((self.from, node, kind, body.to_vec()));
        true
    }

    fn send_unless_behind(&self, node: NodeId, kind: u8, body: &[u8]) -> Carried {
        let carried = *self.carried.lock().unwrap();
        if carried == Carried::Queued {
            self.send(node, kind, body);
        }
        carried
    }
}

struct Node {
    core: Arc<Mutex<Core>>,
    inboxes: Vec<mpsc::Receiver<ToWorker>>,
}

struct Pair {
    nodes: [(NodeId, Node); 2],
    frames: Frames,
    carried: Arc<Mutex<Carried>>,
}

impl Pair {
    /// Linked, led by A.
    fn new() -> Self {
        let frames = Frames::default();
        let carried = Arc::new(Mutex::new(Carried::Queued));
        let node = |id| {
            let (handles, inboxes): (Vec<_>, Vec<_>) = (0..WORKERS)
                .map(|number| {
                    let (inbox, receiver) = mpsc::channel(QUEUE);
                    let id = WorkerId(number);
                    (WorkerHandle { id, inbox, counters: Arc::default() }, receiver)
                })
                .unzip();
            let carrier =
                Wire { from: id, frames: Arc::clone(&frames), carried: Arc::clone(&carried) };
            let core = Core::new(CoreParts {
                this: id,
                clock: Clock::start(),
                carrier: Box::new(carrier),
                workers: &handles,
                counters: Arc::default(),
                is_sticky: false,
            });
            (id, Node { core, inboxes })
        };
        let mut pair = Self { nodes: [node(A), node(B)], frames, carried };
        for (node, peer) in [(A, B), (B, A)] {
            lock(&pair.node(node).core).link_up(peer);
            let leadership = Leadership { term: 1, leader: Some(A) };
            lock(&pair.node(node).core).set_leadership(leadership, node == A);
        }
        pair.carry();
        pair
    }

    fn node(&mut self, id: NodeId) -> &mut Node {
        let found = self.nodes.iter_mut().find(|(node, _)| *node == id);
        &mut found.unwrap().1
    }

    /// Carries all frames that are under way.
    fn carry(&mut self) {
        loop {
            let Some((from, to, kind, body)) = self.frames.lock().unwrap().pop_front() else {
                return;
            };
            lock(&self.node(to).core).peer_frame(from, kind, Bytes::from(body));
        }
    }

    fn handle_worker(&mut self, id: NodeId, message: ToHub) {
        lock(&self.node(id).core).handle_workers([message]);
        self.carry();
    }

    fn received(&mut self, id: NodeId, worker: u8) -> Option<ToWorker> {
        self.node(id).inboxes[usize::from(worker)].try_recv().ok()
    }

    fn claim(&mut self, id: NodeId, worker: u8, connection: u64) {
        let (worker, connection) = (WorkerId(worker), ConnectionId(connection));
        let client_id = ClientId::new("x");
        self.handle_worker(id, ToHub::Claim { worker, connection, client_id, clean_start: false });
    }

    /// The claim that a connection was granted, and the session that came with it.
    fn granted(&mut self, id: NodeId, worker: u8) -> (Claim, Option<Box<SessionState>>) {
        match self.received(id, worker) {
            Some(ToWorker::Claimed {
                outcome: ClaimOutcome::Granted { claim, session }, ..
            }) => (claim, session),
            other => panic!("not granted: {other:?}"),
        }
    }

    fn subscribe(&mut self, id: NodeId, worker: u8, seq: u64, filter: &str) {
        let changes = vec![InterestChange::Added(Arc::from(filter))];
        let (worker, seq) = (WorkerId(worker), InterestSeq(seq));
        self.handle_worker(id, ToHub::Interest { worker, seq, changes });
    }

    /// Has a worker apply its next update.
    fn apply_update(&mut self, id: NodeId, worker: u8) -> Vec<RemoteInterest> {
        let Some(ToWorker::InterestUpdate { update, changes }) = self.received(id, worker) else {
            panic!("no update")
        };
        self.handle_worker(id, ToHub::InterestApplied { worker: WorkerId(worker), update });
        changes.to_vec()
    }
}

fn batch(qos: QoS) -> Vec<u8> {
    batch_for(qos, [None])
}

/// A batch for the members of a group at these positions.
fn shared_batch<const N: usize>(positions: [u32; N]) -> Vec<u8> {
    let shared = |position| Some(Shared { filter: SHARED, position, hops: 0 });
    batch_for(QoS::AtLeastOnce, positions.map(shared))
}

fn batch_for<const N: usize>(qos: QoS, receivers: [Option<Shared<'_>>; N]) -> Vec<u8> {
    let publish = Publish {
        dup: false,
        qos,
        retain: false,
        topic: "a",
        packet_id: None,
        properties: PublishProperties::default(),
        payload: b"1",
    };
    let mut batch = Vec::new();
    for shared in receivers {
        let mut record = Vec::new();
        encode_record(&publish, Millis::NEVER, shared, &mut record).unwrap();
        push_record(&record, &mut batch);
    }
    batch
}

fn session(queue_bytes: usize) -> Box<SessionState> {
    Box::new(SessionState {
        client_id: ClientId::new("x"),
        username: Some(Arc::from("u".repeat(queue_bytes))),
        expiry_seconds: 60,
        subscriptions: Vec::new(),
        in_flight: Vec::new(),
        next_packet_id: PacketId::MIN,
        queue: Vec::new(),
        inbound_qos2: Vec::new(),
    })
}

#[tokio::test]
async fn a_subscription_is_confirmed_when_the_workers_of_both_nodes_route_by_it() {
    let mut pair = Pair::new();
    pair.subscribe(A, 0, 1, "a/#");
    let own = Destination::new(0).unwrap();
    assert_eq!(pair.apply_update(A, 1), [RemoteInterest::Added(own, Arc::from("a/#"))]);
    let peer = Destination::new(WORKERS_MAX as u8).unwrap();
    assert_eq!(pair.apply_update(B, 0), [RemoteInterest::Added(peer, Arc::from("a/#"))]);
    assert!(pair.received(A, 0).is_none(), "worker 1 of the peer does not route yet");
    pair.apply_update(B, 1);
    let confirmed = pair.received(A, 0);
    assert!(matches!(confirmed, Some(ToWorker::InterestConfirmed { seq: InterestSeq(1) })));
}

#[tokio::test]
async fn messages_of_a_peer_go_to_the_workers_that_hold_filters() {
    let mut pair = Pair::new();
    pair.subscribe(A, 1, 1, "a");
    while pair.received(A, 0).is_some() || pair.received(A, 1).is_some() {}
    let destination = Destination::new(WORKERS_MAX as u8).unwrap();
    let batch = batch(QoS::AtMostOnce);
    pair.handle_worker(B, ToHub::Forward { destination, batch: batch.clone() });
    assert!(pair.received(A, 0).is_none());
    match pair.received(A, 1) {
        Some(ToWorker::Deliver { batch: delivered }) => assert_eq!(delivered, batch),
        other => panic!("not delivered: {other:?}"),
    }
}

#[tokio::test]
async fn a_peer_that_is_behind_loses_messages_that_nobody_acknowledges_and_no_others() {
    let mut pair = Pair::new();
    pair.subscribe(A, 1, 1, "a");
    while pair.received(A, 0).is_some() || pair.received(A, 1).is_some() {}
    *pair.carried.lock().unwrap() = Carried::Behind;
    let destination = Destination::new(WORKERS_MAX as u8).unwrap();
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce] {
        pair.handle_worker(B, ToHub::Forward { destination, batch: batch(qos) });
    }
    match pair.received(A, 1) {
        Some(ToWorker::Deliver { batch: delivered }) => {
            assert_eq!(delivered, batch(QoS::AtLeastOnce));
        }
        other => panic!("not delivered: {other:?}"),
    }
    let reading = lock(&pair.node(B).core).counters.read();
    assert_eq!((reading.forwarded_batches, reading.dropped_slow_peer), (1, 1));
}

impl Pair {
    /// Has a worker of A so many connected members of the group.
    fn share(&mut self, worker: u8, seq: u64, connected: u32) {
        let members = SharedMembers { connected, offline: 0, ..SharedMembers::NONE };
        let changes = vec![InterestChange::Shared { filter: Arc::from(SHARED), members }];
        let (worker, seq) = (WorkerId(worker), InterestSeq(seq));
        self.handle_worker(A, ToHub::Interest { worker, seq, changes });
    }

    /// Batches that a worker was given, in order.
    fn delivered(&mut self, id: NodeId, worker: u8) -> Vec<Bytes> {
        let mut batches = Vec::new();
        while let Some(message) = self.received(id, worker) {
            if let ToWorker::Deliver { batch } = message {
                batches.push(batch);
            }
        }
        batches
    }
}

#[tokio::test]
async fn messages_for_a_group_go_to_the_worker_of_the_member_that_is_meant() {
    let mut pair = Pair::new();
    pair.share(0, 1, 2);
    pair.share(1, 1, 1);
    let destination = Destination::new(WORKERS_MAX as u8).unwrap();
    let batch = shared_batch([2, 0, 1, 5]);
    pair.handle_worker(B, ToHub::Forward { destination, batch });
    assert_eq!(pair.delivered(A, 0), [shared_batch([0, 1])]);
    assert_eq!(pair.delivered(A, 1), [shared_batch([0, 0])]);
    // With nobody left, a worker is to pass it on.
    pair.share(0, 2, 0);
    pair.share(1, 2, 0);
    pair.handle_worker(B, ToHub::Forward { destination, batch: shared_batch([1]) });
    assert_eq!(pair.delivered(A, 0), [shared_batch([1])]);
    assert_eq!(pair.delivered(A, 1), [] as [Bytes; 0]);
}

#[tokio::test]
async fn what_is_for_a_group_and_has_no_way_to_the_peer_comes_back() {
    let mut pair = Pair::new();
    *pair.carried.lock().unwrap() = Carried::NoLink;
    let destination = Destination::new(WORKERS_MAX as u8).unwrap();
    for batch in [shared_batch([1]), batch(QoS::AtLeastOnce)] {
        pair.handle_worker(B, ToHub::Forward { destination, batch });
    }
    assert_eq!(pair.delivered(B, 0), [shared_batch([1])]);
    assert_eq!(lock(&pair.node(B).core).counters.read().dropped_no_link, 1);
}

#[tokio::test]
async fn a_session_moves_to_the_node_of_the_newer_connection() {
    let mut pair = Pair::new();
    pair.claim(B, 0, 1);
    let (first, none) = pair.granted(B, 0);
    assert!(none.is_none());
    pair.claim(A, 0, 1);
    assert!(pair.received(A, 0).is_none(), "not before the older one has let go");
    let Some(ToWorker::TakeOver { claim, reply, .. }) = pair.received(B, 0) else {
        panic!("the older connection is not told")
    };
    assert!(claim > first);
    // Longer than a frame may be.
    let state = session(3 * wire::PART_BYTES_MAX);
    reply.send(Some(state.clone())).unwrap();
    tokio::task::yield_now().await;
    pair.carry();
    assert_eq!(pair.granted(A, 0), (claim, Some(state)));
}

#[tokio::test]
async fn a_worker_that_ends_gives_no_session_and_holds_nobody_up() {
    let mut pair = Pair::new();
    pair.claim(B, 0, 1);
    pair.granted(B, 0);
    pair.claim(A, 0, 1);
    drop(pair.received(B, 0));
    tokio::task::yield_now().await;
    pair.carry();
    assert!(pair.granted(A, 0).1.is_none());
}

#[tokio::test]
async fn a_leader_that_no_quorum_follows_grants_nothing() {
    let mut pair = Pair::new();
    let leadership = Leadership { term: 1, leader: Some(A) };
    lock(&pair.node(A).core).set_leadership(leadership, false);
    for node in [A, B] {
        pair.claim(node, 0, 1);
        assert!(pair.received(node, 0).is_none());
    }
    lock(&pair.node(A).core).set_leadership(leadership, true);
    pair.carry();
    // B has asked before; A, which leads, asks itself once it may.
    pair.granted(B, 0);
    let Some(ToWorker::TakeOver { reply, .. }) = pair.received(B, 0) else {
        panic!("the older connection is not told")
    };
    reply.send(None).unwrap();
    tokio::task::yield_now().await;
    pair.carry();
    pair.granted(A, 0);
}

#[tokio::test]
async fn what_a_new_leader_is_asked_before_a_quorum_follows_it_is_granted_once_one_does() {
    let mut pair = Pair::new();
    for (node, leader) in [(A, None), (B, Some(B))] {
        let leadership = Leadership { term: 2, leader };
        lock(&pair.node(node).core).set_leadership(leadership, false);
    }
    let leadership = Leadership { term: 2, leader: Some(B) };
    lock(&pair.node(A).core).set_leadership(leadership, false);
    pair.claim(A, 0, 1);
    assert!(pair.received(A, 0).is_none());
    lock(&pair.node(B).core).set_leadership(leadership, true);
    pair.carry();
    pair.granted(A, 0);
}

#[tokio::test]
async fn what_a_removed_node_held_is_forgotten_once_its_link_is_down() {
    let mut pair = Pair::new();
    pair.claim(B, 0, 1);
    pair.granted(B, 0);
    let arbitrated = |pair: &mut Pair, members: &[NodeId]| {
        let core = &pair.node(A).core;
        lock(core).set_members(BTreeSet::from_iter(members.iter().copied()));
        lock(core).publish_counters();
        lock(core).counters.read().claims_arbitrated
    };
    assert_eq!(arbitrated(&mut pair, &[A, B]), 1);
    assert_eq!(arbitrated(&mut pair, &[A]), 1, "its client can still be taken over");
    lock(&pair.node(A).core).link_down(B);
    assert_eq!(arbitrated(&mut pair, &[A]), 0);
}

#[tokio::test]
async fn what_a_member_without_a_link_holds_is_kept() {
    let mut pair = Pair::new();
    pair.claim(B, 0, 1);
    pair.granted(B, 0);
    lock(&pair.node(A).core).set_members(BTreeSet::from([A, B]));
    lock(&pair.node(A).core).link_down(B);
    lock(&pair.node(A).core).set_members(BTreeSet::from([A, B]));
    lock(&pair.node(A).core).publish_counters();
    assert_eq!(lock(&pair.node(A).core).counters.read().claims_arbitrated, 1);
}

#[tokio::test]
async fn a_worker_that_is_slow_gets_its_messages_in_order_later() {
    let mut pair = Pair::new();
    for seq in 1..=3 * QUEUE as u64 {
        pair.subscribe(A, 1, seq, &format!("f/{seq}"));
    }
    let mut updates = Vec::new();
    while updates.len() < 3 * QUEUE {
        let message = pair.node(A).inboxes[0].recv().await.unwrap();
        let ToWorker::InterestUpdate { update, .. } = message else { continue };
        updates.push(update);
    }
    assert!(updates.is_sorted());
    lock(&pair.node(A).core).publish_counters();
    assert_eq!(lock(&pair.node(A).core).counters.read().messages_waiting, 0);
}

#[tokio::test]
async fn frames_that_cannot_be_read_are_counted_and_ignored() {
    let mut pair = Pair::new();
    for kind in [wire::INTEREST, wire::TO_ARBITER, wire::FROM_ARBITER, wire::TO_PEER] {
        lock(&pair.node(A).core).peer_frame(B, kind, Bytes::from_static(&[0xFF; 9]));
    }
    assert_eq!(lock(&pair.node(A).core).counters.read().malformed_frames, 4);
}

#[test]
fn messages_between_hubs_are_read_as_they_were_written() {
    let request = ToArbiter::Release {
        client_id: ClientId::new("x"),
        claim: Claim { term: 3, seq: u64::MAX },
    };
    let (kind, mut body) = wire::PeerMessage::ToArbiter(request.clone()).encode().unwrap();
    let Some(wire::PeerMessage::ToArbiter(read)) = wire::PeerMessage::decode(kind, &body) else {
        panic!("another message")
    };
    assert_eq!(read, request);
    body.push(0);
    assert!(wire::PeerMessage::decode(kind, &body).is_none(), "trailing bytes");
    let asked = FromArbiter::AskReport { term: 1 };
    let (kind, _) = wire::PeerMessage::FromArbiter(asked).encode().unwrap();
    assert_eq!(kind, wire::FROM_ARBITER);
}
