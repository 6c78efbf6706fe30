//! Workers, listeners and TLS of one node over loopback, with a hub that grants everything.
#![allow(clippy::unwrap_used, reason = "a test ends where something unexpected happens")]

mod support;

use std::time::{Duration, Instant};

use broker::node::{GateState, ToWorker};
use broker_config::ClientCertificates;

use support::client::{CONNACK, Client, DISCONNECT, PUBACK, PUBLISH, connect, packet, publish};
use support::eventually;
use support::node::{Node, Options, limits, policy};

fn plain(node: &Node, client_id: &str) -> Client {
    Client::plain(node.plain).log_in(client_id)
}

#[test]
fn what_one_client_publishes_its_subscribers_receive() {
    let node = Node::start(Options::default());
    let mut subscribers: Vec<_> =
        (0..6).map(|n| plain(&node, &format!("subscriber-{n}"))).collect();
    for subscriber in &mut subscribers {
        subscriber.subscribe("news/#", 0);
    }
    // Six connections over two workers: some messages cross from worker to worker.
    let mut publisher = plain(&node, "publisher");
    for n in 0..100 {
        publisher.publish(&format!("news/{n}"), format!("{n}").as_bytes());
    }
    for subscriber in &mut subscribers {
        for n in 0..100 {
            let expected = (format!("news/{n}"), format!("{n}").into_bytes());
            assert_eq!(subscriber.message(), expected);
        }
    }
    let readings = node.worker_readings();
    assert!(readings.iter().all(|reading| reading.engine.connections > 0), "both workers serve");
}

#[test]
fn a_malformed_packet_ends_only_its_own_connection() {
    let node = Node::start(Options { workers: 1, ..Options::default() });
    let mut bystander = plain(&node, "bystander");
    let mut offender = plain(&node, "offender");
    // A packet of the forbidden type 0.
    offender.send(&[0x00, 0x00]);
    let goodbye = offender.receive().expect("a DISCONNECT comes first");
    assert_eq!((goodbye.kind(), goodbye.body[0]), (DISCONNECT, 0x81));
    assert_eq!(offender.receive(), None);
    let mut stranger = Client::plain(node.plain);
    stranger.send(b"GET / HTTP/1.1\r\n\r\n");
    assert_eq!(stranger.receive(), None);
    bystander.ping();
}

#[test]
fn wrong_passwords_are_refused_with_0x86() {
    let node = Node::start(Options::default());
    let mut client = Client::plain(node.plain);
    assert_eq!(client.connect("a", Some("pump"), b"guess"), 0x86);
    assert_eq!(client.receive(), None);
    let mut client = Client::plain(node.plain);
    assert_eq!(client.connect("a", Some("nobody"), b"secret"), 0x86);
    let refused: u64 =
        node.worker_readings().iter().map(|reading| reading.authentications_refused).sum();
    assert_eq!(refused, 2);
}

#[test]
fn a_costly_password_is_verified_beside_the_worker_and_then_remembered() {
    use broker_policy::{Client as User, PasswordHash, Policy, Record};
    let hash = PasswordHash::pbkdf2_sha512(b"secret", &[7; 16], 10_000).unwrap();
    let user = User { username: "pump".to_owned(), password: Some(hash), ..User::default() };
    let policy = Policy::from_records([Record::Client(user)]).unwrap();
    let node = Node::start(Options { policy, ..Options::default() });
    for n in 0..4 {
        assert_eq!(Client::plain(node.plain).connect(&format!("c{n}"), Some("pump"), b"secret"), 0);
    }
    assert_eq!(Client::plain(node.plain).connect("c", Some("pump"), b"guess"), 0x86);
    let readings = node.worker_readings();
    let verified: u64 = readings.iter().map(|reading| reading.passwords_verified).sum();
    let remembered: u64 = readings.iter().map(|reading| reading.passwords_remembered).sum();
    assert_eq!((verified, remembered), (2, 3));
}

