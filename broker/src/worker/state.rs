//! What the tasks of one worker share. Every borrow ends before a task waits.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Waker};

use broker_core::engine::{Destination, Engine};
use broker_core::types::{ConnectionId, Millis};

use super::WorkerShared;
use super::authentication::Proofs;
use super::drain::Pace;
use super::handshake::Handshakes;
use super::outbox::Outbox;
use super::readers::Woken;
use super::signal::Signal;
use super::socket::{Phase, Scratch, Socket};
use super::timer::Timer;
use crate::node::{ListenerId, ToHub, ToWorker, WorkerHandle, WorkerId};

/// One worker.
pub(super) struct Worker {
    pub(super) handle: WorkerHandle,
    pub(super) shared: WorkerShared,
    pub(super) engine: RefCell<Engine>,
    pub(super) scratch: RefCell<Scratch>,
    pub(super) proofs: Vec<Proofs>,
    pub(super) handshakes: Handshakes,
    /// Asks for the end of the pass.
    pub(super) flush: Signal,
    pub(super) timer: Timer,
    pub(super) pace: Pace,
    pub(super) hub: Outbox<ToHub>,
    /// By worker id; `None` at this worker's own.
    pub(super) workers: Vec<Option<Outbox<ToWorker>>>,
    pub(super) is_stopping: Cell<bool>,
    /// Sockets that the engine has forgotten and that wait for their clients to close.
    pub(super) lingering: Cell<usize>,
    /// Sockets to be read.
    pub(super) woken: Arc<Woken>,
    sockets: RefCell<Sockets>,
    /// The reading task, where it waits until the outboxes are empty.
    held_back: RefCell<Option<Waker>>,
    /// The time of this pass, once somebody asked.
    now: Cell<Option<Millis>>,
}

#[derive(Default)]
struct Sockets {
    /// By the lower half of the connection's number, which the engine keeps small.
    slots: Vec<Option<Rc<Socket>>>,
    count: usize,
}

fn slot_of(connection: ConnectionId) -> usize {
    (connection.0 & u64::from(u32::MAX)) as usize
}

impl Worker {
    pub(super) fn new(shared: WorkerShared, handle: WorkerHandle, engine: Engine) -> Self {
        let workers = shared
            .workers
            .iter()
            .map(|other| (other.id != handle.id).then(|| Outbox::new(other.inbox.clone())))
            .collect();
        Self {
            proofs: shared.listeners.iter().map(Proofs::of).collect(),
            hub: Outbox::new(shared.hub.clone()),
            workers,
            handle,
            shared,
            engine: RefCell::new(engine),
            scratch: RefCell::new(Scratch::new()),
            handshakes: Handshakes::default(),
            flush: Signal::default(),
            timer: Timer::default(),
            pace: Pace::default(),
            is_stopping: Cell::new(false),
            lingering: Cell::new(0),
            woken: Arc::default(),
            sockets: RefCell::default(),
            held_back: RefCell::default(),
            now: Cell::new(None),
        }
    }

    pub(super) fn id(&self) -> WorkerId {
        self.handle.id
    }

    /// Whose users the clients of a listener are; `None`: those of all listeners without a policy of
    /// their own.
    pub(super) fn realm_of(&self, listener: ListenerId) -> Option<&str> {
        let listener = self.shared.listeners.get(usize::from(listener.0))?;
        listener.policy.as_ref().map(|policy| &*policy.realm)
    }

    /// The time, read once a pass.
    pub(super) fn now(&self) -> Millis {
        if let Some(now) = self.now.get() {
            return now;
        }
        let now = self.shared.clock.now();
        self.now.set(Some(now));
        now
    }

    pub(super) fn end_pass(&self) {
        self.now.set(None);
        self.handshakes.begin_pass();
    }

    // ---- sockets ----

    pub(super) fn socket(&self, connection: ConnectionId) -> Option<Rc<Socket>> {
        let sockets = self.sockets.borrow();
        let socket = sockets.slots.get(slot_of(connection))?.as_ref()?;
        (socket.connection == connection).then(|| Rc::clone(socket))
    }

    pub(super) fn add_socket(&self, socket: &Rc<Socket>) {
        let slot = slot_of(socket.connection);
        let mut sockets = self.sockets.borrow_mut();
        if sockets.slots.len() <= slot {
            sockets.slots.resize_with(slot + 1, || None);
        }
        sockets.slots[slot] = Some(Rc::clone(socket));
        sockets.count += 1;
    }

    /// Where a connection is from, for a line of the log: as a proxy said, or the system says.
    pub(super) fn address(&self, connection: ConnectionId) -> Option<String> {
        let address = self.socket(connection)?.address()?;
        Some(address.to_string())
    }

    /// Forgets the socket and has the engine forget the connection; does nothing the second time.
    pub(super) fn forget(&self, socket: &Socket) {
        if socket.phase() == Phase::Gone {
            return;
        }
        tracing::debug!(address = self.address(socket.connection), "connection ended");
        socket.set_phase(Phase::Gone);
        {
            let mut sockets = self.sockets.borrow_mut();
            sockets.slots[slot_of(socket.connection)] = None;
            sockets.count -= 1;
        }
        self.engine.borrow_mut().connection_closed(self.now(), socket.connection);
        self.flush.set();
    }

    /// Sockets that are not closed yet, handshakes aside.
    pub(super) fn socket_count(&self) -> usize {
        self.sockets.borrow().count + self.lingering.get()
    }

    // ---- outboxes ----

    /// Whether reading must wait because messages for other threads do.
    pub(super) fn is_held_back(&self) -> bool {
        self.hub.waiting() > 0 || self.workers.iter().flatten().any(|other| other.waiting() > 0)
    }

    pub(super) fn hold_back(&self, context: &Context<'_>) {
        *self.held_back.borrow_mut() = Some(context.waker().clone());
    }

    fn let_go(&self) {
        if !self.is_held_back()
            && let Some(reader) = self.held_back.take()
        {
            reader.wake();
        }
    }

    pub(super) fn spawn_outboxes(self: &Rc<Self>) {
        let worker = Rc::clone(self);
        tokio::task::spawn_local(async move { worker.hub.run(|| worker.let_go()).await });
        for number in 0..self.workers.len() {
            let worker = Rc::clone(self);
            tokio::task::spawn_local(async move {
                if let Some(outbox) = &worker.workers[number] {
                    outbox.run(|| worker.let_go()).await;
                }
            });
        }
    }

    /// Sends each destination what the engine has gathered for it.
    pub(super) fn forward(&self) {
        let mut engine = self.engine.borrow_mut();
        let mut pending = engine.pending_forwards();
        while pending != 0 {
            let number = pending.trailing_zeros();
            pending &= pending - 1;
            let Some(destination) = u8::try_from(number).ok().and_then(Destination::new) else {
                continue;
            };
            loop {
                let batch = engine.take_forward(destination);
                if batch.is_empty() {
                    break;
                }
                self.send_forward(destination, batch);
            }
        }
    }

    fn send_forward(&self, destination: Destination, batch: Vec<u8>) {
        match WorkerId::from_destination(destination) {
            None => self.hub.push(ToHub::Forward { destination, batch }),
            Some(other) => {
                if let Some(Some(outbox)) = self.workers.get(usize::from(other.0)) {
                    outbox.push(ToWorker::DeliverLocal { batch });
                }
            }
        }
    }
}
