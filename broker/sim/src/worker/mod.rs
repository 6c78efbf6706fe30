//! One worker: the product's engine behind simulated sockets.

mod pass;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use broker::cluster::WallClock;
use broker::node::{ToHub, ToWorker, WorkerHandle, WorkerId};
use broker_core::engine::{Claim, ConnectionOrigin, Engine, EngineConfig, Intake};
use broker_core::retained::RetainedSource;
use broker_core::shard::SessionStore;
use broker_core::types::{ClientId, ConnectionId, Millis, NodeId};
use broker_policy::Policy;
use bytes::Bytes;
use openraft_rt_sim::SimInstant;
use tokio::sync::mpsc;

use crate::count::Count;
use crate::environment::{SimClock, now as instant, sleep, spawn};
use crate::history::History;
use crate::life::Life;
use crate::random::Random;

/// Clients that a fenced or drained worker sends away at a time.
const DRAINED_AT_ONCE: usize = 4;

/// Between two such times.
const DRAIN_INTERVAL: Duration = Duration::from_millis(50);

/// In one of so many passes a worker is held up, as by a long list or a busy machine.
const STALL_PASSES: u64 = 300;

/// For how long, at most.
const STALL_MILLIS_MAX: u64 = 500;

/// Longest sleep of a worker that has nothing to do.
const IDLE: Duration = Duration::from_secs(3600);

/// From a client, by the number that it has given its connection.
#[derive(Debug)]
pub(crate) enum FromClient {
    /// A connection; its bytes go there.
    Open { connection: u64, bytes: mpsc::Sender<Bytes> },
    /// Bytes.
    Bytes { connection: u64, bytes: Bytes },
    /// The client has closed it.
    Close { connection: u64 },
}

/// What a worker is made of.
pub(crate) struct WorkerParts {
    pub(crate) node: NodeId,
    pub(crate) worker: WorkerId,
    pub(crate) life: Life,
    pub(crate) clock: SimClock,
    pub(crate) random: Random,
    pub(crate) history: History,
    pub(crate) policy: Arc<Policy>,
    pub(crate) retained: Arc<dyn RetainedSource>,
    pub(crate) sessions: Arc<SessionStore>,
    pub(crate) hub: mpsc::Sender<ToHub>,
    pub(crate) workers: Arc<[WorkerHandle]>,
    pub(crate) inbox: mpsc::Receiver<ToWorker>,
    pub(crate) clients: mpsc::Receiver<FromClient>,
}

struct Socket {
    /// The client's number for it.
    number: u64,
    bytes: mpsc::Sender<Bytes>,
    /// When the last bytes arrive that are on their way.
    last: Option<SimInstant>,
    is_paused: bool,
    /// Bytes that came meanwhile.
    waiting: Vec<u8>,
    is_closing: bool,
}

struct Worker {
    parts: WorkerParts,
    engine: Engine,
    sockets: BTreeMap<ConnectionId, Socket>,
    by_number: BTreeMap<u64, ConnectionId>,
    /// When clients are sent away next, while they are.
    drains_at: Option<SimInstant>,
    held: BTreeMap<ClientId, Claim>,
}

/// Starts a worker.
pub(crate) fn start(mut parts: WorkerParts) {
    let config = EngineConfig {
        seed: parts.random.number(),
        node: parts.node,
        worker: parts.worker.destination().get(),
        ..EngineConfig::default()
    };
    let engine = Engine::new(config, Arc::clone(&parts.policy), Arc::clone(&parts.retained))
        .with_durable_sessions(Arc::clone(&parts.sessions));
    let worker = Worker {
        parts,
        engine,
        sockets: BTreeMap::new(),
        by_number: BTreeMap::new(),
        drains_at: None,
        held: BTreeMap::new(),
    };
    spawn(worker.run());
}

impl Worker {
    fn now(&self) -> Millis {
        self.parts.clock.now()
    }

    async fn run(mut self) {
        let life = self.parts.life.clone();
        while !life.is_over() {
            self.end_pass();
            if self.parts.random.below(STALL_PASSES) == 0 {
                self.parts.history.count(Count::WorkersStalled);
                sleep(self.parts.random.millis(20, STALL_MILLIS_MAX)).await;
            }
            // A message of a client that came while the hub's waits may have its turn first.
            if self.parts.random.percent(50)
                && let Ok(message) = self.parts.clients.try_recv()
            {
                self.take_client(message);
                continue;
            }
            let due = self.due();
            tokio::select! {
                biased;
                () = life.ended() => return,
                message = self.parts.inbox.recv() => match message {
                    Some(message) => self.take(message),
                    None => return,
                },
                message = self.parts.clients.recv() => {
                    if let Some(message) = message {
                        self.take_client(message);
                    }
                }
                () = sleep(due) => self.handle_timeout(),
            }
        }
    }