#[test]
fn a_client_over_tls_is_served_and_its_session_resumes() {
    let node = Node::start(Options { workers: 1, ..Options::default() });
    let device = node.pki.device();
    let mut subscriber = Client::secure(node.secure, &device).log_in("subscriber");
    assert!(!subscriber.is_resumed());
    subscriber.subscribe("big", 0);
    let mut publisher = Client::secure(node.secure, &device).log_in("publisher");
    assert!(publisher.is_resumed());
    // Many TLS records, more than fit into the socket's buffer at once.
    let payload = vec![7; 900_000];
    for _ in 0..8 {
        publisher.publish("big", &payload);
    }
    assert!(subscriber.message().1 == payload);
    publisher.ping();
}

#[test]
fn a_certificate_is_an_identity_on_a_tls_listener() {
    let node = Node::start(Options { policy: policy(&["pump", "camera"]), ..Options::default() });
    let camera = node.pki.device_named("camera");
    assert_eq!(Client::secure(node.secure, &camera).connect("c1", None, b""), 0);
    let unknown = node.pki.device_named("stranger");
    assert_eq!(Client::secure(node.secure, &unknown).connect("c2", None, b""), 0x86);
    let nameless = node.pki.device();
    assert_eq!(Client::secure(node.secure, &nameless).connect("c3", None, b""), 0x87);
}

#[test]
fn certificates_of_another_authority_or_none_fail_where_they_are_required() {
    let required = ClientCertificates::Required;
    let node = Node::start(Options { client_certificates: required, ..Options::default() });
    let refused = |config| {
        // In TLS 1.3 the client learns of it with its first read.
        let Ok(mut client) = Client::try_secure(node.secure, &config) else { return };
        let _ = client.try_send(&connect("c", Some("pump"), b"secret", true));
        let read = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| client.receive()));
        assert!(!matches!(read, Ok(Some(_))), "served without a certificate");
    };
    refused(node.pki.device());
    refused(node.pki.administrator());
    assert_eq!(
        Client::secure(node.secure, &node.pki.device_named("pump")).connect("c", None, b""),
        0
    );
}

#[test]
fn a_new_certificate_is_shown_to_new_clients_and_ends_no_connection() {
    let node = Node::start(Options::default());
    let device = node.pki.device();
    let mut before = Client::secure(node.secure, &device).log_in("before");
    let first = before.server_certificate();
    node.pki.write("tls.key", b"broken");
    eventually("the broken key is reported", || node.tls.status().last_reload_error);
    assert_eq!(Client::secure(node.secure, &device).server_certificate(), first);
    node.pki.issue_server();
    eventually("the new certificate is shown", || {
        let shown = Client::secure(node.secure, &node.pki.device()).server_certificate();
        (shown != first).then_some(())
    });
    assert_eq!(node.tls.status().last_reload_error, None);
    before.ping();
}

#[test]
fn a_slow_reader_holds_nobody_up_and_loses_only_qos_0() {
    let mut options = Options { workers: 1, ..Options::default() };
    options.engine.output_bytes_soft_max = 256 * 1024;
    let node = Node::start(options);
    let mut slow = plain(&node, "slow");
    slow.subscribe("flood", 0);
    let mut quick = plain(&node, "quick");
    quick.subscribe("flood", 0);
    let mut publisher = plain(&node, "publisher");
    let payload = vec![1; 64 * 1024];
    for _ in 0..400 {
        publisher.publish("flood", &payload);
        assert_eq!(quick.message().1.len(), payload.len());
    }
    eventually("messages to the slow reader are dropped", || {
        (node.worker_readings()[0].engine.dropped.slow_consumer > 0).then_some(())
    });
    // What was not dropped arrives whole and in frames, once it reads.
    assert_eq!(slow.message().1.len(), payload.len());
    slow.ping_behind_messages();
}

#[test]
fn accepting_waits_for_the_connection_rate() {
    let limits = limits(100, 20);
    let node = Node::start(Options { limits, ..Options::default() });
    // A second's worth goes at once, the rest waits and is served too.
    let clients: Vec<_> = (0..25).map(|n| plain(&node, &format!("c{n}"))).collect();
    assert_eq!(clients.len(), 25);
    assert!(node.plain_reading().paused > 0);
    assert_eq!(node.plain_reading().refused, 0);
}

