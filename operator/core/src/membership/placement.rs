//! Who is a member and who of them votes: the decision while a broker leads. Pure.

use broker_admin_api::{BrokerStatus, Member, PromoteRequest};
use jiff::SignedDuration;

use super::planner::{View, majority, ordinal, wait};
use super::step::{Step, WaitReason};

/// How long a voter may be away before its vote goes to a learner that is there: longer than a
/// restart, a new pod or a short fault of a Kubernetes node takes, as a vote that moves and moves
/// back helps nobody.
pub const VOTER_AWAY_MAX: SignedDuration = SignedDuration::from_mins(5);

const LOST_DISK: &str = "LostDisk";
const NOT_WANTED: &str = "NotWanted";
const AWAY: &str = "Away";
const TOO_MANY_VOTERS: &str = "TooManyVoters";

/// There is a leader: its membership is the one that counts.
///
/// Votes stay where they are. A vote becomes free when there are fewer voters than wanted, or its
/// holder is to go or has been away for [`VOTER_AWAY_MAX`]; it goes to the learner of the lowest
/// ordinal that has caught up, and only then is the old holder demoted. Of too many voters those
/// that do not answer are demoted first, then the highest ordinals; the leader never. Who was
/// demoted follows on and is not promoted for having come back.
pub(super) struct Led<'a> {
    view: View<'a>,
    leader: &'a BrokerStatus,
}

impl<'a> Led<'a> {
    pub(super) const fn new(view: View<'a>, leader: &'a BrokerStatus) -> Self {
        Self { view, leader }
    }

    /// The first of the acts that can be done now; else what the first of them waits for.
    pub(super) fn next_step(&self) -> Step {
        if !self.leader.raft.membership_settled {
            return wait(
                WaitReason::MembershipUnsettled,
                "the last change of the membership is not committed yet".to_owned(),
            );
        }
        let rules = [
            Self::remove_lost_disk,
            Self::promote,
            Self::demote,
            Self::add_learner,
            Self::remove_unwanted,
            Self::missing_vote,
        ];
        let mut waiting = None;
        for step in rules.iter().filter_map(|rule| rule(self)) {
            if step.is_act() {
                return step;
            }
            waiting.get_or_insert(step);
        }
        waiting.unwrap_or(Step::Aligned)
    }

