//! What goes wrong, by seed.

use std::time::Duration;

use broker_core::types::NodeId;

use crate::cluster::Cluster;
use crate::count::Count;
use crate::environment::{elapsed, sleep, spawn};
use crate::event::Event;
use crate::membership;
use crate::node::crash;
use crate::random::Random;

/// Does harm until `until`, then mends what is broken still.
pub(crate) async fn harm(cluster: &Cluster, random: &mut Random, until: Duration) {
    while elapsed() < until {
        sleep(random.millis(200, 3000)).await;
        let place = random.place(cluster.size());
        match random.below(20) {
            0..5 => kill(cluster, random, place),
            5 => kill_all(cluster, random),
            6 => lose_disk(cluster, random, place),
            7..11 => isolate(cluster, random, place),
            11..13 => split_pair(cluster, random, place),
            13 => slow_links(cluster, random, place),
            14 => slow_disk(cluster, random, place),
            15 => fail_disk(cluster, place),
            16 => transfer(cluster),
            17..19 => move_vote(cluster, random),
            _ => take_out(cluster, random),
        }
    }
    cluster.network.heal();
    cluster.take_all_in();
    for place in 0..cluster.size() {
        cluster.place(place, |place| place.disk.set_slow(false));
    }
    cluster.history.note(Event::Healed);
}

fn note(cluster: &Cluster, kind: Count, what: String) {
    cluster.history.note(Event::Fault { kind, what });
}

fn kill(cluster: &Cluster, random: &mut Random, place: usize) {
    let pause = random.millis(50, 5000);
    cluster.history.count(Count::Killed);
    crash(cluster, place, random.percent(70), "it is killed", pause);
}

fn kill_all(cluster: &Cluster, random: &mut Random) {
    cluster.history.count(Count::AllKilled);
    for place in 0..cluster.size() {
        let pause = random.millis(50, 3000);
        crash(cluster, place, true, "all are killed", pause);
    }
}

/// Takes a disk away where that can lose nothing: all brokers run and are what they are to be, so
/// of what was committed there is another copy.
fn lose_disk(cluster: &Cluster, random: &mut Random, place: usize) {
    let are_all_up = cluster.nodes().len() == cluster.size();
    if !are_all_up || !membership::is_settled(cluster) {
        return;
    }
    let pause = random.millis(200, 4000);
    cluster.history.count(Count::DiskLost);
    crash(cluster, place, random.percent(70), "its disk is lost", pause);
    cluster.place(place, crate::node::Place::lose_disk);
}

/// Mends directions after a while.
fn mend_later(cluster: &Cluster, pause: Duration, directions: Vec<(NodeId, NodeId)>) {
    let network = cluster.network.clone();
    spawn(async move {
        sleep(pause).await;
        network.mend(&directions);
    });
}

/// Cuts a broker off: wholly, or in one direction.
fn isolate(cluster: &Cluster, random: &mut Random, place: usize) {
    let Some(node) = cluster.node(place) else { return };
    let (hears, speaks) = match random.below(4) {
        0 => (true, false),
        1 => (false, true),
        _ => (false, false),
    };
    let mut directions = Vec::new();
    for other in cluster.nodes().iter().filter(|other| other.id != node.id) {
        if !speaks {
            directions.push((node.id, other.id));
        }
        if !hears {
            directions.push((other.id, node.id));
        }
    }
    let pause = random.millis(300, 9000);
    let (kind, how) = match (hears, speaks) {
        (true, _) => (Count::NotHeard, "is not heard"),
        (_, true) => (Count::HearsNobody, "hears nobody"),
        _ => (Count::CutOff, "is cut off"),
    };
    note(cluster, kind, format!("{} {how} for {} ms", node.id, pause.as_millis()));
    block(cluster, pause, directions);
}

/// Cuts the way between two brokers, or one direction of it.
fn split_pair(cluster: &Cluster, random: &mut Random, place: usize) {
    let other = (place + 1) % cluster.size();
    let (Some(one), Some(other)) = (cluster.node(place), cluster.node(other)) else { return };
    let mut directions = vec![(one.id, other.id)];
    if random.percent(60) {
        directions.push((other.id, one.id));
    }
    let pause = random.millis(300, 8000);
    let ways = directions.len();
    let kind = if ways == 2 { Count::PairCut } else { Count::PairCutOneWay };
    let millis = pause.as_millis();
    let what = format!("{} to {} is cut ({ways}) for {millis} ms", one.id, other.id);
    note(cluster, kind, what);
    block(cluster, pause, directions);
}

fn block(cluster: &Cluster, pause: Duration, directions: Vec<(NodeId, NodeId)>) {
    for (from, to) in &directions {
        cluster.network.block(*from, *to);
    }
    mend_later(cluster, pause, directions);
}

fn slow_links(cluster: &Cluster, random: &mut Random, place: usize) {
    let Some(node) = cluster.node(place) else { return };
    let (millis, pause) = (50 + random.below(700), random.millis(500, 6000));
    let mut directions = Vec::new();
    for other in cluster.nodes().iter().filter(|other| other.id != node.id) {
        directions.extend([(node.id, other.id), (other.id, node.id)]);
    }
    for (from, to) in &directions {
        cluster.network.slow(*from, *to, millis);
    }
    note(cluster, Count::LinksSlow, format!("links of {} are slow by {millis} ms", node.id));
    mend_later(cluster, pause, directions);
}

fn slow_disk(cluster: &Cluster, random: &mut Random, place: usize) {
    let disk = cluster.place(place, |place| place.disk.clone());
    disk.set_slow(true);
    note(cluster, Count::DiskSlow, format!("the disk of place {place} is slow"));
    let pause = random.millis(500, 5000);
    spawn(async move {
        sleep(pause).await;
        disk.set_slow(false);
    });
}

fn fail_disk(cluster: &Cluster, place: usize) {
    if let Some(node) = cluster.node(place) {
        note(cluster, Count::DiskFailing, format!("the disk of {} fails", node.id));
        node.disk.fail();
    }
}

fn transfer(cluster: &Cluster) {
    if let Some((leader, _)) = membership::leader(cluster) {
        let what = format!("{} is to hand leadership over", leader.id);
        note(cluster, Count::HandedOver, what);
        spawn(async move { drop(leader.meta.transfer_leader(None).await) });
    }
}

/// The places of brokers that are to vote, and those of the others.
fn by_vote(cluster: &Cluster) -> (Vec<usize>, Vec<usize>) {
    (0..cluster.size()).partition(|place| cluster.is_to_vote(*place))
}

/// Has another broker vote in the place of one that does.
fn move_vote(cluster: &Cluster, random: &mut Random) {
    let (voting, others) = by_vote(cluster);
    if others.is_empty() {
        return;
    }
    let (from, to) = (voting[random.place(voting.len())], others[random.place(others.len())]);
    if cluster.move_vote(from, to) {
        note(cluster, Count::VoteMoved, format!("the vote of place {from} goes to place {to}"));
    }
}

/// Takes a broker without a vote out of the cluster; it comes back.
fn take_out(cluster: &Cluster, random: &mut Random) {
    let (_, others) = by_vote(cluster);
    let Some(place) = others.get(random.place(others.len())).copied() else { return };
    if !cluster.take_out(place) {
        return;
    }
    note(cluster, Count::TakenOut, format!("place {place} is no member for a while"));
    let (cluster, pause) = (cluster.clone(), random.millis(500, 8000));
    spawn(async move {
        sleep(pause).await;
        cluster.take_all_in();
    });
}
