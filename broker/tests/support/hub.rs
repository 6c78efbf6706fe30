//! A hub for one node without a cluster: grants every claim, carries interest between the workers,
//! and commits every proposal at once.

use std::collections::HashMap;
use std::sync::Arc;

use broker::node::{InterestUpdateId, ToHub, ToWorker, WorkerHandle, WorkerId};
use broker_core::engine::{
    Claim, ClaimOutcome, CommitOutcome, InterestChange, InterestSeq, RemoteInterest,
};
use broker_core::types::ClientId;
use tokio::sync::{mpsc, oneshot};

/// Serves until nobody is left to ask.
pub(crate) async fn run(workers: Arc<[WorkerHandle]>, mut queue: mpsc::Receiver<ToHub>) {
    let mut hub =
        Hub { workers, holders: HashMap::new(), claims: 0, updates: HashMap::new(), next: 0 };
    while let Some(message) = queue.recv().await {
        hub.take(message).await;
    }
}

struct Hub {
    workers: Arc<[WorkerHandle]>,
    holders: HashMap<ClientId, (WorkerId, Claim)>,
    claims: u64,
    /// Updates under way: whose interest, and how many workers have not applied it yet.
    updates: HashMap<InterestUpdateId, (WorkerId, InterestSeq, usize)>,
    next: u64,
}

impl Hub {
    async fn tell(&self, worker: WorkerId, message: ToWorker) {
        let _ = self.workers[usize::from(worker.0)].inbox.send(message).await;
    }

    async fn take(&mut self, message: ToHub) {
        match message {
            ToHub::Claim { worker, connection, client_id, clean_start } => {
                self.claims += 1;
                let claim = Claim { term: 1, seq: self.claims };
                let before = self.holders.insert(client_id.clone(), (worker, claim));
                let mut session = None;
                if let Some((holder, _)) = before {
                    let (reply, taken) = oneshot::channel();
                    self.tell(holder, ToWorker::TakeOver { client_id, claim, clean_start, reply })
                        .await;
                    session = taken.await.unwrap_or(None);
                }
                let outcome = ClaimOutcome::Granted { claim, session };
                self.tell(worker, ToWorker::Claimed { connection, outcome }).await;
            }
            ToHub::Release { client_id, claim, .. } => {
                if self.holders.get(&client_id).is_some_and(|(_, held)| *held == claim) {
                    self.holders.remove(&client_id);
                }
            }
            ToHub::Interest { worker, seq, changes } => self.spread(worker, seq, changes).await,
            ToHub::InterestApplied { update, .. } => self.applied(update).await,
            ToHub::Propose { worker, proposal, .. } => {
                let outcome = CommitOutcome::Committed;
                self.tell(worker, ToWorker::Committed { proposal, outcome }).await;
            }
            ToHub::Withdraw { .. }
            | ToHub::Forward { .. }
            | ToHub::PolicyEnforced { .. }
            | ToHub::ProposeSessions { .. } => {}
        }
    }

    async fn spread(&mut self, from: WorkerId, seq: InterestSeq, changes: Vec<InterestChange>) {
        let destination = from.destination();
        let changes: Arc<[RemoteInterest]> =
            changes.into_iter().map(|change| change.at(destination, None)).collect();
        self.next += 1;
        let update = InterestUpdateId(self.next);
        self.updates.insert(update, (from, seq, self.workers.len()));
        for worker in self.workers.iter().filter(|worker| worker.id != from) {
            let changes = Arc::clone(&changes);
            self.tell(worker.id, ToWorker::InterestUpdate { update, changes }).await;
        }
        self.applied(update).await;
    }

    async fn applied(&mut self, update: InterestUpdateId) {
        let Some((from, seq, missing)) = self.updates.get_mut(&update) else { return };
        *missing -= 1;
        if *missing == 0 {
            let (from, seq) = (*from, *seq);
            self.updates.remove(&update);
            self.tell(from, ToWorker::InterestConfirmed { seq }).await;
        }
    }
}
