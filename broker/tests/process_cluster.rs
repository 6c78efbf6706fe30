//! Three brokers as processes: messages, client ids and policy across them, and the loss of one.
#![allow(clippy::unwrap_used, reason = "a test ends where something unexpected happens")]

mod support;

use broker_admin_api::{Role, path};

use support::broker::Broker;
use support::client::{CONNACK, Client, DISCONNECT, connect};
use support::eventually;
use support::metrics::number_in;
use support::node::policy;

fn leader(brokers: &[Broker]) -> usize {
    eventually("one broker leads", || {
        brokers.iter().position(|broker| broker.status().raft.role == Role::Leader)
    })
}

#[test]
fn after_the_suback_a_message_published_on_any_broker_arrives() {
    let brokers = Broker::cluster(3);
    let mut subscriber = brokers[2].plain("subscriber");
    for (n, broker) in brokers.iter().enumerate() {
        let filter = format!("news/{n}/+");
        subscriber.subscribe(&filter, 0);
        // At once: nothing is waited for between SUBACK and PUBLISH.
        broker.plain(&format!("publisher-{n}")).publish(&format!("news/{n}/a"), b"x");
        assert_eq!(subscriber.message(), (format!("news/{n}/a"), b"x".to_vec()));
    }
}

#[test]
fn a_client_id_is_live_on_one_broker_and_its_session_follows() {
    let brokers = Broker::cluster(3);
    let connect_to = |broker: &Broker| {
        let mut client = Client::plain(broker.process.listener("plain"));
        client.send(&connect("device", Some("pump"), b"secret", false));
        let present = client.expect(CONNACK).body[0];
        (client, present)
    };
    let (mut first, present) = connect_to(&brokers[0]);
    assert_eq!(present, 0);
    first.subscribe("orders", 0);
    let (mut second, present) = connect_to(&brokers[1]);
    assert_eq!(present, 1, "the session has moved");
    assert_eq!(first.expect(DISCONNECT).body[0], 0x8E);
    assert_eq!(first.receive(), None);
    let mut publisher = brokers[2].plain("publisher");
    // The filter moved with the session; who publishes may learn of it a moment later.
    eventually("the session receives where it is now", || {
        publisher.publish("orders", b"go");
        publisher.ping();
        brokers[1].status().sessions.gt(&0).then_some(())
    });
    assert_eq!(second.message().1, b"go");
}

#[test]
fn a_policy_change_at_any_broker_is_enforced_on_all() {
    let brokers = Broker::cluster(3);
    let follower = (leader(&brokers) + 1) % 3;
    let mut clients: Vec<_> = brokers.iter().map(|broker| broker.plain("")).collect();
    let before = policy(&["pump"]);
    let key = broker_policy::RecordKey::client("pump");
    let change = before.change(Vec::new(), vec![key]).unwrap();
    let change = serde_json::to_string(&change).unwrap();
    let (code, answer) = brokers[follower].call("POST", path::POLICY_CHANGES, &change);
    assert_eq!(code, 200, "{answer}");
    for client in &mut clients {
        assert_eq!(client.expect(DISCONNECT).body[0], 0x98);
    }
}

#[test]
fn the_others_go_on_when_the_leader_is_killed_and_it_comes_back() {
    let mut brokers = Broker::cluster(3);
    let lost = leader(&brokers);
    let mut subscriber = brokers[(lost + 1) % 3].plain("subscriber");
    brokers[lost].process.signal("KILL");
    brokers[lost].process.wait();
    let mut lost_broker = brokers.swap_remove(lost);
    leader(&brokers);
    // Who is in stays in, and new clients come in: their claims need a leader.
    subscriber.subscribe("news", 0);
    for (n, broker) in brokers.iter().enumerate() {
        let mut publisher = eventually("a client is let in", || {
            let mut client = Client::plain(broker.process.listener("plain"));
            (client.connect(&format!("p{n}"), Some("pump"), b"secret") == 0).then_some(client)
        });
        publisher.publish("news", b"x");
        assert_eq!(subscriber.message().1, b"x");
    }
    lost_broker.restart();
    // It lets nobody in before it knows what the others' clients want to hear.
    lost_broker.plain("late").publish("news", b"back");
    assert_eq!(subscriber.message().1, b"back");
}

#[test]
fn a_leader_that_is_told_to_stop_hands_over_first() {
    let mut brokers = Broker::cluster(3);
    let old = leader(&brokers);
    brokers[old].process.signal("TERM");
    assert_eq!(brokers[old].process.wait().code(), Some(0));
    brokers.swap_remove(old);
    let status = brokers[leader(&brokers)].status();
    assert!(status.raft.leader.is_some());
}

#[test]
fn every_broker_tells_of_the_whole_cluster() {
    let brokers = Broker::cluster_with(3, |raw| raw.sys.interval_seconds = 1);
    let mut clients: Vec<Client> =
        brokers.iter().enumerate().map(|(n, broker)| broker.plain(&format!("c{n}"))).collect();
    for broker in &brokers {
        let number = |name: &str| {
            let (_, page) = broker.call("GET", path::METRICS, "");
            number_in(&page, name)
        };
        eventually("it has heard the others' clients", || {
            (number("cluster_clients_connected") == 3).then_some(())
        });
        assert_eq!(number("cluster_nodes{state=\"heard\"}"), 3);
        assert_eq!(number("cluster_nodes{state=\"member\"}"), 3);
    }
    clients.iter_mut().for_each(|client| client.subscribe("$SYS/cluster/#", 0));
    for client in &mut clients {
        let mut wanted = vec!["clients/connected", "nodes/total", "subscriptions/count"];
        while !wanted.is_empty() {
            let (topic, payload) = client.message();
            wanted.retain(|name| topic != format!("$SYS/cluster/{name}") || payload != b"3");
        }
    }
}
