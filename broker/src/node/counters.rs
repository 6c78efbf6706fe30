//! Numbers that workers and listeners publish and `/metrics` and the status report read.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use broker_core::engine::Counters;

use crate::sync::lock;

/// What one worker publishes.
#[derive(Debug, Default)]
pub struct WorkerCounters {
    /// Copy of the engine's counters, taken at the end of each pass.
    engine: Mutex<Counters>,
    /// Sockets that the worker holds now, handshakes included.
    sockets: AtomicU64,
    tls_handshakes: AtomicU64,
    tls_handshakes_failed: AtomicU64,
    tls_resumptions: AtomicU64,
    handshakes_timed_out: AtomicU64,
    origins_refused: AtomicU64,
    passwords_verified: AtomicU64,
    passwords_remembered: AtomicU64,
    exchanges_verified: AtomicU64,
    authentications_refused: AtomicU64,
    authentications_shed: AtomicU64,
    forwards_waiting: AtomicU64,
}

/// A reading of [`WorkerCounters`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WorkerReading {
    /// The engine's own counters.
    pub engine: Counters,
    /// Sockets held now, handshakes included.
    pub sockets: u64,
    /// TLS handshakes that succeeded.
    pub tls_handshakes: u64,
    /// TLS handshakes that failed or took too long.
    pub tls_handshakes_failed: u64,
    /// Of the successful ones, those that resumed an earlier TLS session.
    pub tls_resumptions: u64,
    /// Handshakes, of whatever layer, that took longer than the connect timeout.
    pub handshakes_timed_out: u64,
    /// WebSocket handshakes refused for the page that they came from.
    pub origins_refused: u64,
    /// Passwords verified in full.
    pub passwords_verified: u64,
    /// Passwords known from an earlier success.
    pub passwords_remembered: u64,
    /// Clients that proved their password by SCRAM, those included that were in already.
    pub exchanges_verified: u64,
    /// Clients refused for what they presented.
    pub authentications_refused: u64,
    /// Clients refused because too many passwords waited for verification.
    pub authentications_shed: u64,
    /// Batches for other workers and nodes that wait for room in a queue now.
    pub forwards_waiting: u64,
}

impl WorkerCounters {
    /// Publishes the engine's counters.
    pub fn publish(&self, counters: &Counters) {
        *lock(&self.engine) = *counters;
    }

    /// Reads everything; the parts may be of slightly different moments.
    #[must_use]
    pub fn read(&self) -> WorkerReading {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        WorkerReading {
            engine: *lock(&self.engine),
            sockets: get(&self.sockets),
            tls_handshakes: get(&self.tls_handshakes),
            tls_handshakes_failed: get(&self.tls_handshakes_failed),
            tls_resumptions: get(&self.tls_resumptions),
            handshakes_timed_out: get(&self.handshakes_timed_out),
            origins_refused: get(&self.origins_refused),
            passwords_verified: get(&self.passwords_verified),
            passwords_remembered: get(&self.passwords_remembered),
            exchanges_verified: get(&self.exchanges_verified),
            authentications_refused: get(&self.authentications_refused),
            authentications_shed: get(&self.authentications_shed),
            forwards_waiting: get(&self.forwards_waiting),
        }
    }

    /// Sockets held now: what the acceptors balance by.
    #[must_use]
    pub fn sockets(&self) -> u64 {
        self.sockets.load(Ordering::Relaxed)
    }

    pub(crate) fn socket_opened(&self) {
        self.sockets.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn socket_closed(&self) {
        self.sockets.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn handshake_succeeded(&self, resumed: bool) {
        self.tls_handshakes.fetch_add(1, Ordering::Relaxed);
        self.tls_resumptions.fetch_add(u64::from(resumed), Ordering::Relaxed);
    }

    pub(crate) fn handshake_failed(&self) {
        self.tls_handshakes_failed.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn handshake_timed_out(&self) {
        self.handshakes_timed_out.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn origin_refused(&self) {
        self.origins_refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn password_verified(&self) {
        self.passwords_verified.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn password_remembered(&self) {
        self.passwords_remembered.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn exchange_verified(&self) {
        self.exchanges_verified.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn authentication_refused(&self) {
        self.authentications_refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn authentication_shed(&self) {
        self.authentications_shed.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn set_forwards_waiting(&self, batches: usize) {
        self.forwards_waiting.store(batches as u64, Ordering::Relaxed);
    }
}

/// What one listener publishes.
#[derive(Debug, Default)]
pub struct ListenerCounters {
    connections: AtomicU64,
    accepted: AtomicU64,
    refused: AtomicU64,
    paused: AtomicU64,
}

/// A reading of [`ListenerCounters`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ListenerReading {
    /// Open now.
    pub connections: u64,
    /// Accepted since the start, but for those that are refused.
    pub accepted: u64,
    /// Told by CONNACK that they can't stay, or closed at once: a limit was reached, memory was
    /// scarce, or a worker's queue was full.
    pub refused: u64,
    /// Times that accepting waited for the connection rate.
    pub paused: u64,
}

impl ListenerCounters {
    /// Reads everything.
    #[must_use]
    pub fn read(&self) -> ListenerReading {
        ListenerReading {
            connections: self.connections.load(Ordering::Relaxed),
            accepted: self.accepted.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
            paused: self.paused.load(Ordering::Relaxed),
        }
    }

    pub(crate) fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    pub(crate) fn connection_opened(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
        self.accepted.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn connection_closed(&self) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn connection_refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn accept_paused(&self) {
        self.paused.fetch_add(1, Ordering::Relaxed);
    }
}
