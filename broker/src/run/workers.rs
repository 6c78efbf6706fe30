//! The worker threads as the main thread sees them.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use broker_config::{Config, Durability};
use tokio::sync::mpsc;

use super::StartError;
use super::config::engine;
use crate::cluster::meta::MetaGroup;
use crate::node::{Clock, ToHub, ToWorker, WORKER_QUEUE_MESSAGES_MAX, WorkerHandle, WorkerId};
use crate::tls::TlsStore;
use crate::worker::{self, PasswordPool, WorkerShared};

/// Threads that verify costly passwords: two can't starve the workers of a small machine.
const PASSWORD_THREADS_MAX: usize = 4;

type Inboxes = Vec<mpsc::Receiver<ToWorker>>;

/// The queues of `count` workers.
pub(super) fn queues(count: u8) -> (Arc<[WorkerHandle]>, Inboxes) {
    let (handles, inboxes): (Vec<_>, Vec<_>) = (0..count)
        .map(|number| {
            let (inbox, queue) = mpsc::channel(WORKER_QUEUE_MESSAGES_MAX);
            (WorkerHandle { id: WorkerId(number), inbox, counters: Arc::default() }, queue)
        })
        .unzip();
    (handles.into(), inboxes)
}

/// What all workers have in common.
pub(super) fn shared(
    config: &Config,
    clock: Clock,
    tls: &Arc<TlsStore>,
    meta: &MetaGroup,
    hub: mpsc::Sender<ToHub>,
    workers: &Arc<[WorkerHandle]>,
) -> Result<WorkerShared, StartError> {
    let threads = workers.len().min(PASSWORD_THREADS_MAX);
    let passwords = PasswordPool::start(threads)
        .map_err(|source| StartError::Thread { name: "password", source })?;
    // A statement of its own: while it is borrowed the state machine can't announce another policy,
    // and `retained` would wait for the state machine: for ever.
    let policy = meta.policy().borrow().policy.clone();
    Ok(WorkerShared {
        clock,
        engine: engine(config),
        listeners: config.listeners.clone().into(),
        tls: Arc::clone(tls),
        passwords: Arc::new(passwords),
        secret: meta.secret(),
        policy,
        retained: meta.retained(),
        sessions: (config.durability != Durability::Memory).then(|| meta.sessions()),
        hub,
        workers: Arc::clone(workers),
    })
}

/// Running worker threads.
pub(super) struct Workers {
    handles: Arc<[WorkerHandle]>,
    threads: Vec<JoinHandle<io::Result<()>>>,
}

impl Workers {
    pub(super) fn start(
        shared: WorkerShared,
        handles: Arc<[WorkerHandle]>,
        inboxes: Inboxes,
    ) -> Result<Self, StartError> {
        let threads = handles
            .iter()
            .zip(inboxes)
            .map(|(handle, inbox)| worker::start(shared.clone(), handle.clone(), inbox))
            .collect::<io::Result<_>>()
            .map_err(|source| StartError::Thread { name: "worker", source })?;
        Ok(Self { handles, threads })
    }

    pub(super) fn handles(&self) -> Arc<[WorkerHandle]> {
        Arc::clone(&self.handles)
    }

    pub(super) fn count(&self) -> usize {
        self.handles.len()
    }

    /// Waits until a worker has ended by itself; says why. Cancel-safe.
    pub(super) async fn failure(&mut self) -> String {
        // The inbox closes with the thread, however that ends.
        let closed = self.handles.iter().map(|worker| Box::pin(worker.inbox.closed()));
        let ((), number, _) = futures::future::select_all(closed).await;
        let thread = self.threads.swap_remove(number);
        match thread.join() {
            Ok(Ok(())) => "it was told to stop".to_owned(),
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("worker {number} has panicked"),
        }
    }

    /// Has every worker tell its clients and end; returns the threads.
    pub(super) async fn stop(self) -> Vec<JoinHandle<io::Result<()>>> {
        for worker in self.handles.iter() {
            // One that has ended is not told.
            let _ = worker.inbox.send(ToWorker::Stop).await;
        }
        self.threads
    }
}
