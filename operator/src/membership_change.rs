//! Asks brokers for what the planners chose, the same on both platforms: changes of the membership, and
//! leadership and clients that make way for a restart. IO; decides nothing.

use broker_admin_api::{
    AddLearnerRequest, BootstrapRequest, DemoteRequest, DrainRequest, NodeId, PromoteRequest,
    RemoveRequest, TransferRequest,
};
use operator_core::cluster::ValidatedCluster;
use operator_core::membership::Step;
use operator_core::rollout::NextStep;

use crate::broker_admin::{AdminError, BrokerAdmin, BrokerEndpoint};

/// A change that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Changed {
    /// The broker that it is about.
    pub(crate) broker: String,
    /// What became of it, in words that follow its name.
    pub(crate) what: String,
}

/// Makes the change that a step asks for; `None` when it asks for none.
///
/// # Errors
/// Why it was not made, in words.
pub(crate) async fn change(
    admin: &dyn BrokerAdmin,
    endpoint: impl Fn(&str) -> Result<BrokerEndpoint, String>,
    cluster: &ValidatedCluster,
    step: &Step,
) -> Result<Option<Changed>, String> {
    let changed =
        |broker: &str, what: String| Ok(Some(Changed { broker: broker.to_owned(), what }));
    match step {
        Step::Bootstrap { broker, node_id } => {
            let cluster_id = cluster.cluster_id.clone();
            let request = BootstrapRequest { cluster_id, node_id: *node_id };
            admin.bootstrap(&endpoint(broker)?, &request).await.map_err(told)?;
            changed(broker, "founded the cluster".to_owned())
        }
        Step::AddLearner { leader, broker, node_id, expected_membership_log_index } => {
            let request = AddLearnerRequest {
                node_id: *node_id,
                name: broker.clone(),
                expected_membership_log_index: *expected_membership_log_index,
            };
            admin.add_learner(&endpoint(leader)?, &request).await.map_err(told)?;
            changed(broker, "joins without a vote".to_owned())
        }
        Step::Promote { leader, broker, node_id, expected_membership_log_index } => {
            let request = PromoteRequest {
                node_id: *node_id,
                expected_membership_log_index: *expected_membership_log_index,
            };
            admin.promote(&endpoint(leader)?, &request).await.map_err(told)?;
            changed(broker, "has a vote".to_owned())
        }
        Step::Demote { leader, broker, node_id, reason, expected_membership_log_index } => {
            let request = DemoteRequest {
                node_id: *node_id,
                expected_membership_log_index: *expected_membership_log_index,
            };
            admin.demote(&endpoint(leader)?, &request).await.map_err(told)?;
            changed(broker, format!("follows without a vote: {reason}"))
        }
        Step::Drain { broker } => {
            let rate = cluster.rollout.clients_moved_per_second;
            drain(admin, &endpoint(broker)?, Some(rate)).await.map(Some)
        }
        Step::Remove { leader, broker, node_id, reason, expected_membership_log_index } => {
            let request = RemoveRequest {
                node_id: *node_id,
                expected_membership_log_index: *expected_membership_log_index,
            };
            admin.remove(&endpoint(leader)?, &request).await.map_err(told)?;
            changed(broker, format!("(node {node_id}) is no member any more: {reason}"))
        }
        Step::TransferLeadership { leader, to } => {
            transfer(admin, &endpoint(leader)?, *to).await.map(Some)
        }
        Step::RecordFounded | Step::Wait { .. } | Step::Aligned | Step::Refuse { .. } => Ok(None),
    }
}

/// Has a broker make way for its restart, or take clients again, where a rollout's step asks for that.
///
/// # Errors
/// Why it does not, in words.
pub(crate) async fn make_way(
    admin: &dyn BrokerAdmin,
    endpoint: impl Fn(&str) -> Result<BrokerEndpoint, String>,
    cluster: &ValidatedCluster,
    step: &NextStep,
) -> Result<Option<Changed>, String> {
    match step {
        NextStep::TransferLeadership { broker, to } => {
            transfer(admin, &endpoint(broker)?, *to).await.map(Some)
        }
        NextStep::Drain { broker } => {
            let rate = cluster.rollout.clients_moved_per_second;
            drain(admin, &endpoint(broker)?, Some(rate)).await.map(Some)
        }
        NextStep::EndDrain { broker } => drain(admin, &endpoint(broker)?, None).await.map(Some),
        NextStep::Restart { .. }
        | NextStep::Done
        | NextStep::Wait { .. }
        | NextStep::Halt { .. } => Ok(None),
    }
}

/// Asks a leader to let another one lead.
async fn transfer(
    admin: &dyn BrokerAdmin,
    leader: &BrokerEndpoint,
    to: NodeId,
) -> Result<Changed, String> {
    admin.transfer(leader, &TransferRequest { to: Some(to) }).await.map_err(told)?;
    Ok(Changed { broker: leader.name.clone(), what: format!("hands leadership over to {to}") })
}

/// Has a broker move its clients to the others, so many a second, or let them in again.
async fn drain(
    admin: &dyn BrokerAdmin,
    broker: &BrokerEndpoint,
    clients_per_second: Option<u32>,
) -> Result<Changed, String> {
    let request = clients_per_second.map_or_else(DrainRequest::end, DrainRequest::begin);
    let status = admin.drain(broker, &request).await.map_err(told)?;
    let what = match clients_per_second {
        Some(rate) => format!("moves its {} clients away, {rate} a second", status.connections),
        None => "lets clients in again".to_owned(),
    };
    Ok(Changed { broker: broker.name.clone(), what })
}

fn told(error: AdminError) -> String {
    error.chain()
}
