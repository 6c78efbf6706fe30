//! Durable sessions on this engine: what it proposes for them, and what it sends of them.
//!
//! The replicated state has the session; the engine has its connection. What a pass leads to is
//! gathered into batches of operations, each proposed as one command; answers wait for what became
//! of it. Files: `attach` and `subscribe` for what begins, `inbound` for messages from clients,
//! `outbound` for messages to them, `lost` for what is proposed again.

mod attach;
mod inbound;
mod lost;
mod outbound;
mod settle;
mod subscribe;

use std::collections::HashMap;
use std::sync::Arc;

pub(super) use inbound::Published;
pub(crate) use outbound::DurableView;
pub(super) use settle::Wait;

use super::{DropReason, Effect, Engine, ProposalId};
use crate::router::Route;
use crate::session::SessionSlot;
use crate::shard::{Operation, Outbound, Pick, SessionStore};
use crate::types::{Millis, QoS};

/// Bytes of operations that are proposed together; a longer one is proposed alone.
const BATCH_BYTES: usize = 256 * 1024;

/// How far a batch must have come before its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    /// It is committed.
    Committed,
    /// This node has applied it: the engine reads what it made.
    AppliedHere,
    /// Every node that can be reached has applied it: whoever publishes knows of it.
    AppliedEverywhere,
}

/// A group that a message is for, how the state is to choose a member, and whether it has members
/// that are connected and not in the state.
type Left = (Arc<str>, Pick, bool);

/// Operations that are proposed together, with what waits for each.
#[derive(Debug)]
struct Batch {
    operations: Vec<u8>,
    waits: Vec<Wait>,
    reach: Reach,
}

/// An engine's part in durable sessions.
#[derive(Debug)]
pub(super) struct Durable {
    store: Arc<SessionStore>,
    /// The worker's number, as the state knows it.
    worker: u8,
    open: Option<Batch>,
    /// Whether one that is not yet proposed has a retained message.
    has_retained: bool,
    /// Batches that are complete and not yet proposed, in order.
    sealed: Vec<Batch>,
    /// What waits for batches that are proposed.
    proposed: HashMap<ProposalId, Vec<Wait>>,
    /// What is to be proposed again.
    lost: lost::Lost,
    /// Sessions with acknowledgements of this pass, each once.
    marked: Vec<(SessionSlot, u32)>,
    /// Reused from session to session.
    buffer: Vec<Outbound>,
    /// Groups of which the state is to choose a member for the message that is being published.
    left: Vec<Left>,
    /// Groups that a member outside the state has, of the message that is being published; `None`
    /// where this node knows of all durable sessions.
    served: Option<Vec<Arc<str>>>,
    /// Messages of this pass that would have to be kept, and the disk is nearly full.
    turned_down: Vec<(Millis, ProposalId)>,
}

#[cfg(test)]
impl Durable {
    /// Whether nothing is left to be proposed or answered.
    pub(super) fn is_settled(&self) -> bool {
        let is_proposed = self.open.is_none() && self.sealed.is_empty();
        is_proposed && self.proposed.is_empty() && self.lost.is_empty()
    }
}

impl Engine {
    /// Has sessions that outlive their connections kept by the replicated state, of which `store`
    /// is this node's copy.
    #[must_use]
    pub fn with_durable_sessions(mut self, store: Arc<SessionStore>) -> Self {
        self.durable = Some(Box::new(Durable {
            store,
            worker: self.config.worker,
            open: None,
            has_retained: false,
            sealed: Vec::new(),
            proposed: HashMap::new(),
            lost: lost::Lost::default(),
            marked: Vec::new(),
            buffer: Vec::new(),
            left: Vec::new(),
            served: None,
            turned_down: Vec::new(),
        }));
        self
    }

    /// Adds an operation to the pass's batches.
    fn push_operation(&mut self, operation: &Operation<'_>, wait: Wait, reach: Reach) {
        let Some(durable) = &mut self.durable else { return };
        // Another reach is another batch, so that nobody waits for more than is needed.
        let is_full = |batch: &Batch| batch.reach != reach || batch.operations.len() >= BATCH_BYTES;
        if durable.open.as_ref().is_some_and(is_full) {
            durable.sealed.extend(durable.open.take());
        }
        let batch = durable.open.get_or_insert_with(|| Batch {
            operations: Vec::new(),
            waits: Vec::new(),
            reach,
        });
        let start = batch.operations.len();
        let is_encoded = operation.encode(&mut batch.operations);
        debug_assert!(is_encoded, "every operation has an encoding");
        if start == 0 || batch.operations.len() <= BATCH_BYTES {
            batch.waits.push(wait);
            return;
        }
        let operations = batch.operations.split_off(start);
        durable.sealed.extend(durable.open.take());
        durable.open = Some(Batch { operations, waits: vec![wait], reach });
    }

    /// Hands the pass's batches to the driver.
    pub(super) fn propose_batches(&mut self) {
        if self.durable.is_none() {
            return;
        }
        self.flush_marked();
        self.settle_turned_down();
        self.hand_over_batches();
    }

    /// Hands retained messages of the pass to the driver: what is retained next goes another way,
    /// and is to come behind them.
    pub(super) fn propose_retained_batches(&mut self) {
        if self.durable.as_ref().is_some_and(|durable| durable.has_retained) {
            self.hand_over_batches();
        }
    }

    fn hand_over_batches(&mut self) {
        let Some(durable) = &mut self.durable else { return };
        durable.has_retained = false;
        durable.sealed.extend(durable.open.take());
        for batch in durable.sealed.drain(..) {
            self.proposal_count += 1;
            let proposal = ProposalId(self.proposal_count);
            durable.proposed.insert(proposal, batch.waits);
            let Batch { operations, reach, .. } = batch;
            self.effects.push(Effect::ProposeSessions { proposal, operations, reach });
        }
    }

    /// Whether nothing is to be kept that can be turned down: the disk is nearly full. Then gives a
    /// proposal that is refused at the end of the pass.
    pub(super) fn turn_down(&mut self, now: Millis) -> Option<ProposalId> {
        let durable = self.durable.as_mut().filter(|durable| durable.store.is_disk_low())?;
        self.proposal_count += 1;
        let proposal = ProposalId(self.proposal_count);
        durable.turned_down.push((now, proposal));
        self.counters.dropped.count(DropReason::DiskFull);
        Some(proposal)
    }

    /// Brings what the route knows of durable sessions up to date, for a message that they keep.
    pub(super) fn refresh_durable(&self, route: &mut Route, qos: QoS) {
        let Some(durable) = &self.durable else { return };
        if qos == QoS::AtMostOnce {
            return;
        }
        let version = durable.store.version();
        if route.durable_version != Some(version) {
            route.durable_version = Some(version);
            durable.store.route(&route.topic, &mut route.durable);
        }
    }
}
