//! Reads the sockets that have bytes, one task for all of a worker: an idle connection owns a waker, not a task.

use std::future::poll_fn;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use broker_core::engine::Intake;
use broker_core::types::ConnectionId;

use super::socket::{Phase, ReadProgress, Socket};
use super::state::Worker;
use crate::sync::lock;

/// Connections whose sockets may have bytes, in the order in which they were woken. A connection that
/// stands in it twice is looked at twice, which does no harm.
#[derive(Debug, Default)]
pub(super) struct Woken {
    list: Mutex<List>,
}

#[derive(Debug, Default)]
struct List {
    connections: Vec<ConnectionId>,
    /// The reading task, unless it is woken already.
    reader: Option<Waker>,
}

impl Woken {
    /// A waker that has a connection's socket read.
    pub(super) fn waker(self: &Arc<Self>, connection: ConnectionId) -> Waker {
        Waker::from(Arc::new(SocketWaker { connection, woken: Arc::clone(self) }))
    }

    fn push(&self, connection: ConnectionId) {
        let reader = {
            let mut list = lock(&self.list);
            list.connections.push(connection);
            list.reader.take()
        };
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    /// Takes the list in exchange for an empty one; the next push wakes the task of `context`.
    fn take(&self, context: &Context<'_>, connections: &mut Vec<ConnectionId>) {
        let mut list = lock(&self.list);
        std::mem::swap(&mut list.connections, connections);
        list.reader = Some(context.waker().clone());
    }
}

/// What the runtime wakes when a socket has bytes.
struct SocketWaker {
    connection: ConnectionId,
    woken: Arc<Woken>,
}

impl Wake for SocketWaker {
    fn wake(self: Arc<Self>) {
        self.woken.push(self.connection);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.push(self.connection);
    }
}

/// Reads for as long as it is polled. The flush, which a read wakes, comes after all that were woken before.
pub(super) async fn run(worker: Rc<Worker>) {
    let mut connections = Vec::new();
    // The runtime's budget is for one socket's task; here each socket has its turn by itself.
    tokio::task::unconstrained(poll_fn(|context| {
        read_woken(&worker, context, &mut connections);
        Poll::<()>::Pending
    }))
    .await;
}

fn read_woken(worker: &Worker, context: &Context<'_>, connections: &mut Vec<ConnectionId>) {
    if worker.is_held_back() {
        return worker.hold_back(context);
    }
    worker.woken.take(context, connections);
    for connection in connections.drain(..) {
        if let Some(socket) = worker.socket(connection) {
            read(worker, &socket);
        }
    }
}

/// Reads what a socket has, at most one buffer full; what is left has its turn after the flush.
fn read(worker: &Worker, socket: &Socket) {
    let mut context = Context::from_waker(socket.waker());
    while socket.phase() != Phase::Gone && !socket.is_paused() {
        let progress = {
            let mut scratch = worker.scratch.borrow_mut();
            socket.poll_read(&mut context, &mut scratch, |bytes| receive(worker, socket, bytes))
        };
        let Poll::Ready(progress) = progress else { return };
        worker.flush.set();
        match progress {
            ReadProgress::Ended => worker.forget(socket),
            // Asking again registers the waker without another system call.
            ReadProgress::Drained => {}
            ReadProgress::Filled => return socket.wake_reader(),
        }
    }
}

/// Hands a socket's bytes to the engine.
pub(super) fn receive(worker: &Worker, socket: &Socket, bytes: &[u8]) {
    let now = worker.now();
    match worker.engine.borrow_mut().receive(now, socket.connection, bytes) {
        Intake::Open => {}
        Intake::Paused => socket.pause(),
    }
}
