//! The decision: from what is wanted and what is observed to one step. Pure.

use broker_admin_api::{NodeId, Role};
use jiff::{SignedDuration, Timestamp};

use super::input::{Observed, Readiness, Settings, Wanted};
use crate::membership::majority;

/// How long a broker must have been unready before it is replaced ahead of the others: longer than
/// an election, in which healthy brokers are unready too.
const UNREADY_GRACE: SignedDuration = SignedDuration::from_secs(30);

/// The next act, at most one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NextStep {
    /// Every broker is up to date and settled.
    Done,
    /// Nothing can be done now.
    Wait {
        /// Why, as one word.
        reason: WaitReason,
        /// What is waited for, in words.
        message: String,
    },
    /// Have a broker move its clients to the others: it is the next to be restarted.
    Drain {
        /// The broker.
        broker: String,
    },
    /// Let clients in again: the broker is not to be restarted any more.
    EndDrain {
        /// The broker.
        broker: String,
    },
    /// Hand leadership over: the leader is the next to be restarted.
    TransferLeadership {
        /// The leader.
        broker: String,
        /// Who shall lead.
        to: NodeId,
    },
    /// Stop this broker and start it anew.
    Restart {
        /// The broker.
        broker: String,
        /// Why it is restarted.
        reason: RestartReason,
    },
    /// Nothing will be done until the wanted state or the broker changes.
    Halt {
        /// The broker that stops the roll.
        broker: String,
        /// Why, as one word.
        reason: HaltReason,
        /// What is wrong and what to change, in words.
        message: String,
    },
}

impl NextStep {
    /// The step as Events and metrics name it; of a restart, its reason.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Done => "Done",
            Self::Wait { .. } => "Wait",
            Self::Drain { .. } => "Drain",
            Self::EndDrain { .. } => "EndDrain",
            Self::TransferLeadership { .. } => "TransferLeadership",
            Self::Restart { reason, .. } => reason.as_str(),
            Self::Halt { .. } => "Halt",
        }
    }
}

/// Why a broker is restarted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RestartReason {
    /// It runs another version than the wanted one.
    VersionChanged,
    /// It was started from another pod template or configuration.
    TemplateChanged,
}

/// Why the planner waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WaitReason {
    /// `rollout.paused` is set.
    Paused,
    /// A broker is not settled.
    BrokerNotSettled,
    /// The membership is being changed.
    MembershipChanging,
    /// Without the next broker the voters would lose their majority.
    QuorumNeedsBroker,
    /// No broker leads.
    NoLeader,
    /// The next broker still has clients.
    Draining,
}

/// Why a roll stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HaltReason {
    /// A broker that was brought up to date does not become ready.
    BrokerNotReady,
    /// The platform can't have the wanted version.
    VersionNotAvailable,
}

impl RestartReason {
    /// The reason as conditions, Events and metrics name it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::VersionChanged => "VersionChanged",
            Self::TemplateChanged => "TemplateChanged",
        }
    }
}

impl WaitReason {
    /// The reason as conditions, Events and metrics name it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Paused => "Paused",
            Self::BrokerNotSettled => "BrokerNotSettled",
            Self::MembershipChanging => "MembershipChanging",
            Self::QuorumNeedsBroker => "QuorumNeedsBroker",
            Self::NoLeader => "NoLeader",
            Self::Draining => "Draining",
        }
    }
}

impl HaltReason {
    /// The reason as conditions, Events and metrics name it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BrokerNotReady => "BrokerNotReady",
            Self::VersionNotAvailable => "VersionNotAvailable",
        }
    }
}

