//! Dials the peers that discovery finds, for as long as they are found. IO.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ring::rand::{SecureRandom, SystemRandom};
use tokio::sync::Notify;

use super::connection::Connection;
use super::handshake::{self, HandshakeError};
use super::link_types::LinkTiming;
use super::links::Shared;
use crate::sync::lock;

/// One address that is dialled; told to end when discovery no longer finds it.
struct Dialler {
    forget: Arc<Notify>,
    task: tokio::task::JoinHandle<()>,
}

/// Discovers and dials until the links stop.
pub(super) async fn run(shared: Arc<Shared>) {
    let mut stop = shared.stop.subscribe();
    let mut diallers: BTreeMap<SocketAddr, Dialler> = BTreeMap::new();
    loop {
        let mut discovery = lock(&shared.discovery).clone();
        let (addresses, unresolved) = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            found = discovery.resolve() => found,
        };
        for (name, reason) in &unresolved {
            tracing::debug!(name, reason, "a name or a watch does not tell where peers are");
        }
        shared.discovery_problems.store(unresolved.len() as u64, Ordering::Relaxed);
        diallers.retain(|_, dialler| !dialler.task.is_finished());
        if unresolved.is_empty() {
            // A name that fails to resolve may be a fault of DNS: what it led to is kept.
            diallers.retain(|address, dialler| {
                let is_found = addresses.contains(address);
                if !is_found {
                    dialler.forget.notify_one();
                }
                is_found
            });
        }
        for address in addresses {
            diallers.entry(address).or_insert_with(|| {
                let forget = Arc::new(Notify::new());
                let task =
                    tokio::spawn(dial_for_ever(Arc::clone(&shared), address, Arc::clone(&forget)));
                Dialler { forget, task }
            });
        }
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            () = tokio::time::sleep(shared.config.timing.discovery_interval) => {}
            () = shared.discovery_changed.notified() => {}
            () = discovery.changed() => {}
        }
    }
}

/// Keeps one address linked. Ends when told to forget it (a link that stands is kept until it
/// falls), or when the address turns out to be this node's own.
async fn dial_for_ever(shared: Arc<Shared>, address: SocketAddr, forget: Arc<Notify>) {
    let mut stop = shared.stop.subscribe();
    let mut backoff = Backoff::new(shared.config.timing);
    loop {
        let Some(tls) = shared.tls.as_ref().map(|tls| tls.load_full()) else { return };
        let greeted = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            () = forget.notified() => return,
            greeted = handshake::dial(&shared, &tls, address) => greeted,
        };
        match greeted {
            Ok(greeted) => {
                if serve(&shared, greeted).await {
                    backoff.reset();
                }
            }
            Err(HandshakeError::IsThisNode) => {
                // For as long as this process lives; `forget` ends it when the address goes.
                tokio::select! {
                    _ = stop.wait_for(|stop| *stop) => return,
                    () = forget.notified() => return,
                }
            }
            Err(HandshakeError::Refused(refusal)) => {
                shared.refuse("no link with a peer dialled from here", *refusal);
            }
            Err(HandshakeError::Broken(reason)) => {
                tracing::debug!(%address, reason, "dialling a peer failed");
            }
        }
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            () = forget.notified() => return,
            () = tokio::time::sleep(backoff.next_wait()) => {}
        }
    }
}

/// Drives a new link until it falls; false when the node was linked already.
async fn serve(shared: &Arc<Shared>, greeted: handshake::Greeted) -> bool {
    let connection = Connection::new(greeted.peer, Arc::clone(&shared.counters));
    if *shared.stop.borrow() || !shared.add_dialled(&connection) {
        return false;
    }
    let _registered = Registered { shared, connection: &connection };
    let peer = connection.peer();
    tracing::info!(node_id = %peer.node, name = peer.name, address = %peer.address, version = peer.version, "link up");
    let handlers = shared.handlers();
    let timing = &shared.config.timing;
    let end = connection.run(greeted.stream, greeted.received, &handlers, timing).await;
    let reason = shared.ended(peer, end);
    tracing::info!(node_id = %peer.node, name = peer.name, reason, "link down");
    true
}

/// Takes the connection out of the registry, also when a handler panics: what stayed behind
/// would keep a new link from taking its place.
struct Registered<'a> {
    shared: &'a Shared,
    connection: &'a Arc<Connection>,
}

impl Drop for Registered<'_> {
    fn drop(&mut self) {
        self.shared.remove_dialled(self.connection);
    }
}

/// Doubling waits with jitter, so that a cluster that starts together does not dial together.
struct Backoff {
    timing: LinkTiming,
    next: Duration,
    random: SystemRandom,
}

impl Backoff {
    fn new(timing: LinkTiming) -> Self {
        Self { timing, next: timing.backoff_min, random: SystemRandom::new() }
    }

    fn reset(&mut self) {
        self.next = self.timing.backoff_min;
    }

    /// Between half of the current wait and all of it.
    fn next_wait(&mut self) -> Duration {
        let wait = self.next;
        self.next = (wait * 2).min(self.timing.backoff_max);
        let mut byte = [0u8; 1];
        // Without randomness there is no jitter; the wait itself is right all the same.
        let _ = self.random.fill(&mut byte);
        wait / 2 + wait / 2 * u32::from(byte[0]) / 255
    }
}