#[test]
fn a_newer_connection_takes_the_client_id_and_its_session() {
    let node = Node::start(Options::default());
    let mut older = Client::plain(node.plain);
    older.send(&connect("same", Some("pump"), b"secret", false));
    older.expect(CONNACK);
    older.subscribe("news", 0);
    // The least loaded worker is the other one: the session moves.
    let mut newer = Client::plain(node.plain);
    newer.send(&connect("same", Some("pump"), b"secret", false));
    assert_eq!(newer.expect(CONNACK).body[0], 1, "session present");
    let goodbye = older.expect(DISCONNECT);
    assert_eq!(goodbye.body[0], 0x8E);
    assert_eq!(older.receive(), None);
    plain(&node, "publisher").publish("news", b"x");
    assert_eq!(newer.message().1, b"x");
}

#[test]
fn clients_are_told_when_the_node_stops() {
    let mut node = Node::start(Options::default());
    let mut clients =
        [plain(&node, "a"), Client::secure(node.secure, &node.pki.device()).log_in("b")];
    node.stop();
    for client in &mut clients {
        assert_eq!(client.expect(DISCONNECT).body[0], 0x8B);
        assert_eq!(client.receive(), None);
    }
}

#[test]
fn a_closed_gate_refuses_newcomers_and_keeps_who_is_in() {
    let node = Node::start(Options::default());
    let mut inside = plain(&node, "inside");
    node.gate.set(GateState::Closed { reason: "no leader".to_owned() });
    eventually("newcomers are refused", || Client::try_plain(node.plain).err());
    inside.ping();
    node.gate.set(GateState::Open);
    eventually("the port is open again", || Client::try_plain(node.plain).ok());
}

#[test]
fn a_changed_policy_ends_the_sessions_of_deleted_users() {
    let node = Node::start(Options { policy: policy(&["pump", "camera"]), ..Options::default() });
    let mut camera = Client::plain(node.plain);
    assert_eq!(camera.connect("camera", Some("camera"), b"secret"), 0);
    let mut pump = plain(&node, "pump");
    let without = std::sync::Arc::new(policy(&["pump"]));
    node.tell_workers(|| ToWorker::Policy(without.clone()));
    assert_eq!(camera.expect(DISCONNECT).body[0], 0x98);
    pump.ping();
}

#[test]
fn packets_may_come_in_any_pieces() {
    let node = Node::start(Options::default());
    let mut subscriber = plain(&node, "subscriber");
    subscriber.subscribe("t", 0);
    let mut client = Client::plain(node.plain);
    let mut bytes = connect("pieces", Some("pump"), b"secret", true);
    bytes.extend(publish("t", b"one"));
    bytes.extend(publish("t", b"two"));
    for piece in bytes.chunks(3) {
        client.send(piece);
    }
    client.expect(CONNACK);
    assert_eq!(
        (subscriber.message().1, subscriber.message().1),
        (b"one".to_vec(), b"two".to_vec())
    );
    // QoS 1 is acknowledged.
    client.send(&packet(0x32, &[0, 1, b't', 0, 9, 0, b'x']));
    assert_eq!(client.expect(PUBACK).body[..2], [0, 9]);
    assert_eq!(subscriber.expect(PUBLISH).kind(), PUBLISH);
}

#[test]
fn a_client_that_says_nothing_is_closed() {
    let mut options = Options::default();
    options.engine.connect_timeout_millis = 100;
    let node = Node::start(options);
    let mut silent = Client::plain(node.plain);
    assert_eq!(silent.receive(), None);
    // The listener's places are given back.
    eventually("nobody is connected", || (node.plain_reading().connections == 0).then_some(()));
}

#[test]
fn clients_that_dawdle_in_the_handshake_take_nobodys_place() {
    let node = Node::start(Options { workers: 1, ..Options::default() });
    let dawdlers: Vec<_> = (0..200)
        .map(|n| {
            let mut client = Client::plain(node.secure);
            if n % 2 == 0 {
                // The start of a TLS record that never ends.
                client.send(&[0x16, 0x03, 0x01, 0x02, 0x00, 0x01]);
            }
            client
        })
        .collect();
    Client::secure(node.secure, &node.pki.device()).log_in("in time").ping();
    drop(dawdlers);
    eventually("their places are free", || (node.worker_readings()[0].sockets == 0).then_some(()));
}

