//! The meta group in situations that only virtual time brings about exactly.

use std::sync::Arc;
use std::time::Duration;

use broker::cluster::WallClock;
use broker::cluster::meta::{MetaPhase, MetaRole, ProposeError};
use broker_core::cluster_state::Command;
use broker_core::types::Millis;
use bytes::Bytes;
use openraft::AsyncRuntime;
use openraft_rt_sim::SimRuntime;

use crate::cluster::Cluster;
use crate::count::Tally;
use crate::environment::{elapsed, sleep, spawn};
use crate::history::History;
use crate::liveness::within;
use crate::membership;
use crate::network::Network;
use crate::node::{Node, crash, start};
use crate::random::Random;

const TIME: Duration = Duration::from_secs(30);

async fn brokers(count: usize) -> (Cluster, Vec<Arc<Node>>) {
    let network = Network::new(Random::new(1, "network"), Tally::default());
    let history = History::new(Vec::new(), Tally::default());
    let cluster = Cluster::new(network, history, count, &mut Random::new(1, "places"));
    for place in 0..count {
        start(&cluster, place).await;
    }
    let nodes = cluster.nodes();
    (cluster, nodes)
}

async fn eventually(what: &str, is_met: impl Fn() -> bool) {
    let missing = within(TIME, || (!is_met()).then(|| what.to_owned())).await;
    assert_eq!(missing, None);
}

async fn found(node: &Node) {
    node.meta.bootstrap().await.unwrap();
    eventually("a leader", || node.meta.status().role == MetaRole::Leader).await;
}

fn command() -> Command {
    Command::ExpireRetained { now: Millis(0), messages_max: 1 }
}

#[test]
fn what_was_proposed_before_another_was_given_up_does_not_take_effect_after_it() {
    SimRuntime::with_seed(1).block_on(async {
        let (_cluster, nodes) = brokers(1).await;
        let meta = &nodes[0].meta;
        let first = meta.propose(&command());
        sleep(Duration::from_secs(3)).await;
        let second = meta.propose(&command());
        assert_eq!(first.await, Err(ProposeError::Unavailable));
        found(&nodes[0]).await;
        assert_eq!(second.await, Err(ProposeError::Unavailable));
        assert!(meta.propose(&command()).await.is_ok());
    });
}

#[test]
fn a_change_of_voters_that_was_left_half_done_is_finished() {
    SimRuntime::with_seed(1).block_on(async {
        let (_cluster, nodes) = brokers(2).await;
        let (leader, other) = (&nodes[0], &nodes[1]);
        found(leader).await;
        eventually("a link", || leader.meta.status().leader == Some(leader.id)).await;
        let mut added = None;
        for _ in 0..100 {
            added = leader.meta.add_learner(other.id, &other.name, None).await.ok();
            if added.is_some() {
                break;
            }
            sleep(Duration::from_millis(50)).await;
        }
        assert!(added.is_some(), "{:?}", leader.meta.status());
        let is_settled = || leader.meta.status().is_membership_settled;
        eventually("the learner", is_settled).await;
        {
            // Whoever asked for the change goes as soon as it is under way.
            let mut promoting = Box::pin(leader.meta.promote(other.id, None));
            while is_settled() {
                tokio::select! {
                    biased;
                    done = promoting.as_mut() => panic!("done before both sets were seen: {done:?}"),
                    () = sleep(Duration::from_micros(100)) => {}
                }
            }
        }
        eventually("the new set of voters", is_settled).await;
        let status = leader.meta.status();
        assert!(status.member(other.id).is_some_and(|member| member.is_voter), "{status:?}");
    });
}

#[test]
fn a_leader_that_starts_again_at_once_leads_in_a_later_term() {
    SimRuntime::with_seed(1).block_on(async {
        let (cluster, nodes) = brokers(2).await;
        found(&nodes[0]).await;
        spawn(membership::keep(cluster.clone()));
        eventually("two voters", || membership::is_settled(&cluster)).await;
        let before = nodes[0].meta.status();
        assert_eq!(before.role, MetaRole::Leader);
        crash(&cluster, 0, true, "the test ends it", Duration::ZERO);
        start(&cluster, 0).await;
        eventually("a leader", || membership::leader(&cluster).is_some()).await;
        let (_, after) = membership::leader(&cluster).unwrap();
        assert!(after.term > before.term, "{after:?}");
    });
}

/// Three voters, each with a copy of the state that counts.
async fn three_voters() -> (Cluster, Vec<Arc<Node>>) {
    let (cluster, nodes) = brokers(3).await;
    found(&nodes[0]).await;
    spawn(membership::keep(cluster.clone()));
    eventually("three voters", || membership::is_settled(&cluster)).await;
    eventually("copies that count", || (0..3).all(|place| counts(&cluster, place))).await;
    (cluster, nodes)
}

/// Whether the broker in a place would know of whoever has subscribed.
fn counts(cluster: &Cluster, place: usize) -> bool {
    let now = cluster.place(place, |place| place.clock).now();
    cluster.node(place).is_some_and(|node| node.meta.sessions().is_confirmed_at(now))
}

/// How long a committed entry is waited for at the first broker.
async fn applied_everywhere(cluster: &Cluster, nodes: &[Arc<Node>]) -> Duration {
    let now = cluster.place(0, |place| place.clock).now();
    let proposed = nodes[0].meta.propose_sessions(now, Bytes::new()).await.unwrap();
    let since = elapsed();
    nodes[0].meta.applied_everywhere(proposed.log_index).await;
    elapsed() - since
}

