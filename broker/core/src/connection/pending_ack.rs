//! Acknowledgements that must leave in the order of the PUBLISH packets. Pure.
//!
//! Spec: MQTT 5.0 section 4.6 [MQTT-4.6.0-2], [MQTT-4.6.0-3].

use std::collections::VecDeque;

use crate::codec::ReasonCode;
use crate::engine::ProposalId;
use crate::types::PacketId;

/// PUBACK or PUBREC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AckKind {
    PubAck,
    PubRec,
}

/// An acknowledgement that is due, or will be when its proposal is committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PendingAck {
    pub(crate) kind: AckKind,
    pub(crate) packet_id: PacketId,
    pub(crate) reason_code: ReasonCode,
    /// What it waits for.
    pub(crate) proposal: Option<ProposalId>,
}

/// Acknowledgements behind one that waits. Bounded by the Receive Maximum told to the client and,
/// as 3.1.1 knows none, by pausing its input.
#[derive(Debug, Default)]
pub(crate) struct PendingAcks {
    queue: VecDeque<PendingAck>,
    /// How many of them are PUBACKs: QoS 1 messages that count against the Receive Maximum.
    pubacks: usize,
}

impl PendingAcks {
    pub(crate) fn push(&mut self, ack: PendingAck) {
        self.pubacks += usize::from(ack.kind == AckKind::PubAck);
        self.queue.push_back(ack);
    }

    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }

    /// Notes a proposal's outcome: what waited for it is due, with this reason code.
    pub(crate) fn settle(&mut self, proposal: ProposalId, reason_code: Option<ReasonCode>) {
        // One packet, one proposal. The outcomes come in order, so it mostly is the first.
        if let Some(ack) = self.queue.iter_mut().find(|ack| ack.proposal == Some(proposal)) {
            ack.proposal = None;
            ack.reason_code = reason_code.unwrap_or(ack.reason_code);
        }
    }

    /// What waits for a proposal.
    pub(crate) fn kind_of(&self, proposal: ProposalId) -> Option<AckKind> {
        self.queue.iter().find(|ack| ack.proposal == Some(proposal)).map(|ack| ack.kind)
    }

    /// The next one that is due, if none before it waits.
    pub(crate) fn pop_due(&mut self) -> Option<PendingAck> {
        if self.queue.front()?.proposal.is_some() {
            return None;
        }
        let ack = self.queue.pop_front()?;
        self.pubacks -= usize::from(ack.kind == AckKind::PubAck);
        Some(ack)
    }

    /// How many PUBACKs wait.
    pub(crate) const fn pubacks(&self) -> usize {
        self.pubacks
    }

    /// Whether the PUBREC for this identifier is still to be sent.
    pub(crate) fn holds_pubrec(&self, packet_id: PacketId) -> bool {
        let is_it = |ack: &PendingAck| ack.kind == AckKind::PubRec && ack.packet_id == packet_id;
        self.queue.iter().any(is_it)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ack_waits_for_those_before_it() {
        let id = |value| PacketId::new(value).unwrap();
        let ack = |value, proposal| PendingAck {
            kind: AckKind::PubAck,
            packet_id: id(value),
            reason_code: ReasonCode::Success,
            proposal,
        };
        let mut acks = PendingAcks::default();
        acks.push(ack(1, Some(ProposalId(1))));
        acks.push(ack(2, Some(ProposalId(2))));
        acks.push(ack(3, None));
        acks.settle(ProposalId(2), Some(ReasonCode::ImplementationSpecificError));
        assert_eq!(acks.pop_due(), None);
        acks.settle(ProposalId(1), None);
        let mut due =
            std::iter::from_fn(|| acks.pop_due().map(|ack| (ack.packet_id, ack.reason_code)));
        assert_eq!(due.next(), Some((id(1), ReasonCode::Success)));
        assert_eq!(due.next(), Some((id(2), ReasonCode::ImplementationSpecificError)));
        assert_eq!(due.next(), Some((id(3), ReasonCode::Success)));
        assert_eq!(due.next(), None);
    }
}
