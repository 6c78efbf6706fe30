//! One worker: the product's engine behind simulated sockets.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use broker::cluster::WallClock;
use broker::node::{ToHub, ToWorker, WorkerHandle, WorkerId};
use broker_core::codec::ReasonCode;
use broker_core::engine::{
    AuthOutcome, AuthProof, AuthRequest, Claim, ConnectionOrigin, Destination, Effect, Engine,
    EngineConfig, Intake,
};
use broker_core::retained::RetainedSource;
use broker_core::shard::SessionStore;
use broker_core::types::{ClientId, ConnectionId, Millis, NodeId};
use broker_policy::{AuthDecision, Credential, Policy};
use bytes::Bytes;
use openraft_rt_sim::SimInstant;
use tokio::sync::mpsc;

use crate::environment::{SimClock, now, sleep, spawn};
use crate::event::Event;
use crate::history::History;
use crate::life::Life;
use crate::random::Random;

/// Clients that a fenced or drained worker sends away at a time.
const DRAINED_AT_ONCE: usize = 4;

/// Between two such times.
const DRAIN_INTERVAL: Duration = Duration::from_millis(50);

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
    is_draining: bool,
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
        is_draining: false,
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
            let due = self
                .engine
                .next_timeout()
                .map_or(IDLE, |due| Duration::from_millis(due.0.saturating_sub(self.now().0)));
            let due = if self.is_draining { due.min(DRAIN_INTERVAL) } else { due };
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
                () = sleep(due.min(IDLE)) => {
                    let now = self.now();
                    self.engine.handle_timeout(now);
                    if self.is_draining {
                        self.engine.drain_some(now, DRAINED_AT_ONCE);
                    }
                }
            }
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
            ToWorker::PublishLive { client_id, message } => {
                engine.publish_live(now, &client_id, &message);
            }
            ToWorker::Drain { clients_per_second } => self.is_draining = clients_per_second > 0,
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

    /// Carries out what the engine asks for, and writes what it has to say.
    fn end_pass(&mut self) {
        let (mut effects, mut touched) = (Vec::new(), Vec::new());
        loop {
            self.engine.take_effects(&mut effects);
            if !effects.is_empty() {
                effects.drain(..).for_each(|effect| self.carry_out(effect));
                continue;
            }
            self.engine.take_touched(&mut touched);
            if touched.is_empty() {
                break;
            }
            touched.drain(..).for_each(|id| self.write(id));
        }
        self.forward();
        self.note_held();
    }

    fn write(&mut self, id: ConnectionId) {
        let now = self.now();
        let Some(socket) = self.sockets.get_mut(&id) else { return };
        let output = Bytes::copy_from_slice(self.engine.output(id));
        if !output.is_empty() {
            let soonest = now_after(&mut self.parts.random);
            let at = socket.last.map_or(soonest, |last| last.max(soonest));
            socket.last = Some(at);
            let bytes = socket.bytes.clone();
            let length = output.len();
            spawn(async move {
                crate::environment::sleep_until(at).await;
                // A client that has gone misses nothing.
                drop(bytes.try_send(output));
            });
            self.engine.output_written(now, id, length);
        }
        if self.sockets.get(&id).is_some_and(|socket| socket.is_closing) {
            self.forget(now, id);
        }
    }

    fn carry_out(&mut self, effect: Effect) {
        let (now, worker) = (self.now(), self.parts.worker);
        match effect {
            Effect::Close { connection } => {
                if let Some(socket) = self.sockets.get_mut(&connection) {
                    socket.is_closing = true;
                }
                self.write(connection);
            }
            Effect::Authenticate { connection, request } => {
                self.engine.authenticated(now, connection, authenticate(&request));
            }
            // No client of the simulation begins one.
            Effect::BeginExchange { .. } | Effect::ContinueExchange { .. } => {}
            Effect::Resume { connection } => {
                if let Some(socket) = self.sockets.get_mut(&connection) {
                    socket.is_paused = false;
                    let waiting = std::mem::take(&mut socket.waiting);
                    self.receive(now, connection, &waiting);
                }
            }
            Effect::Claim { connection, client_id, clean_start } => {
                self.tell_hub(ToHub::Claim { worker, connection, client_id, clean_start });
            }
            Effect::Release { client_id, claim } => {
                self.tell_hub(ToHub::Release { worker, client_id, claim });
            }
            Effect::Interest { seq, changes } => {
                self.tell_hub(ToHub::Interest { worker, seq, changes });
            }
            Effect::Propose { proposal, change } => {
                self.tell_hub(ToHub::Propose { worker, proposal, change });
            }
            Effect::ProposeSessions { proposal, operations, reach } => {
                let operations = operations.into();
                self.tell_hub(ToHub::ProposeSessions { worker, proposal, operations, reach });
            }
        }
    }

    fn tell_hub(&self, message: ToHub) {
        if self.parts.hub.try_send(message).is_err() && !self.parts.life.is_over() {
            self.parts.history.violate("the hub takes nothing more".to_owned());
        }
    }

    fn forward(&mut self) {
        let mut pending = self.engine.pending_forwards();
        while pending != 0 {
            let number = pending.trailing_zeros();
            pending &= pending - 1;
            let destination = u8::try_from(number).ok().and_then(Destination::new);
            let Some(destination) = destination else { continue };
            loop {
                let batch = self.engine.take_forward(destination);
                if batch.is_empty() {
                    break;
                }
                match WorkerId::from_destination(destination) {
                    None => self.tell_hub(ToHub::Forward { destination, batch }),
                    Some(other) => {
                        if let Some(other) = self.parts.workers.get(usize::from(other.0)) {
                            // A worker that has ended has ended with the process.
                            drop(other.inbox.try_send(ToWorker::DeliverLocal { batch }));
                        }
                    }
                }
            }
        }
    }

    /// Notes whose sessions are here.
    fn note_held(&mut self) {
        let held: BTreeMap<ClientId, Claim> =
            self.engine.claims().map(|(client, claim)| (client.clone(), claim)).collect();
        if held == self.held {
            return;
        }
        let (node, worker) = (self.parts.node, self.parts.worker.0);
        for client in self.held.keys().filter(|client| !held.contains_key(*client)) {
            let client = client.to_shared();
            self.parts.history.note(Event::LetGo { node, worker, client });
        }
        for (client, claim) in &held {
            if self.held.get(client) != Some(claim) {
                let (client, claim) = (client.to_shared(), *claim);
                self.parts.history.note(Event::Holds { node, worker, client, claim });
            }
        }
        self.held = held;
    }
}

/// When bytes arrive that leave now.
fn now_after(random: &mut Random) -> SimInstant {
    now() + random.millis(1, 10)
}

/// The simulated listener believes who clients say they are.
fn authenticate(request: &AuthRequest) -> AuthOutcome {
    let username = request.username.as_deref();
    let client_id = request.client_id.as_str();
    match request.policy.authenticate(username, client_id, Credential::Believed) {
        AuthDecision::Accepted => {
            AuthOutcome::Accepted { username: request.username.clone(), proof: AuthProof::None }
        }
        _ => AuthOutcome::Refused { reason_code: ReasonCode::NotAuthorized },
    }
}
