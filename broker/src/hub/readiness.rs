//! Whether clients may come in, and whether those that are in must go. Pure.

use broker_config::PartitionPolicy;
use broker_core::types::Millis;

use crate::cluster::meta::{MetaPhase, MetaRole};
use crate::node::GateState;

/// How long a node that has served goes on without hearing a leader, in milliseconds: longer than
/// an election takes.
const LEADERLESS_MILLIS_MAX: u64 = 5_000;

/// How long a node that has served goes on while it hears a leader, but never has all applied that
/// it knows to be committed, in milliseconds. Under load a look often finds the last entry not
/// applied yet; one that is behind for so long can't keep up.
const BEHIND_MILLIS_MAX: u64 = 30_000;

/// How long a node that could let clients in waits to hear what those of the other members want to
/// hear, in milliseconds. A member that is not reached by then counts as gone.
const INTEREST_MILLIS_MAX: u64 = 3_000;

/// What is looked at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Facts {
    pub(super) phase: MetaPhase,
    pub(super) role: MetaRole,
    /// Whether a leader is heard, or this node leads with a quorum.
    pub(super) hears_leader: bool,
    pub(super) is_draining: bool,
    /// Whether every worker enforces a policy.
    pub(super) is_policy_enforced: bool,
    /// Whether it is known what the sessions of all other members want to hear.
    pub(super) is_interest_known: bool,
    /// Whether identifiers can be claimed: there is a way to the leader, or this one is followed.
    pub(super) has_arbiter: bool,
    /// Whether this node has applied what was committed when it last heard a leader again: what
    /// durable sessions want.
    pub(super) is_state_current: bool,
}

/// What follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) gate: GateState,
    /// The clients that are in must go: this node may not speak for the cluster.
    pub(super) is_fenced: bool,
    /// No leader is heard, and clients are served all the same.
    pub(super) is_alone: bool,
}

/// Remembers since when the cluster has not been heard.
#[derive(Debug)]
pub(super) struct Readiness {
    policy: PartitionPolicy,
    has_served: bool,
    /// It has served, and belongs to the cluster no more.
    is_expelled: bool,
    /// Since when no leader is heard, or since when one was heard last and it fenced itself.
    lost_since: Option<Millis>,
    /// When it last had everything applied, while it serves.
    served_at: Millis,
    /// Since when clients could come in, were it not for the others' interest.
    waits_since: Option<Millis>,
    is_open: bool,
}

impl Readiness {
    pub(super) const fn new(policy: PartitionPolicy) -> Self {
        Self {
            policy,
            has_served: false,
            is_expelled: false,
            lost_since: None,
            served_at: Millis(0),
            waits_since: None,
            is_open: false,
        }
    }

    pub(super) fn judge(&mut self, now: Millis, facts: Facts) -> Verdict {
        let verdict = self.verdict(now, facts);
        self.is_open = verdict.gate == GateState::Open;
        verdict
    }

    fn verdict(&mut self, now: Millis, facts: Facts) -> Verdict {
        let is_alone = match self.cluster(now, facts) {
            Ok(is_alone) => is_alone,
            Err(verdict) => {
                self.waits_since = None;
                return verdict;
            }
        };
        if facts.is_draining {
            return closed("the broker is being drained", false);
        }
        if !facts.is_policy_enforced {
            return closed("not every worker enforces the policy yet", false);
        }
        if !self.is_open && !facts.is_state_current {
            return closed("this broker has not caught up with the cluster's sessions yet", false);
        }
        if !self.is_open && !is_alone && !facts.has_arbiter {
            return closed("this broker has no link to the leader yet", false);
        }
        // Who is let in may publish at once: to sessions elsewhere, too.
        let since = *self.waits_since.get_or_insert(now);
        if self.is_open || facts.is_interest_known || now.since(since) >= INTEREST_MILLIS_MAX {
            return Verdict { gate: GateState::Open, is_fenced: false, is_alone };
        }
        closed("waiting to hear what the other brokers' clients subscribe to", false)
    }

