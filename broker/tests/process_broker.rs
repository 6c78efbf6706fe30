//! One broker as a process: founded, given a policy, used, reloaded, stopped.
#![allow(clippy::unwrap_used, reason = "a test ends where something unexpected happens")]

mod support;

use std::time::Instant;

use broker_admin_api::{BrokerState, path};

use support::broker::Broker;
use support::client::{CONNACK, Client, DISCONNECT, connect};
use support::node::policy;
use support::process::request;
use support::{DEADLINE, eventually};

#[test]
fn a_terminated_broker_exits_0_founded_or_not() {
    let mut broker = Broker::start();
    broker.process.signal("TERM");
    assert_eq!(broker.process.wait().code(), Some(0));
    broker.process.log("stopped");
    assert_eq!(broker.process.complaints(), Vec::<serde_json::Value>::new());
}

#[test]
fn a_founded_broker_serves_mqtt_and_tells_its_clients_when_it_stops() {
    let mut broker = Broker::founded();
    let mut subscriber = broker.plain("subscriber");
    subscriber.subscribe("news/#", 0);
    let secure = broker.process.listener("secure");
    let mut publisher = Client::secure(secure, &broker.pki.device()).log_in("publisher");
    publisher.publish("news/today", b"hello");
    assert_eq!(subscriber.message(), ("news/today".to_owned(), b"hello".to_vec()));
    let status = broker.status();
    assert_eq!((status.state, status.connections), (BrokerState::Serving, 2));
    let begun = Instant::now();
    broker.process.signal("TERM");
    assert_eq!(subscriber.expect(DISCONNECT).body[0], 0x8B);
    assert_eq!(publisher.expect(DISCONNECT).body[0], 0x8B);
    assert_eq!(broker.process.wait().code(), Some(0));
    assert!(begun.elapsed() < DEADLINE);
    assert_eq!(broker.process.complaints(), Vec::<serde_json::Value>::new());
}

#[test]
fn listeners_stay_closed_until_the_broker_belongs_to_a_cluster() {
    let broker = Broker::start();
    let device = broker.pki.device();
    let probe = |path: &str| request(broker.process.admin, &device, "GET", path, "").unwrap();
    assert_eq!(probe(path::HEALTHZ).0, 200);
    let (code, why) = probe(path::READYZ);
    assert_eq!(code, 503);
    assert!(why.contains("bootstrap"), "says what to do: {why}");
    assert_eq!(broker.status().state, BrokerState::Uninitialised);
    let is_listening = |line: &serde_json::Value| line["message"] == "listening";
    assert!(!broker.process.lines().iter().any(is_listening));
    broker.found();
    broker.process.listener("plain");
    eventually("ready", || (probe(path::READYZ).0 == 200).then_some(()));
}

#[test]
fn a_policy_change_is_enforced_on_live_sessions() {
    let broker = Broker::founded();
    let mut client = broker.plain("c");
    let before = policy(&["pump"]);
    let key = broker_policy::RecordKey::client("pump");
    let change = before.change(Vec::new(), vec![key]).unwrap();
    let (code, answer) =
        broker.call("POST", path::POLICY_CHANGES, &serde_json::to_string(&change).unwrap());
    assert_eq!(code, 200, "{answer}");
    assert_eq!(client.expect(DISCONNECT).body[0], 0x98);
    assert_eq!(
        Client::plain(broker.process.listener("plain")).connect("c", Some("pump"), b"secret"),
        0x86
    );
}

#[test]
fn a_restarted_broker_has_its_policy_and_retained_messages() {
    let mut broker = Broker::founded();
    let mut publisher = broker.plain("publisher");
    // QoS 1, retained: the acknowledgement says that it is committed.
    let body = [&[0, 1, b'r'][..], &[0, 7, 0], b"kept"].concat();
    publisher.send(&support::client::packet(0x33, &body));
    publisher.expect(support::client::PUBACK);
    broker.process.signal("TERM");
    assert_eq!(broker.process.wait().code(), Some(0));
    broker.restart();
    let mut subscriber = broker.plain("subscriber");
    subscriber.subscribe("r", 0);
    assert_eq!(subscriber.message(), ("r".to_owned(), b"kept".to_vec()));
}

#[test]
fn hang_up_reads_certificates_at_once_and_a_broken_one_is_reported() {
    let broker = Broker::founded();
    let mut inside = broker.plain("inside");
    let before = broker.status().certificates.server.unwrap().fingerprint;
    broker.pki.write("tls.crt", b"broken");
    broker.process.signal("HUP");
    let error = eventually("the status says so", || broker.status().certificates.last_reload_error);
    assert!(error.message.contains("tls.crt"), "{error:?}");
    assert_eq!(broker.status().certificates.server.unwrap().fingerprint, before);
    let issued = broker.pki.issue_server();
    broker.process.signal("HUP");
    eventually("the new one is in use", || {
        let certificates = broker.status().certificates;
        (certificates.server?.fingerprint == issued).then_some(())
    });
    assert_eq!(broker.status().certificates.last_reload_error, None);
    inside.ping();
}

#[test]
fn the_admin_api_refuses_who_shows_no_certificate_of_its_authority() {
    let broker = Broker::start();
    let nameless = broker.pki.device();
    let (code, _) = request(broker.process.admin, &nameless, "GET", path::STATUS, "").unwrap();
    assert_eq!(code, 401);
    let device = broker.pki.device_named("pump");
    let answer = request(broker.process.admin, &device, "GET", path::STATUS, "");
    assert!(answer.is_err(), "a client's certificate ends the handshake: {answer:?}");
}

#[test]
fn a_client_that_is_in_the_middle_of_connecting_does_not_hold_up_the_stop() {
    let mut broker = Broker::founded();
    let silent = Client::plain(broker.process.listener("plain"));
    let half = Client::plain(broker.process.listener("secure"));
    let mut late = Client::plain(broker.process.listener("plain"));
    late.send(&connect("late", Some("pump"), b"secret", true));
    late.expect(CONNACK);
    broker.process.signal("TERM");
    assert_eq!(broker.process.wait().code(), Some(0));
    drop((silent, half));
}

#[test]
fn a_second_broker_on_the_same_data_directory_is_refused() {
    let broker = Broker::start();
    let mut second = broker.raw.clone();
    second.admin.as_mut().unwrap().listen.set_port(support::process::free_port());
    second.peers.as_mut().unwrap().listen.set_port(support::process::free_port());
    let path = broker.pki.folder.join("second.toml");
    std::fs::write(&path, second.render()).unwrap();
    let output = support::process::program()
        .args(["run", "--name", "fleet-0", "--config"])
        .arg(&path)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("data directory"), "{said}");
}
