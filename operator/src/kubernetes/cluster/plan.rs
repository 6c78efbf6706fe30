//! What the planners say about a cluster as it was found. Pure but for the caches it reads.

use jiff::Timestamp;
use operator_api::MqttClusterStatus;
use operator_api::cluster::PlannedStep;
use operator_core::cluster::ValidatedCluster;
use operator_core::cluster::status::{self, PolicyState, StatusInput, kubernetes_endpoints};
use operator_core::membership::{self, Desired};
use operator_core::rollout::{self, NextStep, Observed, Settings, WaitReason, Wanted};

use super::super::scope::{ClusterKey, Scope};
use super::observe::wanted_template;

/// What was found and what follows from it.
pub(super) struct Plan {
    pub(super) brokers: Vec<Observed>,
    pub(super) wanted: Wanted,
    pub(super) membership: membership::Step,
    pub(super) rollout: NextStep,
    pub(super) steps: Vec<PlannedStep>,
    policy: PolicyState,
}

impl Plan {
    /// Asks the planners.
    pub(super) fn make(
        scope: &Scope,
        key: &ClusterKey,
        cluster: &ValidatedCluster,
        before: &MqttClusterStatus,
        brokers: Vec<Observed>,
        now: Timestamp,
    ) -> Self {
        let desired = Desired {
            cluster_id: cluster.cluster_id.clone(),
            brokers: (0..cluster.replicas).map(|ordinal| cluster.names.broker(ordinal)).collect(),
            voters: cluster.voters,
            is_founded: before.founded,
            awaits_backup: cluster.awaits_backup,
        };
        let asked: Vec<_> = brokers.iter().map(|broker| broker.for_membership(now)).collect();
        let membership = membership::next_step(&desired, &asked);
        let policy = scope.rights.policy_state(key);
        let template = wanted_template(scope, cluster);
        let wanted = Wanted {
            brokers: usize::from(cluster.replicas),
            version: cluster.version.clone(),
            template: template.clone().unwrap_or_default(),
            policy_revision: policy.wanted_revision.clone(),
            is_membership_aligned: membership == membership::Step::Aligned,
        };
        let settings = Settings::of(cluster);
        // Right after a start the policy is not compiled yet, and nobody could be seen enforcing it.
        let rollout = if template.is_some() && policy.is_known() {
            rollout::next_step(&wanted, &brokers, &settings, now)
        } else {
            let message = "the StatefulSet or the policy is being brought up to date".to_owned();
            NextStep::Wait { reason: WaitReason::BrokerNotSettled, message }
        };
        let steps = match policy.is_known() {
            true => rollout::plan(&wanted, &brokers, &settings, now),
            false => Vec::new(),
        };
        Self { brokers, wanted, membership, rollout, steps, policy }
    }

    /// Whether nothing is under way with the brokers.
    pub(super) fn is_settled(&self) -> bool {
        self.membership == membership::Step::Aligned && self.rollout == NextStep::Done
    }

    /// The status that says all this.
    pub(super) fn status(
        &self,
        cluster: &ValidatedCluster,
        before: &MqttClusterStatus,
        certificate_problems: &[String],
        now: Timestamp,
    ) -> MqttClusterStatus {
        status::build(&StatusInput {
            cluster,
            before,
            brokers: &self.brokers,
            wanted: &self.wanted,
            membership: &self.membership,
            rollout: &self.rollout,
            plan: &self.steps,
            policy: &self.policy,
            certificate_problems,
            endpoints: &kubernetes_endpoints(cluster),
            now,
        })
    }
}