#[test]
fn a_suback_outlasts_the_copy_of_the_state_on_a_broker_that_is_cut_off() {
    SimRuntime::with_seed(1).block_on(async {
        let (cluster, nodes) = three_voters().await;
        for other in [0, 1] {
            cluster.network.block(nodes[2].id, nodes[other].id);
            cluster.network.block(nodes[other].id, nodes[2].id);
        }
        assert!(counts(&cluster, 2));
        applied_everywhere(&cluster, &nodes).await;
        assert!(!counts(&cluster, 2));
        cluster.network.heal();
        eventually("a copy that counts again", || counts(&cluster, 2)).await;
    });
}

#[test]
fn a_suback_outlasts_the_copy_on_a_broker_that_only_the_leader_reaches() {
    SimRuntime::with_seed(1).block_on(async {
        let (cluster, nodes) = three_voters().await;
        let (leader, _) = membership::leader(&cluster).unwrap();
        assert_eq!(leader.id, nodes[0].id);
        // The second broker has no link to the third one, which lags behind.
        cluster.network.block(nodes[1].id, nodes[2].id);
        cluster.network.block(nodes[2].id, nodes[1].id);
        sleep(Duration::from_secs(4)).await;
        cluster.network.slow(nodes[0].id, nodes[2].id, 600);
        let now = cluster.place(1, |place| place.clock).now();
        for _ in 0..5 {
            let proposed = nodes[1].meta.propose_sessions(now, Bytes::new()).await.unwrap();
            nodes[1].meta.applied_everywhere(proposed.log_index).await;
            let applied = nodes[2].meta.status().last_applied_index;
            assert!(applied >= Some(proposed.log_index) || !counts(&cluster, 2), "{applied:?}");
        }
    });
}

#[test]
fn a_broker_that_has_gone_holds_no_suback_up() {
    SimRuntime::with_seed(1).block_on(async {
        let (cluster, nodes) = three_voters().await;
        crash(&cluster, 2, true, "the test ends it", TIME);
        sleep(Duration::from_secs(2)).await;
        let time = applied_everywhere(&cluster, &nodes).await;
        assert!(time < Duration::from_millis(200), "{time:?}");
    });
}

#[test]
fn a_broker_has_a_snapshot_when_what_it_covers_is_on_its_disk() {
    SimRuntime::with_seed(1).block_on(async {
        let (cluster, nodes) = three_voters().await;
        let (leader, slow) = (&nodes[0], &nodes[2]);
        assert_eq!(leader.meta.status().role, MetaRole::Leader);
        sleep(Duration::from_secs(1)).await;
        let last = slow.meta.status().last_log_index;
        // It still takes entries, and applies what the others have committed.
        slow.disk.hang();
        for _ in 0..400 {
            assert!(leader.meta.propose(&command()).await.is_ok());
            let (status, own) = (leader.meta.status(), slow.meta.status());
            let matched = status.member(slow.id).and_then(|member| member.matched_index);
            assert!(matched <= last.max(own.purged_index), "{matched:?} of {own:?}");
        }
        assert!(leader.meta.status().purged_index > last, "the log is not enough");
        crash(&cluster, 2, true, "the test ends it", Duration::ZERO);
        start(&cluster, 2).await;
        let serves = |node: Arc<Node>| node.meta.status().phase == MetaPhase::Serving;
        eventually("a broker that has caught up", || cluster.node(2).is_some_and(serves)).await;
    });
}

#[test]
fn a_broker_whose_leader_is_cut_off_with_it_serves_no_longer() {
    SimRuntime::with_seed(1).block_on(async {
        let (cluster, nodes) = brokers(4).await;
        found(&nodes[0]).await;
        spawn(membership::keep(cluster.clone()));
        eventually("three voters", || membership::is_settled(&cluster)).await;
        let phase = |place: usize| nodes[place].meta.status().phase;
        eventually("all serve", || (0..4).all(|place| phase(place) == MetaPhase::Serving)).await;
        let (leader, follower) = (&nodes[0], &nodes[3]);
        assert_eq!(leader.meta.status().role, MetaRole::Leader);
        assert_eq!(follower.meta.status().role, MetaRole::Learner);
        for (here, there) in [(0, 1), (0, 2), (3, 1), (3, 2)] {
            cluster.network.block(nodes[here].id, nodes[there].id);
            cluster.network.block(nodes[there].id, nodes[here].id);
        }
        eventually("the others serve", || phase(1) == MetaPhase::Serving).await;
        sleep(Duration::from_secs(10)).await;
        assert_eq!(follower.meta.status().leader, Some(leader.id));
        assert_eq!(phase(3), MetaPhase::Joining);
        assert!(!follower.gate.is_open() && nodes[1].gate.is_open());
        cluster.network.heal();
        eventually("all serve again", || (0..4).all(|place| phase(place) == MetaPhase::Serving))
            .await;
    });
}

/// Longest that a leader's next entry waits from the beginning of the one before, and the longest
/// fsync of a disk here.
const TICK: Duration = Duration::from_millis(5);

#[test]
fn a_busy_leader_puts_what_comes_within_its_tick_into_one_entry() {
    SimRuntime::with_seed(1).block_on(async {
        let (_cluster, nodes) = brokers(1).await;
        found(&nodes[0]).await;
        let meta = &nodes[0].meta;
        let mut rounds = 0;
        for _ in 0..20 {
            sleep(Duration::from_secs(1)).await;
            let since = elapsed();
            // Queued at once, all of them.
            let burst: Vec<_> = (0..20).map(|_| meta.propose(&command())).collect();
            for proposed in burst {
                proposed.await.unwrap();
            }
            if elapsed() - since > TICK / 2 {
                continue;
            }
            rounds += 1;
            let first = meta.propose(&command());
            sleep(Duration::from_millis(1)).await;
            let second = meta.propose(&command()).await.unwrap();
            assert_eq!(first.await.unwrap().log_index, second.log_index);
        }
        assert!(rounds > 0);
    });
}
