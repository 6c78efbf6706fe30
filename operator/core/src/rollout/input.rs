//! What the rollout planner is told. Pure data.

use broker_admin_api::{BrokerState, BrokerStatus, Role};
use jiff::{SignedDuration, Timestamp};

use crate::cluster::ValidatedCluster;
use crate::membership::ObservedBroker;

/// What every broker shall run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// How many brokers there shall be: the first of those observed. The others are on their way
    /// out; they may vote still.
    pub brokers: usize,
    /// The broker's version.
    pub version: String,
    /// Names what a broker is started from (pod template, configuration file): brokers with another
    /// one are out of date. Empty: not known yet, so that the version alone tells.
    pub template: String,
    /// The policy revision that a settled broker enforces; `None`: not asked for.
    pub policy_revision: Option<String>,
    /// Whether the membership is as wanted; while it is not, nothing is restarted but what does not
    /// work.
    pub is_membership_aligned: bool,
}

/// How a roll is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Whether nothing shall be restarted.
    pub is_paused: bool,
    /// How long a broker must have been ready before the next one is taken.
    pub minimum_stable: SignedDuration,
    /// How long a broker may take to become ready before the roll stops.
    pub ready_within: SignedDuration,
}

impl Settings {
    /// What a cluster asks for.
    #[must_use]
    pub fn of(cluster: &ValidatedCluster) -> Self {
        let default = Self::default();
        let minimum_stable = SignedDuration::try_from(cluster.rollout.minimum_stable);
        Self {
            is_paused: cluster.rollout.paused,
            minimum_stable: minimum_stable.unwrap_or(default.minimum_stable),
            ..default
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            is_paused: false,
            minimum_stable: SignedDuration::from_secs(10),
            ready_within: SignedDuration::from_mins(5),
        }
    }
}

/// One broker as it is found.
#[derive(Debug, Clone, PartialEq)]
pub struct Observed {
    /// Its name.
    pub name: String,
    /// What runs under this name; `None`: nothing does.
    pub instance: Option<Instance>,
    /// What the broker says of itself, or why it does not, in words.
    pub status: Result<BrokerStatus, String>,
}

/// The pod or process of a broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// The version it was started with.
    pub version: String,
    /// The template it was started from.
    pub template: String,
    /// Whether it works.
    pub readiness: Readiness,
    /// Whether it is being stopped.
    pub is_terminating: bool,
    /// Why it can't start, when the platform knows: `ErrImagePull: …`.
    pub failure: Option<String>,
}

/// Whether a broker works, and since when it does or doesn't.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    /// It has been ready since then.
    Ready(Timestamp),
    /// It has not been ready since then: the moment at which it was started or ceased to be.
    Unready(Timestamp),
}

impl Observed {
    /// What the membership planner is told of it.
    #[must_use]
    pub fn for_membership(&self, now: Timestamp) -> ObservedBroker {
        let readiness = self.instance.as_ref().map(|instance| instance.readiness);
        ObservedBroker {
            name: self.name.clone(),
            status: self.status.clone(),
            unready_for: match readiness {
                Some(Readiness::Unready(since)) => now.duration_since(since),
                Some(Readiness::Ready(_)) | None => SignedDuration::ZERO,
            },
        }
    }

    /// Whether the operator has it move its clients away.
    pub(super) fn is_drained_by_operator(&self) -> bool {
        self.status.as_ref().is_ok_and(|status| status.drain.is_by_operator())
            && self.instance.as_ref().is_some_and(|instance| !instance.is_terminating)
    }

    /// Whether it moves its clients away, by whomever's wish.
    pub(super) fn is_draining(&self) -> bool {
        self.status.as_ref().is_ok_and(|status| status.state == BrokerState::Draining)
    }

    pub(super) fn is_serving(&self) -> bool {
        self.status
            .as_ref()
            .is_ok_and(|status| status.state == BrokerState::Serving && status.ready)
    }

    /// Why it is out of date, if it is.
    pub(super) fn outdated(&self, wanted: &Wanted) -> Option<super::RestartReason> {
        let instance = self.instance.as_ref()?;
        if instance.version != wanted.version {
            return Some(super::RestartReason::VersionChanged);
        }
        let is_known = !wanted.template.is_empty();
        let differs = is_known && instance.template != wanted.template;
        differs.then_some(super::RestartReason::TemplateChanged)
    }

    /// Whether the platform has seen it become ready: what the broker says of itself may be ahead of that.
    pub(crate) fn is_ready_for_platform(&self) -> bool {
        let readiness = self.instance.as_ref().map(|instance| instance.readiness);
        matches!(readiness, Some(Readiness::Ready(_)))
    }

    pub(super) fn is_leader(&self) -> bool {
        self.status.as_ref().is_ok_and(|status| status.raft.role == Role::Leader)
    }

    /// What keeps it from being settled, in words; `None`: it is.
    pub(super) fn unsettled(
        &self,
        wanted: &Wanted,
        settings: &Settings,
        now: Timestamp,
    ) -> Option<String> {
        let Some(instance) = &self.instance else { return Some("is not running".to_owned()) };
        if instance.is_terminating {
            return Some("is being stopped".to_owned());
        }
        if let Some(failure) = &instance.failure {
            return Some(format!("can't start: {failure}"));
        }
        let since = match instance.readiness {
            Readiness::Unready(_) => return Some("is not ready".to_owned()),
            Readiness::Ready(since) => since,
        };
        let status = match &self.status {
            Err(problem) => return Some(format!("does not answer: {problem}")),
            Ok(status) => status,
        };
        if let Some(what) = unsettled_status(status, wanted) {
            return Some(what);
        }
        let stable = now.duration_since(since);
        (stable < settings.minimum_stable).then(|| {
            format!(
                "has been ready for {} s of {} s",
                stable.as_secs().max(0),
                settings.minimum_stable.as_secs()
            )
        })
    }
}

fn unsettled_status(status: &BrokerStatus, wanted: &Wanted) -> Option<String> {
    if status.state != BrokerState::Serving {
        return Some(format!("is {}, not serving", status.state.as_str()));
    }
    if !status.ready {
        return Some(format!("is not ready: {}", status.ready_message));
    }
    if !status.raft.caught_up {
        return Some("has not caught up".to_owned());
    }
    let enforced = &status.policy.enforced_revision;
    wanted
        .policy_revision
        .as_ref()
        .filter(|revision| *revision != enforced)
        .map(|_| "does not enforce the policy yet".to_owned())
}
