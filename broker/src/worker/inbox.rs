//! What other threads tell the worker.

use std::rc::Rc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::STOP_TIMEOUT;
use super::connection::accept;
use super::drain::set_pace;
use super::state::Worker;
use crate::node::{ToHub, ToWorker};

/// Messages taken at a time, before the sockets get their turn.
const MESSAGES_PER_TURN: usize = 64;

/// How often a stopping worker looks whether its clients are gone.
const STOP_POLL: Duration = Duration::from_millis(5);

/// Takes messages until it is told to stop or nobody can send any more.
pub(super) async fn run(worker: Rc<Worker>, mut inbox: mpsc::Receiver<ToWorker>) {
    let mut messages = Vec::with_capacity(MESSAGES_PER_TURN);
    while inbox.recv_many(&mut messages, MESSAGES_PER_TURN).await > 0 {
        for message in messages.drain(..) {
            if worker.take(message) {
                return stop(&worker).await;
            }
        }
        worker.flush.set();
    }
}

/// Tells every client, and waits until they are gone or the time is up.
async fn stop(worker: &Rc<Worker>) {
    worker.is_stopping.set(true);
    worker.engine.borrow_mut().drain(worker.now());
    worker.flush.set();
    let gone = async {
        while worker.socket_count() > 0 {
            tokio::time::sleep(STOP_POLL).await;
        }
    };
    if tokio::time::timeout(STOP_TIMEOUT, gone).await.is_err() {
        let left = worker.socket_count();
        tracing::warn!(worker = worker.id().0, left, "clients did not take their DISCONNECT");
    }
}

impl Worker {
    /// Takes one message; `true` when it is the last one.
    fn take(self: &Rc<Self>, message: ToWorker) -> bool {
        let now = self.now();
        let mut engine = self.engine.borrow_mut();
        match message {
            ToWorker::Accept(socket) => {
                drop(engine);
                accept(self, socket);
            }
            ToWorker::Claimed { connection, outcome } => engine.claimed(now, connection, outcome),
            ToWorker::TakeOver { client_id, claim: _, clean_start, reply } => {
                let session = engine.take_over(now, &client_id, clean_start);
                // Who asked may have given up; then the session is lost, as the claim rules say.
                let _ = reply.send(session);
            }
            ToWorker::InterestUpdate { update, changes } => {
                engine.set_remote_interest(changes.iter().cloned());
                self.hub.push(ToHub::InterestApplied { worker: self.id(), update });
            }
            ToWorker::InterestConfirmed { seq } => engine.interest_confirmed(now, seq),
            ToWorker::Deliver { batch } => engine.deliver(now, &batch),
            ToWorker::DeliverLocal { batch } => {
                engine.deliver(now, &batch);
                engine.recycle_forward(batch);
            }
            ToWorker::Policy(policy) => {
                let revision = policy.revision();
                engine.set_policy(now, policy);
                self.hub.push(ToHub::PolicyEnforced { worker: self.id(), revision });
            }
            ToWorker::Committed { proposal, outcome } => engine.committed(now, proposal, outcome),
            ToWorker::SessionsCommitted { proposal, outcome } => {
                engine.sessions_committed(now, proposal, outcome);
            }
            ToWorker::SessionsReady { sessions } => {
                engine.sessions_ready(now, sessions.as_deref());
            }
            ToWorker::SessionDrops(drops) => engine.count_drops(&drops),
            ToWorker::PublishLive(message) => engine.publish_live(now, &message),
            ToWorker::Sys(values) => engine.publish_sys(now, &values),
            ToWorker::Drain { clients_per_second, server_reference } => {
                engine.set_drain_reference(server_reference);
                drop(engine);
                set_pace(self, clients_per_second);
            }
            ToWorker::Pressure(pressure) => engine.set_pressure(now, pressure),
            ToWorker::Stop => return true,
        }
        false
    }
}
