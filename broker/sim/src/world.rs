//! One simulation from its beginning to its end.

use std::cell::RefCell;
use std::sync::Once;
use std::time::Duration;

use openraft::AsyncRuntime;
use openraft_rt_sim::SimRuntime;

use crate::client::{Numbers, leave, read_retained};
use crate::cluster::Cluster;
use crate::count::{Counts, Tally};
use crate::digest::Digest;
use crate::environment::{elapsed, sleep, spawn};
use crate::history::History;
use crate::network::Network;
use crate::node::keep_running;
use crate::random::Random;
use crate::{faults, invariant, liveness, membership, policy, scenario};

/// How many brokers a cluster has, by its seed: more than three are three voters, and others.
const BROKERS: [usize; 6] = [3, 3, 3, 4, 4, 5];

/// How long harm is done.
const HARM: Duration = Duration::from_secs(25);

/// How long publishers go on when it is over.
const AFTER: Duration = Duration::from_secs(2);

/// In so many of a hundred simulations a session's end is waited for: that takes its time.
const LEAVES_PERCENT: u64 = 25;

/// What came of a simulation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// What was found wrong first, with the invariant's name; `None` when all is well.
    pub violation: Option<String>,
    /// What happened, one event a line, with its virtual time in seconds.
    pub trace: String,
    /// A hash over the trace and over all that has come through the network. Two runs of a seed
    /// that differ in anything differ in it.
    pub hash: u64,
    /// What it has seen, and how often.
    pub counts: Counts,
}

thread_local! {
    /// What panicked in a task of this thread: the runtime catches it.
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Runs the simulation of a seed. The same seed gives the same report.
#[must_use]
pub fn run(seed: u64) -> Report {
    note_panics();
    PANIC.take();
    let mut runtime = SimRuntime::with_seed(seed);
    let tally = Tally::default();
    let (history, mut digest) = runtime.block_on(simulate(seed, tally.clone()));
    drop(runtime);
    let panic = PANIC.take().map(|panic| format!("a task panicked: {panic}"));
    let trace = history.render();
    digest.add(trace.as_bytes());
    let violation = panic.or(history.violation());
    Report { violation, trace, hash: digest.value(), counts: tally.read() }
}

fn note_panics() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            PANIC.with_borrow_mut(|panic| {
                panic.get_or_insert(info.to_string());
            });
            before(info);
        }));
    });
}

async fn simulate(seed: u64, tally: Tally) -> (History, Digest) {
    let network = Network::new(Random::new(seed, "network"), tally.clone());
    let history = History::new(invariant::all(&network, &tally), tally);
    play(seed, network.clone(), &history).await;
    (history, network.digest())
}

async fn play(seed: u64, network: Network, history: &History) {
    let mut random = Random::new(seed, "world");
    let brokers = BROKERS[random.place(BROKERS.len())];
    let cluster = Cluster::new(network, history.clone(), brokers, &mut random);
    let numbers = Numbers::default();
    spawn(keep_running(cluster.clone()));
    spawn(membership::keep(cluster.clone()));
    if let Some(missing) = begin(&cluster, &mut random, &numbers).await {
        return history.violate(format!("liveness, at the beginning: {missing}"));
    }
    faults::harm(&cluster, &mut random, elapsed() + HARM).await;
    sleep(AFTER).await;
    cluster.end();
    if let Some(missing) = liveness::rest(&cluster).await {
        history.end();
        return history.violate(format!("liveness: {missing}"));
    }
    if let Some(missing) = liveness::working(&cluster, &mut random, &numbers).await {
        history.violate(format!("liveness: {missing}"));
    }
    if random.percent(LEAVES_PERCENT) {
        leave(&cluster, &mut random, &numbers).await;
    }
    for node in cluster.nodes() {
        if !read_retained(&cluster, &node, &mut random, &numbers).await {
            history.violate(format!("liveness: {} lets nobody read", node.id));
        }
    }
    history.end();
}

/// Founds the cluster, puts the policy in force, starts the clients; what is missing when the time
/// is up.
async fn begin(cluster: &Cluster, random: &mut Random, numbers: &Numbers) -> Option<String> {
    let missing = liveness::serving(cluster).await;
    if missing.is_some() {
        return missing;
    }
    policy::establish(cluster).await;
    spawn(policy::keep_changing(cluster.clone(), Random::new(random.number(), "policy")));
    scenario::start_subscribers(cluster, random, numbers);
    // All are subscribed before anything is published.
    sleep(Duration::from_secs(1)).await;
    scenario::start_publishers(cluster, random, numbers);
    None
}