/// The next step towards every broker running what is wanted.
///
/// `observed` holds every broker, by ordinal: the wanted ones, then those that leave. Do what it
/// says and ask again.
#[must_use]
pub fn next_step(
    wanted: &Wanted,
    observed: &[Observed],
    settings: &Settings,
    now: Timestamp,
) -> NextStep {
    let roll = Roll::new(wanted, observed, settings, now);
    if let Some(step) = roll.end_drain() {
        return step;
    }
    if roll.is_over() {
        return NextStep::Done;
    }
    if settings.is_paused && roll.outdated().next().is_some() {
        let message = "spec.rollout.paused is set".to_owned();
        return NextStep::Wait { reason: WaitReason::Paused, message };
    }
    roll.replace_broken()
        .or_else(|| roll.halt())
        .or_else(|| roll.wait_for_unsettled())
        .unwrap_or_else(|| roll.take_next())
}

pub(super) struct Roll<'a> {
    pub(super) wanted: &'a Wanted,
    /// Every broker, those that leave as well: whoever votes counts.
    all: &'a [Observed],
    /// The wanted ones.
    pub(super) observed: &'a [Observed],
    pub(super) settings: &'a Settings,
    pub(super) now: Timestamp,
}

impl<'a> Roll<'a> {
    pub(super) fn new(
        wanted: &'a Wanted,
        all: &'a [Observed],
        settings: &'a Settings,
        now: Timestamp,
    ) -> Self {
        let observed = all.get(..wanted.brokers).unwrap_or(all);
        Self { wanted, all, observed, settings, now }
    }

    fn is_over(&self) -> bool {
        self.outdated().next().is_none() && self.unsettled().is_none()
    }

    pub(super) fn outdated(&self) -> impl Iterator<Item = (&'a Observed, RestartReason)> {
        let wanted = self.wanted;
        self.observed
            .iter()
            .filter_map(|broker| broker.outdated(wanted).map(|reason| (broker, reason)))
    }

    /// The first broker that is not settled, and why.
    pub(super) fn unsettled(&self) -> Option<(&'a Observed, String)> {
        self.observed.iter().filter(|broker| !self.is_making_way(broker)).find_map(|broker| {
            broker.unsettled(self.wanted, self.settings, self.now).map(|what| (broker, what))
        })
    }

    /// A broker that is out of date and does not work: replaced at once, unless the voters that
    /// are alive need it.
    fn replace_broken(&self) -> Option<NextStep> {
        let (broker, reason) = self.broken().find(|(broker, _)| self.may_go(broker))?;
        Some(NextStep::Restart { broker: broker.name.clone(), reason })
    }

    /// Outdated brokers that don't work, those that don't even answer first.
    pub(super) fn broken(&self) -> impl Iterator<Item = (&'a Observed, RestartReason)> {
        let mut broken: Vec<_> =
            self.outdated().filter(|(broker, _)| self.is_broken(broker)).collect();
        broken.sort_by_key(|(broker, _)| broker.status.is_ok());
        broken.into_iter()
    }

    fn is_broken(&self, broker: &Observed) -> bool {
        let Some(instance) = &broker.instance else { return false };
        if instance.is_terminating || broker.is_draining() {
            return false;
        }
        match instance.readiness {
            Readiness::Ready(_) => false,
            Readiness::Unready(since) => {
                instance.failure.is_some() || self.now.duration_since(since) >= UNREADY_GRACE
            }
        }
    }

    /// Whether the voters keep the majority they have without this broker; also when they have
    /// none that could be lost.
    pub(super) fn may_go(&self, broker: &Observed) -> bool {
        let Some((voters, alive)) = self.voters() else { return true };
        let is_alive = alive.contains(&broker.name.as_str());
        if !is_alive || alive.len() < majority(voters) {
            return true;
        }
        voters == 1 || alive.len() > majority(voters)
    }

    /// How many voters the leader's membership has, and the names of those that answer and are
    /// not being stopped. `None`: no broker leads.
    fn voters(&self) -> Option<(usize, Vec<&'a str>)> {
        let leader = self
            .all
            .iter()
            .filter_map(|broker| broker.status.as_ref().ok())
            .filter(|status| status.raft.role == Role::Leader)
            .max_by_key(|status| status.raft.term)?;
        let voters: Vec<_> = leader.raft.members.iter().filter(|member| member.voter).collect();
        let alive =
            self.all
                .iter()
                .filter(|broker| {
                    broker.instance.as_ref().is_some_and(|instance| !instance.is_terminating)
                })
                .filter(|broker| {
                    broker.status.as_ref().is_ok_and(|status| {
                        voters.iter().any(|voter| voter.node_id == status.node_id)
                    })
                })
                .map(|broker| broker.name.as_str())
                .collect();
        Some((voters.len(), alive))
    }

