//! Granting without the arbiter, while the node is cut off from the cluster and serves all the same.
//! Pure.
//!
//! Such a claim is below all that an arbiter grants: where the cluster has let the same identifier in
//! meanwhile, that connection stays when the node is back, and this one is told to go. Among
//! themselves they are ordered by time.

use super::NodeClaims;
use crate::claim::Claim;
use crate::claim::message::ToArbiter;
use crate::types::{ClientId, Millis};

/// No arbiter has this term.
const TERM: u64 = 0;

/// Most claims of an arbiter that were replaced while alone and are told when it is back; what is
/// beyond may cost a client its connection then.
const LET_GO_MAX: usize = 100_000;

/// What a node that is alone remembers.
#[derive(Debug, Default)]
pub(super) struct Alone {
    is_alone: bool,
    /// Arbiter's claims that are held no more, which it has not heard of.
    let_go: Vec<(ClientId, Claim)>,
}

impl<S> NodeClaims<S> {
    /// Whether the node grants identifiers itself, as it can't reach the arbiter and is to serve
    /// nevertheless.
    pub fn set_alone(&mut self, is_alone: bool) {
        self.alone.is_alone = is_alone;
    }

    pub(super) const fn is_alone(&self) -> bool {
        self.alone.is_alone
    }

    /// Grants what a connection waits for, once those that can be reached have let go.
    pub(super) fn grant_alone(&mut self, now: Millis, client_id: &ClientId) {
        let claim = Claim { term: TERM, seq: self.next_request };
        self.next_request += 1;
        if let Some(entry) = self.entries.get(client_id)
            && let Some(held) = entry.held
            && held.claim.term != TERM
            && self.alone.let_go.len() < LET_GO_MAX
        {
            self.alone.let_go.push((client_id.clone(), held.claim));
        }
        let reachable = self.linked.iter().copied().collect();
        self.start_taking(now, client_id, claim, reachable);
    }

    /// Tells the arbiter, which is back, of its claims that were replaced meanwhile.
    pub(super) fn tell_let_go(&mut self) {
        for (client_id, claim) in std::mem::take(&mut self.alone.let_go) {
            self.tell_arbiter(ToArbiter::Release { client_id, claim });
        }
    }
}
