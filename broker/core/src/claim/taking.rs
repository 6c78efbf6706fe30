//! A take-over under way: who has been asked to let go, and what has come of it. Pure.

use crate::types::NodeId;

use super::Claim;

/// Collects the answers of those that may hold an identifier under an earlier claim.
#[derive(Debug)]
pub(super) struct Taking<S> {
    /// The claim that the identifier is taken over under.
    pub(super) claim: Claim,
    unanswered: Vec<NodeId>,
    cleared: Vec<NodeId>,
    session: Option<S>,
}

impl<S> Taking<S> {
    /// Waits for `unanswered`; `cleared` hold nothing as is known already.
    pub(super) const fn new(claim: Claim, unanswered: Vec<NodeId>, cleared: Vec<NodeId>) -> Self {
        Self { claim, unanswered, cleared, session: None }
    }

    /// Takes an answer in; the first session wins, a second one can't be.
    pub(super) fn answered(&mut self, node: NodeId, session: Option<S>) {
        if !self.is_awaited(node) {
            return;
        }
        self.unanswered.retain(|awaited| *awaited != node);
        self.cleared.push(node);
        if self.session.is_none() {
            self.session = session;
        }
    }

    /// Goes on without `node`'s answer; what it holds is left to a later revocation.
    pub(super) fn give_up(&mut self, node: NodeId) {
        self.unanswered.retain(|awaited| *awaited != node);
    }

    /// Whether `node` has still to answer.
    pub(super) fn is_awaited(&self, node: NodeId) -> bool {
        self.unanswered.contains(&node)
    }

    /// Whether nobody is waited for any more.
    pub(super) const fn is_complete(&self) -> bool {
        self.unanswered.is_empty()
    }

    /// What came of it: the nodes known to have let go, and the session.
    pub(super) fn finish(self) -> (Vec<NodeId>, Option<S>) {
        (self.cleared, self.session)
    }
}
