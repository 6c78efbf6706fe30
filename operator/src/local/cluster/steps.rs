//! Takes the one step that the planners chose: asks a broker, or restarts its process. IO.

use broker_admin_api::{
    AddLearnerRequest, BootstrapRequest, NodeId, PromoteRequest, RemoveRequest, TransferRequest,
};
use operator_core::membership::Step;

use super::brokers::Brokers;
use crate::broker_admin::{AdminError, BrokerAdmin};

/// Asks a broker for the change that the membership planner chose. What was done, in words, about which broker.
///
/// # Errors
/// Why it was not done, in words.
pub(super) async fn change(
    admin: &dyn BrokerAdmin,
    brokers: &Brokers,
    cluster_id: &str,
    step: &Step,
) -> Result<Option<(String, String)>, String> {
    let at = |name: &str| {
        brokers.endpoint(name).ok_or_else(|| format!("{name} is not one of the brokers"))
    };
    let done = |broker: &str, what: &str| Ok(Some((broker.to_owned(), what.to_owned())));
    match step {
        Step::Bootstrap { broker, node_id } => {
            let request = BootstrapRequest { cluster_id: cluster_id.to_owned(), node_id: *node_id };
            admin.bootstrap(at(broker)?, &request).await.map_err(told)?;
            done(broker, "founded the cluster")
        }
        Step::AddLearner { leader, broker, node_id, expected_membership_log_index } => {
            let request = AddLearnerRequest {
                node_id: *node_id,
                name: broker.clone(),
                expected_membership_log_index: *expected_membership_log_index,
            };
            admin.add_learner(at(leader)?, &request).await.map_err(told)?;
            done(broker, "joined, without a vote yet")
        }
        Step::Promote { leader, broker, node_id, expected_membership_log_index } => {
            let request = PromoteRequest {
                node_id: *node_id,
                expected_membership_log_index: *expected_membership_log_index,
            };
            admin.promote(at(leader)?, &request).await.map_err(told)?;
            done(broker, "has caught up and has its vote")
        }
        Step::Remove { leader, broker, node_id, reason, expected_membership_log_index } => {
            let request = RemoveRequest {
                node_id: *node_id,
                expected_membership_log_index: *expected_membership_log_index,
            };
            admin.remove(at(leader)?, &request).await.map_err(told)?;
            done(broker, &format!("node {node_id} is no member any more: {reason}"))
        }
        Step::TransferLeadership { leader, to } => {
            transfer(admin, brokers, leader, *to).await?;
            done(leader, "hands leadership over")
        }
        Step::RecordFounded | Step::Wait { .. } | Step::Aligned | Step::Refuse { .. } => Ok(None),
    }
}

/// Asks `leader` to let another one lead.
///
/// # Errors
/// Why it does not, in words.
pub(super) async fn transfer(
    admin: &dyn BrokerAdmin,
    brokers: &Brokers,
    leader: &str,
    to: NodeId,
) -> Result<(), String> {
    let Some(at) = brokers.endpoint(leader) else { return Err(format!("{leader} is not there")) };
    admin.transfer(at, &TransferRequest { to: Some(to) }).await.map(drop).map_err(told)
}

fn told(error: AdminError) -> String {
    error.chain()
}
