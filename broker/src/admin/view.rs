//! `GET /v1/cluster` and `GET /v1/shards`: for people and their tools.

use axum::Json;
use axum::extract::State;
use broker_admin_api::{ClusterView, MemberView, NodeId, Reason, Role, ShardView, ShardsView};

use super::AdminContext;
use super::refusal::Refusal;
use super::routes::Answer;
use crate::cluster::meta::{MetaMember, MetaRole, MetaStatus};

/// The group that carries all shards.
const META: &str = "meta";

pub(super) async fn cluster(State(context): State<AdminContext>) -> Json<ClusterView> {
    let meta = context.meta.status();
    let voters = meta.members.iter().filter(|member| member.is_voter).count() as u64;
    let mut members: Vec<MemberView> =
        meta.members.iter().map(|one| member(&context, &meta, one)).collect();
    members.sort_by(|one, other| one.name.cmp(&other.name));
    Json(ClusterView {
        cluster_id: context.facts.cluster_id.clone(),
        answered_by: context.links.name().to_owned(),
        term: meta.term,
        leader: meta.leader.map(|leader| NodeId(leader.0)),
        membership_log_index: meta.membership_log_index,
        membership_settled: meta.is_membership_settled,
        last_log_index: meta.last_log_index,
        last_applied_index: meta.last_applied_index,
        feature_level: (*context.meta.feature_level().borrow()).into(),
        losses_tolerated: voters.saturating_sub(1) / 2,
        members,
    })
}

fn member(context: &AdminContext, meta: &MetaStatus, member: &MetaMember) -> MemberView {
    let lag = |matched: u64| meta.last_log_index.unwrap_or(0).saturating_sub(matched);
    let is_known_by_leader = meta.role == MetaRole::Leader;
    MemberView {
        node_id: NodeId(member.node.0),
        name: member.name.clone(),
        role: match () {
            () if meta.leader == Some(member.node) => Role::Leader,
            () if member.is_voter => Role::Follower,
            () => Role::Learner,
        },
        voter: member.is_voter,
        linked: member.node == context.links.node_id() || context.links.is_live(member.node),
        matched_index: member.matched_index,
        lag: is_known_by_leader.then(|| lag(member.matched_index.unwrap_or(0))),
    }
}

pub(super) async fn shards(State(context): State<AdminContext>) -> Answer<ShardsView> {
    let meta = context.meta.status();
    let leader = meta.leader.map(|leader| NodeId(leader.0));
    let sessions = context.meta.sessions();
    // Many sessions take their time, which is not this thread's.
    let looked = tokio::task::spawn_blocking(move || {
        let shards = (0..).zip(sessions.shard_totals());
        shards
            .map(|(shard, totals)| ShardView {
                shard,
                group: META.to_owned(),
                leader,
                sessions: totals.sessions,
                connected: totals.connected,
                subscriptions: totals.subscriptions,
                queued_messages: totals.messages,
                queued_bytes: totals.bytes,
            })
            .collect()
    });
    let failed = |error: tokio::task::JoinError| Refusal::new(Reason::Internal, error.to_string());
    let shards = looked.await.map_err(failed)?;
    Ok(Json(ShardsView { last_applied_index: meta.last_applied_index, shards }))
}