    /// A broker that is up to date and did not become ready in time.
    pub(super) fn halt(&self) -> Option<NextStep> {
        self.outdated().next()?;
        let broker = self.observed.iter().find(|broker| self.is_stuck(broker))?;
        let instance = broker.instance.as_ref()?;
        let problem = match (&instance.failure, &broker.status) {
            (Some(failure), _) => failure.clone(),
            (None, Err(problem)) => problem.clone(),
            (None, Ok(status)) => status.ready_message.clone(),
        };
        Some(NextStep::Halt {
            broker: broker.name.clone(),
            reason: HaltReason::BrokerNotReady,
            message: format!(
                "broker {} does not become ready with version {}: {problem}; set spec.version (or \
                 what else was changed) to one that works",
                broker.name, instance.version
            ),
        })
    }

    fn is_stuck(&self, broker: &Observed) -> bool {
        if broker.outdated(self.wanted).is_some() || broker.is_draining() {
            return false;
        }
        broker.instance.as_ref().is_some_and(|instance| match instance.readiness {
            Readiness::Ready(_) => false,
            Readiness::Unready(since) => {
                instance.failure.is_some()
                    || self.now.duration_since(since) >= self.settings.ready_within
            }
        })
    }

    fn wait_for_unsettled(&self) -> Option<NextStep> {
        let (broker, what) = self.unsettled()?;
        let message = format!("broker {} {what}", broker.name);
        Some(NextStep::Wait { reason: WaitReason::BrokerNotSettled, message })
    }

    /// All are settled: the next in order.
    fn take_next(&self) -> NextStep {
        if !self.wanted.is_membership_aligned {
            let message = "the membership is being changed".to_owned();
            return NextStep::Wait { reason: WaitReason::MembershipChanging, message };
        }
        let Some((broker, reason)) = self.in_order().into_iter().next() else {
            return NextStep::Done;
        };
        let Some((voters, _)) = self.voters() else {
            let message = "no broker leads".to_owned();
            return NextStep::Wait { reason: WaitReason::NoLeader, message };
        };
        if !self.may_go(broker) {
            let message = format!("without {} the voters would lose their majority", broker.name);
            return NextStep::Wait { reason: WaitReason::QuorumNeedsBroker, message };
        }
        match self.heir(broker) {
            Some(to) if broker.is_leader() && voters > 1 => {
                NextStep::TransferLeadership { broker: broker.name.clone(), to }
            }
            _ => self
                .move_clients(broker)
                .unwrap_or_else(|| NextStep::Restart { broker: broker.name.clone(), reason }),
        }
    }

    /// The outdated brokers in the order in which they are taken: one that makes way already, then
    /// the highest ordinal first, the leader last.
    pub(super) fn in_order(&self) -> Vec<(&'a Observed, RestartReason)> {
        let mut outdated: Vec<_> = self.outdated().collect();
        outdated.reverse();
        outdated.sort_by_key(|(broker, _)| (!broker.is_drained_by_operator(), broker.is_leader()));
        outdated
    }

    /// Who leads after `leader`: of the other voters that are settled, the one that is up to date
    /// and furthest.
    pub(super) fn heir(&self, leader: &Observed) -> Option<NodeId> {
        let members = &leader.status.as_ref().ok()?.raft.members;
        self.observed
            .iter()
            .filter(|broker| broker.name != leader.name)
            .filter_map(|broker| {
                let id = broker.status.as_ref().ok()?.node_id;
                let member = members.iter().find(|m| m.voter && m.node_id == id)?;
                Some((broker.outdated(self.wanted).is_none(), member.matched_index, id))
            })
            .max()
            .map(|(_, _, id)| id)
    }
}
