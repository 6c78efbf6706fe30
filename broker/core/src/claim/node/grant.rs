//! From the arbiter's answer to a live connection. Pure.

use super::NodeClaims;
use super::action::ClaimAnswer;
use super::entry::{Entry, Held, Pending, Phase, Whom};
use crate::claim::message::{Denial, RequestId, ToArbiter, ToPeer};
use crate::claim::taking::Taking;
use crate::claim::{Claim, TAKE_OVER_MILLIS_MAX};
use crate::types::{ClientId, Millis, NodeId};

impl<S> NodeClaims<S> {
    pub(super) fn granted(
        &mut self,
        now: Millis,
        request: RequestId,
        client_id: ClientId,
        claim: Claim,
        previous: Vec<NodeId>,
    ) {
        let asked = |entry: &&mut Entry<S>| match entry.pending.as_deref() {
            Some(Pending { phase: Phase::Asked { request: asked, .. }, .. }) => *asked == request,
            _ => false,
        };
        let Some(entry) = self.entries.get_mut(&client_id).filter(asked) else {
            // The connection has gone or been told something else meanwhile.
            self.tell_arbiter(ToArbiter::Release { client_id, claim });
            return;
        };
        if entry.pending.as_ref().is_some_and(|pending| claim < pending.fence) {
            let place = entry.pending.take().map(|pending| pending.place);
            self.forget_if_empty(&client_id);
            if let Some(place) = place {
                self.answer(place, client_id.clone(), ClaimAnswer::Superseded);
            }
            self.tell_arbiter(ToArbiter::Release { client_id, claim });
            return;
        }
        self.start_taking(now, &client_id, claim, previous);
    }

    /// Asks all that may hold the identifier to let go of it.
    pub(super) fn start_taking(
        &mut self,
        now: Millis,
        client_id: &ClientId,
        claim: Claim,
        mut previous: Vec<NodeId>,
    ) {
        let Some(entry) = self.entries.get_mut(client_id) else { return };
        let clean_start = entry.pending.as_ref().is_some_and(|pending| pending.clean_start);
        let held_here = entry.held.take();
        let mut cleared = Vec::new();
        previous.retain(|node| *node != self.node && self.linked.contains(node));
        for &node in &previous {
            let client_id = client_id.clone();
            self.send(node, ToPeer::TakeOver { client_id, claim, clean_start });
        }
        match held_here {
            Some(held) => {
                self.extract(held.worker, client_id, claim, clean_start, Whom::Here);
                previous.push(self.node);
            }
            None => cleared.push(self.node),
        }
        let deadline = now.plus(TAKE_OVER_MILLIS_MAX);
        let taking = Taking::new(claim, previous, cleared);
        let complete = taking.is_complete();
        if let Some(pending) =
            self.entries.get_mut(client_id).and_then(|entry| entry.pending.as_mut())
        {
            pending.phase = Phase::Taking(taking);
        }
        if complete {
            self.finish_taking(client_id);
        } else {
            self.taking_deadlines.push_back((deadline, client_id.clone(), claim));
        }
    }

    /// The connection goes live with what has been taken over.
    pub(super) fn finish_taking(&mut self, client_id: &ClientId) {
        let Some(entry) = self.entries.get_mut(client_id) else { return };
        let pending = entry.pending.take().map(|pending| *pending);
        let Some(Pending { place, phase: Phase::Taking(taking), clean_start, .. }) = pending else {
            return;
        };
        let claim = taking.claim;
        let (cleared, session) = taking.finish();
        let session = session.filter(|_| !clean_start);
        entry.held = Some(Held { worker: place.worker, claim });
        self.answer(place, client_id.clone(), ClaimAnswer::Granted { claim, session });
        self.tell_arbiter(ToArbiter::Settled { client_id: client_id.clone(), claim, cleared });
    }

    pub(super) fn denied(
        &mut self,
        node: NodeId,
        term: u64,
        request: RequestId,
        client_id: &ClientId,
        denial: Denial,
    ) {
        if self.leader != Some((node, term)) {
            return;
        }
        let Some(entry) = self.entries.get_mut(client_id) else { return };
        let asked = |pending: &mut Box<Pending<S>>| matches!(pending.phase, Phase::Asked { request: asked, .. } if asked == request);
        match denial {
            Denial::NotReported => {
                if entry.pending.as_mut().is_some_and(asked) {
                    self.report();
                }
            }
            Denial::Overloaded => {
                let Some(pending) = entry.pending.take_if(asked) else { return };
                self.forget_if_empty(client_id);
                self.answer(pending.place, client_id.clone(), ClaimAnswer::Unavailable);
            }
        }
    }

    pub(super) fn give_up_request(&mut self, now: Millis, client_id: &ClientId) {
        let is_alone = self.is_alone();
        let Some(entry) = self.entries.get_mut(client_id) else { return };
        let due = |pending: &mut Box<Pending<S>>| match pending.phase {
            Phase::Asked { deadline, .. } => deadline <= now,
            Phase::Taking(_) => false,
        };
        if is_alone && entry.pending.as_mut().is_some_and(due) {
            return self.grant_alone(now, client_id);
        }
        let Some(pending) = entry.pending.take_if(due) else { return };
        self.forget_if_empty(client_id);
        self.answer(pending.place, client_id.clone(), ClaimAnswer::Unavailable);
    }
}
