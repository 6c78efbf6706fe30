//! What the registry tells the arbiter. Pure.

use super::NodeClaims;
use super::action::NodeAction;
use super::entry::{Held, Phase};
use crate::claim::REPORT_PART_MAX;
use crate::claim::message::{Holding, RequestId, ToArbiter};
use crate::types::ClientId;

impl<S> NodeClaims<S> {
    /// Tells the leader all that is held, and asks again for all that is pending.
    pub(super) fn report(&mut self) {
        let Some((leader, term)) = self.leader.filter(|(node, _)| self.linked.contains(node))
        else {
            return;
        };
        self.tell_let_go();
        let requests_below = RequestId(self.next_request);
        let mut held: Vec<Holding> = Vec::new();
        let mut asked: Vec<(RequestId, ClientId)> = Vec::new();
        for (client_id, entry) in &mut self.entries {
            let mut hold = |claim, settled| {
                held.push(Holding { client_id: client_id.clone(), claim, settled });
            };
            if let Some(Held { claim, .. }) = entry.held {
                hold(claim, true);
            }
            match entry.pending.as_mut().map(|pending| &mut pending.phase) {
                Some(Phase::Asked { request, .. }) => {
                    *request = RequestId(self.next_request);
                    self.next_request += 1;
                    asked.push((*request, client_id.clone()));
                }
                Some(Phase::Taking(taking)) => hold(taking.claim, false),
                None => {}
            }
        }
        let parts = held.len().div_ceil(REPORT_PART_MAX).max(1);
        let mut rest = held.into_iter();
        for part in 0..parts {
            let held = rest.by_ref().take(REPORT_PART_MAX).collect();
            let (first, last) = (part == 0, part + 1 == parts);
            let message = ToArbiter::Report { term, first, last, requests_below, held };
            self.actions.push(NodeAction::ToArbiter { leader, message });
        }
        for (request, client_id) in asked {
            self.send_request(request, client_id);
        }
    }

    pub(super) fn send_request(&mut self, request: RequestId, client_id: ClientId) {
        if let Some((_, term)) = self.leader {
            self.tell_arbiter(ToArbiter::Request { term, request, client_id });
        }
    }

    /// Nothing is sent while the leader is unknown or out of reach: the report that follows says
    /// it all.
    pub(super) fn tell_arbiter(&mut self, message: ToArbiter) {
        if let Some((leader, _)) = self.leader.filter(|(node, _)| self.linked.contains(node)) {
            self.actions.push(NodeAction::ToArbiter { leader, message });
        }
    }
}
