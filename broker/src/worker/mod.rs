//! A worker: one thread, one engine, and the sockets of its clients.
//!
//! Layer: above core, node and tls; below run. IO; knows no MQTT: bytes go into the engine and come
//! out of it. A pass of the worker is: the sockets that have bytes are read one after the other into
//! a shared buffer and the engine appends what follows to the output of whoever it concerns; then
//! the flush task, woken once, writes each touched socket once and hands each destination one
//! batch. One task reads all sockets that were woken, so the flush comes after them.

mod authentication;
mod connection;
mod drain;
mod flush;
mod handshake;
mod inbox;
mod outbox;
mod password;
mod proxy_protocol;
mod readers;
mod scram;
mod signal;
mod socket;
mod state;
mod timer;
mod transport;

#[cfg(test)]
mod authentication_test;

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use broker_config::Listener;
use broker_core::cluster_state::SharedSecret;
use broker_core::engine::{Engine, EngineConfig};
use broker_core::retained::RetainedSource;
use broker_core::shard::SessionStore;
use broker_policy::Policy;
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::mpsc;

use crate::node::{Clock, ToHub, ToWorker, WorkerHandle};
use crate::tls::TlsStore;

pub use password::{PasswordPool, PasswordPoolError, VERIFICATIONS_MAX};

use state::Worker;

/// From the request to stop until the thread ends, whatever the clients do.
pub const STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// What all workers of a broker have in common.
#[derive(Clone)]
pub struct WorkerShared {
    /// The process's clock.
    pub clock: Clock,
    /// Limits of the engine; the seed and the number are each worker's own.
    pub engine: EngineConfig,
    /// The listeners, in the order of their [`crate::node::ListenerId`].
    pub listeners: Arc<[Listener]>,
    /// TLS configurations in use.
    pub tls: Arc<TlsStore>,
    /// Verifies costly passwords.
    pub passwords: Arc<PasswordPool>,
    /// What the salts of users who are not there follow from.
    pub secret: SharedSecret,
    /// The rights to enforce until the hub sends others.
    pub policy: Arc<Policy>,
    /// The retained messages.
    pub retained: Arc<dyn RetainedSource>,
    /// The durable sessions; `None` where sessions live in the workers' memory alone.
    pub sessions: Option<Arc<SessionStore>>,
    /// The hub's queue.
    pub hub: mpsc::Sender<ToHub>,
    /// All workers of this broker, in the order of their ids.
    pub workers: Arc<[WorkerHandle]>,
}

/// Starts the worker that `handle` stands for; `inbox` is the other end of its queue.
///
/// # Errors
/// The system gives no thread.
pub fn start(
    shared: WorkerShared,
    handle: WorkerHandle,
    inbox: mpsc::Receiver<ToWorker>,
) -> std::io::Result<std::thread::JoinHandle<std::io::Result<()>>> {
    std::thread::Builder::new().name(format!("worker-{}", handle.id)).spawn(move || {
        let runtime = Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build_local(LocalOptions::default())?;
        let result = runtime.block_on(run(shared, handle, inbox));
        // Tasks that still wait for a client are dropped, and their sockets closed.
        runtime.shutdown_background();
        result
    })
}

async fn run(
    shared: WorkerShared,
    handle: WorkerHandle,
    inbox: mpsc::Receiver<ToWorker>,
) -> std::io::Result<()> {
    let worker = handle.id.destination().get();
    let config = EngineConfig { seed: seed()?, worker, ..shared.engine.clone() };
    let engine = Engine::new(config, Arc::clone(&shared.policy), Arc::clone(&shared.retained));
    let engine = match &shared.sessions {
        Some(sessions) => engine.with_durable_sessions(Arc::clone(sessions)),
        None => engine,
    };
    let worker = Rc::new(Worker::new(shared, handle, engine));
    tokio::task::spawn_local(readers::run(Rc::clone(&worker)));
    tokio::task::spawn_local(flush::run(Rc::clone(&worker)));
    tokio::task::spawn_local(timer::run(Rc::clone(&worker)));
    worker.spawn_outboxes();
    inbox::run(worker, inbox).await;
    Ok(())
}

/// A number that tells this worker's random choices from those of all others.
fn seed() -> std::io::Result<u64> {
    use ring::rand::SecureRandom as _;
    let mut bytes = [0; 8];
    ring::rand::SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| std::io::Error::other("the system gives no random bytes"))?;
    Ok(u64::from_be_bytes(bytes))
}
