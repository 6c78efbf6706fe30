//! The decision: from what is wanted and what the brokers report to one step. Pure.

use broker_admin_api::{BrokerState, BrokerStatus, Member, Role};

use super::step::{Desired, ObservedBroker, RefuseReason, Step, WaitReason};

/// How many log entries a learner may lag behind the leader and still be promoted.
pub const LEARNER_LAG_MAX: u64 = 100;

const LOST_DISK: &str = "LostDisk";
const NOT_WANTED: &str = "NotWanted";

/// The next step towards every wanted broker, and nobody else, having a vote.
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
            Some(leader) => Led { view, leader }.next_step(),
            None => view.without_leader(),
        },
    }
}

struct View<'a> {
    desired: &'a Desired,
    observed: &'a [ObservedBroker],
}

impl<'a> View<'a> {
    fn statuses(&self) -> impl Iterator<Item = &'a BrokerStatus> {
        self.observed.iter().filter_map(|broker| broker.status.as_ref().ok())
    }

    fn status(&self, name: &str) -> Option<&'a BrokerStatus> {
        self.observed.iter().find(|b| b.name == name).and_then(|b| b.status.as_ref().ok())
    }

    fn is_wanted(&self, name: &str) -> bool {
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
        let first = wanted.first().and_then(|name| self.status(name));
        match first {
            Some(first) if empty.len() > wanted.len() / 2 && is_empty(first) => {
                Step::Bootstrap { broker: first.name.clone(), node_id: first.node_id }
            }
            _ => wait(
                WaitReason::BrokersStarting,
                format!("{} of {} brokers answer", empty.len(), wanted.len()),
            ),
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
            let empty = self.statuses().filter(|status| is_empty(status)).count();
            if empty > 0 && empty == self.desired.brokers.len() {
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
    fn has_lost_disk(&self, member: &Member) -> bool {
        self.status(&member.name).is_some_and(|status| status.node_id != member.node_id)
    }

    fn is_alive(&self, member: &Member) -> bool {
        self.status(&member.name).is_some_and(|status| status.node_id == member.node_id)
    }
}

/// There is a leader: its membership is the one that counts.
struct Led<'a> {
    view: View<'a>,
    leader: &'a BrokerStatus,
}

impl<'a> Led<'a> {
    fn next_step(&self) -> Step {
        if !self.leader.raft.membership_settled {
            return wait(
                WaitReason::MembershipUnsettled,
                "the last change of the membership is not committed yet".to_owned(),
            );
        }
        self.remove_lost_disk()
            .or_else(|| self.finish_learner())
            .or_else(|| self.add_learner())
            .or_else(|| self.remove_unwanted())
            .unwrap_or(Step::Aligned)
    }

    fn members(&self) -> &'a [Member] {
        &self.leader.raft.members
    }

    fn voters(&self) -> impl Iterator<Item = &'a Member> {
        self.members().iter().filter(|member| member.voter)
    }

    fn remove_lost_disk(&self) -> Option<Step> {
        let lost = self.members().iter().find(|member| self.view.has_lost_disk(member))?;
        Some(self.remove(lost, LOST_DISK))
    }

    /// One learner at a time is brought to its vote.
    fn finish_learner(&self) -> Option<Step> {
        let learner = self
            .members()
            .iter()
            .find(|member| !member.voter && self.view.is_wanted(&member.name))?;
        let last = self.leader.raft.last_log_index.unwrap_or(0);
        let lag = learner.matched_index.map(|matched| last.saturating_sub(matched));
        let is_alive = self.view.is_alive(learner);
        if !is_alive || lag.is_none_or(|lag| lag > LEARNER_LAG_MAX) {
            let message = match lag {
                _ if !is_alive => format!("broker {} does not answer", learner.name),
                Some(lag) => format!("broker {} lags {lag} log entries behind", learner.name),
                None => format!("broker {} has no log entry yet", learner.name),
            };
            return Some(wait(WaitReason::LearnerCatchingUp, message));
        }
        if !self.has_quorum_with(1, self.alive_voters() + 1) {
            return Some(self.quorum_at_risk(&format!("promoting {}", learner.name)));
        }
        Some(Step::Promote {
            leader: self.leader.name.clone(),
            broker: learner.name.clone(),
            node_id: learner.node_id,
            expected_membership_log_index: self.leader.raft.membership_log_index,
        })
    }

    fn add_learner(&self) -> Option<Step> {
        let missing = self
            .view
            .desired
            .brokers
            .iter()
            .filter(|name| !self.members().iter().any(|member| member.name == **name));
        let mut waiting = None;
        for name in missing {
            match self.view.status(name) {
                Some(status) if self.is_linked(name) => {
                    return Some(Step::AddLearner {
                        leader: self.leader.name.clone(),
                        broker: name.clone(),
                        node_id: status.node_id,
                        expected_membership_log_index: self.leader.raft.membership_log_index,
                    });
                }
                Some(_) => {
                    let message = format!("the leader has no link to broker {name} yet");
                    waiting.get_or_insert(message);
                }
                None => {
                    waiting.get_or_insert(format!("broker {name} does not answer"));
                }
            }
        }
        waiting.map(|message| wait(WaitReason::BrokerUnreachable, message))
    }

    /// The highest ordinal first; the leader hands over before it goes.
    fn remove_unwanted(&self) -> Option<Step> {
        let unwanted = self
            .members()
            .iter()
            .filter(|member| !self.view.is_wanted(&member.name))
            .max_by_key(|member| (ordinal(&member.name), &member.name))?;
        if unwanted.node_id != self.leader.node_id {
            return Some(self.remove(unwanted, NOT_WANTED));
        }
        let heir = self
            .voters()
            .filter(|voter| self.view.is_wanted(&voter.name) && self.view.is_alive(voter))
            .max_by_key(|voter| voter.matched_index);
        Some(match heir {
            Some(heir) => {
                Step::TransferLeadership { leader: self.leader.name.clone(), to: heir.node_id }
            }
            None => self.quorum_at_risk(&format!("removing {}", unwanted.name)),
        })
    }

    fn remove(&self, member: &Member, reason: &'static str) -> Step {
        let alive = self.alive_voters() - usize::from(member.voter && self.view.is_alive(member));
        if member.voter && (self.voters().count() == 1 || !self.has_quorum_with(-1, alive)) {
            return self.quorum_at_risk(&format!("removing {}", member.name));
        }
        Step::Remove {
            leader: self.leader.name.clone(),
            broker: member.name.clone(),
            node_id: member.node_id,
            reason,
            expected_membership_log_index: self.leader.raft.membership_log_index,
        }
    }

    fn alive_voters(&self) -> usize {
        self.voters().filter(|voter| self.view.is_alive(voter)).count()
    }

    /// Whether a majority is alive now, and `alive_after` of the voters are one after `change`.
    fn has_quorum_with(&self, change: isize, alive_after: usize) -> bool {
        let voters = self.voters().count();
        self.alive_voters() >= majority(voters)
            && alive_after >= majority(voters.saturating_add_signed(change))
    }

    fn quorum_at_risk(&self, act: &str) -> Step {
        let message = format!(
            "{act} would leave no majority: {} of {} voters answer",
            self.alive_voters(),
            self.voters().count()
        );
        wait(WaitReason::QuorumAtRisk, message)
    }

    fn is_linked(&self, name: &str) -> bool {
        self.leader.peers.iter().any(|link| link.name == name && link.outbound)
    }
}

fn is_empty(status: &BrokerStatus) -> bool {
    status.state == BrokerState::Uninitialised && status.raft.members.is_empty()
}

fn wait(reason: WaitReason, message: String) -> Step {
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
fn ordinal(name: &str) -> Option<u32> {
    name.rsplit('-').next().and_then(|text| text.parse().ok())
}

/// How many of `voters` are more than half.
pub(crate) fn majority(voters: usize) -> usize {
    voters / 2 + 1
}
