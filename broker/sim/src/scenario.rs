//! Who the clients are, and what they do.

use std::sync::Arc;

use broker_core::types::QoS;

use crate::client::{Numbers, PublisherPlan, SubscriberPlan, Topic, publish, subscribe, wander};
use crate::cluster::Cluster;
use crate::environment::spawn;
use crate::event::Client;
use crate::policy::{DENIED_PREFIX, INTRUDER, LIMITED, REVOKED, REVOKED_PREFIX};
use crate::random::Random;

/// Topics of retained messages.
pub(crate) const RETAINED_PREFIX: &str = "retained/";

/// The identifier that two clients fight for.
const WANDERER: &str = "wanderer";

/// Publishers of ordinary messages.
const PUBLISHERS: usize = 2;

/// Whether a client's session outlives its connections.
pub(crate) fn is_durable(client: &str) -> bool {
    client != WANDERER && !client.starts_with("reader-")
}

/// Starts the clients with durable sessions that subscribe: to everything, to some of it, and as one
/// that may not have all of that.
pub(crate) fn start_subscribers(cluster: &Cluster, random: &mut Random, numbers: &Numbers) {
    let plans = [
        ("everything", "", QoS::ExactlyOnce),
        ("some", "t/", QoS::ExactlyOnce),
        (LIMITED, "t/0/", QoS::AtLeastOnce),
    ];
    for (client, prefix, qos) in plans {
        let plan = SubscriberPlan { client: Arc::from(client), prefix, qos };
        let random = Random::new(random.number(), client);
        spawn(subscribe(cluster.clone(), plan, random, numbers.clone()));
    }
}

/// Starts all others.
pub(crate) fn start_publishers(cluster: &Cluster, random: &mut Random, numbers: &Numbers) {
    let topic = |name: String, qos, is_retained| Topic { name: name.into(), qos, is_retained };
    let mut plans: Vec<PublisherPlan> = (0..PUBLISHERS)
        .map(|number| PublisherPlan {
            client: format!("publisher-{number}").into(),
            topics: vec![
                topic(format!("t/{number}/1"), QoS::AtLeastOnce, false),
                topic(format!("t/{number}/2"), QoS::ExactlyOnce, false),
            ],
            window: 8,
            pause: 250,
        })
        .collect();
    plans.push(PublisherPlan {
        client: Arc::from("retainer"),
        topics: (0..3)
            .map(|number| topic(format!("{RETAINED_PREFIX}{number}"), QoS::AtLeastOnce, true))
            .collect(),
        // The next value is sent when the one before is known to be there, or known to be lost.
        window: 1,
        pause: 400,
    });
    let denied = topic(format!("{DENIED_PREFIX}x"), QoS::AtLeastOnce, false);
    let revoked = topic(format!("{REVOKED_PREFIX}x"), QoS::AtLeastOnce, false);
    for (client, topic) in [(INTRUDER, denied), (REVOKED, revoked)] {
        let (client, topics) = (Client::from(client), vec![topic]);
        plans.push(PublisherPlan { client, topics, window: 2, pause: 500 });
    }
    for plan in plans {
        let random = Random::new(random.number(), &plan.client);
        spawn(publish(cluster.clone(), plan, random, numbers.clone()));
    }
    for rival in ["rival 1", "rival 2"] {
        let random = Random::new(random.number(), rival);
        spawn(wander(cluster.clone(), Arc::from(WANDERER), random, numbers.clone()));
    }
}
