//! What became of operations: the answers that waited for it.

use super::super::close::WillFate;
use super::super::output::AckPacket;
use super::super::{Claim, DropReason, Engine, ProposalId, SessionsOutcome};
use super::attach::Arrival;
use super::lost::End;
use super::subscribe::{DurableSubscribe, DurableUnsubscribe};
use crate::codec::ReasonCode;
use crate::connection::{AckKind, slot_of};
use crate::session::{RetainedCursor, SessionSlot};
use crate::shard::OperationOutcome;
use crate::types::{ClientId, ConnectionId, Millis, PacketId};

/// What waits for an operation.
#[derive(Debug)]
pub(in crate::engine) enum Wait {
    /// Nothing: it may be lost, and is proposed again by what follows.
    Nothing,
    /// Nothing, but the end of a session's time on a connection is proposed until the state has it.
    Detach(Box<End>),
    /// What has become of an Attach that nothing was heard of.
    Look(ClientId, Claim),
    /// PUBACK or PUBREC to a publisher.
    Ack(ProposalId),
    /// CONNACK.
    Attach(Arrival),
    /// CONNACK of a client whose durable session is discarded.
    Discard(Arrival),
    /// SUBACK.
    Subscribe(ConnectionId, Box<DurableSubscribe>),
    /// UNSUBACK.
    Unsubscribe(ConnectionId, Box<DurableUnsubscribe>),
    /// That a session has left a group, and then what else waits for it.
    Leave(SessionSlot, u32, Box<Wait>),
    /// Nothing; what is lost goes with the session's next acknowledgement.
    Acknowledge(ConnectionId, Vec<u64>),
    /// PUBREL to a subscriber.
    Receive(ConnectionId, Vec<PacketId>),
    /// PUBCOMP to a publisher.
    Release(ConnectionId, Vec<PacketId>),
    /// PUBACK or PUBREC to the publisher of a delayed message.
    Delay(ProposalId),
    /// A retained message on its way into the session's queue; how it is looked for again.
    Deliver(SessionSlot, u32, Box<RetainedCursor>),
}

/// What became of one operation, or of the whole batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) enum Verdict {
    Done,
    Attached {
        attachment: u64,
        session_present: bool,
    },
    /// A limit is reached; nothing is kept.
    Full,
    /// It was not proposed.
    Refused,
    /// The session is another connection's.
    Stale,
    /// It may be carried out still, or be lost.
    Unknown,
}

impl Verdict {
    const fn of(outcome: OperationOutcome) -> Self {
        match outcome {
            OperationOutcome::Done => Self::Done,
            OperationOutcome::Attached { attachment, session_present } => {
                Self::Attached { attachment, session_present }
            }
            OperationOutcome::Full => Self::Full,
            OperationOutcome::Malformed => Self::Refused,
            OperationOutcome::Stale => Self::Stale,
        }
    }
}

impl Engine {
    /// Answers [`Effect::ProposeSessions`](super::Effect::ProposeSessions).
    pub fn sessions_committed(
        &mut self,
        now: Millis,
        proposal: ProposalId,
        outcome: SessionsOutcome,
    ) {
        let Some(durable) = &mut self.durable else { return };
        let Some(waits) = durable.proposed.remove(&proposal) else { return };
        let is_applied = matches!(outcome, SessionsOutcome::Applied(_));
        let (outcomes, rest) = match outcome {
            SessionsOutcome::Applied(outcomes) => (outcomes, Verdict::Unknown),
            SessionsOutcome::Refused => (Vec::new(), Verdict::Refused),
            SessionsOutcome::Unknown => (Vec::new(), Verdict::Unknown),
        };
        let verdicts = outcomes.into_iter().map(Verdict::of).chain(std::iter::repeat(rest));
        for (wait, verdict) in waits.into_iter().zip(verdicts) {
            self.settle_wait(now, wait, verdict);
        }
        if is_applied {
            self.propose_lost_now(now);
        }
    }

