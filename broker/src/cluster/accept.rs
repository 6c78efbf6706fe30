//! Accepts links from peers. IO.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::connection::Connection;
use super::handshake::{self, HandshakeError};
use super::links::Shared;

/// Most handshakes under way; further connections wait in the listener's backlog.
const HANDSHAKES_MAX: usize = 32;

/// Wait after an accept that failed (out of descriptors, mostly).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Accepts until the links stop.
pub(super) async fn run(shared: Arc<Shared>, listener: TcpListener) {
    let mut stop = shared.stop.subscribe();
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES_MAX));
    loop {
        let accepted = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            accepted = accept(&listener, &handshakes) => accepted,
        };
        match accepted {
            Ok((tcp, address, permit)) => {
                let shared = Arc::clone(&shared);
                tokio::spawn(async move {
                    let greeted = greet(&shared, tcp, address).await;
                    drop(permit);
                    if let Some(greeted) = greeted {
                        serve(&shared, greeted).await;
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "accepting a peer link failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

type Permit = tokio::sync::OwnedSemaphorePermit;

async fn accept(
    listener: &TcpListener,
    handshakes: &Arc<Semaphore>,
) -> std::io::Result<(TcpStream, SocketAddr, Permit)> {
    let permit = Arc::clone(handshakes).acquire_owned().await.map_err(std::io::Error::other)?;
    let (tcp, address) = listener.accept().await?;
    Ok((tcp, address, permit))
}

async fn greet(shared: &Shared, tcp: TcpStream, address: SocketAddr) -> Option<handshake::Greeted> {
    let tls = shared.tls.as_ref()?.load_full();
    match handshake::accept(shared, &tls, tcp, address).await {
        Ok(greeted) => Some(greeted),
        Err(HandshakeError::IsThisNode) => None,
        Err(HandshakeError::Refused(refusal)) => {
            shared.refuse("refused a peer that dialled here", *refusal);
            None
        }
        Err(HandshakeError::Broken(reason)) => {
            tracing::debug!(%address, reason, "peer handshake broke");
            None
        }
    }
}

async fn serve(shared: &Arc<Shared>, greeted: handshake::Greeted) {
    let connection = Connection::new(greeted.peer, Arc::clone(&shared.counters));
    if *shared.stop.borrow() {
        return;
    }
    shared.add_accepted(&connection);
    let _registered = Registered { shared, connection: &connection };
    let handlers = shared.handlers();
    let timing = &shared.config.timing;
    let end = connection.run(greeted.stream, greeted.received, &handlers, timing).await;
    let peer = connection.peer();
    let reason = shared.ended(peer, end);
    tracing::debug!(node_id = %peer.node, name = peer.name, reason, "accepted link closed");
}

/// Takes the connection out of the registry, also when a handler panics.
struct Registered<'a> {
    shared: &'a Shared,
    connection: &'a Arc<Connection>,
}

impl Drop for Registered<'_> {
    fn drop(&mut self) {
        self.shared.remove_accepted(self.connection);
    }
}
