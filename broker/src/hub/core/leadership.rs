//! Who leads, and what the leader's arbiter is asked.

use broker_core::claim::{Arbiter, RECOVERY_REQUESTS_MAX, ToArbiter};
use broker_core::types::{Millis, NodeId};

use super::Core;
use crate::cluster::meta::Leadership;
use crate::cluster::{Environment, WallClock};

impl<E: Environment> Core<E> {
    /// Who leads has changed, or whether this node may act as the leader that it is.
    pub(in crate::hub) fn set_leadership(&mut self, leadership: Leadership, is_quorum_fresh: bool) {
        if self.leadership == leadership && self.is_quorum_fresh == is_quorum_fresh {
            return;
        }
        let now = self.clock.now();
        self.leadership = leadership;
        self.is_quorum_fresh = is_quorum_fresh;
        let term = leadership.term;
        if leadership.leader != Some(self.this) {
            self.arbiter = None;
            self.waiting_requests.clear();
        } else if self.arbiter.as_ref().is_none_or(|arbiter| arbiter.term() != term) {
            let live = self.linked.iter().copied().chain([self.this]);
            self.arbiter = Some(Arbiter::new(now, term, live));
            self.waiting_requests.clear();
        }
        self.take_waiting_requests(now);
        self.leader_changed(now);
        self.carry_out(now);
    }

    /// The leader that claims are asked of: one that is reachable, and this node only while a
    /// quorum acknowledges it.
    pub(super) fn leader_changed(&mut self, now: Millis) {
        let Leadership { term, leader } = self.leadership;
        let usable = |leader: &NodeId| {
            if *leader == self.this { self.is_quorum_fresh } else { self.linked.contains(leader) }
        };
        self.claims.leader_changed(now, leader.filter(usable).map(|leader| (leader, term)));
    }

    /// A leader that a quorum no longer follows may have been replaced: it grants nothing. A new one
    /// does not know yet that it is followed, and nobody asks it a second time: so requests wait.
    pub(super) fn handle_to_arbiter(&mut self, now: Millis, from: NodeId, message: ToArbiter) {
        let Some(arbiter) = &mut self.arbiter else { return };
        if self.is_quorum_fresh || !matches!(message, ToArbiter::Request { .. }) {
            arbiter.handle(now, from, message);
        } else if self.waiting_requests.len() < RECOVERY_REQUESTS_MAX {
            self.waiting_requests.push_back((from, message));
        }
    }

    /// What was asked while no quorum was known to follow. A request that has been given up since is
    /// granted to nobody: the node that asked releases it.
    fn take_waiting_requests(&mut self, now: Millis) {
        if !self.is_quorum_fresh {
            return;
        }
        let Some(arbiter) = &mut self.arbiter else { return };
        for (from, message) in self.waiting_requests.drain(..) {
            arbiter.handle(now, from, message);
        }
    }
}
