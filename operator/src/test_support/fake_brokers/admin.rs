//! What brokers in memory answer.

use broker_admin_api::{
    AddLearnerRequest, BootstrapRequest, BrokerStatus, DemoteRequest, DrainRequest, DrainStatus,
    ErrorBody, MembershipChanged, PolicyChangeApplied, PromoteRequest, Reason, RemoveRequest,
    TransferAccepted, TransferRequest,
};
use broker_policy::{BucketIndex, BucketKeys, PolicyChange, PolicyDigests};

use super::FakeBrokers;
use crate::broker_admin::{Answer, BrokerAdmin, BrokerEndpoint};

impl BrokerAdmin for FakeBrokers {
    fn status<'a>(&'a self, broker: &'a BrokerEndpoint) -> Answer<'a, BrokerStatus> {
        self.answer(broker, |state| {
            let missing = || ErrorBody::new(Reason::NotFound, "no such broker");
            state.status(&broker.name).ok_or_else(missing)
        })
    }

    fn policy_digests<'a>(&'a self, broker: &'a BrokerEndpoint) -> Answer<'a, PolicyDigests> {
        self.answer(broker, |state| Ok(state.policy.digests()))
    }

    fn policy_bucket<'a>(
        &'a self,
        broker: &'a BrokerEndpoint,
        bucket: BucketIndex,
    ) -> Answer<'a, BucketKeys> {
        self.answer(broker, |state| Ok(state.policy.bucket_keys(bucket)))
    }

    fn change_policy<'a>(
        &'a self,
        broker: &'a BrokerEndpoint,
        change: &'a PolicyChange,
    ) -> Answer<'a, PolicyChangeApplied> {
        self.answer(broker, |state| {
            if state.leader.is_none() {
                return Err(ErrorBody::new(Reason::Unavailable, "no leader; try again"));
            }
            if state.is_policy_refused {
                return Err(ErrorBody::new(Reason::BadRequest, "not such a policy"));
            }
            let applied = state.policy.apply(change).map_err(|error| {
                let revision = Some(state.policy.revision().to_string());
                ErrorBody {
                    revision,
                    ..ErrorBody::new(Reason::RevisionMismatch, error.to_string())
                }
            })?;
            state.commit(applied);
            state.changes.push(format!(
                "policy +{} -{}",
                change.upserts.len(),
                change.removals.len()
            ));
            Ok(PolicyChangeApplied {
                revision: state.policy.revision().to_string(),
                log_index: state.log_index,
            })
        })
    }

    fn bootstrap<'a>(
        &'a self,
        broker: &'a BrokerEndpoint,
        request: &'a BootstrapRequest,
    ) -> Answer<'a, MembershipChanged> {
        self.answer(broker, |state| {
            if !state.members.is_empty() {
                return Err(ErrorBody::new(Reason::AlreadyInitialised, "there is a cluster"));
            }
            state.set_member(request.node_id, true);
            state.changes.push(format!("bootstrap {}", broker.name));
            Ok(state.membership())
        })
    }

    fn add_learner<'a>(
        &'a self,
        broker: &'a BrokerEndpoint,
        request: &'a AddLearnerRequest,
    ) -> Answer<'a, MembershipChanged> {
        let log = format!("learner {}", request.name);
        self.change_members(broker, log, |state| state.set_member(request.node_id, false))
    }

    fn promote<'a>(
        &'a self,
        broker: &'a BrokerEndpoint,
        request: &'a PromoteRequest,
    ) -> Answer<'a, MembershipChanged> {
        let log = format!("voter {}", self.lock().name_of(request.node_id));
        self.change_members(broker, log, |state| {
            state.set_member(request.node_id, true);
            let policy = state.policy.clone();
            state.commit(policy);
        })
    }

    fn demote<'a>(
        &'a self,
        broker: &'a BrokerEndpoint,
        request: &'a DemoteRequest,
    ) -> Answer<'a, MembershipChanged> {
        let log = format!("learner {}", self.lock().name_of(request.node_id));
        self.change_members(broker, log, |state| state.set_member(request.node_id, false))
    }

    fn remove<'a>(
        &'a self,
        broker: &'a BrokerEndpoint,
        request: &'a RemoveRequest,
    ) -> Answer<'a, MembershipChanged> {
        let log = format!("remove {}", request.node_id);
        self.change_members(broker, log, |state| {
            state.members.retain(|member| member.node_id != request.node_id);
        })
    }

    fn transfer<'a>(
        &'a self,
        broker: &'a BrokerEndpoint,
        request: &'a TransferRequest,
    ) -> Answer<'a, TransferAccepted> {
        self.answer(broker, |state| {
            let to = request.to.unwrap_or_default();
            state.leader = Some(to);
            let name = state.name_of(to);
            state.changes.push(format!("transfer {name}"));
            Ok(TransferAccepted { to })
        })
    }

    fn drain<'a>(
        &'a self,
        broker: &'a BrokerEndpoint,
        request: &'a DrainRequest,
    ) -> Answer<'a, DrainStatus> {
        self.answer(broker, |state| {
            let Some(found) = state.brokers.get_mut(&broker.name) else {
                return Err(ErrorBody::new(Reason::NotFound, "no such broker"));
            };
            found.drain = DrainStatus {
                draining: request.enabled,
                connections: found.connections,
                requested_by: request.requested_by.clone(),
                ..DrainStatus::default()
            };
            let drain = found.drain.clone();
            let what = if request.enabled { "drain" } else { "end drain" };
            state.changes.push(format!("{what} {}", broker.name));
            Ok(drain)
        })
    }
}
