//! The meta group over three nodes.

use std::time::Duration;

use broker::cluster::FrameKind;
use broker::cluster::meta::{
    MembershipError, MetaPhase, MetaRole, MetaStatus, ProposeError, Proposed,
};
use broker_core::cluster_state::{Command, Outcome};
use broker_policy::{Client, PolicyChange, Record, RecordKey, Revision};

use crate::node::{CLUSTER_ID, Cluster, Node, eventually};

/// The kind of a follower's question whether its copy of the state is new enough.
const CONFIRM: u8 = FrameKind::CONSENSUS_FIRST + 7;

/// Proposes until a leader takes it.
pub(crate) async fn propose(node: &Node, command: Command) -> Proposed {
    for _ in 0..10 {
        match node.meta.propose(&command).await {
            Ok(proposed) => return proposed,
            Err(ProposeError::Unavailable | ProposeError::TimedOut) => {}
            Err(error) => panic!("{error}"),
        }
    }
    panic!("no leader: {:?}", node.meta.status())
}

fn user(name: &str) -> Record {
    Record::Client(Client { username: name.into(), ..Client::default() })
}

fn change_on(node: &Node, record: Record) -> PolicyChange {
    let applied = node.meta.policy().borrow().clone();
    applied.policy.change(vec![record], Vec::new()).unwrap()
}

/// Adds a user by way of `node`, and waits until all have it.
pub(crate) async fn add_user(name: &str, node: &Node, all: &[&Node]) -> Revision {
    let change = change_on(node, user(name));
    let to = change.to;
    let proposed = propose(node, Command::ApplyPolicy(change)).await;
    assert_eq!(proposed.outcome, Outcome::PolicyApplied { revision: to });
    wait_revision(to, all).await;
    to
}

async fn wait_revision(revision: Revision, nodes: &[&Node]) {
    for node in nodes {
        let policy = node.meta.policy();
        eventually("policy", || policy.borrow().policy.revision() == revision).await;
    }
}

fn has_user(node: &Node, name: &str) -> bool {
    node.meta.policy().borrow().policy.client(name).is_some()
}

fn is_serving(status: &MetaStatus) -> bool {
    status.phase == MetaPhase::Serving
}

pub(crate) fn leads(status: &MetaStatus) -> bool {
    status.role == MetaRole::Leader && is_serving(status)
}

pub(crate) async fn found(first: &Node) {
    first.meta.bootstrap().await.unwrap();
    first.wait_for("leader of one", leads).await;
}

/// Adds and promotes by way of the leader.
pub(crate) async fn join(leader: &Node, node: &Node) {
    leader.wait_linked(&[node]).await;
    step(leader, async || leader.meta.add_learner(node.id, node.links.name(), None).await).await;
    node.wait_for("learner", |s| s.role == MetaRole::Learner && is_serving(s)).await;
    step(leader, async || leader.meta.promote(node.id, None).await).await;
    node.wait_for("voter", |s| s.role == MetaRole::Follower && is_serving(s)).await;
}

/// Takes a membership step once the one before is settled and the log has caught up.
async fn step(
    leader: &Node,
    take: impl AsyncFn() -> Result<MetaStatus, MembershipError>,
) -> MetaStatus {
    for _ in 0..600 {
        match take().await {
            Ok(status) => return status,
            Err(MembershipError::Unsettled | MembershipError::NotCaughtUp { .. }) => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Err(error) => panic!("{error}"),
        }
    }
    panic!("step was not taken: {:?}", leader.meta.status())
}

pub(crate) async fn three(cluster: &Cluster) -> [Node; 3] {
    let nodes = [cluster.start(0).await, cluster.start(1).await, cluster.start(2).await];
    found(&nodes[0]).await;
    join(&nodes[0], &nodes[1]).await;
    join(&nodes[0], &nodes[2]).await;
    nodes
}

