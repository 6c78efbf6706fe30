//! From a command to its outcome: gathers what waits into one log entry, here when this node
//! leads, else by way of the leader.
//!
//! One entry of a node is under way at a time, and what comes meanwhile makes the next one. So
//! proposals of a node are committed in the order in which they were made, also when one has to
//! be tried again, and the more there is to do, the more shares one fsync. A leader begins
//! an entry behind one of several commands some milliseconds after that one at the earliest, unless
//! [`ENTRY_BYTES_ENOUGH`] have come.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use broker_core::cluster_state::{CommandBatch, Outcome, RetainedLimits};
use broker_core::types::NodeId;
use bytes::{BufMut, BytesMut};
use openraft::async_runtime::WatchReceiver;
use openraft::errors::{ClientWriteError, RaftError};
use openraft::{AsyncRuntime, Instant, ServerState};
use tokio::sync::mpsc;

use super::layout::{decode_form, encode_form};
use super::network::kind;
use super::proposals::{
    ForwardAnswer, InstantOf, Origin, PROPOSE_TIMEOUT, ProposalQueue, ProposeError, Proposed, Unit,
    answer_not_leader,
};
use super::type_config::Raft;
use crate::cluster::environment::{Environment, PeerLinks};

/// Bytes that the proposals of a log entry have together; a longer one makes an entry alone, so
/// that no entry is longer than what peers' frames carry.
const ENTRY_BYTES: usize = 512 << 10;

/// Proposals after which no more join a log entry.
const ENTRY_UNITS: usize = 4096;

/// Bytes of proposals for which a log entry does not wait any longer.
const ENTRY_BYTES_ENOUGH: usize = 32 << 10;

/// Commands of an entry behind which the next one waits for no tick: those of a client that waits for
/// each acknowledgement, and of the subscriber that it sends to.
const COMMANDS_FEW: usize = 2;

/// Least time between the beginnings of two log entries of a leader: so much for each command more
/// that the first one has, up to [`TICK_MAX`]. What an entry costs (a round to the others, an fsync on
/// each) is shared by all that has come meanwhile.
const TICK_STEP: Duration = Duration::from_millis(1);

/// The longest of these times.
const TICK_MAX: Duration = Duration::from_millis(5);

/// Wait before another try when nothing else has woken the proposer.
const RETRY_PAUSE: Duration = Duration::from_millis(20);

/// What the proposer works with.
pub(super) struct Proposer<E: Environment> {
    raft: Raft<E>,
    links: E::Links,
    limits: RetainedLimits,
    receiver: mpsc::Receiver<Unit<E>>,
    /// Taken out of the queue for the next entry.
    next: Option<Unit<E>>,
    queued_bytes: Arc<AtomicUsize>,
    /// Deadlines up to this one are of proposals made before one was given up for the last time.
    given_up: Option<InstantOf<E>>,
    /// When the next entry of this node may begin, while it leads.
    next_entry: Option<InstantOf<E>>,
}

impl<E: Environment> Proposer<E> {
    /// The proposer and the queue that feeds it.
    pub(super) fn new(
        raft: Raft<E>,
        links: E::Links,
        limits: RetainedLimits,
        command_bytes_max: usize,
    ) -> (Self, ProposalQueue<E>) {
        let (queue, receiver, queued_bytes) = ProposalQueue::new(command_bytes_max);
        let (next, given_up, next_entry) = (None, None, None);
        let proposer =
            Self { raft, links, limits, receiver, next, queued_bytes, given_up, next_entry };
        (proposer, queue)
    }