#[test]
fn rubbish_before_and_behind_the_handshake_ends_only_its_own_connection() {
    let node = Node::start(Options { workers: 1, ..Options::default() });
    let mut bystander = Client::secure(node.secure, &node.pki.device()).log_in("bystander");
    let mut rubbish = Client::plain(node.secure);
    rubbish.send(&connect("c", Some("pump"), b"secret", true));
    rubbish.until_closed();
    let mut broken = Client::secure(node.secure, &node.pki.device()).log_in("broken");
    broken.send_beneath_tls(&[0x17, 0x03, 0x03, 0x00, 0x20]);
    broken.send_beneath_tls(&[7; 0x20]);
    broken.until_closed();
    bystander.ping();
    assert!(node.worker_readings()[0].tls_handshakes_failed > 0);
}

#[test]
fn random_bytes_at_any_stage_leave_the_others_alone() {
    let node = Node::start(Options { workers: 1, ..Options::default() });
    let mut bystander = plain(&node, "bystander");
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut random = || {
        // xorshift64: the same bytes in every run.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for round in 0..200 {
        let mut client = Client::plain(node.plain);
        if round % 2 == 0 {
            client = client.log_in("victim");
        }
        let bytes: Vec<u8> = (0..random() % 64).map(|_| random().to_be_bytes()[0]).collect();
        // The broker may close before everything is sent.
        let _ = client.try_send(&bytes);
    }
    bystander.ping();
    eventually("only the bystander is left", || {
        (node.plain_reading().connections == 1).then_some(())
    });
}

#[test]
fn a_worker_reads_nothing_while_the_hub_does_not_take_and_loses_nothing() {
    let options = Options { workers: 1, hub_queue: 2, hub_runs: false, ..Options::default() };
    let mut node = Node::start(options);
    let mut clients: Vec<_> = (0..30).map(|_| Client::plain(node.plain)).collect();
    let ask = |n: usize, client: &mut Client| {
        client.send(&connect(&format!("c{n}"), Some("pump"), b"secret", true));
    };
    let waiting = |node: &Node| node.worker_readings()[0].forwards_waiting;
    // Two claims find room with the hub, the others wait in the worker.
    clients.iter_mut().take(5).enumerate().for_each(|(n, client)| ask(n, client));
    eventually("claims wait in the worker", || (waiting(&node) > 0).then_some(()));
    clients.iter_mut().enumerate().skip(5).for_each(|(n, client)| ask(n, client));
    // Newcomers are taken in, so the worker has had a look at its sockets.
    let newcomers = [31, 32].map(|expected| {
        let newcomer = Client::plain(node.plain);
        eventually("the newcomer is in", || {
            (node.worker_readings()[0].engine.connections == expected).then_some(())
        });
        newcomer
    });
    assert!(waiting(&node) <= 3, "{} claims wait", waiting(&node));
    node.run_hub();
    for client in &mut clients {
        assert_eq!(client.expect(CONNACK).body[1], 0);
    }
    drop(newcomers);
}

fn drain_at(clients_per_second: u32) -> ToWorker {
    ToWorker::Drain { clients_per_second, server_reference: None }
}

#[test]
fn a_drain_moves_clients_away_at_its_pace_until_it_is_ended() {
    let node = Node::start(Options { workers: 1, ..Options::default() });
    let mut clients: Vec<_> = (0..20).map(|n| plain(&node, &format!("c{n}"))).collect();
    let gone = |node: &Node| 20 - node.plain_reading().connections;
    let began = Instant::now();
    node.tell_workers(|| drain_at(10));
    eventually("a second's clients have gone", || (gone(&node) >= 10).then_some(()));
    assert!(began.elapsed() >= Duration::from_millis(900), "not before a second is over");
    node.tell_workers(|| drain_at(10_000));
    for client in &mut clients {
        assert_eq!(client.expect(DISCONNECT).body[0], 0x8B);
    }
    node.tell_workers(|| drain_at(0));
    // The drain is over: who comes stays.
    plain(&node, "back").ping();
}