#[tokio::test]
async fn a_cluster_is_founded_on_one_node_and_grows_to_three() {
    let cluster = Cluster::new(3);
    let nodes = [cluster.start(0).await, cluster.start(1).await, cluster.start(2).await];
    for node in &nodes {
        assert_eq!(node.meta.status().phase, MetaPhase::Uninitialised);
    }
    found(&nodes[0]).await;
    assert_eq!(nodes[0].meta.bootstrap().await, Err(MembershipError::AlreadyInitialised));
    join(&nodes[0], &nodes[1]).await;
    join(&nodes[0], &nodes[2]).await;
    assert_eq!(nodes[1].meta.bootstrap().await, Err(MembershipError::AlreadyInitialised));

    let all: Vec<&Node> = nodes.iter().collect();
    // By way of the leader itself, and by way of a follower.
    add_user("pump", &nodes[0], &all).await;
    add_user("valve", &nodes[2], &all).await;
    let status = nodes[0].meta.status();
    assert_eq!(status.members.len(), 3);
    assert!(status.members.iter().all(|member| member.is_voter));
    let names: Vec<_> = status.members.iter().map(|m| m.name.as_str()).collect();
    for name in ["fleet-0", "fleet-1", "fleet-2"] {
        assert!(names.contains(&name), "{names:?}");
    }
}

#[tokio::test]
async fn changes_go_on_without_one_node_which_catches_up_from_its_disk() {
    let cluster = Cluster::new(3);
    let [a, b, c] = three(&cluster).await;
    add_user("before", &a, &[&a, &b, &c]).await;
    let id = a.id;
    a.kill().await;
    // The leader is gone: the two that are left elect another.
    add_user("while-away", &b, &[&b, &c]).await;
    let a = cluster.start(0).await;
    assert_eq!(a.id, id);
    a.wait_for("caught up", is_serving).await;
    eventually("policy", || has_user(&a, "while-away")).await;
    assert!(has_user(&a, "before"));
    add_user("after", &a, &[&a, &b, &c]).await;
}

#[tokio::test]
async fn all_nodes_restart_and_remember() {
    let cluster = Cluster::new(3);
    let nodes = three(&cluster).await;
    let all: Vec<&Node> = nodes.iter().collect();
    let revision = add_user("pump", &nodes[1], &all).await;
    for node in nodes {
        node.kill().await;
    }
    let nodes = [cluster.start(0).await, cluster.start(1).await, cluster.start(2).await];
    let all: Vec<&Node> = nodes.iter().collect();
    wait_revision(revision, &all).await;
    add_user("valve", &nodes[2], &all).await;
}

#[tokio::test]
async fn a_node_with_a_lost_disk_joins_anew_and_its_old_id_is_removed() {
    let cluster = Cluster::new(3);
    let [a, b, c] = three(&cluster).await;
    add_user("pump", &a, &[&a, &b, &c]).await;
    let old = c.id;
    c.kill().await;
    std::fs::remove_dir_all(cluster.path(2)).unwrap();
    let c = cluster.start(2).await;
    assert_ne!(c.id, old);
    assert_eq!(c.meta.status().phase, MetaPhase::Uninitialised);

    let leader = if leads(&a.meta.status()) { &a } else { &b };
    step(leader, async || leader.meta.remove(old, None).await).await;
    join(leader, &c).await;
    let status = leader.meta.status();
    assert!(status.member(old).is_none(), "{status:?}");
    assert_eq!(status.members.len(), 3);
    eventually("policy", || has_user(&c, "pump")).await;
    add_user("valve", &c, &[&a, &b, &c]).await;
}

#[tokio::test]
async fn leadership_is_handed_over_on_request_and_on_shutdown() {
    let cluster = Cluster::new(3);
    let [a, b, c] = three(&cluster).await;
    a.wait_linked(&[&b, &c]).await;
    assert!(matches!(
        b.meta.transfer_leader(None).await,
        Err(MembershipError::NotLeader { leader: Some(leader) }) if leader.node == a.id
    ));
    assert_eq!(a.meta.transfer_leader(Some(b.id)).await, Ok(b.id));
    b.wait_for("leader", leads).await;
    a.wait_for("follower", |s| s.leader == Some(b.id) && is_serving(s)).await;
    assert!(matches!(b.meta.remove(b.id, None).await, Err(MembershipError::IsLeader { .. })));

    b.wait_linked(&[&a, &c]).await;
    b.stop().await;
    // At once, not after an election that the silence brings on.
    let is_leader = |node: &Node| node.meta.status().role == MetaRole::Leader;
    assert!(is_leader(&a) || is_leader(&c), "{:?}", a.meta.status());
    let other_leads = || leads(&a.meta.status()) || leads(&c.meta.status());
    eventually("another leader", other_leads).await;
    add_user("pump", &a, &[&a, &c]).await;
}

