//! One client's connection, from its socket's arrival to its end.

use std::future::poll_fn;
use std::rc::Rc;
use std::time::Duration;

use broker_core::engine::ConnectionOrigin;
use broker_core::types::ConnectionId;

use super::handshake::shake_hands;
use super::readers::receive;
use super::socket::{Phase, Socket};
use super::state::Worker;
use super::transport::{Stream, Transport};
use crate::node::{AcceptedSocket, ConnectionSlot, ListenerId, Place};

/// How long a closed connection's socket is read on, so that the client gets what was written last:
/// closing a socket with unread bytes makes the kernel throw away what it has not sent.
const LINGER: Duration = Duration::from_millis(1_000);

/// Takes a socket in: handshakes first, where the listener has any.
pub(super) fn accept(worker: &Rc<Worker>, accepted: AcceptedSocket) {
    if worker.is_stopping.get() {
        return;
    }
    let AcceptedSocket { socket, address, accepted, listener: id, slot, mut place } = accepted;
    let stream = match Stream::try_from(socket) {
        Ok(stream) => stream,
        Err(error) => {
            tracing::warn!(?address, %error, "a socket can't be watched, closing it");
            return;
        }
    };
    let listener = &worker.shared.listeners[usize::from(id.0)];
    if !listener.has_handshake() {
        let origin =
            ConnectionOrigin { certificate_name: None, listener: id.0, refusal: place.refusal() };
        let since = worker.shared.clock.at(accepted);
        let connection = worker.engine.borrow_mut().connection_opened(since, origin);
        return open(worker, (connection, id), Transport::new(stream, None, None), (slot, place));
    }
    let worker = Rc::clone(worker);
    tokio::task::spawn_local(async move {
        let listener = &worker.shared.listeners[usize::from(id.0)];
        let handshake = shake_hands(&worker, stream, (id, listener), &mut place);
        let timeout = Duration::from_millis(worker.shared.engine.connect_timeout_millis);
        match tokio::time::timeout(timeout.saturating_sub(accepted.elapsed()), handshake).await {
            Ok(Ok((transport, certificate_name))) => {
                let refusal = place.refusal();
                let origin = ConnectionOrigin { certificate_name, listener: id.0, refusal };
                // What is left of the time is CONNECT's.
                let since = worker.shared.clock.at(accepted);
                let connection = worker.engine.borrow_mut().connection_opened(since, origin);
                open(&worker, (connection, id), transport, (slot, place));
            }
            Ok(Err(error)) => {
                let address = place.proxied().or(address);
                worker.handle.counters.handshake_failed();
                tracing::debug!(?address, listener = listener.name, %error, "handshake failed");
            }
            Err(_) => {
                let address = place.proxied().or(address);
                worker.handle.counters.handshake_failed();
                worker.handle.counters.handshake_timed_out();
                tracing::debug!(?address, listener = listener.name, "handshake took too long");
            }
        }
    });
}

fn open(
    worker: &Rc<Worker>,
    (connection, listener): (ConnectionId, ListenerId),
    transport: Transport,
    (slot, place): (ConnectionSlot, Place),
) {
    let waker = worker.woken.waker(connection);
    let socket = Rc::new(Socket::new(connection, listener, transport, waker, (slot, place)));
    worker.add_socket(&socket);
    let early = {
        let mut scratch = worker.scratch.borrow_mut();
        socket.take_early(&mut scratch, |bytes| receive(worker, &socket, bytes))
    };
    worker.flush.set();
    if early.is_err() {
        return worker.forget(&socket);
    }
    // Session tickets, where the handshake has left some.
    worker.write(&socket);
    socket.wake_reader();
}

/// Waits until the socket takes bytes again, then has its output written.
pub(super) fn write_when_there_is_room(worker: &Rc<Worker>, socket: &Rc<Socket>) {
    if !socket.start_awaiting_room() {
        return;
    }
    let (worker, socket) = (Rc::clone(worker), Rc::clone(socket));
    tokio::task::spawn_local(async move {
        poll_fn(|context| socket.poll_room(context)).await;
        socket.stop_awaiting_room();
        worker.write(&socket);
        worker.flush.set();
    });
}

/// Ends a socket whose connection the engine has forgotten.
pub(super) fn linger(worker: &Rc<Worker>, socket: &Rc<Socket>) {
    socket.shut_down();
    worker.lingering.set(worker.lingering.get() + 1);
    let (worker, socket) = (Rc::clone(worker), Rc::clone(socket));
    tokio::task::spawn_local(async move {
        let until_closed = poll_fn(|context| socket.poll_discard(context));
        let _ = tokio::time::timeout(LINGER, until_closed).await;
        worker.lingering.set(worker.lingering.get() - 1);
    });
}

/// Forgets a closing connection that does not take its last bytes in time.
pub(super) fn close_in_time(worker: &Rc<Worker>, socket: &Rc<Socket>) {
    let (worker, socket) = (Rc::clone(worker), Rc::clone(socket));
    tokio::task::spawn_local(async move {
        tokio::time::sleep(LINGER).await;
        if socket.phase() == Phase::Closing {
            worker.forget(&socket);
        }
    });
}
