//! What the cluster has committed: acknowledgements that waited for it leave.

use super::close::WillFate;
use super::{CommitOutcome, Engine, ProposalId};
use crate::codec::ReasonCode;
use crate::connection::{AckKind, PendingAck, slot_of};
use crate::types::{ConnectionId, Millis};

impl Engine {
    /// Answers [`Effect::Propose`](super::Effect::Propose).
    ///
    /// A failure is told to a 5.0 publisher by reason code 0x83, a refusal by 0x97. 3.1.1 has no
    /// word for either. After a failure the connection is closed without the acknowledgement and
    /// the client sends the message again; after a refusal, which it would meet again, the message
    /// is acknowledged, as one that the client may not publish is.
    pub fn committed(&mut self, now: Millis, proposal: ProposalId, outcome: CommitOutcome) {
        self.counters.limits.retained += u64::from(outcome == CommitOutcome::Refused);
        let Some(id) = self.proposals.remove(&proposal) else { return };
        let failure = match outcome {
            CommitOutcome::Committed => None,
            CommitOutcome::Failed => Some(ReasonCode::ImplementationSpecificError),
            CommitOutcome::Refused => Some(ReasonCode::QuotaExceeded),
        };
        let Some(connection) = self.connections.get_mut(id) else { return };
        let failure = failure.filter(|_| connection.version.is_v5());
        if outcome == CommitOutcome::Failed && !connection.version.is_v5() {
            self.close(now, id, None, WillFate::Published);
            return;
        }
        if let Some(acks) = &mut connection.pending_acks {
            acks.settle(proposal, failure);
        }
        self.send_due_acks(id);
        self.resume(now, id);
    }

    pub(super) fn send_due_acks(&mut self, id: ConnectionId) {
        while let Some(ack) = self.next_due_ack(id) {
            if ack.kind == AckKind::PubRec && ack.reason_code.is_error() {
                self.forget_qos2(id, ack);
            }
            self.send_publish_ack(slot_of(id), ack);
        }
    }

    fn next_due_ack(&mut self, id: ConnectionId) -> Option<PendingAck> {
        let connection = self.connections.get_mut(id)?;
        let acks = connection.pending_acks.as_mut()?;
        let ack = acks.pop_due();
        if acks.len() == 0 {
            connection.pending_acks = None;
        }
        ack
    }

    /// A PUBREC that refuses ends the exchange, so its identifier is free.
    fn forget_qos2(&mut self, id: ConnectionId, ack: PendingAck) {
        let session = self.connections.get(id).and_then(|connection| connection.session);
        if let Some(session) = session.and_then(|slot| self.sessions.get_mut(slot)) {
            session.inbound_qos2.remove(ack.packet_id);
        }
    }
}