#[tokio::test]
async fn a_removed_node_serves_no_more_also_after_a_restart() {
    let cluster = Cluster::new(3);
    let [a, b, c] = three(&cluster).await;
    add_user("pump", &a, &[&a, &b, &c]).await;
    step(&a, async || a.meta.remove(c.id, None).await).await;
    add_user("valve", &a, &[&a, &b]).await;
    c.wait_for("out", |s| s.phase == MetaPhase::Joining).await;
    c.kill().await;
    let c = cluster.start(2).await;
    c.wait_linked(&[&a, &b]).await;
    assert_ne!(c.meta.status().phase, MetaPhase::Serving);
    // The leader says why its copy of the state counts no more.
    let refused = c.links.request(a.id, CONFIRM, &[]).await.unwrap_err();
    assert!(refused.to_string().contains("is no member of this cluster"), "{refused}");
    // It has no say in who leads, and the others are not disturbed by it.
    add_user("tap", &b, &[&a, &b]).await;
    assert_ne!(c.meta.status().phase, MetaPhase::Serving);
    assert!(leads(&a.meta.status()));
}

#[tokio::test]
async fn without_a_quorum_nothing_is_committed_and_the_proposer_is_told() {
    let cluster = Cluster::new(3);
    let [a, b, c] = three(&cluster).await;
    let revision = add_user("pump", &a, &[&a, &b, &c]).await;
    a.kill().await;
    b.kill().await;
    let change = change_on(&c, user("valve"));
    let error = c.meta.propose(&Command::ApplyPolicy(change)).await.unwrap_err();
    assert!(matches!(error, ProposeError::Unavailable | ProposeError::TimedOut), "{error}");
    assert_eq!(c.meta.policy().borrow().policy.revision(), revision);
    c.wait_for("no leader", |s| !s.is_caught_up && s.phase == MetaPhase::Joining).await;
}

#[tokio::test]
async fn a_leader_without_followers_stops_serving() {
    let cluster = Cluster::new(3);
    let [a, b, c] = three(&cluster).await;
    b.kill().await;
    c.kill().await;
    a.wait_for("no quorum", |s| s.phase == MetaPhase::Joining).await;
    let b = cluster.start(1).await;
    b.wait_for("quorum again", is_serving).await;
    add_user("pump", &b, &[&a, &b]).await;
}

#[tokio::test]
async fn a_leader_of_one_serves_on_while_nothing_happens() {
    let cluster = Cluster::new(1);
    let a = cluster.start(0).await;
    found(&a).await;
    // Longer than a leader may go without being acknowledged.
    let is_lost = a.meta.wait_for(Duration::from_secs(4), |s| !is_serving(s)).await;
    assert!(!is_lost, "{:?}", a.meta.status());
}

#[tokio::test]
async fn a_step_planned_on_another_membership_is_refused() {
    let cluster = Cluster::new(2);
    let (a, b) = (cluster.start(0).await, cluster.start(1).await);
    found(&a).await;
    a.wait_linked(&[&b]).await;
    let planned = a.meta.status().membership_log_index.unwrap();
    step(&a, async || a.meta.add_learner(b.id, "fleet-1", Some(planned)).await).await;
    let error = a.meta.remove(b.id, Some(planned)).await.unwrap_err();
    assert!(matches!(error, MembershipError::Changed { .. }), "{error}");
    let stranger = broker::cluster::NodeId(7);
    let error = a.meta.promote(stranger, None).await.unwrap_err();
    assert!(matches!(error, MembershipError::NotMember { .. }), "{error}");
    let error = a.meta.add_learner(stranger, "fleet-9", None).await.unwrap_err();
    assert!(matches!(error, MembershipError::NotLinked { .. }), "{error}");
}

