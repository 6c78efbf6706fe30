//! Letting go of an identifier that a newer claim names, and the answers to such requests. Pure.

use super::NodeClaims;
use super::action::{ClaimAnswer, NodeAction, Place, Ticket, WorkerIndex};
use super::entry::{Entry, Extraction, Forwarding, Phase, Whom};
use crate::claim::Claim;
use crate::claim::message::{ToArbiter, ToPeer};
use crate::claim::taking::Taking;
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
        if let Some((place, taking)) = self.supersede_taking(&client_id, claim) {
            let key = (client_id.clone(), taking.claim);
            self.forwarding.insert(key, Forwarding { taking, to: node, to_claim: claim });
            self.answer(place, client_id, ClaimAnswer::Superseded);
            return;
        }
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
            return;
        }
        let key = (client_id.clone(), claim);
        if let Some(forwarding) = self.forwarding.get_mut(&key) {
            forwarding.taking.answered(node, session);
            if forwarding.taking.is_complete() {
                self.finish_forwarding(&key);
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
        if let Some((place, taking)) = self.supersede_taking(client_id, claim) {
            let released = ToArbiter::Release { client_id: client_id.clone(), claim: taking.claim };
            self.answer(place, client_id.clone(), ClaimAnswer::Superseded);
            self.tell_arbiter(released);
        }
    }

    /// Takes the pending take-over out if `claim` is newer.
    pub(super) fn supersede_taking(
        &mut self,
        client_id: &ClientId,
        claim: Claim,
    ) -> Option<(Place, Taking<S>)> {
        let entry = self.entries.get_mut(client_id)?;
        if entry.taking_mut()?.claim >= claim {
            return None;
        }
        let pending = entry.pending.take()?;
        self.forget_if_empty(client_id);
        match pending.phase {
            Phase::Taking(taking) => Some((pending.place, taking)),
            Phase::Asked { .. } => None,
        }
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

    /// What a superseded take-over got goes to the node that superseded it.
    pub(super) fn finish_forwarding(&mut self, key: &(ClientId, Claim)) {
        let Some(Forwarding { taking, to, to_claim }) = self.forwarding.remove(key) else { return };
        let (client_id, claim) = key.clone();
        let (_, session) = taking.finish();
        let taken = ToPeer::TakenOver { client_id: client_id.clone(), claim: to_claim, session };
        self.send(to, taken);
        self.tell_arbiter(ToArbiter::Release { client_id, claim });
    }
}
