//! Three brokers, and sessions that go on at another one when theirs is killed.
#![allow(clippy::unwrap_used, reason = "a test ends where something unexpected happens")]

mod support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use broker_admin_api::BrokerState;

use support::broker::Broker;
use support::client::{CONNACK, Client, connect_with_will};
use support::durable::{
    Places, Publisher, Role, Subscriber, check_complete, until_flows, until_received,
};
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
    let counts = publishers.each_ref().map(|publisher| &*publisher.acknowledged);
    // Each broker has the subscriber's session, or a publisher's, at some time.
    for victim in &mut brokers {
        until_flows(&counts);
        victim.process.signal("KILL");
        victim.process.wait();
        until_flows(&counts);
        let before = victim.process.listener("plain");
        victim.restart();
        let after = victim.process.listener("plain");
        for places in &places {
            let mut places = places.lock().unwrap();
            places.iter_mut().filter(|place| **place == before).for_each(|place| *place = after);
        }
    }
    until_flows(&counts);
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

#[test]
fn a_delayed_will_of_a_session_whose_broker_is_killed_comes_once() {
    let mut brokers = Broker::cluster(3);
    let (stop_watcher, stop) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
    let watcher = role("watcher", &brokers, [1, 2, 0], &stop_watcher);
    let watcher = Subscriber::start(watcher, "wills/#");
    let mut mourned = Client::plain(brokers[0].process.listener("plain"));
    mourned.send(&connect_with_will("mourned", "wills/mourned", &7_u64.to_be_bytes(), 1));
    assert_eq!(mourned.expect(CONNACK).body[1], 0);
    brokers[0].process.signal("KILL");
    brokers[0].process.wait();
    until_received(&watcher.received, "wills/mourned", 7);
    // Neither the process that starts anew nor who leads by then has it come again.
    brokers[0].restart();
    eventually("it serves again", || {
        (brokers[0].status().state == BrokerState::Serving).then_some(())
    });
    let publisher = Publisher::start(role("publisher", &brokers, [0, 1, 2], &stop), "wills/x", 2);
    eventually("a message is acknowledged", || {
        (publisher.acknowledged.load(Ordering::Relaxed) > 0).then_some(())
    });
    stop.store(true, Ordering::Relaxed);
    until_received(&watcher.received, "wills/x", publisher.finish());
    stop_watcher.store(true, Ordering::Relaxed);
    assert_eq!(watcher.finish()["wills/mourned"], [7]);
}

#[test]
fn a_durable_group_gives_each_message_to_one_member_over_the_death_of_a_broker() {
    let mut brokers = Broker::cluster(3);
    let (stop_members, stop) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
    let members = [("a", [0, 1, 2]), ("b", [1, 2, 0]), ("c", [2, 0, 1])].map(|(id, order)| {
        let member = role(id, &brokers, order, &stop_members);
        Subscriber::start(member, "$share/workers/jobs/#")
    });
    let roles = [role("one", &brokers, [1, 2, 0], &stop), role("two", &brokers, [2, 0, 1], &stop)];
    let [one, two] = roles;
    let publishers = [Publisher::start(one, "jobs/1", 1), Publisher::start(two, "jobs/2", 2)];
    let counts = publishers.each_ref().map(|publisher| &*publisher.acknowledged);
    until_flows(&counts);
    brokers[0].process.signal("KILL");
    brokers[0].process.wait();
    until_flows(&counts);
    stop.store(true, Ordering::Relaxed);
    let last = publishers.map(Publisher::finish);
    // What they got of a topic, together.
    let numbers_of = |topic: &str| {
        let received = members.iter().map(|member| member.received.lock().unwrap());
        let of_topic = received.map(|received| received.get(topic).cloned().unwrap_or_default());
        of_topic.collect::<Vec<Vec<u64>>>()
    };
    for (topic, last) in [("jobs/1", last[0]), ("jobs/2", last[1])] {
        eventually("the members have all", || {
            let mut all = numbers_of(topic).concat();
            all.sort_unstable();
            all.dedup();
            (all.len() as u64 == last).then_some(())
        });
    }
    stop_members.store(true, Ordering::Relaxed);
    let of_qos2 = numbers_of("jobs/2");
    let mut all = of_qos2.concat();
    all.sort_unstable();
    assert_eq!(all, (1..=last[1]).collect::<Vec<u64>>(), "QoS 2: each once, by one member");
    assert!(of_qos2.iter().all(|numbers| !numbers.is_empty()), "the work is spread");
    for member in members {
        member.finish();
    }
}
