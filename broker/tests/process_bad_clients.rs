//! Clients that cost as much as they can: what they cost is bounded, and others are served meanwhile.
#![allow(clippy::unwrap_used, reason = "a test ends where something unexpected happens")]

mod support;

use support::broker::Broker;
use support::client::{Client, SUBACK, connect, packet};
use support::eventually;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const QUOTA_EXCEEDED: u8 = 0x97;

/// Memory of the process when it has settled to less than `bytes` more than before.
fn until_grown_by_less(broker: &Broker, before: u64, bytes: u64) {
    eventually("memory is bounded", || (resident(broker) < before + bytes).then_some(()));
}

fn resident(broker: &Broker) -> u64 {
    broker.metric(r#"memory_bytes{of="resident"}"#)
}

/// A client and what it hears of itself: served at once, whatever the others do.
struct Bystander {
    client: Client,
    count: u32,
}

impl Bystander {
    fn of(broker: &Broker) -> Self {
        let mut client = broker.plain("bystander");
        client.subscribe("bystander", 0);
        Self { client, count: 0 }
    }

    fn is_served(&mut self) {
        self.count += 1;
        let payload = self.count.to_string();
        self.client.publish("bystander", payload.as_bytes());
        assert_eq!(self.client.message().1, payload.as_bytes());
    }
}

#[test]
fn who_stops_reading_costs_a_queue_and_a_buffer_and_nobody_waits() {
    let broker = Broker::founded_with(|raw| {
        raw.mqtt.output_bytes_max = 1024 * 1024;
        raw.sessions.queued_bytes_max = MIB;
    });
    let before = resident(&broker);
    let mut bystander = Bystander::of(&broker);
    let mut stuck = broker.plain("stuck");
    stuck.subscribe("flood/0", 0);
    stuck.subscribe("flood/1", 1);
    let mut reader = broker.plain("reader");
    reader.subscribe("flood/0", 0);
    let mut publisher = broker.plain("publisher");
    let payload = vec![1; 64 * 1024];
    for _ in 0..400 {
        publisher.publish("flood/0", &payload);
        assert_eq!(reader.message().1.len(), payload.len());
        publisher.publish_acknowledged("flood/1", &payload);
        bystander.is_served();
    }
    // 50 MB were sent to it.
    eventually("what is too much is dropped", || {
        let dropped = ["slow_consumer", "queue_full"]
            .map(|reason| broker.metric(&format!("messages_dropped_total{{reason=\"{reason}\"}}")));
        dropped.into_iter().all(|count| count > 100).then_some(())
    });
    assert!(broker.metric(r#"memory_bytes{of="queued"}"#) <= MIB);
    assert!(broker.metric(r#"memory_bytes{of="in_flight"}"#) <= MIB);
    assert!(broker.metric(r#"memory_bytes{of="buffered"}"#) <= 2 * MIB);
    until_grown_by_less(&broker, before, 32 * MIB);
    bystander.is_served();
    stuck.ping_behind_messages();
}

#[test]
fn ten_thousand_half_finished_connections_cost_some_kilobytes_each_and_end_in_time() {
    const COUNT: u64 = 10_000;
    /// For what the two sides have open beside them.
    const FILES_MIN: u64 = COUNT + 1_000;
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    if limit.maximum.is_some_and(|most| most < FILES_MIN) {
        eprintln!("left out: this system allows {:?} open files", limit.maximum);
        return;
    }
    let raised = rustix::process::Rlimit { current: limit.maximum, maximum: limit.maximum };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, raised).unwrap();
    let broker = Broker::founded_with(|raw| {
        raw.mqtt.connect_timeout_seconds = 15;
        raw.listeners[0].limits.connections_per_second = 100_000;
    });
    let before = resident(&broker);
    let mut bystander = Bystander::of(&broker);
    let beginning = &connect("half", Some("pump"), b"secret", true)[..20];
    let mut half = Vec::new();
    for number in 0..COUNT {
        let mut client = Client::plain(broker.process.listener("plain"));
        client.send(beginning);
        half.push(client);
        if number % 100 == 0 {
            bystander.is_served();
        }
    }
    let open = || broker.metric(r#"listener_connections{listener="plain"}"#);
    eventually("they are all there", || (open() > COUNT).then_some(()));
    let grown = resident(&broker).saturating_sub(before);
    assert!(grown < COUNT * 8 * KIB, "{grown} bytes for {COUNT} connections");
    bystander.is_served();
    let mut late = broker.plain("late");
    eventually("they are gone", || (open() <= 2).then_some(()));
    assert_eq!(broker.metric(r#"connects_total{outcome="refused"}"#), 0);
    late.ping();
    bystander.is_served();
    assert_eq!(half[0].receive(), None);
}

/// A SUBSCRIBE to a hundred filters.
fn subscribe_to_a_hundred(number: usize) -> Vec<u8> {
    let mut body = vec![0, 1, 0];
    for filter in (0..100).map(|n| format!("f/{number}/{n}/+")) {
        body.extend(u16::try_from(filter.len()).unwrap().to_be_bytes());
        body.extend(filter.as_bytes());
        body.push(1);
    }
    packet(0x82, &body)
}

#[test]
fn who_subscribes_to_a_hundred_thousand_filters_gets_a_thousand() {
    let broker = Broker::founded();
    let before = resident(&broker);
    let mut bystander = Bystander::of(&broker);
    let mut greedy = broker.plain("greedy");
    let mut granted = 0;
    for number in 0..1_000 {
        greedy.send(&subscribe_to_a_hundred(number));
        let body = greedy.expect(SUBACK).body;
        let codes = &body[3 + usize::from(body[2])..];
        granted += codes.iter().filter(|code| **code == 1).count();
        assert!(codes.iter().all(|code| [1, QUOTA_EXCEEDED].contains(code)), "{codes:02x?}");
        bystander.is_served();
    }
    assert_eq!(granted, 1_000);
    eventually("the numbers are there", || {
        let refused = broker.metric(r#"limits_applied_total{limit="subscriptions"}"#);
        let held: u64 = ["0", "1"]
            .map(|worker| broker.metric(&format!("subscriptions{{worker=\"{worker}\"}}")))
            .into_iter()
            .sum();
        (refused == 99_000 && held == 1_001).then_some(())
    });
    until_grown_by_less(&broker, before, 16 * MIB);
}

#[test]
fn who_sends_a_byte_a_second_costs_what_was_sent_and_a_connect_is_not_waited_for() {
    const COUNT: usize = 200;
    const BYTES: usize = 6;
    let broker = Broker::founded_with(|raw| raw.mqtt.connect_timeout_seconds = 3);
    let before = resident(&broker);
    let mut bystander = Bystander::of(&broker);
    let beginning = connect("dawdler", Some("pump"), b"secret", true);
    let mut outside: Vec<_> =
        (0..COUNT).map(|_| Client::plain(broker.process.listener("plain"))).collect();
    // Half a megabyte is announced by each of these.
    let large = packet(0x30, &vec![0; 500_000]);
    let mut inside: Vec<_> = (0..COUNT).map(|n| broker.plain(&format!("dawdler-{n}"))).collect();
    for number in 0..BYTES {
        for client in &mut outside {
            // The broker has closed it at some time.
            let _ = client.try_send(&beginning[number..=number]);
        }
        for client in &mut inside {
            client.send(&large[number..=number]);
        }
        bystander.is_served();
        // What such a client does.
        std::thread::sleep(std::time::Duration::from_secs(1));
    }
    outside.iter_mut().for_each(Client::until_closed);
    eventually("only who came in is there", || {
        let open = broker.metric(r#"listener_connections{listener="plain"}"#);
        (open == COUNT as u64 + 1).then_some(())
    });
    until_grown_by_less(&broker, before, 2 * COUNT as u64 * 16 * KIB);
    bystander.is_served();
}
