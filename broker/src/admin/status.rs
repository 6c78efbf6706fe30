//! `GET /v1/status`: the facts of one moment.

use broker_admin_api::{
    BrokerState, BrokerStatus, Member, NodeId, PeerLink, PolicyCounts, PolicyStatus, RaftStatus,
    Role,
};

use broker_core::cluster_state::FEATURE_LEVEL_MAX;

use super::AdminContext;
use crate::cluster::meta::{MetaMember, MetaPhase, MetaRole, MetaStatus};
use crate::node::GateState;

/// Reads everything that the operator plans by.
pub(super) fn read(context: &AdminContext) -> BrokerStatus {
    let meta = context.meta.status();
    let draining = context.drain.borrow().is_some();
    let readings = || context.workers.iter().map(|worker| worker.counters.read().engine);
    let ready_message = readiness(context);
    BrokerStatus {
        name: context.links.name().to_owned(),
        node_id: NodeId(context.links.node_id().0),
        cluster_id: context.facts.cluster_id.clone(),
        version: context.facts.version.clone(),
        feature_level: FEATURE_LEVEL_MAX.into(),
        cluster_feature_level: (*context.meta.feature_level().borrow()).into(),
        state: match meta.phase {
            _ if draining => BrokerState::Draining,
            MetaPhase::Uninitialised => BrokerState::Uninitialised,
            // Also while a leader is being elected: the gate stays open meanwhile.
            _ if context.gate.is_open() => BrokerState::Serving,
            MetaPhase::Joining | MetaPhase::Serving => BrokerState::Joining,
        },
        ready: ready_message.is_none(),
        ready_message: ready_message.unwrap_or_default(),
        raft: raft(&meta),
        policy: policy(context),
        connections: readings().map(|engine| engine.connections).sum(),
        sessions: readings().map(|engine| engine.sessions).sum(),
        drain: super::drain::read(context),
        config_digest: context.facts.config_digest.clone(),
        certificates: context.tls.status(),
        peers: peers(context, &meta),
        started_at: context.facts.started_at,
        uptime_seconds: context.facts.started.elapsed().as_secs(),
    }
}

/// Why clients may not come in; `None` when they may.
pub(super) fn readiness(context: &AdminContext) -> Option<String> {
    if context.drain.borrow().is_some() {
        return Some("the broker is being drained".to_owned());
    }
    match context.gate.state() {
        GateState::Open => None,
        GateState::Closed { reason } => Some(reason),
    }
}

pub(super) fn members(members: &[MetaMember]) -> Vec<Member> {
    let one = |member: &MetaMember| Member {
        node_id: NodeId(member.node.0),
        name: member.name.clone(),
        voter: member.is_voter,
        matched_index: member.matched_index,
    };
    members.iter().map(one).collect()
}

fn raft(meta: &MetaStatus) -> RaftStatus {
    RaftStatus {
        role: match meta.role {
            MetaRole::Leader => Role::Leader,
            MetaRole::Follower => Role::Follower,
            MetaRole::Learner => Role::Learner,
            MetaRole::None => Role::None,
        },
        term: meta.term,
        leader: meta.leader.map(|leader| NodeId(leader.0)),
        quorum_acknowledged_ms_ago: meta
            .quorum_acknowledged
            .map(|ago| u64::try_from(ago.as_millis()).unwrap_or(u64::MAX)),
        members: members(&meta.members),
        membership_log_index: meta.membership_log_index,
        membership_settled: meta.is_membership_settled,
        last_log_index: meta.last_log_index,
        last_applied_index: meta.last_applied_index,
        caught_up: meta.is_caught_up,
    }
}

fn policy(context: &AdminContext) -> PolicyStatus {
    let enforced = *context.enforced.borrow();
    let policy = context.meta.policy().borrow().policy.clone();
    let counts = policy.counts();
    PolicyStatus {
        enforced_revision: enforced.map(|revision| revision.to_string()).unwrap_or_default(),
        applied_revision: policy.revision().to_string(),
        counts: PolicyCounts {
            clients: counts.clients as u64,
            groups: counts.groups as u64,
            roles: counts.roles as u64,
            rules: counts.acls as u64,
        },
    }
}

fn peers(context: &AdminContext, meta: &MetaStatus) -> Vec<PeerLink> {
    let links = context.links.status();
    let mut peers: Vec<PeerLink> = links
        .live
        .iter()
        .map(|live| PeerLink {
            node_id: Some(NodeId(live.node.0)),
            name: live.name.clone(),
            outbound: true,
            inbound: links.accepted.contains(&live.node),
            last_error: None,
        })
        .collect();
    for member in &meta.members {
        let is_known = |peer: &PeerLink| peer.node_id == Some(NodeId(member.node.0));
        if member.node == context.links.node_id() || peers.iter().any(is_known) {
            continue;
        }
        let refusal = links
            .refusals
            .iter()
            .rev()
            .find(|refusal| refusal.common_name.as_deref() == Some(member.name.as_str()));
        peers.push(PeerLink {
            node_id: Some(NodeId(member.node.0)),
            name: member.name.clone(),
            outbound: false,
            inbound: links.accepted.contains(&member.node),
            last_error: refusal.map(|refusal| refusal.reason.clone()),
        });
    }
    peers
}
