//! The decision: from what is wanted and what the brokers report to one step. Pure.

use broker_admin_api::{BrokerState, BrokerStatus, Member, Role};

use super::placement::Led;
use super::step::{Desired, ObservedBroker, RefuseReason, Step, WaitReason};

/// The next step towards every wanted broker, and nobody else, being a member, and as many of them
/// as wanted having a vote.
///
/// Give it every broker that runs or should run, wanted or not, with a fresh status; do what it
/// says, record a founding before anything else, and ask again.
#[must_use]
pub fn next_step(desired: &Desired, observed: &[ObservedBroker]) -> Step {
    let view = View { desired, observed };
    if let Some(step) = view.foreign_broker() {
        return step;
    }
    let has_members = view.statuses().any(|status| !status.raft.members.is_empty());
    match (desired.is_founded, has_members) {
        (false, false) => view.found(),
        (false, true) => Step::RecordFounded,
        (true, _) => match view.leader() {
            Some(leader) => Led::new(view, leader).next_step(),
            None => view.without_leader(),
        },
    }
}

pub(super) struct View<'a> {
    pub(super) desired: &'a Desired,
    pub(super) observed: &'a [ObservedBroker],
}

impl<'a> View<'a> {
    fn statuses(&self) -> impl Iterator<Item = &'a BrokerStatus> {
        self.observed.iter().filter_map(|broker| broker.status.as_ref().ok())
    }

    pub(super) fn status(&self, name: &str) -> Option<&'a BrokerStatus> {
        self.observed.iter().find(|b| b.name == name).and_then(|b| b.status.as_ref().ok())
    }

    pub(super) fn is_wanted(&self, name: &str) -> bool {
        self.desired.brokers.iter().any(|broker| broker == name)
    }

    fn foreign_broker(&self) -> Option<Step> {
        let foreign =
            self.statuses().find(|status| status.cluster_id != self.desired.cluster_id)?;
        Some(Step::Refuse {
            reason: RefuseReason::ClusterIdMismatch,
            message: format!(
                "broker {} belongs to cluster {}, this one is {}; give it an empty volume, or the \
                 one that was its own",
                foreign.name, foreign.cluster_id, self.desired.cluster_id
            ),
        })
    }

    /// Founding needs an answer from most of the wanted brokers: if an earlier cluster still had
    /// a majority alive, one of its members would be among them.
    fn found(&self) -> Step {
        let wanted = &self.desired.brokers;
        let empty: Vec<&BrokerStatus> = wanted
            .iter()
            .filter_map(|name| self.status(name))
            .filter(|status| status.state == BrokerState::Uninitialised)
            .collect();
        let starting = || {
            let message = format!("{} of {} brokers answer", empty.len(), wanted.len());
            wait(WaitReason::BrokersStarting, message)
        };
        match wanted.first().and_then(|name| self.status(name)) {
            Some(first) if empty.len() <= wanted.len() / 2 || !is_empty(first) => starting(),
            Some(first) if self.desired.awaits_backup => wait(
                WaitReason::BackupAwaited,
                format!(
                    "spec.foundedFrom is Backup: restore one into {}, or set it to New",
                    first.name
                ),
            ),
            Some(first) => Step::Bootstrap { broker: first.name.clone(), node_id: first.node_id },
            None => starting(),
        }
    }

    /// The broker that leads, of several (one does not know yet) the one of the highest term.
    fn leader(&self) -> Option<&'a BrokerStatus> {
        self.statuses()
            .filter(|status| status.raft.role == Role::Leader)
            .max_by_key(|status| status.raft.term)
    }

    /// Nobody leads: wait for an election, unless the disks that would be needed are gone.
    fn without_leader(&self) -> Step {
        let newest = self
            .statuses()
            .filter(|status| !status.raft.members.is_empty())
            .max_by_key(|status| (status.raft.term, status.raft.membership_log_index));
        let Some(newest) = newest else {
            let is_empty = |name: &String| self.status(name).is_some_and(is_empty);
            if self.desired.brokers.iter().all(is_empty) {
                return quorum_lost("no broker holds the cluster's data any more");
            }
            return wait(WaitReason::NoLeader, "no broker that holds data answers".to_owned());
        };
        let voters: Vec<&Member> = newest.raft.members.iter().filter(|m| m.voter).collect();
        let lost = voters.iter().filter(|voter| self.has_lost_disk(voter)).count();
        if voters.len() - lost < majority(voters.len()) {
            return quorum_lost(&format!("{lost} of {} voters have lost their data", voters.len()));
        }
        let alive = voters.iter().filter(|voter| self.is_alive(voter)).count();
        wait(
            WaitReason::NoLeader,
            format!("no broker leads; {alive} of {} voters answer", voters.len()),
        )
    }

    /// Whether the broker of this name runs under another identity than the member.
    pub(super) fn has_lost_disk(&self, member: &Member) -> bool {
        self.status(&member.name).is_some_and(|status| status.node_id != member.node_id)
    }

    pub(super) fn is_alive(&self, member: &Member) -> bool {
        self.status(&member.name).is_some_and(|status| status.node_id == member.node_id)
    }
}

fn is_empty(status: &BrokerStatus) -> bool {
    status.state == BrokerState::Uninitialised && status.raft.members.is_empty()
}

pub(super) fn wait(reason: WaitReason, message: String) -> Step {
    Step::Wait { reason, message }
}

fn quorum_lost(what: &str) -> Step {
    let message = format!(
        "{what}; give the brokers their volumes back, or delete the MqttCluster and restore a \
         backup into a new one"
    );
    Step::Refuse { reason: RefuseReason::QuorumLost, message }
}

/// The number that ends a broker's name.
pub(super) fn ordinal(name: &str) -> Option<u32> {
    name.rsplit('-').next().and_then(|text| text.parse().ok())
}

/// How many of `voters` are more than half.
pub(crate) fn majority(voters: usize) -> usize {
    voters / 2 + 1
}
