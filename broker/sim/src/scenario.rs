//! Who the clients are, and what they do.

use std::sync::Arc;

use broker_core::types::QoS;

use crate::client::{
    FOREVER_SECONDS, Numbers, PublisherPlan, SubscriberPlan, Topic, listen, publish, subscribe,
    wander,
};
use crate::cluster::Cluster;
use crate::environment::{sleep, spawn};
use crate::event::Client;
use crate::policy::{DENIED_PREFIX, INTRUDER, LIMITED, REVOKED, REVOKED_PREFIX};
use crate::random::Random;

/// Topics of retained messages.
pub(crate) const RETAINED_PREFIX: &str = "retained/";

/// The identifier that two clients fight for.
const WANDERER: &str = "wanderer";

/// Publishers of ordinary messages.
const PUBLISHERS: usize = 2;

/// The client whose session expires.
const BRIEF: &str = "brief";

/// Its Session Expiry Interval: more than clocks differ.
const BRIEF_SECONDS: u32 = 15;

/// Clients that come while harm is done begin with this.
const LATE: &str = "late-";

/// What they subscribe to, each.
const LATE_PREFIXES: [&[&str]; 5] =
    [&["late/0/"], &["late/1/"], &["late/2/"], &["late/3/"], &["late/4/"]];

/// Clients that subscribe, listen for a while and leave, without a durable session, begin with this.
const LIVE: &str = "live-";

/// How many of them there are.
const LIVE_CLIENTS: usize = 2;

/// Whether a client's session outlives its connections.
pub(crate) fn is_durable(client: &str) -> bool {
    client != WANDERER && !client.starts_with("reader-") && !client.starts_with(LIVE)
}

/// Whether a client has come while harm was done.
pub(crate) fn is_late(client: &str) -> bool {
    client.starts_with(LATE)
}

/// Starts the clients with durable sessions that subscribe: to everything, to some of it, and as one
/// that may not have all of that.
pub(crate) fn start_subscribers(cluster: &Cluster, random: &mut Random, numbers: &Numbers) {
    let most: &[&str] = &["t/", RETAINED_PREFIX, DENIED_PREFIX, REVOKED_PREFIX];
    let plans: [(&str, &'static [&'static str], QoS, u32); 4] = [
        ("most", most, QoS::ExactlyOnce, FOREVER_SECONDS),
        ("some", &["t/"], QoS::ExactlyOnce, FOREVER_SECONDS),
        (LIMITED, &["t/0/"], QoS::AtLeastOnce, FOREVER_SECONDS),
        (BRIEF, &["t/"], QoS::AtLeastOnce, BRIEF_SECONDS),
    ];
    for (client, prefixes, qos, expiry_seconds) in plans {
        let plan = SubscriberPlan { client: Arc::from(client), prefixes, qos, expiry_seconds };
        let random = Random::new(random.number(), client);
        spawn(subscribe(cluster.clone(), plan, random, numbers.clone()));
    }
}

/// Starts clients that come while harm is done: new durable sessions, each with a Subscription to
/// what nobody else has subscribed to, and sessions without durability.
fn start_late(cluster: &Cluster, random: &mut Random, numbers: &Numbers) {
    for (number, prefixes) in LATE_PREFIXES.iter().enumerate() {
        let client: Client = format!("{LATE}{number}").into();
        let (qos, expiry_seconds) = (QoS::ExactlyOnce, FOREVER_SECONDS);
        let plan = SubscriberPlan { client, prefixes, qos, expiry_seconds };
        let pause = random.millis(500, 22_000);
        let random = Random::new(random.number(), "late");
        let (cluster, numbers) = (cluster.clone(), numbers.clone());
        spawn(async move {
            sleep(pause).await;
            subscribe(cluster, plan, random, numbers).await;
        });
    }
    for number in 0..LIVE_CLIENTS {
        let client: Client = format!("{LIVE}{number}").into();
        let random = Random::new(random.number(), "live");
        spawn(listen(cluster.clone(), client, random, numbers.clone()));
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
            leaves_percent: 0,
        })
        .collect();
    for plan in &mut plans {
        for prefix in LATE_PREFIXES.concat() {
            plan.topics.push(topic(format!("{prefix}{}", plan.client), QoS::AtLeastOnce, false));
        }
        let prefix = LATE_PREFIXES[0][0];
        plan.topics.push(topic(format!("{prefix}2/{}", plan.client), QoS::ExactlyOnce, false));
    }
    plans.push(PublisherPlan {
        client: Arc::from("retainer"),
        topics: (0..3)
            .map(|number| topic(format!("{RETAINED_PREFIX}{number}"), QoS::AtLeastOnce, true))
            .collect(),
        // The next value is sent when the one before is known to be there, or known to be lost.
        window: 1,
        pause: 400,
        leaves_percent: 0,
    });
    plans.push(PublisherPlan {
        client: Arc::from("fickle"),
        topics: vec![topic("t/fickle".to_owned(), QoS::ExactlyOnce, false)],
        window: 4,
        pause: 300,
        leaves_percent: 15,
    });
    let denied = vec![
        topic(format!("{DENIED_PREFIX}x"), QoS::AtLeastOnce, false),
        topic(format!("{DENIED_PREFIX}2"), QoS::ExactlyOnce, false),
        topic(format!("{DENIED_PREFIX}retained"), QoS::AtLeastOnce, true),
    ];
    let revoked = vec![topic(format!("{REVOKED_PREFIX}x"), QoS::AtLeastOnce, false)];
    for (client, topics) in [(INTRUDER, denied), (REVOKED, revoked)] {
        let client = Client::from(client);
        plans.push(PublisherPlan { client, topics, window: 2, pause: 500, leaves_percent: 0 });
    }
    for plan in plans {
        let random = Random::new(random.number(), &plan.client);
        spawn(publish(cluster.clone(), plan, random, numbers.clone()));
    }
    start_late(cluster, random, numbers);
    for rival in ["rival 1", "rival 2"] {
        let random = Random::new(random.number(), rival);
        spawn(wander(cluster.clone(), Arc::from(WANDERER), random, numbers.clone()));
    }
}
