//! Finishes changes of the voters that a leader has left half done. Layer: beside the group's handle.
//!
//! A change of voters is two log entries: both sets, then the new one. Whoever asked for it has the
//! second one written; when that process ends in between, nobody does, and every later step would be
//! refused as unsettled.

use std::collections::BTreeSet;
use std::time::Duration;

use openraft::async_runtime::WatchReceiver;
use openraft::raft::Precondition;
use openraft::{AsyncRuntime, ChangeMembers, ServerState};

use super::proposals::PROPOSE_TIMEOUT;
use super::type_config::Raft;
use crate::cluster::environment::Environment;

/// Between two looks. A change that is under way takes less, but for a slow network, and then is
/// finished twice without harm.
const JOINT_CHECK: Duration = Duration::from_secs(1);

/// Looks at the membership while this node leads; one that has two sets of voters at two looks is
/// brought to the newer one.
pub(super) async fn finish_joint<E: Environment>(raft: Raft<E>) {
    let mut before = None;
    loop {
        E::Runtime::sleep(JOINT_CHECK).await;
        let metrics = raft.metrics().borrow_watched().clone();
        if metrics.running_state.is_err() {
            return;
        }
        let membership = &metrics.membership_config;
        let is_joint = membership.get_joint_config().len() > 1;
        let leads = metrics.state == ServerState::Leader;
        let joint = (leads && is_joint).then(|| *membership.log_id());
        if joint.is_some() && joint == before {
            let last_membership_log_id = joint.flatten();
            let unchanged = Precondition::LastMembershipLogId { last_membership_log_id };
            let nobody = ChangeMembers::AddVoterIds(BTreeSet::new());
            let finished = raft.change_membership_if(nobody, false, [unchanged]);
            match E::Runtime::timeout(PROPOSE_TIMEOUT, finished).await {
                Ok(Ok(_)) => tracing::info!("a change of voters that was half done is finished"),
                Ok(Err(error)) => tracing::debug!(%error, "the change of voters is not finished"),
                Err(_) => tracing::debug!("the change of voters is not finished in time"),
            }
        }
        before = joint;
    }
}