    /// How long nothing is due.
    fn due(&self) -> Duration {
        let millis = |due: Millis| Duration::from_millis(due.0.saturating_sub(self.now().0));
        let due = self.engine.next_timeout().map_or(IDLE, millis).min(IDLE);
        self.drains_at.map_or(due, |at| due.min(at - instant()))
    }

    fn handle_timeout(&mut self) {
        let now = self.now();
        self.engine.handle_timeout(now);
        if self.drains_at.is_some_and(|at| at <= instant()) {
            self.engine.drain_some(now, DRAINED_AT_ONCE);
            self.drains_at = Some(instant() + DRAIN_INTERVAL);
        }
    }

    /// A message of the hub, or of another worker.
    fn take(&mut self, message: ToWorker) {
        let now = self.now();
        let worker = self.parts.worker;
        let engine = &mut self.engine;
        match message {
            ToWorker::Claimed { connection, outcome } => engine.claimed(now, connection, outcome),
            ToWorker::TakeOver { client_id, claim: _, clean_start, reply } => {
                if self.held.contains_key(&client_id) {
                    self.parts.history.count(Count::TakenOver);
                }
                let session = engine.take_over(now, &client_id, clean_start);
                // Who asked may have given up.
                drop(reply.send(session));
            }
            ToWorker::InterestUpdate { update, changes } => {
                engine.set_remote_interest(changes.iter().cloned());
                self.tell_hub(ToHub::InterestApplied { worker, update });
            }
            ToWorker::InterestConfirmed { seq } => engine.interest_confirmed(now, seq),
            ToWorker::Deliver { batch } => engine.deliver(now, &batch),
            ToWorker::DeliverLocal { batch } => engine.deliver(now, &batch),
            ToWorker::Policy(policy) => {
                let revision = policy.revision();
                engine.set_policy(now, policy);
                self.tell_hub(ToHub::PolicyEnforced { worker, revision });
            }
            ToWorker::Committed { proposal, outcome } => engine.committed(now, proposal, outcome),
            ToWorker::SessionsCommitted { proposal, outcome } => {
                engine.sessions_committed(now, proposal, outcome);
            }
            ToWorker::SessionsReady { sessions } => {
                engine.sessions_ready(now, sessions.as_deref());
            }
            ToWorker::PublishLive(message) => engine.publish_live(now, &message),
            ToWorker::SessionDrops(drops) => engine.count_drops(&drops),
            ToWorker::Drain { clients_per_second, .. } => {
                self.drains_at = (clients_per_second > 0).then(instant);
            }
            ToWorker::Accept(_) | ToWorker::Sys(_) | ToWorker::Pressure(_) | ToWorker::Stop => {}
        }
    }

    fn take_client(&mut self, message: FromClient) {
        let now = self.now();
        match message {
            FromClient::Open { connection: number, bytes } => {
                let id = self.engine.connection_opened(now, ConnectionOrigin::default());
                let waiting = Vec::new();
                let (last, is_paused, is_closing) = (None, false, false);
                let socket = Socket { number, bytes, last, is_paused, waiting, is_closing };
                self.sockets.insert(id, socket);
                self.by_number.insert(number, id);
            }
            FromClient::Bytes { connection, bytes } => {
                if let Some(id) = self.by_number.get(&connection).copied() {
                    self.receive(now, id, &bytes);
                }
            }
            FromClient::Close { connection } => {
                if let Some(id) = self.by_number.get(&connection).copied() {
                    self.forget(now, id);
                }
            }
        }
    }

    fn receive(&mut self, now: Millis, id: ConnectionId, bytes: &[u8]) {
        let Some(socket) = self.sockets.get_mut(&id) else { return };
        if socket.is_paused {
            socket.waiting.extend_from_slice(bytes);
        } else if self.engine.receive(now, id, bytes) == Intake::Paused {
            socket.is_paused = true;
        }
    }

    fn forget(&mut self, now: Millis, id: ConnectionId) {
        if let Some(socket) = self.sockets.remove(&id) {
            self.by_number.remove(&socket.number);
            self.engine.connection_closed(now, id);
        }
    }
}
