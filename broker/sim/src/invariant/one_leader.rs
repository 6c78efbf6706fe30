//! At most one leader a term. Spec: Raft paper, figure 3, Election Safety.

use std::collections::BTreeMap;

use broker_core::types::NodeId;

use super::Invariant;
use crate::event::Event;

/// Who leads in which term.
#[derive(Debug, Default)]
pub(super) struct OneLeader {
    leaders: BTreeMap<u64, NodeId>,
}

impl Invariant for OneLeader {
    fn name(&self) -> &'static str {
        "one_leader"
    }

    fn observe(&mut self, event: &Event) -> Result<(), String> {
        let Event::Leads { node, term } = event else { return Ok(()) };
        let first = *self.leaders.entry(*term).or_insert(*node);
        match first == *node {
            true => Ok(()),
            false => Err(format!("{first} and {node} both lead term {term}")),
        }
    }
}