    /// Whether this node may speak for the cluster; true: it serves without it.
    fn cluster(&mut self, now: Millis, facts: Facts) -> Result<bool, Verdict> {
        match (facts.phase, facts.role) {
            (MetaPhase::Uninitialised, _) => Err(self.expel(
                "the data directory is empty: bootstrap the cluster here or add this broker to it",
            )),
            (_, MetaRole::None) => Err(self.expel("this broker is not a member of the cluster")),
            (MetaPhase::Serving, _) => {
                self.has_served = true;
                self.is_expelled = false;
                self.lost_since = None;
                self.served_at = now;
                Ok(false)
            }
            (MetaPhase::Joining, _) if !self.has_served => {
                let reason = "this broker has not caught up with the cluster yet";
                Err(closed(reason, self.is_expelled))
            }
            (MetaPhase::Joining, _) => self.without_the_newest(now, facts.hears_leader),
        }
    }

    /// The same for a node that has served and has not applied the newest, or hears no leader.
    fn without_the_newest(&mut self, now: Millis, hears_leader: bool) -> Result<bool, Verdict> {
        let was_lost = |since: Millis| now.since(since) >= LEADERLESS_MILLIS_MAX;
        if hears_leader && !self.lost_since.is_some_and(was_lost) {
            self.lost_since = None;
            return match now.since(self.served_at) < BEHIND_MILLIS_MAX {
                true => Ok(false),
                false => Err(closed("this broker can't keep up with the cluster's log", true)),
            };
        }
        if !was_lost(*self.lost_since.get_or_insert(now)) {
            return Ok(false);
        }
        match (self.policy, hears_leader) {
            (PartitionPolicy::Serve, _) => Ok(true),
            (PartitionPolicy::Fence, false) => {
                let reason = "no leader is heard, so this broker is fenced (partition_policy)";
                Err(closed(reason, true))
            }
            (PartitionPolicy::Fence, true) => {
                let reason = "this broker hears a leader again, and catches up with the cluster";
                Err(closed(reason, true))
            }
        }
    }

    /// Belonging to no cluster: whoever is in must go, and waiting for a leader is no excuse.
    fn expel(&mut self, reason: &str) -> Verdict {
        self.is_expelled |= std::mem::take(&mut self.has_served);
        self.lost_since = None;
        closed(reason, self.is_expelled)
    }
}

