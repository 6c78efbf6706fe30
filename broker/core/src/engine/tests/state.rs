//! The replicated state behind a rig: a log that one member agrees on at once, or when a test says.

use std::sync::{Arc, Mutex};

use broker_policy::Policy;

use super::rig::{Rig, open_policy};
use crate::engine::*;
use crate::router::Message;
use crate::shard::{
    ANYWHERE_LEVEL, Applied, ApplyContext, BatchOrigin, Operation, OperationOutcome, Ready,
    SessionBatch, SessionLimits, SessionStore,
};
use crate::types::*;

/// A node's part in the state.
pub(super) struct StateRig {
    pub(super) store: Arc<SessionStore>,
    pub(super) node: NodeId,
    pub(super) limits: SessionLimits,
    log: Arc<Mutex<u64>>,
    seq: u64,
    pub(super) policy: Policy,
    /// Sessions that other nodes' workers are to be told of.
    pub(super) elsewhere: Vec<Ready>,
}

impl Rig {
    /// An engine whose durable sessions the state keeps.
    pub(super) fn durable() -> Self {
        Self::durable_with(EngineConfig::default())
    }

    pub(super) fn durable_with(config: EngineConfig) -> Self {
        let node = NodeId(1);
        let mut rig = Self::with(EngineConfig { node, ..config }, open_policy());
        rig.join(node, Arc::default(), Arc::default());
        rig
    }

    /// Another node with the same state.
    pub(super) fn peer(&self, node: u64) -> Self {
        self.peer_with(node, EngineConfig::default())
    }

    pub(super) fn peer_with(&self, node: u64, config: EngineConfig) -> Self {
        let state = self.state.as_ref().unwrap();
        let node = NodeId(node);
        let mut rig = Self::with(EngineConfig { node, ..config }, open_policy());
        rig.now = self.now;
        rig.join(node, Arc::clone(&state.store), Arc::clone(&state.log));
        rig
    }

    pub(super) fn join(&mut self, node: NodeId, store: Arc<SessionStore>, log: Arc<Mutex<u64>>) {
        let config = EngineConfig { node, ..EngineConfig::default() };
        let fresh = Engine::new(config, Arc::new(open_policy()), self.retained.clone());
        let engine = std::mem::replace(&mut self.engine, fresh);
        self.engine = engine.with_durable_sessions(Arc::clone(&store));
        store.set_feature_level(ANYWHERE_LEVEL);
        let limits = SessionLimits::default();
        let (seq, policy, elsewhere) = (0, open_policy(), Vec::new());
        self.state = Some(StateRig { store, node, limits, log, seq, policy, elsewhere });
    }

    /// The state commits operations: the engine hears of it, and its sessions of new messages.
    pub(super) fn commit_sessions(&mut self, proposal: ProposalId, operations: Vec<u8>) {
        let applied = self.apply(operations);
        let (now, node) = (self.now, self.state.as_ref().map(|state| state.node));
        let is_here = |ready: &Ready| Some(ready.holder.node) == node;
        let (here, elsewhere): (Vec<_>, Vec<_>) = applied.ready.into_iter().partition(is_here);
        self.state.as_mut().unwrap().elsewhere.extend(elsewhere);
        self.engine.sessions_committed(now, proposal, SessionsOutcome::Applied(applied.outcomes));
        let here: Vec<ClientId> = here.into_iter().map(|ready| ready.client_id).collect();
        self.engine.sessions_ready(now, Some(&here));
        self.engine.count_drops(&applied.drops);
        for live in applied.live {
            self.engine.publish_live(now, &live);
        }
    }

    /// The state commits operations; the engine is not told.
    pub(super) fn apply_sessions(&mut self, operations: Vec<u8>) -> Vec<OperationOutcome> {
        self.apply(operations).outcomes
    }

    fn apply(&mut self, operations: Vec<u8>) -> Applied {
        let now = self.now;
        let Some(state) = &mut self.state else { panic!("the rig has no state") };
        state.seq += 1;
        let mut log_index = state.log.lock().unwrap();
        *log_index += 1;
        let (node, seq) = (state.node, state.seq);
        let origin = BatchOrigin { node, start: 1, seq, settled: seq };
        let batch =
            SessionBatch { origin, now, limits: state.limits, operations: operations.into() };
        let retained = &self.retained;
        let mut retain = |change: crate::retained::RetainedChange| {
            let mut store = retained.0.lock().unwrap();
            match change.message {
                Some(message) => drop(store.insert(change.topic.into(), message)),
                None => drop(store.remove(&*change.topic)),
            }
            true
        };
        let (log_index, policy) = (*log_index, &state.policy);
        let is_retained = |message: &Message| {
            let store = retained.0.lock().unwrap();
            store.get(message.topic()).is_some_and(|kept| kept == message)
        };
        let is_retained: Option<&dyn Fn(&Message) -> bool> = Some(&is_retained);
        let context = ApplyContext { log_index, policy, retain: &mut retain, is_retained };
        state.store.apply(&batch, context)
    }

    /// The state looks what is due, as the leader has it do.
    pub(super) fn expire(&mut self) {
        self.commit(&Operation::Expire { sessions_max: 1000 });
    }

    /// Commits an operation that the engine did not propose.
    pub(super) fn commit(&mut self, operation: &Operation<'_>) {
        let mut operations = Vec::new();
        assert!(operation.encode(&mut operations));
        self.commit_sessions(ProposalId(u64::MAX), operations);
        self.settle();
    }

    /// Commits what was held back, in order.
    pub(super) fn commit_held(&mut self) {
        for effect in std::mem::take(&mut self.effects) {
            match effect {
                Effect::ProposeSessions { proposal, operations, .. } => {
                    self.commit_sessions(proposal, operations);
                }
                other => self.effects.push(other),
            }
        }
        self.settle();
    }

    /// Answers what was held back with this outcome, uncommitted.
    pub(super) fn answer_held(&mut self, outcome: &SessionsOutcome) {
        for effect in std::mem::take(&mut self.effects) {
            match effect {
                Effect::ProposeSessions { proposal, .. } => {
                    self.engine.sessions_committed(self.now, proposal, outcome.clone());
                }
                other => self.effects.push(other),
            }
        }
        self.settle();
    }

    /// What was held back is committed in order, and the engine does not hear of it.
    pub(super) fn commit_held_unheard(&mut self) {
        for effect in std::mem::take(&mut self.effects) {
            match effect {
                Effect::ProposeSessions { proposal, operations, .. } => {
                    self.commit_sessions(ProposalId(u64::MAX), operations);
                    let unknown = SessionsOutcome::Unknown;
                    self.engine.sessions_committed(self.now, proposal, unknown);
                }
                other => self.effects.push(other),
            }
        }
        self.settle();
    }

    /// Tells this node's engine of what other nodes' operations made ready.
    pub(super) fn hear_from(&mut self, other: &mut Self) {
        let ready = std::mem::take(&mut other.state.as_mut().unwrap().elsewhere);
        let node = self.state.as_ref().unwrap().node;
        let ready = ready.into_iter().filter(|ready| ready.holder.node == node);
        let ready: Vec<ClientId> = ready.map(|ready| ready.client_id).collect();
        self.engine.sessions_ready(self.now, Some(&ready));
        self.settle();
    }

    pub(super) fn store(&self) -> &SessionStore {
        &self.state.as_ref().unwrap().store
    }

    pub(super) fn has_held(&self) -> bool {
        self.effects.iter().any(|effect| matches!(effect, Effect::ProposeSessions { .. }))
    }
}
