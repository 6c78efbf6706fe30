//! Brokers of different versions: what they speak to each other, and what the cluster writes.

use std::time::Duration;

use broker::cluster::meta::{MembershipError, MetaTiming};
use broker::cluster::{Links, NodeId, RefusalKind, Speaks};

use crate::certificates::PeerCa;
use crate::links::{ECHO, End, end, end_that_speaks};
use crate::meta::{add_user, found, join, leads};
use crate::node::{CLUSTER_ID, Cluster, Node, eventually};

fn wire(from: u16, to: u16) -> Speaks {
    Speaks { wire: (from, to), ..Speaks::default() }
}

/// Knows no feature level but the first.
fn of_before() -> Speaks {
    Speaks { wire: (1, 1), feature_level_max: 1, program: "0.0.9".to_owned() }
}

/// A, which dials, and B.
async fn pair(a: Speaks, b: Speaks) -> (End, End) {
    let ca = PeerCa::new();
    let b = end_that_speaks(b, ca.tls(CLUSTER_ID, "b"), 2, "b", None).await;
    let a = end_that_speaks(a, ca.tls(CLUSTER_ID, "a"), 1, "a", Some(b.address)).await;
    (a, b)
}

#[tokio::test]
async fn a_link_has_the_newest_version_that_both_ends_speak() {
    for (a, b, agreed) in [((1, 2), (1, 2), 2), ((1, 1), (1, 2), 1), ((1, 2), (1, 1), 1)] {
        let (a, _b) = pair(wire(a.0, a.1), wire(b.0, b.1)).await;
        eventually("link", || a.links.is_live(NodeId(2))).await;
        assert_eq!(a.links.status().live[0].version, agreed);
        assert_eq!(a.links.request(NodeId(2), ECHO, b"x").await.unwrap()[..], *b"x");
    }
}

/// Waits for a refusal of this kind; its reason.
pub(crate) async fn refused_by(links: &Links, kind: RefusalKind) -> String {
    let found = || {
        let refusals = links.status().refusals;
        refusals.into_iter().rev().find(|refusal| refusal.kind == kind)
    };
    eventually(&format!("a refusal for its {kind:?}"), || found().is_some()).await;
    assert!(links.status().refused[kind as usize] > 0);
    found().unwrap().reason
}

#[tokio::test]
async fn a_peer_without_a_version_in_common_is_refused_and_both_are_named() {
    let theirs = Speaks { program: "9.9.9".to_owned(), ..wire(7, 9) };
    let (a, b) = pair(theirs, Speaks::default()).await;
    let reason = refused_by(&b.links, RefusalKind::Version).await;
    for part in
        ["runs version 9.9.9 and speaks link protocol 7 to 9", "1 to 2", "upgrade the older"]
    {
        assert!(reason.contains(part), "{reason}");
    }
    // And it hears why.
    let heard = refused_by(&a.links, RefusalKind::TurnedAway).await;
    assert!(heard.contains("7 to 9"), "{heard}");
    assert!(!a.links.is_live(NodeId(2)));
}

#[tokio::test]
async fn a_peer_that_does_not_know_the_clusters_feature_level_is_let_go_and_refused() {
    let ca = PeerCa::new();
    let b = end(ca.tls(CLUSTER_ID, "b"), 2, "b", None).await;
    let tls = ca.tls(CLUSTER_ID, "a");
    let a = end_that_speaks(of_before(), tls, 1, "a", Some(b.address)).await;
    eventually("link", || a.links.is_live(NodeId(2))).await;
    b.links.set_feature_level(2);
    let reason = refused_by(&b.links, RefusalKind::FeatureLevel).await;
    for part in ["version 0.0.9", "up to 1", "the cluster is at 2", "run the version there"] {
        assert!(reason.contains(part), "{reason}");
    }
    eventually("down", || !a.links.is_live(NodeId(2))).await;
}

fn level(node: &Node) -> u16 {
    *node.meta.feature_level().borrow()
}

#[tokio::test]
async fn the_feature_level_rises_once_every_member_knows_the_next_and_older_ones_stay_out() {
    let timing =
        MetaTiming { feature_interval: Duration::from_millis(10), ..MetaTiming::default() };
    let cluster = Cluster::with_timing(4, timing);
    let old = cluster.start_speaking(0, of_before()).await;
    let (first, second) = (cluster.start(1).await, cluster.start(2).await);
    found(&old).await;
    join(&old, &first).await;
    join(&old, &second).await;
    first.wait_linked(&[&old, &second]).await;
    old.meta.transfer_leader(Some(first.id)).await.unwrap();
    first.wait_for("leader", leads).await;
    // While these are committed, the leader looks often enough.
    for number in 0..30 {
        add_user(&format!("user-{number}"), &first, &[&old, &first, &second]).await;
    }
    assert_eq!(level(&first), 1, "a member does not know the next one");
    old.stop().await;
    let renewed = cluster.start(0).await;
    for node in [&first, &second, &renewed] {
        eventually("the level rises", || level(node) == 2).await;
    }
    // What is on the disk says so too.
    second.stop().await;
    let second = cluster.start(2).await;
    eventually("the level is read", || level(&second) == 2).await;
    let late = cluster.start_speaking(3, of_before()).await;
    let named = refused_by(&first.links, RefusalKind::FeatureLevel).await;
    assert!(named.contains("the cluster is at 2"), "{named}");
    let refused = first.meta.add_learner(late.id, "fleet-3", None).await.unwrap_err();
    assert_eq!(refused, MembershipError::NotLinked { node: late.id });
}