    fn settle_wait(&mut self, now: Millis, wait: Wait, verdict: Verdict) {
        match wait {
            Wait::Nothing => {}
            Wait::Detach(end) => self.detached(now, *end, verdict),
            Wait::Look(client_id, claim) => self.looked(now, client_id, claim, verdict),
            Wait::Ack(proposal) => self.settle_publish(now, proposal, verdict),
            Wait::Attach(arrival) => self.attached(now, arrival, verdict),
            Wait::Discard(arrival) => self.discarded(now, arrival, verdict),
            Wait::Subscribe(connection, subscribe) => {
                self.durable_subscribed(now, connection, *subscribe, verdict);
            }
            Wait::Unsubscribe(connection, unsubscribe) => {
                self.durable_unsubscribed(now, connection, *unsubscribe, verdict);
            }
            Wait::Leave(slot, serial, wait) => {
                self.settle_wait(now, *wait, verdict);
                self.has_left(now, slot, serial);
            }
            Wait::Acknowledge(connection, seqs) => match verdict {
                Verdict::Done => {}
                Verdict::Stale => drop(self.goes_on(now, connection, verdict)),
                _ => self.acknowledge_again(connection, seqs),
            },
            Wait::Receive(connection, packet_ids) => {
                if self.goes_on(now, connection, verdict) {
                    for packet_id in packet_ids {
                        let slot = slot_of(connection);
                        self.send_ack(slot, AckPacket::Rel, packet_id, ReasonCode::Success);
                    }
                }
            }
            Wait::Release(connection, packet_ids) => {
                if self.goes_on(now, connection, verdict) {
                    self.released(connection, &packet_ids);
                }
            }
            Wait::Deliver(slot, serial, cursor) => {
                self.delivered(now, (slot, serial), *cursor, verdict);
            }
            Wait::Delay(proposal) => {
                if matches!(verdict, Verdict::Full | Verdict::Refused) {
                    self.counters.dropped.count(DropReason::DelayedRefused);
                }
                self.settle_publish(now, proposal, verdict);
            }
        }
    }

    /// Whether the connection is there and what it proposed is done; else it is closed: the client
    /// comes again and finds what is true.
    pub(super) fn goes_on(
        &mut self,
        now: Millis,
        connection: ConnectionId,
        verdict: Verdict,
    ) -> bool {
        let is_open = self.connections.get(connection).is_some_and(|state| state.is_open());
        if !is_open || verdict == Verdict::Done {
            return is_open;
        }
        let reason_code = match verdict {
            Verdict::Stale => ReasonCode::SessionTakenOver,
            _ => ReasonCode::ServerBusy,
        };
        self.close(now, connection, Some(reason_code.into()), WillFate::Published);
        false
    }

    /// Answers messages that the disk has no room for as those that were not proposed.
    pub(super) fn settle_turned_down(&mut self) {
        let Some(durable) = &mut self.durable else { return };
        for (now, proposal) in std::mem::take(&mut durable.turned_down) {
            self.settle_publish(now, proposal, Verdict::Refused);
        }
    }

    /// A PUBLISH that waited. What may or may not be kept is told by closing the connection where
    /// the protocol has no word for it: the client sends it again.
    fn settle_publish(&mut self, now: Millis, proposal: ProposalId, verdict: Verdict) {
        let Some(id) = self.proposals.remove(&proposal) else { return };
        let Some(connection) = self.connections.get_mut(id) else { return };
        let is_v5 = connection.version.is_v5();
        let kind = connection.pending_acks.as_ref().and_then(|acks| acks.kind_of(proposal));
        let refusal = match verdict {
            Verdict::Done | Verdict::Attached { .. } => None,
            // 3.1.1 has no word for it: the message is dropped, as full queues drop messages.
            Verdict::Full if !is_v5 => None,
            Verdict::Full | Verdict::Refused if is_v5 => Some(ReasonCode::QuotaExceeded),
            Verdict::Unknown if is_v5 && kind == Some(AckKind::PubAck) => {
                Some(ReasonCode::ImplementationSpecificError)
            }
            Verdict::Full | Verdict::Refused | Verdict::Unknown => {
                return self.close(now, id, None, WillFate::Published);
            }
            Verdict::Stale => {
                let fault = Some(ReasonCode::SessionTakenOver.into());
                return self.close(now, id, fault, WillFate::Published);
            }
        };
        if let Some(acks) = &mut connection.pending_acks {
            acks.settle(proposal, refusal);
        }
        self.send_due_acks(id);
        self.resume(now, id);
    }
}
