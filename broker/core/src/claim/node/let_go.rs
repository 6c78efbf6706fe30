//! Letting go of an identifier that a newer claim names, and the answers to such requests. Pure.

use super::NodeClaims;
use super::action::{ClaimAnswer, NodeAction, Ticket, WorkerIndex};
use super::entry::{Entry, Extraction, Pending, Phase, Whom};
use crate::claim::Claim;
use crate::claim::message::{ToArbiter, ToPeer};
use crate::types::{ClientId, NodeId};

impl<S> NodeClaims<S> {
    /// Another node has a newer claim and wants what is held here.
    pub(super) fn take_over(
        &mut self,
        node: NodeId,
        client_id: ClientId,
        claim: Claim,
        clean_start: bool,
    ) {
        let held = match self.entries.get_mut(&client_id) {
            None => None,
            Some(entry) => {
                entry.fence_pending(claim);
                entry.held.take_if(|held| held.claim < claim)
            }
        };
        if let Some(held) = held {
            self.forget_if_empty(&client_id);
            self.extract(held.worker, &client_id, claim, clean_start, Whom::Peer(node));
            return;
        }
        self.supersede_taking(&client_id, claim);
        self.send(node, ToPeer::TakenOver { client_id, claim, session: None });
    }

    /// An answer to a take-over that this node asked for, or of its own worker.
    pub(super) fn taken_over(
        &mut self,
        node: NodeId,
        client_id: &ClientId,
        claim: Claim,
        session: Option<S>,
    ) {
        let taking = self.entries.get_mut(client_id).and_then(Entry::taking_mut);
        if let Some(taking) = taking.filter(|taking| taking.claim == claim) {
            taking.answered(node, session);
            if taking.is_complete() {
                self.finish_taking(client_id);
            }
        }
    }

    /// The identifier is live elsewhere under `claim`: what is older here goes.
    pub(super) fn revoke(&mut self, client_id: &ClientId, claim: Claim) {
        let Some(entry) = self.entries.get_mut(client_id) else { return };
        entry.fence_pending(claim);
        if let Some(held) = entry.held.take_if(|held| held.claim < claim) {
            self.forget_if_empty(client_id);
            self.extract(held.worker, client_id, claim, true, Whom::Nobody { held: held.claim });
        }
        self.supersede_taking(client_id, claim);
    }

    /// Ends a take-over that a newer claim has overtaken. What it would still have got is lost; the
    /// arbiter makes one grant at a time, so this takes an unreachable node or a new leader.
    fn supersede_taking(&mut self, client_id: &ClientId, newer: Claim) {
        let Some(entry) = self.entries.get_mut(client_id) else { return };
        let overtaken = |pending: &mut Box<Pending<S>>| match &pending.phase {
            Phase::Taking(taking) => taking.claim < newer,
            Phase::Asked { .. } => false,
        };
        let pending = entry.pending.take_if(overtaken).map(|pending| *pending);
        let Some(Pending { place, phase: Phase::Taking(taking), .. }) = pending else { return };
        self.forget_if_empty(client_id);
        self.answer(place, client_id.clone(), ClaimAnswer::Superseded);
        let client_id = client_id.clone();
        self.tell_arbiter(ToArbiter::Release { client_id, claim: taking.claim });
    }

    pub(super) fn extract(
        &mut self,
        worker: WorkerIndex,
        client_id: &ClientId,
        claim: Claim,
        clean_start: bool,
        whom: Whom,
    ) {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        let extraction = Extraction { client_id: client_id.clone(), claim, whom };
        self.extracting.insert(ticket, extraction);
        let client_id = client_id.clone();
        self.actions.push(NodeAction::TakeOver { worker, client_id, claim, clean_start, ticket });
    }
}
