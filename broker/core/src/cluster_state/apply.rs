//! Applies log entries to the replicated state. Pure and deterministic.

use std::sync::Arc;

use broker_policy::{ChangeError, Policy, PolicyChange};

use super::command::{Command, CommandBatch, CommandError, Outcome, RetainedLimits};
use super::retained_store::RetainedStore;

/// What the node that applied a batch should do besides answering.
#[derive(Debug, Clone)]
pub enum Effect {
    /// Enforce this policy from now on.
    PolicyChanged {
        /// The whole of it; cheap to clone.
        policy: Policy,
    },
}

/// What came of a batch.
#[derive(Debug, Clone, Default)]
pub struct Applied {
    /// One for each command, in order.
    pub outcomes: Vec<Outcome>,
    /// Of several policy changes in one batch only the last shows here.
    pub effects: Vec<Effect>,
}

/// The replicated state of one node.
#[derive(Debug, Default)]
pub struct ClusterState {
    policy: Policy,
    retained: Arc<RetainedStore>,
}

impl ClusterState {
    /// A state with the policy, reading and writing retained messages in `retained`.
    pub(super) const fn from_parts(policy: Policy, retained: Arc<RetainedStore>) -> Self {
        Self { policy, retained }
    }

    /// The policy as of the last applied entry.
    #[must_use]
    pub const fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The retained messages; other threads may read them while this one applies.
    #[must_use]
    pub const fn retained(&self) -> &Arc<RetainedStore> {
        &self.retained
    }

    /// Applies one log entry. The outcome depends on the entry and on those before it alone.
    ///
    /// # Errors
    /// A batch that this version can't read. Nothing of it was applied; the node must stop.
    pub fn apply(
        &mut self,
        _log_index: u64,
        batch: &CommandBatch,
    ) -> Result<Applied, CommandError> {
        let (limits, commands) = batch.decode()?;
        let mut outcomes = Vec::with_capacity(commands.len());
        let mut has_new_policy = false;
        let mut retained = self.retained.begin();
        for command in commands {
            outcomes.push(match command {
                Command::ApplyPolicy(change) => {
                    let (outcome, is_new) = apply_policy(&mut self.policy, &change);
                    has_new_policy |= is_new;
                    outcome
                }
                Command::Retain(change) => retain(&mut retained, change, limits),
                Command::ExpireRetained { now, messages_max } => {
                    Outcome::Expired { messages: retained.expire(now, messages_max) }
                }
            });
        }
        drop(retained);
        let mut effects = Vec::new();
        if has_new_policy {
            effects.push(Effect::PolicyChanged { policy: self.policy.clone() });
        }
        Ok(Applied { outcomes, effects })
    }
}

fn apply_policy(policy: &mut Policy, change: &PolicyChange) -> (Outcome, bool) {
    if policy.revision() == change.to {
        // Proposed twice, or it changes nothing.
        return (Outcome::PolicyApplied { revision: change.to }, false);
    }
    match policy.apply(change) {
        Ok(next) => {
            *policy = next;
            (Outcome::PolicyApplied { revision: change.to }, true)
        }
        Err(ChangeError::WrongBase { current, .. }) => (Outcome::PolicyConflict { current }, false),
        Err(ChangeError::Invalid { source }) => {
            (Outcome::PolicyInvalid { reason: source.to_string() }, false)
        }
        Err(error) => (Outcome::PolicyInvalid { reason: error.to_string() }, false),
    }
}

fn retain(
    retained: &mut super::retained_store::RetainedWriter<'_>,
    change: crate::retained::RetainedChange,
    limits: RetainedLimits,
) -> Outcome {
    match retained.apply(change, limits) {
        Ok(()) => Outcome::Retained,
        Err(refusal) => Outcome::RetainRefused { reason: refusal.to_string() },
    }
}

#[cfg(test)]
#[path = "apply_test.rs"]
mod tests;
