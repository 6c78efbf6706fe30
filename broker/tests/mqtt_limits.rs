//! Limits of connections, and clients that cost as much as they can.
#![allow(clippy::unwrap_used, reason = "a test ends where something unexpected happens")]

mod support;

use broker::node::AdmissionLimits;
use broker_policy::{Client as ClientRecord, Policy, Quotas, Record};

use support::client::{
    CONNACK, Client, SUBACK, connect, connect_tcp, packet, subscribe_to_a_hundred,
};
use support::eventually;
use support::node::{Node, Options, limits, policy};

const QUOTA_EXCEEDED: u8 = 0x97;

/// The answer to a CONNECT of `pump`, with the client that got it.
fn enter(node: &Node, client_id: &str) -> (u8, Client) {
    let mut client = Client::plain(node.plain);
    let code = client.connect(client_id, Some("pump"), b"secret");
    (code, client)
}

fn node(admission: AdmissionLimits) -> Node {
    Node::start(Options { admission, ..Options::default() })
}

#[test]
fn who_is_one_too_many_in_all_is_told_so_and_comes_in_when_another_leaves() {
    let node = node(AdmissionLimits { connections: 2, ..AdmissionLimits::NONE });
    let (first, mut second) = (enter(&node, "first"), enter(&node, "second"));
    assert_eq!((first.0, second.0), (0, 0));
    let (code, mut third) = enter(&node, "third");
    assert_eq!(code, QUOTA_EXCEEDED);
    third.until_closed();
    assert_eq!(node.admission.read().connections, 1);
    drop(first);
    eventually("a place is free again", || (enter(&node, "fourth").0 == 0).then_some(()));
    second.1.ping();
}

#[test]
fn who_is_one_too_many_on_a_listener_is_told_so_over_tls_too_and_takes_no_place() {
    let node = Node::start(Options { limits: limits(2, 1_000), ..Options::default() });
    let (first, mut second) = (enter(&node, "first"), enter(&node, "second"));
    assert_eq!((first.0, second.0), (0, 0));
    // Is told when it says CONNECT, and has no place until then.
    let mut dawdling = Client::plain(node.plain);
    let (code, mut third) = enter(&node, "third");
    assert_eq!(code, QUOTA_EXCEEDED);
    third.until_closed();
    let mut old = Client::plain(node.plain);
    old.send(&packet(0x10, b"\0\x04MQTT\x04\x02\0\0\0\x03old"));
    assert_eq!(old.expect(CONNACK).body, [0, 3], "3.1.1: server unavailable");
    old.until_closed();
    assert_eq!((node.plain_reading().connections, node.plain_reading().refused), (2, 3));
    drop(first);
    eventually("a place is free again", || (enter(&node, "fourth").0 == 0).then_some(()));
    assert_eq!(dawdling.connect("dawdling", Some("pump"), b"secret"), QUOTA_EXCEEDED);
    second.1.ping();

    let secure = || Client::secure(node.secure, &node.pki.device());
    let mut inside = [secure(), secure()];
    for (number, client) in inside.iter_mut().enumerate() {
        assert_eq!(client.connect(&format!("secure-{number}"), Some("pump"), b"secret"), 0);
    }
    let mut outside = secure();
    assert_eq!(outside.connect("outside", Some("pump"), b"secret"), QUOTA_EXCEEDED);
    outside.until_closed();
    assert!(node.admission.read().per_listener >= 4);
    assert_eq!(node.admission.read().connections, 0, "nobody was one too many in all");
}

#[test]
fn who_is_one_too_many_of_an_address_is_told_so() {
    let node = node(AdmissionLimits { per_address: 1, ..AdmissionLimits::NONE });
    let (code, _first) = enter(&node, "first");
    // The looks whether the listeners are open came from the same address.
    let before = node.admission.read().per_address;
    assert_eq!((code, enter(&node, "second").0), (0, QUOTA_EXCEEDED));
    // The handshake of TLS comes first, and the answer after it.
    let mut secure = Client::secure(node.secure, &node.pki.device());
    assert_eq!(secure.connect("third", Some("pump"), b"secret"), QUOTA_EXCEEDED);
    assert_eq!(node.admission.read().per_address - before, 2);
}

/// The policy of `pump`, who may have so many connections.
fn with_quota(connections: u32) -> Policy {
    let records = policy(&["pump"]).records().records().map(|record| (**record).clone()).collect();
    let limited = |record: Record| match record {
        Record::Client(client) => {
            let quotas = Quotas { connections: Some(connections), ..Quotas::default() };
            Record::Client(ClientRecord { quotas, ..client })
        }
        other => other,
    };
    let records: Vec<Record> = records;
    Policy::from_records(records.into_iter().map(limited)).unwrap()
}