#[tokio::test]
async fn a_learner_that_is_away_gets_no_vote_and_the_cluster_goes_on() {
    let cluster = Cluster::new(2);
    let (a, b) = (cluster.start(0).await, cluster.start(1).await);
    found(&a).await;
    a.wait_linked(&[&b]).await;
    step(&a, async || a.meta.add_learner(b.id, "fleet-1", None).await).await;
    add_user("pump", &a, &[&a, &b]).await;
    let id = b.id;
    b.kill().await;
    eventually("the link is gone", || !a.links.is_live(id)).await;
    // Its log is known to be as long as the leader's: with its vote the quorum would be two.
    assert_eq!(a.meta.promote(id, None).await, Err(MembershipError::NotLinked { node: id }));
    add_user("valve", &a, &[&a]).await;
}

#[tokio::test]
async fn no_vote_is_given_while_too_few_voters_are_linked_to_confirm_it() {
    let cluster = Cluster::new(3);
    let nodes = [cluster.start(0).await, cluster.start(1).await, cluster.start(2).await];
    let [a, b, c] = nodes;
    found(&a).await;
    join(&a, &b).await;
    a.wait_linked(&[&c]).await;
    step(&a, async || a.meta.add_learner(c.id, "fleet-2", None).await).await;
    add_user("pump", &a, &[&a, &b, &c]).await;
    let id = b.id;
    b.kill().await;
    eventually("the link is gone", || !a.links.is_live(id)).await;
    assert_eq!(a.meta.promote(c.id, None).await, Err(MembershipError::NoQuorum));
    let b = cluster.start(1).await;
    // Either of the two may lead now.
    for _ in 0..600 {
        let by_a = a.meta.promote(c.id, None).await;
        if by_a.is_ok() || b.meta.promote(c.id, None).await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("no vote is given: {:?} {:?}", a.meta.status(), b.meta.status());
}

#[tokio::test]
async fn a_policy_change_from_an_old_revision_conflicts() {
    let cluster = Cluster::new(1);
    let a = cluster.start(0).await;
    found(&a).await;
    let late = change_on(&a, user("late"));
    let current = add_user("first", &a, &[&a]).await;
    let proposed = propose(&a, Command::ApplyPolicy(late)).await;
    assert_eq!(proposed.outcome, Outcome::PolicyConflict { current });
    let key = RecordKey::client("first");
    let removal = a.meta.policy().borrow().policy.change(Vec::new(), vec![key]).unwrap();
    let to = removal.to;
    let proposed = propose(&a, Command::ApplyPolicy(removal)).await;
    assert_eq!(proposed.outcome, Outcome::PolicyApplied { revision: to });
}

#[tokio::test]
async fn peers_of_another_cluster_or_authority_are_refused_by_name() {
    let cluster = Cluster::new(4);
    let a = cluster.start(0).await;
    // Of another cluster, by an authority that both trust.
    let tls = cluster.ca.tls("02KOTHER", "stray-1");
    let b = cluster.start_as(1, "02KOTHER", "stray-1", tls).await;
    // Of this cluster, by an authority that nobody knows.
    let tls = crate::certificates::PeerCa::new().tls(CLUSTER_ID, "stray-2");
    let c = cluster.start_as(2, CLUSTER_ID, "stray-2", tls).await;
    // Under a name that is not its certificate's.
    let tls = cluster.ca.tls(CLUSTER_ID, "stray-3");
    let d = cluster.start_as(3, CLUSTER_ID, "fleet-3", tls).await;

    let refused = |name: &'static str, reason: &'static str| {
        let links = a.links.clone();
        move || {
            links.status().refusals.iter().any(|refusal| {
                refusal.common_name.as_deref() == Some(name)
                    && refusal.cluster_id.is_some()
                    && refusal.reason.contains(reason)
            })
        }
    };
    // The stray's certificate is good here, so the HELLO tells; the other way round it is the
    // server's name that is wrong.
    eventually("foreign cluster", refused("stray-1", "certificate refused")).await;
    eventually("foreign authority", refused("stray-2", "certificate refused")).await;
    eventually("foreign name", refused("stray-3", "calls itself fleet-3")).await;
    assert_eq!(a.links.status().live, []);
    for node in [b, c, d] {
        assert_eq!(node.links.status().live, []);
    }
}