    fn members(&self) -> &'a [Member] {
        &self.leader.raft.members
    }

    fn voters(&self) -> impl Iterator<Item = &'a Member> {
        self.members().iter().filter(|member| member.voter)
    }

    /// How many voters there shall be.
    fn wanted_voters(&self) -> usize {
        usize::from(self.view.desired.voters).min(self.view.desired.brokers.len())
    }

    /// Voters that shall keep their vote, if there are not too many of them.
    fn staying(&self) -> impl Iterator<Item = &'a Member> {
        self.voters().filter(|voter| self.stays(voter))
    }

    fn stays(&self, voter: &Member) -> bool {
        self.view.is_wanted(&voter.name) && !self.is_long_away(voter)
    }

    fn is_long_away(&self, member: &Member) -> bool {
        let broker = self.view.observed.iter().find(|broker| broker.name == member.name);
        !self.view.is_alive(member)
            && !self.is_linked(&member.name)
            && broker.is_some_and(|broker| broker.unready_for >= VOTER_AWAY_MAX)
    }

    fn remove_lost_disk(&self) -> Option<Step> {
        let lost = self.members().iter().find(|member| self.view.has_lost_disk(member))?;
        let alive = self.alive_voters();
        if lost.voter && (self.voters().count() == 1 || !self.has_quorum_with(-1, alive)) {
            return Some(self.quorum_at_risk(&format!("removing {}", lost.name)));
        }
        Some(self.remove(lost, LOST_DISK))
    }

    /// A free vote goes to a learner; one more voter than wanted at most.
    fn promote(&self) -> Option<Step> {
        let wanted = self.wanted_voters();
        if self.staying().count() >= wanted || self.voters().count() > wanted {
            return None;
        }
        let learner = self.learners().find(|learner| {
            self.view.is_alive(learner)
                && self.lag(learner).is_some_and(|lag| lag <= PromoteRequest::LAG_MAX)
        })?;
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

    /// There are too many voters: who is to go first, the leader after it has handed over.
    fn demote(&self) -> Option<Step> {
        // Surplus votes stay until the upgrade: an older leader does not know the request.
        if self.voters().count() <= self.wanted_voters() || self.leader.is_of_first_version() {
            return None;
        }
        let leads = |member: &Member| member.node_id == self.leader.node_id;
        let surplus = self.voters().filter(|voter| !leads(voter) || !self.stays(voter));
        let surplus = surplus.min_by_key(|voter| {
            let is_alive = self.view.is_alive(voter);
            (self.stays(voter), leads(voter), is_alive, std::cmp::Reverse(ordinal(&voter.name)))
        })?;
        if leads(surplus) {
            return Some(self.hand_over(surplus));
        }
        let alive = self.alive_voters() - usize::from(self.view.is_alive(surplus));
        if !self.has_quorum_with(-1, alive) {
            return Some(self.quorum_at_risk(&format!("demoting {}", surplus.name)));
        }
        let reason = match () {
            () if !self.view.is_wanted(&surplus.name) => NOT_WANTED,
            () if self.is_long_away(surplus) => AWAY,
            () => TOO_MANY_VOTERS,
        };
        Some(Step::Demote {
            leader: self.leader.name.clone(),
            broker: surplus.name.clone(),
            node_id: surplus.node_id,
            reason,
            expected_membership_log_index: self.leader.raft.membership_log_index,
        })
    }

    fn hand_over(&self, leader: &Member) -> Step {
        let heir = self
            .staying()
            .filter(|voter| self.view.is_alive(voter))
            .max_by_key(|voter| voter.matched_index);
        match heir {
            Some(heir) => {
                Step::TransferLeadership { leader: leader.name.clone(), to: heir.node_id }
            }
            None => self.quorum_at_risk(&format!("demoting {}", leader.name)),
        }
    }

    /// One broker at a time is brought a copy of the state.
    fn add_learner(&self) -> Option<Step> {
        let is_member = |name: &String| self.members().iter().any(|member| member.name == *name);
        let mut missing =
            self.view.desired.brokers.iter().filter(|name| !is_member(name)).peekable();
        missing.peek()?;
        let lagging = self.learners().find(|learner| {
            self.view.is_alive(learner)
                && self.lag(learner).is_none_or(|lag| lag > PromoteRequest::LAG_MAX)
        });
        if let Some(learner) = lagging {
            return Some(self.catching_up(learner));
        }
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

    /// Who has no vote any more and is not wanted leaves, the highest ordinal first, when its
    /// clients have been moved away.
    fn remove_unwanted(&self) -> Option<Step> {
        let unwanted = self
            .members()
            .iter()
            .filter(|member| !member.voter && !self.view.is_wanted(&member.name))
            .max_by_key(|member| (ordinal(&member.name), &member.name))?;
        let status =
            self.view.status(&unwanted.name).filter(|status| status.node_id == unwanted.node_id);
        Some(match status {
            Some(status) if status.connections > 0 && status.drain.draining => {
                let message =
                    format!("{} clients are still at {}", status.connections, unwanted.name);
                wait(WaitReason::Draining, message)
            }
            Some(status) if status.connections > 0 => Step::Drain { broker: unwanted.name.clone() },
            _ => self.remove(unwanted, NOT_WANTED),
        })
    }

    /// A vote that nobody can have yet.
    fn missing_vote(&self) -> Option<Step> {
        if let Some(unwanted) = self.voters().find(|voter| !self.view.is_wanted(&voter.name)) {
            let message = format!(
                "{} keeps its vote until another broker has caught up and can have it",
                unwanted.name
            );
            return Some(wait(WaitReason::NoSuccessor, message));
        }
        if self.voters().count() >= self.wanted_voters() {
            return None;
        }
        self.learners().next().map(|learner| self.catching_up(learner))
    }

    fn catching_up(&self, learner: &Member) -> Step {
        let name = &learner.name;
        let message = match self.lag(learner) {
            _ if !self.view.is_alive(learner) => format!("broker {name} does not answer"),
            Some(lag) => format!("broker {name} lags {lag} log entries behind"),
            None => format!("broker {name} has no log entry yet"),
        };
        wait(WaitReason::LearnerCatchingUp, message)
    }

    /// Wanted members without a vote, by ordinal.
    fn learners(&self) -> impl Iterator<Item = &'a Member> {
        let members = self.members();
        let names = self.view.desired.brokers.iter();
        names.filter_map(|name| members.iter().find(|member| member.name == *name && !member.voter))
    }

    /// By how many entries a member's log is behind; `None`: nothing of it is known.
    fn lag(&self, member: &Member) -> Option<u64> {
        let last = self.leader.raft.last_log_index.unwrap_or(0);
        member.matched_index.map(|matched| last.saturating_sub(matched))
    }

    fn remove(&self, member: &Member, reason: &'static str) -> Step {
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
