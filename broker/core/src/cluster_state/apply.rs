//! Applies log entries to the replicated state. Pure and deterministic.

use std::cell::RefCell;
use std::sync::Arc;

use broker_policy::snapshot::Impact;
use broker_policy::{ChangeError, Policy, PolicyChange};

use super::command::{Command, CommandBatch, CommandError, Outcome, RetainedLimits};
use super::feature_level::FEATURE_LEVEL_FIRST;
use super::retained_store::{RetainedStore, RetainedWriter};
use super::secret::SharedSecret;
use crate::router::Message;
use crate::shard::{
    self, ANYWHERE_LEVEL, ApplyContext, BatchOrigin, Drops, LiveMessage, Ready, SessionBatch,
    SessionStore,
};
use crate::stored::MessageStore;
use crate::types::NodeId;

/// What the node that applied a batch should do besides answering.
#[derive(Debug, Clone)]
pub enum Effect {
    /// Enforce this policy from now on.
    PolicyChanged {
        /// The whole of it; cheap to clone.
        policy: Policy,
    },
    /// Tell the workers of these sessions' clients, if they are this node's, that there is
    /// something to send.
    SessionsReady {
        /// The sessions, each once.
        sessions: Vec<Ready>,
    },
    /// Send a message to those who are not in the state, if its node is this one.
    Live {
        /// The message, and the node.
        message: LiveMessage,
    },
    /// Count what nobody got, if its node is this one.
    Dropped {
        /// The node that proposed it.
        node: NodeId,
        /// Its process.
        start: u64,
        /// How many.
        drops: Drops,
    },
    /// What is written from now on may be of this level.
    FeatureLevelRaised {
        /// The level.
        level: u16,
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
#[derive(Debug)]
pub struct ClusterState {
    policy: Policy,
    retained: Arc<RetainedStore>,
    sessions: Arc<SessionStore>,
    secret: SharedSecret,
    feature_level: u16,
}

impl Default for ClusterState {
    fn default() -> Self {
        Self {
            policy: Policy::default(),
            retained: Arc::default(),
            sessions: Arc::default(),
            secret: SharedSecret::default(),
            feature_level: FEATURE_LEVEL_FIRST,
        }
    }
}

impl ClusterState {
    /// The state that all begins with; seed and messages are as at [`SessionStore::new`].
    #[must_use]
    pub fn new(seed: u64, messages: Arc<dyn MessageStore>) -> Self {
        Self { sessions: Arc::new(SessionStore::new(seed, messages)), ..Self::default() }
    }

    /// Replaces the policy, as a snapshot that is installed does.
    pub(super) fn set_policy(&mut self, policy: Policy) {
        self.policy = policy;
    }

    /// Replaces the feature level, as a snapshot that is installed does.
    pub(super) fn set_feature_level(&mut self, level: u16) {
        self.feature_level = level;
        self.sessions.set_feature_level(level);
    }

    /// What may be written, from [`FEATURE_LEVEL_FIRST`] on.
    #[must_use]
    pub const fn feature_level(&self) -> u16 {
        self.feature_level
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

    /// The durable sessions; other threads may read them while this one applies.
    #[must_use]
    pub const fn sessions(&self) -> &Arc<SessionStore> {
        &self.sessions
    }

    /// The cluster's secret, once it has one; other threads may read it while this one applies.
    #[must_use]
    pub const fn secret(&self) -> &SharedSecret {
        &self.secret
    }

    /// Applies one log entry. The outcome depends on the entry and on those before it alone.
    ///
    /// # Errors
    /// A batch that this version can't read. Nothing of it was applied; the node must stop.
    pub fn apply(&mut self, log_index: u64, batch: &CommandBatch) -> Result<Applied, CommandError> {
        let (limits, commands) = batch.decode()?;
        let mut outcomes = Vec::with_capacity(commands.len());
        let mut has_new_policy = false;
        let mut effects = Vec::new();
        let mut retained = self.retained.begin();
        for command in commands {
            outcomes.push(match command {
                Command::ApplyPolicy(change) => {
                    let earlier = self.policy.clone();
                    let (outcome, is_new) = apply_policy(&mut self.policy, &change);
                    has_new_policy |= is_new;
                    if is_new {
                        end_sessions(&self.sessions, &earlier, &self.policy);
                    }
                    outcome
                }
                Command::Retain(change) => retain(&mut retained, change, limits),
                Command::ExpireRetained { now, messages_max } => {
                    Outcome::Expired { messages: retained.expire(now, messages_max) }
                }
                Command::Sessions(batch) => {
                    let applied = apply_sessions(
                        (&self.sessions, &self.policy),
                        (&mut retained, limits),
                        (log_index, self.feature_level),
                        &batch,
                    );
                    if !applied.ready.is_empty() {
                        effects.push(Effect::SessionsReady { sessions: applied.ready });
                    }
                    if applied.drops != Drops::default() {
                        let (BatchOrigin { node, start, .. }, drops) =
                            (batch.origin, applied.drops);
                        effects.push(Effect::Dropped { node, start, drops });
                    }
                    let live = applied.live.into_iter();
                    effects.extend(live.map(|message| Effect::Live { message }));
                    Outcome::Sessions { outcomes: applied.outcomes }
                }
                Command::SetSecret(secret) => {
                    self.secret.get_or_init(|| secret);
                    Outcome::SecretSet
                }
                Command::RaiseFeatureLevel { level } => {
                    if level > self.feature_level {
                        self.feature_level = level;
                        self.sessions.set_feature_level(level);
                        effects.push(Effect::FeatureLevelRaised { level });
                    }
                    Outcome::FeatureLevel { level: self.feature_level }
                }
            });
        }
        drop(retained);
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

fn apply_sessions(
    (sessions, policy): (&SessionStore, &Policy),
    (retained, limits): (&mut RetainedWriter<'_>, RetainedLimits),
    (log_index, feature_level): (u64, u16),
    batch: &SessionBatch,
) -> shard::Applied {
    let retained = RefCell::new(retained);
    let mut retain = |change| retained.borrow_mut().apply(change, limits).is_ok();
    let is_retained = |message: &Message| retained.borrow().holds(message);
    let is_retained: Option<&dyn Fn(&Message) -> bool> =
        (feature_level >= ANYWHERE_LEVEL).then_some(&is_retained);
    let context = ApplyContext { log_index, policy, retain: &mut retain, is_retained };
    sessions.apply(batch, context)
}

/// The session of a user who is deleted or suspended ends, as nobody may act as that user any
/// more; one who gets the name later is not to find it.
fn end_sessions(sessions: &SessionStore, earlier: &Policy, policy: &Policy) {
    let impact = policy.impact_since(earlier);
    sessions.end_sessions_of(|username, client_id| {
        let is_concerned = match &impact {
            Impact::Everyone => true,
            Impact::Users(users) => username.is_some_and(|username| users.contains(username)),
        };
        let is_deleted = username.is_some_and(|username| {
            earlier.client(username).is_some() && policy.client(username).is_none()
        });
        is_concerned && (is_deleted || policy.admits(username, client_id).is_err())
    });
}

fn retain(
    retained: &mut RetainedWriter<'_>,
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
