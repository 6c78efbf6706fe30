//! When all faults are over, the cluster comes to rest within a bound of virtual time: all brokers
//! serve, all that was sent is answered, and all that was acknowledged has arrived. An answer may be a
//! refusal; so then each broker is given one more message, which it must acknowledge.

use std::time::Duration;

use broker::cluster::meta::MetaPhase;
use broker_core::types::QoS;

use crate::client::{Numbers, probe};
use crate::cluster::Cluster;
use crate::count::Count;
use crate::environment::{elapsed, sleep};
use crate::event::MessageId;
use crate::membership;
use crate::random::Random;

/// From the last fault to rest.
const REST: Duration = Duration::from_secs(60);

/// How long a message may take, from a broker that has acknowledged it at rest.
const ARRIVAL: Duration = Duration::from_secs(5);

/// Who must get it, among others.
const RECEIVER: &str = "some";

/// Between two looks.
const LOOK: Duration = Duration::from_millis(200);

/// Waits until `is_met` says nothing more is missing; what is missing when the time is up.
pub(crate) async fn within(
    time: Duration,
    mut missing: impl FnMut() -> Option<String>,
) -> Option<String> {
    let until = elapsed() + time;
    loop {
        let what = missing();
        if what.is_none() || elapsed() >= until {
            return what;
        }
        sleep(LOOK).await;
    }
}

/// Waits until every broker serves; what is missing when the time is up.
pub(crate) async fn serving(cluster: &Cluster) -> Option<String> {
    within(REST, || not_serving(cluster)).await
}

/// Waits until the cluster is at rest; what is missing when the time is up.
pub(crate) async fn rest(cluster: &Cluster) -> Option<String> {
    within(REST, || {
        not_serving(cluster).or_else(|| unanswered(cluster)).or_else(|| not_arrived(cluster))
    })
    .await
}

/// Publishes at each broker of a cluster that is at rest; what is missing.
pub(crate) async fn working(
    cluster: &Cluster,
    random: &mut Random,
    numbers: &Numbers,
) -> Option<String> {
    for (seq, node) in (1..).zip(cluster.nodes()) {
        let message = match probe(cluster, &node, seq, random, numbers).await {
            Ok(message) => message,
            Err(missing) => return Some(missing),
        };
        let missing = within(ARRIVAL, || not_received(cluster, &message)).await;
        if missing.is_some() {
            return missing;
        }
        cluster.history.count(Count::Probed);
    }
    within(ARRIVAL, || not_arrived(cluster)).await
}

fn not_received(cluster: &Cluster, message: &MessageId) -> Option<String> {
    let has_come = cluster.history.oracle(|oracle| oracle.has_received(RECEIVER, message));
    (!has_come).then(|| format!("{message} has not reached {RECEIVER}"))
}

fn not_serving(cluster: &Cluster) -> Option<String> {
    let nodes = cluster.nodes();
    if nodes.len() < cluster.size() {
        return Some("a broker does not run".to_owned());
    }
    if !membership::is_settled(cluster) {
        let statuses: Vec<_> = nodes.iter().map(|node| (node.id, node.meta.status())).collect();
        return Some(format!("the membership is not what it is to be: {statuses:#?}"));
    }
    let closed = nodes
        .iter()
        .find(|node| node.meta.status().phase != MetaPhase::Serving || !node.gate.is_open());
    closed.map(|node| {
        let (gate, status) = (node.gate.state(), node.meta.status());
        format!("{} does not serve: {gate:?}, {status:#?}", node.id)
    })
}

fn unanswered(cluster: &Cluster) -> Option<String> {
    let publishers = cluster.publishers();
    (publishers > 0).then(|| format!("{publishers} publishers wait for acknowledgements"))
}

fn not_arrived(cluster: &Cluster) -> Option<String> {
    let missing = cluster.history.oracle(|oracle| {
        let mut missing = oracle.missing(QoS::AtLeastOnce);
        missing.extend(oracle.missing(QoS::ExactlyOnce));
        missing
    });
    let (client, message) = missing.first()?;
    Some(format!("{message} has not reached {client} ({} such messages)", missing.len()))
}