    /// Works until every queue handle is gone.
    pub(super) async fn run(mut self) {
        while let Some(units) = self.take_units().await {
            let bytes = units.iter().map(|unit| unit.items.len()).sum();
            self.settle(units).await;
            self.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
    }

    /// What makes the next log entry; `None` when there is nobody left to propose.
    async fn take_units(&mut self) -> Option<Vec<Unit<E>>> {
        let first = match self.next.take() {
            Some(unit) => unit,
            None => self.receiver.recv().await?,
        };
        let mut bytes = first.items.len();
        let mut units = vec![first];
        while bytes < ENTRY_BYTES && units.len() < ENTRY_UNITS {
            let Some(unit) = self.another_unit(bytes).await else { break };
            bytes += unit.items.len();
            if bytes > ENTRY_BYTES {
                self.next = Some(unit);
                break;
            }
            units.push(unit);
        }
        Some(units)
    }

    /// What else joins the entry that has so many bytes: what waits already and, until the leader's
    /// next entry may begin, what comes.
    async fn another_unit(&mut self, bytes: usize) -> Option<Unit<E>> {
        if let Ok(unit) = self.receiver.try_recv() {
            return Some(unit);
        }
        let begins = self.next_entry?;
        if bytes >= ENTRY_BYTES_ENOUGH || begins <= InstantOf::<E>::now() {
            return None;
        }
        E::Runtime::timeout_at(begins, self.receiver.recv()).await.ok().flatten()
    }

    /// Tries until every unit has its answer.
    async fn settle(&mut self, mut units: Vec<Unit<E>>) {
        loop {
            self.give_up_late(&mut units);
            if units.is_empty() {
                return;
            }
            let metrics = self.raft.metrics().borrow_watched().clone();
            if metrics.running_state.is_err() {
                return fail(units);
            }
            let result = if metrics.state == ServerState::Leader {
                keep_of_term(&mut units, metrics.current_term);
                let commands = units.iter().map(|unit| unit.count).sum();
                self.next_entry = Some(InstantOf::<E>::now() + tick(commands));
                self.write(&mut units).await
            } else {
                keep_local(&mut units);
                // The leader gathers what the others forward.
                self.next_entry = None;
                match metrics.current_leader.map(NodeId) {
                    Some(leader) if self.links.is_live(leader) => {
                        self.forward(leader, &mut units).await
                    }
                    _ => None,
                }
            };
            match result {
                Some((log_index, outcomes)) => return answer(units, log_index, outcomes),
                None => E::Runtime::sleep(RETRY_PAUSE).await,
            }
        }
    }

    /// Turns down what has waited for too long, with all that was proposed before that moment: what
    /// follows a lost proposal must not take effect, or a client that makes the lost one again would
    /// see them out of order.
    fn give_up_late(&mut self, units: &mut Vec<Unit<E>>) {
        let now = InstantOf::<E>::now();
        let is_late = |unit: &Unit<E>| match &unit.origin {
            Origin::Local { deadline, .. } => *deadline <= now,
            Origin::Forwarded { .. } => false,
        };
        if units.iter().any(is_late) {
            self.given_up = Some(now + PROPOSE_TIMEOUT);
        }
        let given_up = self.given_up;
        for unit in units.extract_if(.., |unit| match &unit.origin {
            Origin::Local { answer, deadline, .. } => {
                given_up.is_some_and(|given_up| *deadline <= given_up) || answer.is_closed()
            }
            Origin::Forwarded { .. } => false,
        }) {
            fail_unit(unit);
        }
    }

    /// Writes a log entry here; `None` when this node doesn't lead after all.
    async fn write(&self, units: &mut [Unit<E>]) -> Option<(u64, Vec<Outcome>)> {
        if units.is_empty() {
            return None;
        }
        let batch = CommandBatch::new(self.limits, units.iter().map(|unit| &unit.items));
        let written = E::Runtime::timeout_at(latest(units), self.raft.client_write(batch)).await;
        match written {
            Ok(Ok(response)) => Some((response.log_id.index, response.data.outcomes)),
            Ok(Err(RaftError::APIError(ClientWriteError::ForwardToLeader(_)))) => None,
            Ok(Err(error)) => {
                tracing::debug!(%error, "log entry was not written");
                mark_unclear(units);
                None
            }
            Err(_) => {
                mark_unclear(units);
                None
            }
        }
    }

    /// Has the leader write; `None` when it didn't, or didn't say.
    async fn forward(&self, leader: NodeId, units: &mut [Unit<E>]) -> Option<(u64, Vec<Outcome>)> {
        if units.is_empty() {
            return None;
        }
        let body = encode_forwarded(units);
        let request = self.links.request(leader, kind::PROPOSE, &body);
        match E::Runtime::timeout_at(latest(units), request).await {
            Ok(Ok(body)) => match decode_form("forward answer", &body) {
                Ok(ForwardAnswer::Committed { log_index, outcomes }) => {
                    return Some((log_index, outcomes));
                }
                Ok(ForwardAnswer::NotLeader) => return None,
                Err(error) => {
                    tracing::warn!(%error, node_id = %leader, "bad answer from the leader");
                }
            },
            Ok(Err(error)) => tracing::debug!(%error, "forwarding proposals failed"),
            Err(_) => {}
        }
        mark_unclear(units);
        None
    }
}

/// How long the next entry waits from the beginning of one that has so many commands.
fn tick(commands: usize) -> Duration {
    let more = commands.saturating_sub(COMMANDS_FEW);
    let more = u32::try_from(more).unwrap_or(u32::MAX);
    TICK_STEP.saturating_mul(more).min(TICK_MAX)
}

fn encode_forwarded<E: Environment>(units: &[Unit<E>]) -> BytesMut {
    let mut body = BytesMut::new();
    body.put_u32_le(units.iter().map(|unit| unit.count).sum::<usize>() as u32);
    for unit in units {
        body.put_slice(&unit.items);
    }
    body
}

/// When the last one that waits gives up. Forwarded ones are bounded by who forwarded them.
fn latest<E: Environment>(units: &[Unit<E>]) -> InstantOf<E> {
    let deadlines = units.iter().filter_map(|unit| match &unit.origin {
        Origin::Local { deadline, .. } => Some(*deadline),
        Origin::Forwarded { .. } => None,
    });
    deadlines.max().unwrap_or_else(|| InstantOf::<E>::now() + PROPOSE_TIMEOUT)
}

/// Nothing was heard of what became of this try. A later one that is turned down as a whole says
/// nothing of it.
fn mark_unclear<E: Environment>(units: &mut [Unit<E>]) {
    for unit in units {
        unit.is_unclear = true;
    }
}

/// Turns down forwarded units that were taken in another term.
fn keep_of_term<E: Environment>(units: &mut Vec<Unit<E>>, current: u64) {
    for unit in units.extract_if(.., |unit| match &unit.origin {
        Origin::Local { .. } => false,
        Origin::Forwarded { term, .. } => *term != current,
    }) {
        fail_unit(unit);
    }
}

/// Turns down all forwarded units: this node doesn't lead.
fn keep_local<E: Environment>(units: &mut Vec<Unit<E>>) {
    for unit in units.extract_if(.., |unit| matches!(unit.origin, Origin::Forwarded { .. })) {
        fail_unit(unit);
    }
}

fn fail<E: Environment>(units: Vec<Unit<E>>) {
    for unit in units {
        fail_unit(unit);
    }
}

fn fail_unit<E: Environment>(unit: Unit<E>) {
    match (unit.origin, unit.is_unclear) {
        (Origin::Local { answer, .. }, is_unclear) => {
            let error = match is_unclear {
                true => ProposeError::TimedOut,
                false => ProposeError::Unavailable,
            };
            // Who proposed may have gone.
            let _ = answer.send(Err(error));
        }
        (Origin::Forwarded { replier, .. }, true) => {
            replier.fail("it may be in the log of a leader that leads no longer");
        }
        (Origin::Forwarded { replier, .. }, false) => answer_not_leader(replier),
    }
}

fn answer<E: Environment>(units: Vec<Unit<E>>, log_index: u64, outcomes: Vec<Outcome>) {
    let expected = units.iter().map(|unit| unit.count).sum::<usize>();
    if outcomes.len() != expected {
        tracing::error!(log_index, expected, found = outcomes.len(), "outcomes don't match");
        return fail(units);
    }
    let mut outcomes = outcomes.into_iter();
    for unit in units {
        match unit.origin {
            Origin::Local { answer, .. } => {
                if let Some(outcome) = outcomes.next() {
                    // Who proposed may have gone.
                    let _ = answer.send(Ok(Proposed { outcome, log_index }));
                }
            }
            Origin::Forwarded { replier, .. } => {
                let outcomes = outcomes.by_ref().take(unit.count).collect();
                match encode_form(&ForwardAnswer::Committed { log_index, outcomes }) {
                    Ok(body) => replier.reply(&body),
                    Err(error) => replier.fail(&error.to_string()),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tokio::sync::oneshot;

    use super::*;
    use crate::cluster::environment::Process;

    #[test]
    fn what_an_earlier_try_may_have_left_is_told_though_the_last_one_was_turned_down() {
        for is_unclear in [false, true] {
            let (answer, mut receiver) = oneshot::channel();
            let deadline = InstantOf::<Process>::now();
            let origin = Origin::<Process>::Local { answer, deadline };
            let mut units = [Unit { items: Bytes::new(), count: 1, origin, is_unclear: false }];
            if is_unclear {
                mark_unclear(&mut units);
            }
            units.into_iter().for_each(fail_unit);
            let error = receiver.try_recv().unwrap().unwrap_err();
            assert_eq!(matches!(error, ProposeError::TimedOut), is_unclear);
        }
    }

    #[test]
    fn the_tick_grows_with_the_commands_of_an_entry_and_few_have_none() {
        let ticks = [0, 1, 2, 3, 5, 7, 8, usize::MAX].map(|commands| tick(commands).as_millis());
        assert_eq!(ticks, [0, 0, 0, 1, 3, 5, 5, 5]);
    }
}