#[test]
fn a_user_has_as_many_connections_as_the_quota_says_and_may_take_its_own_over() {
    let node = Node::start(Options { policy: with_quota(1), ..Options::default() });
    let (code, mut first) = enter(&node, "first");
    assert_eq!((code, enter(&node, "second").0), (0, QUOTA_EXCEEDED));
    first.ping();
    let (code, mut again) = enter(&node, "first");
    assert_eq!(code, 0, "the same client, again");
    assert_eq!(enter(&node, "second").0, QUOTA_EXCEEDED);
    again.ping();
    drop((first, again));
    eventually("a place is free again", || (enter(&node, "second").0 == 0).then_some(()));
    assert!(node.admission.read().per_user >= 2);
}

#[test]
fn who_subscribes_to_a_hundred_thousand_filters_gets_a_thousand_and_the_others_are_served() {
    let node = Node::start(Options::default());
    let (_, mut greedy) = enter(&node, "greedy");
    let (_, mut other) = enter(&node, "other");
    other.subscribe("news", 0);
    let mut granted = 0;
    for number in 0..1_000 {
        greedy.send(&subscribe_to_a_hundred(number));
        let answer = greedy.expect(SUBACK);
        let codes = &answer.body[3..];
        let reason_string = usize::from(answer.body[2]);
        let codes = &codes[reason_string..];
        assert_eq!(codes.len(), 100);
        granted += codes.iter().filter(|code| **code == 1).count();
        assert!(codes.iter().all(|code| [1, QUOTA_EXCEEDED].contains(code)), "{codes:02x?}");
    }
    assert_eq!(granted, 1_000);
    other.publish("news", b"still here");
    assert_eq!(other.message().1, b"still here");
    // Numbers are published at the end of a pass, after its answers.
    eventually("the numbers of what was granted and refused", || {
        let readings = node.worker_readings();
        let sum =
            |get: fn(&broker::node::WorkerReading) -> u64| readings.iter().map(get).sum::<u64>();
        let found = (sum(|r| r.engine.subscriptions), sum(|r| r.engine.limits.subscriptions));
        (found == (1_001, 99_000)).then_some(())
    });
}

#[test]
fn two_thousand_half_finished_connections_take_nobodys_place_and_end_in_time() {
    const COUNT: usize = 2_000;
    let mut options = Options { limits: limits(10_000, 100_000), ..Options::default() };
    options.engine.connect_timeout_millis = 3_000;
    let node = Node::start(options);
    let (_, mut other) = enter(&node, "other");
    other.subscribe("news", 0);
    let beginning = &connect("half", Some("pump"), b"secret", true)[..20];
    let half: Vec<Client> = (0..COUNT)
        .map(|_| {
            let mut client = Client::plain(node.plain);
            client.send(beginning);
            client
        })
        .collect();
    other.publish("news", b"still here");
    assert_eq!(other.message().1, b"still here");
    let (code, _late) = enter(&node, "late");
    assert_eq!(code, 0, "others come in");
    eventually("they are gone", || (node.plain_reading().connections <= 2).then_some(()));
    assert!(node.plain_reading().accepted >= COUNT as u64);
    other.ping();
    drop(half);
    let mut again = Client::plain(node.plain);
    again.send(&connect("again", Some("pump"), b"secret", true));
    assert_eq!(again.expect(CONNACK).body[1], 0);
}

#[test]
fn the_time_that_a_handshake_takes_is_part_of_the_connect_timeout() {
    let mut options = Options { workers: 1, ..Options::default() };
    options.engine.connect_timeout_millis = 4_000;
    let node = Node::start(options);
    // Takes some milliseconds.
    let visit = |name: &str| Client::secure(node.secure, &node.pki.device()).log_in(name).ping();
    let waiting = connect_tcp(node.secure).unwrap();
    visit("one that comes later");
    // The time of this one begins after that of the one that waits, and before its handshake.
    let mut silent = Client::plain(node.plain);
    eventually("it is accepted", || (node.plain_reading().connections == 1).then_some(()));
    (0..5).for_each(|number| visit(&format!("visitor-{number}")));
    let mut waited = Client::try_secure_over(waiting, &node.pki.device()).unwrap();
    assert_eq!(silent.receive(), None);
    assert!(waited.is_closed(), "its handshake gives it no more time");
}
