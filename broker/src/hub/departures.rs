//! Which nodes have left the cluster for good.

use std::collections::BTreeSet;

use broker_core::types::NodeId;

/// The members as they were last seen, and who is on the way out.
#[derive(Debug, Default)]
pub(super) struct Departures {
    members: BTreeSet<NodeId>,
    /// No members any more, but still linked: they may have clients, which are to be taken over.
    leaving: BTreeSet<NodeId>,
}

impl Departures {
    /// Takes the members in; returns who has left and has no link to here any more, each once.
    pub(super) fn gone(
        &mut self,
        members: BTreeSet<NodeId>,
        linked: &BTreeSet<NodeId>,
    ) -> Vec<NodeId> {
        self.leaving.extend(&self.members);
        self.leaving.retain(|node| !members.contains(node));
        self.members = members;
        self.leaving.extract_if(.., |node| !linked.contains(node)).collect()
    }
}
