//! Clients are moved away from a broker before it is restarted, so many a second. Pure.

use super::input::Observed;
use super::planner::{NextStep, Roll, WaitReason};

impl Roll<'_> {
    /// A drain whose reason is gone: its broker runs what is wanted by now, or the roll is paused or
    /// has stopped.
    pub(super) fn end_drain(&self) -> Option<NextStep> {
        let is_held = self.settings.is_paused || self.halt().is_some();
        let has_no_reason = |broker: &&Observed| {
            broker.is_drained_by_operator() && (is_held || broker.outdated(self.wanted).is_none())
        };
        let broker = self.observed.iter().find(has_no_reason)?;
        Some(NextStep::EndDrain { broker: broker.name.clone() })
    }

    /// Whether it is not settled because it is the next one to be restarted.
    pub(super) fn is_making_way(&self, broker: &Observed) -> bool {
        broker.is_drained_by_operator() && broker.outdated(self.wanted).is_some()
    }

    /// What is done before a broker is restarted; `None`: it has no clients any more, there is no
    /// other broker for them, or it is too old to say who drains it.
    pub(super) fn move_clients(&self, broker: &Observed) -> Option<NextStep> {
        let status = broker.status.as_ref().ok()?;
        let is_refuge = |other: &Observed| other.name != broker.name && other.is_serving();
        if status.connections == 0
            || status.is_of_first_version()
            || !self.observed.iter().any(is_refuge)
        {
            return None;
        }
        let name = &broker.name;
        if !status.drain.draining {
            return Some(NextStep::Drain { broker: name.clone() });
        }
        let message = format!("{} clients are still at {name}", status.connections);
        Some(NextStep::Wait { reason: WaitReason::Draining, message })
    }
}
