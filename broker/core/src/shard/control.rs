//! What of the durable sessions is in no shard: totals, proposers, who holds how many. Pure.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Holder;
use super::batch::OperationOutcome;
use super::delayed::Delayed;
use super::record::Record;
use crate::topic::is_shared;
use crate::types::NodeId;

/// How much durable sessions hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SessionTotals {
    /// Sessions.
    pub sessions: u64,
    /// Messages that wait or are on their way, in all sessions.
    pub messages: u64,
    /// Their bytes, counted in each session.
    pub bytes: u64,
    /// Messages that are to be published later.
    pub delayed_messages: u64,
    /// Their bytes.
    pub delayed_bytes: u64,
    /// Operations applied since the process started.
    pub operations: u64,
    /// Messages that a session had no room for since the process started, counted in each.
    pub full: u64,
    /// Sessions that ended as their expiry interval had passed, since the process started.
    pub expired: u64,
    /// Those whose clients are away.
    pub away: AwayTotals,
}

/// Durable sessions whose clients are not connected anywhere.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AwayTotals {
    /// Sessions.
    pub sessions: u64,
    /// Their Subscriptions, shared ones included.
    pub subscriptions: u64,
    /// Shared Subscriptions among them.
    pub shared_subscriptions: u64,
}

impl AwayTotals {
    fn of(record: &Record) -> Self {
        let shared = record.subscriptions.iter().filter(|s| is_shared(&s.filter)).count();
        Self {
            sessions: 1,
            subscriptions: record.subscriptions.len() as u64,
            shared_subscriptions: shared as u64,
        }
    }

    const fn add(&mut self, other: Self) {
        self.sessions += other.sessions;
        self.subscriptions += other.subscriptions;
        self.shared_subscriptions += other.shared_subscriptions;
    }

    const fn subtract(&mut self, other: Self) {
        self.sessions -= other.sessions;
        self.subscriptions -= other.subscriptions;
        self.shared_subscriptions -= other.shared_subscriptions;
    }
}

/// A proposer as the state knows it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Proposer {
    pub(super) start: u64,
    /// Its latest batch.
    pub(super) last: u64,
    /// What became of its batches that may come again.
    pub(super) outcomes: BTreeMap<u64, Vec<OperationOutcome>>,
}

/// What is not in a shard.
#[derive(Debug, Default)]
pub(super) struct Control {
    pub(super) attachments: u64,
    pub(super) proposers: BTreeMap<NodeId, Proposer>,
    pub(super) delayed: Delayed,
    pub(super) totals: SessionTotals,
    /// Sessions whose clients are connected, by process.
    pub(super) held: BTreeMap<(NodeId, u64), u64>,
}

impl Control {
    /// A session's client is connected to a process.
    pub(super) fn hold(&mut self, holder: Option<Holder>) {
        if let Some(holder) = holder {
            *self.held.entry(process(holder)).or_default() += 1;
        }
    }

    /// The opposite of [`Self::hold`].
    pub(super) fn let_go(&mut self, holder: Option<Holder>) {
        let Some(process) = holder.map(process) else { return };
        if let Some(count) = self.held.get_mut(&process) {
            *count -= 1;
            if *count == 0 {
                self.held.remove(&process);
            }
        }
    }

    /// The session's client has gone.
    pub(super) fn goes_away(&mut self, record: &Record) {
        self.totals.away.add(AwayTotals::of(record));
    }

    /// The session's client was away, and is no longer; or the session is no longer.
    pub(super) fn comes_back(&mut self, record: &Record) {
        self.totals.away.subtract(AwayTotals::of(record));
    }

    /// There is one more session.
    pub(super) fn enter(&mut self, record: &Record) {
        self.totals.sessions += 1;
        self.hold(record.holder);
        if record.holder.is_none() {
            self.goes_away(record);
        }
        self.count((0, 0), (record.messages, record.bytes));
    }

    /// Brings the totals up to date with a session's queue.
    pub(super) fn count(&mut self, before: (u64, u64), after: (u64, u64)) {
        self.totals.messages = self.totals.messages + after.0 - before.0;
        self.totals.bytes = self.totals.bytes + after.1 - before.1;
    }
}

const fn process(holder: Holder) -> (NodeId, u64) {
    (holder.node, holder.start)
}
