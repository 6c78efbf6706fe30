//! The generator end to end, against a broker of a hundred lines that copies packets and can be made to misbehave.

#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

mod support;

use std::time::{Duration, Instant};

use mqtt_bench::load::{self, Plan, Topology};
use mqtt_bench::target::Target;
use mqtt_bench::wire::{Login, Version};
use mqtt_bench::{idle, subscribe};
use support::{Behaviour, Broker};

fn target(broker: &Broker, version: Version) -> Target {
    let login = Login { username: "bench".into(), password: Some("secret".into()) };
    Target { address: broker.address, tls: None, login: Some(login), version }
}

fn settings(broker: &Broker, topology: Topology, connections: (usize, usize)) -> load::Settings {
    load::Settings {
        target: target(broker, Version::V311),
        pids: vec![std::process::id()],
        spread: None,
        topology,
        plan: Plan::new(topology, connections.0, connections.1).unwrap(),
        qos: 0,
        is_durable: false,
        payload_bytes: 64,
        window: None,
        warm_up: Duration::from_millis(50),
        length: Duration::from_millis(200),
        rate: None,
        threads: 2,
        topic: "bench".into(),
    }
}

#[test]
fn every_topology_delivers_in_both_versions_and_loses_nothing() {
    let broker = Broker::start(Behaviour::Honest);
    let all = [(Topology::Pairs, (3, 3)), (Topology::FanIn, (4, 2)), (Topology::FanOut, (1, 5))];
    for (topology, connections) in all {
        for version in [Version::V311, Version::V5] {
            for qos in [0, 1] {
                // Packet identifiers of two publishers would meet in one subscriber, as this broker only copies.
                if qos == 1 && topology == Topology::FanIn {
                    continue;
                }
                let mut settings = settings(&broker, topology, connections);
                (settings.target.version, settings.qos) = (version, qos);
                let report = load::run(&settings).unwrap();
                assert!(report.delivered > 0, "{report:?}");
                assert_eq!((report.lost, report.duplicates, report.skipped), (0, 0, 0));
                assert_eq!((report.publishers, report.subscribers), connections);
                assert!(report.latency_micros.max > 0.0, "{report:?}");
                assert!(report.latency_micros.samples > report.delivered / 2, "{report:?}");
                assert!(report.broker.is_some(), "{report:?}");
            }
        }
    }
}

#[test]
fn a_rate_is_kept() {
    let broker = Broker::start(Behaviour::Honest);
    let mut settings = settings(&broker, Topology::Pairs, (2, 2));
    settings.rate = Some(500.0);
    let began = Instant::now();
    let report = load::run(&settings).unwrap();
    let due = 500.0 * began.elapsed().as_secs_f64();
    assert!(report.delivered > 0 && report.delivered as f64 <= due, "{report:?}");
    assert_eq!(report.lost, 0);
}

#[test]
fn a_broker_that_drops_messages_is_told_of_and_the_run_ends() {
    let broker = Broker::start(Behaviour::DropsNineOfTen);
    // With ten pairs the last message of some is sure to be among the dropped: no later one shows its loss.
    let report = load::run(&settings(&broker, Topology::Pairs, (10, 10))).unwrap();
    assert!(report.lost > 0 && report.delivered > 0, "{report:?}");
    assert_eq!(report.lost, broker.dropped(), "{report:?}");
}

#[test]
fn refusals_are_errors_that_name_the_code() {
    let refused = Broker::start(Behaviour::RefusesConnect);
    let error = load::run(&settings(&refused, Topology::Pairs, (2, 2))).unwrap_err();
    assert!(format!("{error:#}").contains("code 0x05"), "{error:#}");
    let refused = Broker::start(Behaviour::RefusesSubscribe);
    let error = load::run(&settings(&refused, Topology::Pairs, (2, 2))).unwrap_err();
    assert!(format!("{error:#}").contains("bench/load/"), "{error:#}");
    assert!(format!("{error:#}").contains("code 0x80"), "{error:#}");
    let error = subscribe::run(&filters(&refused, 10)).unwrap_err();
    assert!(format!("{error:#}").contains("code 0x80"), "{error:#}");
}

#[test]
fn a_connection_that_breaks_ends_the_run() {
    let broker = Broker::start(Behaviour::ClosesOnPublish);
    let mut settings = settings(&broker, Topology::Pairs, (2, 2));
    settings.length = Duration::from_secs(600);
    let error = load::run(&settings).unwrap_err();
    assert!(format!("{error:#}").contains("closed the connection"), "{error:#}");
}

#[test]
fn idle_connections_are_opened_held_and_counted() {
    let broker = Broker::start(Behaviour::Honest);
    let settings = idle::Settings {
        target: target(&broker, Version::V5),
        pid: Some(std::process::id()),
        connections: 50,
        opening: 8,
        per_second: None,
        hold: Duration::ZERO,
    };
    let report = idle::run(&settings).unwrap();
    assert_eq!((report.connections, report.closed), (50, 0));
    assert!(report.cpu_micros_per_connection.is_some() && report.bytes_per_connection.is_some());
    assert_eq!(broker.connects(), 50);
}

fn filters(broker: &Broker, filters: usize) -> subscribe::Settings {
    subscribe::Settings {
        target: target(broker, Version::V5),
        pid: None,
        filters,
        connections: 3,
        filter: "bench/filters/{n}/+".into(),
        qos: 1,
        load: Duration::ZERO,
    }
}

#[test]
fn every_filter_is_subscribed_to_once() {
    let broker = Broker::start(Behaviour::Honest);
    let report = subscribe::run(&filters(&broker, 1000)).unwrap();
    assert_eq!((report.filters, report.connections), (1000, 3));
    let mut found = broker.filters();
    found.sort();
    let mut wanted: Vec<String> = (0..1000).map(|n| format!("bench/filters/{n}/+")).collect();
    wanted.sort();
    assert_eq!(found, wanted);
}
