//! Asks brokers for the change of the membership that the planner chose, the same on both platforms. IO; decides nothing.

use broker_admin_api::{
    AddLearnerRequest, BootstrapRequest, NodeId, PromoteRequest, RemoveRequest, TransferRequest,
};
use operator_core::membership::Step;

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
    cluster_id: &str,
    step: &Step,
) -> Result<Option<Changed>, String> {
    let changed =
        |broker: &str, what: String| Ok(Some(Changed { broker: broker.to_owned(), what }));
    match step {
        Step::Bootstrap { broker, node_id } => {
            let request = BootstrapRequest { cluster_id: cluster_id.to_owned(), node_id: *node_id };
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

/// Asks a leader to let another one lead.
///
/// # Errors
/// Why it does not, in words.
pub(crate) async fn transfer(
    admin: &dyn BrokerAdmin,
    leader: &BrokerEndpoint,
    to: NodeId,
) -> Result<Changed, String> {
    admin.transfer(leader, &TransferRequest { to: Some(to) }).await.map_err(told)?;
    Ok(Changed { broker: leader.name.clone(), what: format!("hands leadership over to {to}") })
}

fn told(error: AdminError) -> String {
    error.chain()
}
