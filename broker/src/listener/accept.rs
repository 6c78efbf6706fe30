//! Accepts sockets while the node serves and hands each to the least loaded worker.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::BoundListener;
use super::acceptor::{Accepted, Acceptor};
use super::rate::TokenBucket;
use broker_config::Bind;

use crate::node::{AcceptedSocket, Admission, ConnectionSlot, Gate, ToWorker, WorkerHandle};

/// Wait after an accept that failed: out of descriptors, mostly.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Wait before a port that was given up is taken again.
const REOPEN_PAUSE: Duration = Duration::from_millis(500);

/// Sockets accepted before the other tasks of the thread get their turn.
const ACCEPTS_PER_TURN: usize = 64;

/// Runs a listener for as long as it is polled: open while `gate` is.
pub async fn run(
    mut listener: BoundListener,
    workers: Arc<[WorkerHandle]>,
    admission: Arc<Admission>,
    mut gate: Gate,
) {
    let name = listener.listener.name.clone();
    loop {
        gate.wait_for(true).await;
        match listener.open() {
            Ok(socket) => {
                let (address, protocol) = (&listener.place, listener.listener.protocol.as_str());
                let port = match address {
                    Bind::Tcp(address) => Some(address.port()),
                    Bind::Unix(_) => None,
                };
                tracing::info!(listener = name, protocol, %address, port, "listening");
                tokio::select! {
                    () = accept_all(&listener, &socket, &workers, &admission) => {}
                    () = gate.wait_for(false) => {}
                }
                tracing::info!(listener = name, "closed to new clients");
            }
            Err(error) => {
                tracing::error!(listener = name, %error, "can't listen, trying again");
                tokio::time::sleep(REOPEN_PAUSE).await;
            }
        }
    }
}

async fn accept_all(
    listener: &BoundListener,
    socket: &Acceptor,
    workers: &[WorkerHandle],
    admission: &Arc<Admission>,
) {
    let limits = listener.listener.limits;
    let mut rate = TokenBucket::new(limits.connections_per_second, Instant::now());
    let mut turn = 0;
    loop {
        if let Err(wait) = rate.take(Instant::now()) {
            // Who comes now waits in the kernel's backlog.
            listener.counters.accept_paused();
            tokio::time::sleep(wait).await;
            continue;
        }
        match socket.accept().await {
            Ok(client) => hand_over(listener, client, workers, admission),
            Err(error) if is_of_one_client(&error) => {}
            Err(error) => {
                tracing::warn!(listener = listener.listener.name, %error, "accepting failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
        turn += 1;
        if turn % ACCEPTS_PER_TURN == 0 {
            tokio::task::yield_now().await;
        }
    }
}

fn hand_over(
    listener: &BoundListener,
    client: Accepted,
    workers: &[WorkerHandle],
    admission: &Arc<Admission>,
) {
    let counters = &listener.counters;
    let is_full = counters.connections() >= u64::from(listener.listener.limits.connections);
    // Behind a proxy every client has the proxy's address, until its header says another.
    let address = client.address.filter(|_| !listener.listener.proxy_protocol);
    let Some(place) = admission.enter(address.map(|address| address.ip()), is_full) else {
        return counters.connection_refused();
    };
    let Some(worker) = workers.iter().min_by_key(|worker| worker.counters.sockets()) else {
        return counters.connection_refused();
    };
    let slot = ConnectionSlot::take(counters, &worker.counters, place.refusal().is_none());
    let Accepted { socket, address } = client;
    let accepted = Instant::now();
    let socket = AcceptedSocket { socket, address, accepted, listener: listener.id, slot, place };
    if worker.inbox.try_send(ToWorker::Accept(socket)).is_err() {
        counters.connection_refused();
    }
}

/// Whether accepting failed for reasons of the client that was next, and not for this process.
fn is_of_one_client(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
            | io::ErrorKind::PermissionDenied
    )
}
