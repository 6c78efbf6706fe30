//! The hub's task: waits for workers, leadership, policy, timers, and hands them to the core.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use broker_config::{Durability, SharedSubscriptionStrategy};
use broker_core::cluster_state::{Command, Outcome};
use broker_core::engine::CommitOutcome;
use broker_core::types::Millis;
use openraft::AsyncRuntime;
use tokio::sync::{mpsc, watch};

use super::core::{Core, CoreParts};
use super::counters::HubCounters;
use super::readiness::{Facts, Readiness};
use super::service::HubService;
use super::sessions::Currency;
use super::wire;
use super::{Drain, Hub, HubParts, sessions};
use crate::cluster::meta::{MetaGroup, MetaPhase, ProposeError, Proposed};
use crate::cluster::{Environment, FrameKind, PeerLinks, WallClock, spawn};
use crate::node::{GateHandle, GateState, ToHub, ToWorker, WorkerId};
use crate::sync::lock;

/// Messages of workers taken in one go, so that frames of peers have their turn.
const BATCH_MESSAGES_MAX: usize = 256;

/// How often what has no event of its own is looked at: readiness, the leader's quorum.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// Silence of the quorum after which a leader grants nothing: one that is replaced is replaced
/// after this at the earliest.
const QUORUM_SILENT_MAX: Duration = Duration::from_millis(900);

/// Longest time slept without a look at the clock: a day.
const SLEEP_MILLIS_MAX: u64 = 24 * 3_600_000;

/// Clients that a fenced node disconnects a second, each worker.
const FENCE_CLIENTS_PER_SECOND: u32 = 10_000;

pub(super) fn start<E: Environment>(parts: HubParts<E>) -> Hub<E> {
    let counters = Arc::<HubCounters>::default();
    counters.looked(parts.clock.now());
    let strategy = parts.config.mqtt.shared_subscription_strategy;
    let core = Core::new(CoreParts {
        is_sticky: strategy == SharedSubscriptionStrategy::Sticky,
        this: parts.links.node_id(),
        clock: parts.clock,
        carrier: Box::new(parts.links.clone()),
        workers: &parts.workers,
        counters: Arc::clone(&counters),
    });
    let service = HubService { core: Arc::clone(&core) };
    parts.links.serve(FrameKind::HUB_FIRST..=wire::PART, Arc::new(service));
    let enforced = lock(&core).enforcement.watch();
    let drain = watch::Sender::new(None);
    let task = HubTask {
        core,
        clock: parts.clock,
        meta: parts.meta,
        queue: parts.queue,
        gate: parts.gate,
        readiness: Readiness::new(parts.config.partition_policy),
        enforced: enforced.clone(),
        drain: drain.subscribe(),
        is_fenced: false,
        is_alone: false,
        currency: Currency::new(parts.config.durability != Durability::Memory),
        workers: u32::try_from(parts.workers.len()).unwrap_or(u32::MAX).max(1),
        told: (0, None),
    };
    spawn::<E>(task.run());
    Hub { enforced, drain, counters, clock: parts.clock }
}

struct HubTask<E: Environment> {
    core: Arc<Mutex<Core<E>>>,
    clock: E::Clock,
    meta: MetaGroup<E>,
    queue: mpsc::Receiver<ToHub>,
    gate: GateHandle,
    readiness: Readiness,
    enforced: watch::Receiver<Option<broker_policy::Revision>>,
    drain: watch::Receiver<Option<Drain>>,
    is_fenced: bool,
    is_alone: bool,
    currency: Currency,
    workers: u32,
    /// What the workers were told last: clients that each moves away a second, and where to.
    told: (u32, Option<Arc<str>>),
}

impl<E: Environment> HubTask<E> {
    async fn run(mut self) {
        let mut leadership = self.meta.leadership();
        let mut policy = self.meta.policy();
        let (wake, counters) = {
            let core = lock(&self.core);
            (Arc::clone(&core.wake), Arc::clone(&core.counters))
        };
        let mut look = Box::pin(E::Runtime::sleep(Duration::ZERO));
        let mut batch = Vec::with_capacity(BATCH_MESSAGES_MAX);
        let events = self.meta.session_events();
        // The workers have begun with this policy, or an older one; they report what they enforce.
        policy.mark_changed();
        loop {
            let (due, takes) = {
                let mut core = lock(&self.core);
                (core.arm(), !core.is_backed_up())
            };
            // What is always there to be taken comes last, so that it holds nothing else up.
            tokio::select! {
                biased;
                () = sleep_until::<E>(self.clock, due) => lock(&self.core).handle_timeout(),
                () = wake.notified() => {}
                () = events.wait() => sessions::tell_workers(&self.core, events.take()),
                Ok(()) = leadership.changed() => self.look(),
                Ok(()) = policy.changed() => {
                    let policy = policy.borrow_and_update().policy.clone();
                    lock(&self.core).set_policy(&policy);
                }
                Ok(()) = self.enforced.changed() => self.judge(),
                Ok(()) = self.drain.changed() => self.judge(),
                () = self.currency.changed() => self.judge(),
                () = look.as_mut() => {
                    look = Box::pin(E::Runtime::sleep(LOOK_INTERVAL));
                    self.judge();
                    lock(&self.core).publish_counters();
                    counters.looked(self.clock.now());
                }
                count = self.queue.recv_many(&mut batch, BATCH_MESSAGES_MAX), if takes => {
                    if count == 0 {
                        return;
                    }
                    self.take_in(&mut batch);
                }
            }
        }
    }

