//! Three brokers, and sessions that go on at another one when theirs is killed.
#![allow(clippy::unwrap_used, reason = "a test ends where something unexpected happens")]

mod support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use support::broker::Broker;
use support::durable::{Places, Publisher, Role, Subscriber, check_complete, until_received};
use support::eventually;

fn role(
    client_id: &'static str,
    brokers: &[Broker],
    order: [usize; 3],
    stop: &Arc<AtomicBool>,
) -> Role {
    let places = order.map(|number| brokers[number].process.listener("plain")).to_vec();
    let username = Some("pump");
    Role { client_id, username, places: Places::new(Mutex::new(places)), stop: Arc::clone(stop) }
}

#[test]
fn any_node_resumes_any_session_after_the_death_of_any_one() {
    let mut brokers = Broker::cluster(3);
    let (stop_subscriber, stop) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
    let role_of_subscriber = role("subscriber", &brokers, [0, 1, 2], &stop_subscriber);
    let roles = [role("one", &brokers, [1, 2, 0], &stop), role("two", &brokers, [2, 0, 1], &stop)];
    let places = [&role_of_subscriber, &roles[0], &roles[1]].map(|role| Arc::clone(&role.places));
    let subscriber = Subscriber::start(role_of_subscriber, "load/#");
    let [one, two] = roles;
    let publishers = [Publisher::start(one, "load/1", 1), Publisher::start(two, "load/2", 2)];
    let counts = publishers.each_ref().map(|publisher| Arc::clone(&publisher.acknowledged));
    // Each broker has the subscriber's session, or a publisher's, at some time.
    for victim in &mut brokers {
        flows(&counts);
        victim.process.signal("KILL");
        victim.process.wait();
        flows(&counts);
        let before = victim.process.listener("plain");
        victim.restart();
        let after = victim.process.listener("plain");
        for places in &places {
            let mut places = places.lock().unwrap();
            places.iter_mut().filter(|place| **place == before).for_each(|place| *place = after);
        }
    }
    flows(&counts);
    stop.store(true, Ordering::Relaxed);
    let last = publishers.map(Publisher::finish);
    until_received(&subscriber.received, "load/1", last[0]);
    until_received(&subscriber.received, "load/2", last[1]);
    assert!(subscriber.resumed.load(Ordering::Relaxed) >= 1, "it has moved");
    stop_subscriber.store(true, Ordering::Relaxed);
    let received = subscriber.finish();
    check_complete(&received["load/1"], last[0]);
    check_complete(&received["load/2"], last[1]);
    assert_eq!(received["load/2"].len() as u64, last[1], "QoS 2: once each");
    eprintln!("{last:?} messages acknowledged, none lost");
}

/// Waits until messages of both kinds are acknowledged that are published from now on.
fn flows(counts: &[Arc<std::sync::atomic::AtomicU64>]) {
    let before: Vec<u64> = counts.iter().map(|count| count.load(Ordering::Relaxed)).collect();
    eventually("messages are acknowledged", || {
        let flows = |(count, before): (&Arc<std::sync::atomic::AtomicU64>, &u64)| {
            count.load(Ordering::Relaxed) > before + 100
        };
        counts.iter().zip(&before).all(flows).then_some(())
    });
}