fn closed(reason: &str, is_fenced: bool) -> Verdict {
    let gate = GateState::Closed { reason: reason.to_owned() };
    Verdict { gate, is_fenced, is_alone: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVING: Facts = Facts {
        phase: MetaPhase::Serving,
        role: MetaRole::Follower,
        hears_leader: true,
        is_draining: false,
        is_policy_enforced: true,
        is_interest_known: true,
        has_arbiter: true,
        is_state_current: true,
    };
    const BEHIND: Facts = Facts { phase: MetaPhase::Joining, ..SERVING };
    const LOST: Facts = Facts { hears_leader: false, ..BEHIND };

    fn reason(verdict: &Verdict) -> &str {
        match &verdict.gate {
            GateState::Open => "",
            GateState::Closed { reason } => reason,
        }
    }

    #[test]
    fn an_election_closes_nothing_and_a_partition_fences() {
        let mut readiness = Readiness::new(PartitionPolicy::Fence);
        assert!(reason(&readiness.judge(Millis(0), LOST)).contains("caught up"));
        assert_eq!(readiness.judge(Millis(1), SERVING).gate, GateState::Open);
        assert_eq!(readiness.judge(Millis(1_000), LOST).gate, GateState::Open);
        assert_eq!(readiness.judge(Millis(5_999), LOST).gate, GateState::Open);
        let fenced = readiness.judge(Millis(6_000), LOST);
        assert!(fenced.is_fenced && reason(&fenced).contains("partition_policy"));
        assert_eq!(readiness.judge(Millis(7_000), SERVING).gate, GateState::Open);
        assert_eq!(readiness.judge(Millis(7_001), LOST).gate, GateState::Open);
    }

    #[test]
    fn one_that_hears_a_leader_is_fenced_for_being_behind_only_when_that_lasts() {
        let mut readiness = Readiness::new(PartitionPolicy::Fence);
        assert_eq!(readiness.judge(Millis(1_000), SERVING).gate, GateState::Open);
        for second in 2..31 {
            assert_eq!(readiness.judge(Millis(second * 1_000), BEHIND).gate, GateState::Open);
        }
        let slow = readiness.judge(Millis(31_000), BEHIND);
        assert!(slow.is_fenced && reason(&slow).contains("keep up"), "{slow:?}");
        assert_eq!(readiness.judge(Millis(31_001), SERVING).gate, GateState::Open);
        // Silence counts from when the leader was heard last.
        assert_eq!(readiness.judge(Millis(32_000), LOST).gate, GateState::Open);
        assert_eq!(readiness.judge(Millis(36_000), BEHIND).gate, GateState::Open);
        assert_eq!(readiness.judge(Millis(37_500), LOST).gate, GateState::Open);
        assert_eq!(readiness.judge(Millis(42_499), LOST).gate, GateState::Open);
        assert!(readiness.judge(Millis(42_500), LOST).is_fenced);
        let catching_up = readiness.judge(Millis(43_000), BEHIND);
        assert!(catching_up.is_fenced && reason(&catching_up).contains("catches up"));
    }

    #[test]
    fn nobody_is_let_in_before_there_is_a_way_to_the_leader() {
        let mut readiness = Readiness::new(PartitionPolicy::Fence);
        let apart = Facts { has_arbiter: false, ..SERVING };
        assert!(reason(&readiness.judge(Millis(0), apart)).contains("no link to the leader"));
        assert_eq!(readiness.judge(Millis(1), SERVING).gate, GateState::Open);
        assert_eq!(readiness.judge(Millis(2), apart).gate, GateState::Open, "an election");
    }

    #[test]
    fn a_node_told_to_serve_stays_open_in_a_partition() {
        let mut readiness = Readiness::new(PartitionPolicy::Serve);
        readiness.judge(Millis(0), SERVING);
        readiness.judge(Millis(1), LOST);
        let verdict = readiness.judge(Millis(1_000_000), LOST);
        assert_eq!(verdict, Verdict { gate: GateState::Open, is_fenced: false, is_alone: true });
        assert!(!readiness.judge(Millis(1_000_001), SERVING).is_alone);
    }

    #[test]
    fn one_that_was_removed_serves_nobody() {
        let mut readiness = Readiness::new(PartitionPolicy::Serve);
        readiness.judge(Millis(0), SERVING);
        let removed = Facts { role: MetaRole::None, ..LOST };
        let verdict = readiness.judge(Millis(1), removed);
        assert!(verdict.is_fenced && reason(&verdict).contains("not a member"));
        assert!(readiness.judge(Millis(2), removed).is_fenced);
        assert!(readiness.judge(Millis(3), LOST).is_fenced, "added again, but behind");
        assert_eq!(readiness.judge(Millis(4), SERVING).gate, GateState::Open);
    }

    #[test]
    fn one_that_never_served_has_nobody_to_fence() {
        let mut readiness = Readiness::new(PartitionPolicy::Fence);
        let empty = Facts { phase: MetaPhase::Uninitialised, role: MetaRole::None, ..LOST };
        let verdict = readiness.judge(Millis(0), empty);
        assert!(!verdict.is_fenced && reason(&verdict).contains("bootstrap"));
    }

    #[test]
    fn drain_and_a_policy_that_is_not_enforced_close_the_gate_only() {
        let mut readiness = Readiness::new(PartitionPolicy::Fence);
        let draining = readiness.judge(Millis(0), Facts { is_draining: true, ..SERVING });
        assert!(!draining.is_fenced && reason(&draining).contains("drained"));
        let late = Facts { is_policy_enforced: false, ..SERVING };
        let verdict = readiness.judge(Millis(0), late);
        assert!(!verdict.is_fenced && reason(&verdict).contains("policy"));
    }

    #[test]
    fn the_others_interest_is_waited_for_once_and_not_for_ever() {
        let mut readiness = Readiness::new(PartitionPolicy::Fence);
        let deaf = Facts { is_interest_known: false, ..SERVING };
        assert!(reason(&readiness.judge(Millis(0), deaf)).contains("subscribe"));
        assert!(reason(&readiness.judge(Millis(2_999), deaf)).contains("subscribe"));
        assert_eq!(readiness.judge(Millis(3_000), deaf).gate, GateState::Open);

        let mut readiness = Readiness::new(PartitionPolicy::Fence);
        assert_eq!(readiness.judge(Millis(0), SERVING).gate, GateState::Open);
        assert_eq!(readiness.judge(Millis(1), deaf).gate, GateState::Open, "a new member");
    }
}
