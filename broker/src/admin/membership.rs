//! Steps of the membership and of leadership, as they are asked for.

use axum::Json;
use axum::extract::State;
use broker_admin_api::{
    AddLearnerRequest, BootstrapRequest, DemoteRequest, MembershipChanged, NodeId, PromoteRequest,
    Reason, RemoveRequest, TransferAccepted, TransferRequest,
};
use broker_core::types::NodeId as CoreNodeId;

use super::refusal::Refusal;
use super::routes::{Answer, Body};
use super::{AdminContext, status};
use crate::cluster::meta::MetaStatus;

fn changed(status: &MetaStatus) -> Json<MembershipChanged> {
    Json(MembershipChanged {
        membership_log_index: status.membership_log_index.unwrap_or(0),
        members: status::members(&status.members),
    })
}

fn core(node: NodeId) -> CoreNodeId {
    CoreNodeId(node.0)
}

pub(super) async fn bootstrap(
    State(context): State<AdminContext>,
    body: Body<BootstrapRequest>,
) -> Answer<MembershipChanged> {
    let Json(request) = body?;
    let own = &context.facts.cluster_id;
    if request.cluster_id != *own {
        let message =
            format!("cluster_id {:?}: this broker is configured with {own:?}", request.cluster_id);
        return Err(Refusal::new(Reason::InvalidField, message));
    }
    let this = context.links.node_id();
    if core(request.node_id) != this {
        let message = format!("node_id {}: this broker is {this}", request.node_id);
        return Err(Refusal::new(Reason::InvalidField, message));
    }
    tracing::info!(node_id = %this, "founding the cluster");
    Ok(changed(&context.meta.bootstrap().await?))
}

pub(super) async fn add_learner(
    State(context): State<AdminContext>,
    body: Body<AddLearnerRequest>,
) -> Answer<MembershipChanged> {
    let Json(request) = body?;
    tracing::info!(node_id = %request.node_id, name = %request.name, "adding a learner");
    let (node, expected) = (core(request.node_id), request.expected_membership_log_index);
    Ok(changed(&context.meta.add_learner(node, &request.name, expected).await?))
}

pub(super) async fn promote(
    State(context): State<AdminContext>,
    body: Body<PromoteRequest>,
) -> Answer<MembershipChanged> {
    let Json(request) = body?;
    tracing::info!(node_id = %request.node_id, "giving a learner its vote");
    let (node, expected) = (core(request.node_id), request.expected_membership_log_index);
    Ok(changed(&context.meta.promote(node, expected).await?))
}

pub(super) async fn demote(
    State(context): State<AdminContext>,
    body: Body<DemoteRequest>,
) -> Answer<MembershipChanged> {
    let Json(request) = body?;
    tracing::info!(node_id = %request.node_id, "taking a voter's vote");
    let (node, expected) = (core(request.node_id), request.expected_membership_log_index);
    Ok(changed(&context.meta.demote(node, expected).await?))
}

pub(super) async fn remove(
    State(context): State<AdminContext>,
    body: Body<RemoveRequest>,
) -> Answer<MembershipChanged> {
    let Json(request) = body?;
    tracing::info!(node_id = %request.node_id, "removing a member");
    let (node, expected) = (core(request.node_id), request.expected_membership_log_index);
    Ok(changed(&context.meta.remove(node, expected).await?))
}

pub(super) async fn transfer(
    State(context): State<AdminContext>,
    body: Body<TransferRequest>,
) -> Answer<TransferAccepted> {
    let Json(request) = body?;
    let to = context.meta.transfer_leader(request.to.map(core)).await?;
    tracing::info!(node_id = %to, "handing leadership over");
    Ok(Json(TransferAccepted { to: NodeId(to.0) }))
}