    fn take_in(&self, batch: &mut Vec<ToHub>) {
        let core = &self.core;
        let rest = batch.drain(..).filter_map(|message| match message {
            ToHub::Propose { worker, proposal, change } => {
                // Queued here and now: what one worker proposes is committed in its order.
                let proposed = self.meta.propose(&Command::Retain(*change));
                let core = Arc::downgrade(core);
                spawn::<E>(async move {
                    let outcome = commit_outcome(proposed.await);
                    if let Some(core) = core.upgrade() {
                        answer(&core, worker, ToWorker::Committed { proposal, outcome });
                    }
                });
                None
            }
            ToHub::ProposeSessions { worker, proposal, operations, reach } => {
                let now = self.clock.now();
                let proposed = self.meta.propose_sessions(now, operations);
                let (core, meta) = (Arc::downgrade(core), self.meta.clone());
                spawn::<E>(async move {
                    let outcome = sessions::outcome(&meta, reach, proposed).await;
                    if let Some(core) = core.upgrade() {
                        let message = ToWorker::SessionsCommitted { proposal, outcome };
                        answer(&core, worker, message);
                    }
                });
                None
            }
            message => Some(message),
        });
        lock(core).handle_workers(rest);
    }

    /// Looks at the group's leadership, and at whether a quorum still follows this node.
    fn look(&self) {
        let leadership = *self.meta.leadership().borrow();
        let quorum = self.meta.status().quorum_acknowledged;
        let is_quorum_fresh = quorum.is_some_and(|silent| silent < QUORUM_SILENT_MAX);
        lock(&self.core).set_leadership(leadership, is_quorum_fresh);
    }

    /// Decides whether clients may come in.
    fn judge(&mut self) {
        self.look();
        let status = self.meta.status();
        self.currency.follow(status.phase == MetaPhase::Serving, &self.meta, self.clock);
        let members = status.members.iter().map(|member| member.node);
        let (is_interest_known, has_arbiter) = {
            let mut core = lock(&self.core);
            core.set_members(members.clone().collect());
            (core.has_heard(members), core.has_arbiter())
        };
        let facts = Facts {
            phase: status.phase,
            role: status.role,
            hears_leader: status.hears_leader,
            is_draining: self.drain.borrow_and_update().is_some(),
            is_policy_enforced: self.enforced.borrow_and_update().is_some(),
            is_interest_known,
            has_arbiter,
            is_state_current: self.currency.is_current(),
        };
        let verdict = self.readiness.judge(self.clock.now(), facts);
        if let GateState::Closed { reason } = &verdict.gate {
            tracing::debug!(reason, "clients are not let in");
        }
        self.gate.set(verdict.gate);
        lock(&self.core).set_alone(verdict.is_alone);
        if verdict.is_alone != self.is_alone {
            match verdict.is_alone {
                true => tracing::warn!(
                    "no leader is heard: this broker serves what needs no quorum (partition_policy)"
                ),
                false => tracing::info!("this broker serves with the cluster again"),
            }
        }
        self.is_alone = verdict.is_alone;
        if verdict.is_fenced && !self.is_fenced {
            tracing::warn!("this broker may not speak for the cluster: disconnecting its clients");
        }
        self.is_fenced = verdict.is_fenced;
        self.set_pace();
    }

    /// Has the workers move their clients away, each at its share of the pace, or stop to.
    fn set_pace(&mut self) {
        let share = |pace: u32| pace.div_ceil(self.workers).max(1);
        let told = match &*self.drain.borrow() {
            // They need the nearest other broker, whatever a drain says.
            _ if self.is_fenced => (FENCE_CLIENTS_PER_SECOND, None),
            Some(drain) => (share(drain.clients_per_second), drain.server_reference.clone()),
            None => (0, None),
        };
        if self.told == told {
            return;
        }
        self.told = told;
        let (clients_per_second, server_reference) = &self.told;
        let drain = || ToWorker::Drain {
            clients_per_second: *clients_per_second,
            server_reference: server_reference.clone(),
        };
        lock(&self.core).tell_workers(drain);
    }
}

fn answer<E: Environment>(core: &Mutex<Core<E>>, worker: WorkerId, message: ToWorker) {
    lock(core).answer(worker, message);
}

fn commit_outcome(proposed: Result<Proposed, ProposeError>) -> CommitOutcome {
    match proposed.map(|proposed| proposed.outcome) {
        Ok(Outcome::Retained) => CommitOutcome::Committed,
        Ok(outcome) => {
            tracing::debug!(?outcome, "a retained message is refused");
            match outcome {
                Outcome::RetainRefused { .. } => CommitOutcome::Refused,
                _ => CommitOutcome::Failed,
            }
        }
        Err(error) => {
            tracing::debug!(%error, "a retained message is not committed");
            CommitOutcome::Failed
        }
    }
}

async fn sleep_until<E: Environment>(clock: E::Clock, due: Option<Millis>) {
    match due {
        Some(due) => {
            let millis = due.0.saturating_sub(clock.now().0).min(SLEEP_MILLIS_MAX);
            E::Runtime::sleep(Duration::from_millis(millis)).await;
        }
        None => std::future::pending().await,
    }
}
