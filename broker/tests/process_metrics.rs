//! The numbers of a broker that stands alone, over plain HTTP.
#![allow(clippy::unwrap_used, reason = "a test ends where something unexpected happens")]

mod support;

use support::client::{CONNACK, Client, DISCONNECT, connect, packet};
use support::eventually;
use support::metrics::{get, number};
use support::mosquitto::Mosquitto;

/// A broker that stands alone, with its own configuration and one listener, on `PORT`.
fn started(tables: &str) -> Mosquitto {
    let mut broker = Mosquitto::new();
    broker.write(
        "broker.toml",
        &format!(
            "data_dir = 'data'\nworkers = 1\n{tables}\n[policy]\n[[listeners]]\nname = 'a'\n\
             protocol = 'mqtt'\naddress = '127.0.0.1'\nport = PORT\nanonymous = true\n\
             acknowledge_plaintext = true\n"
        ),
    );
    broker.start(&["run", "--config", "broker.toml"]);
    broker
}

/// Waits until a number is this one: workers tell theirs at the end of a pass.
fn until(broker: &Mosquitto, name: &str, value: u64) {
    eventually(&format!("{name} is {value}"), || {
        (number(broker.metrics, name) == value).then_some(())
    });
}

#[test]
fn a_broker_alone_tells_numbers_and_health_and_nothing_else() {
    let mut broker = started("");
    let _client = broker.client("c", None, b"");
    until(&broker, "clients_connected", 1);
    for (path, status, body) in [
        ("/healthz", 200, "ok\n"),
        ("/readyz", 200, "ok\n"),
        ("/v1/status", 404, "here are /metrics, /healthz and /readyz, for GET"),
    ] {
        assert_eq!(get(broker.metrics, path).unwrap(), (status, body.to_owned()), "{path}");
    }
    assert_eq!(broker.stop().code(), Some(0));
}

#[test]
fn a_limit_that_is_applied_is_counted_under_its_own_name() {
    let broker = started("[mqtt]\npacket_bytes_max = 1024\n[limits]\nconnections_max = 1");
    let limit =
        |name: &str| number(broker.metrics, &format!("limits_applied_total{{limit=\"{name}\"}}"));
    // The connection that has looked whether the broker listens may be there still.
    let mut client = eventually("it is the only one", || {
        let mut client = Client::plain(broker.address);
        (client.connect("c", None, b"") == 0).then_some(client)
    });
    let before = limit("connections");
    let mut refused = Client::plain(broker.address);
    assert_eq!(refused.connect("d", None, b""), 0x97);
    assert_eq!((limit("connections"), limit("packet_bytes")), (before + 1, 0));
    client.send(&packet(0x30, &[0; 2000]));
    assert_eq!(client.expect(DISCONNECT).body[0], 0x95);
    until(&broker, "limits_applied_total{limit=\"packet_bytes\"}", 1);
    assert_eq!(limit("connections"), before + 1);
}

#[test]
fn a_mosquitto_conf_has_its_numbers_where_the_environment_says() {
    let mut broker = Mosquitto::new();
    broker.start(&["-p", "PORT"]);
    let _client = broker.client("c", None, b"");
    until(&broker, "clients_connected", 1);
    assert_eq!(broker.stop().code(), Some(0));
}

#[test]
fn each_message_that_a_client_waits_for_is_synced_to_the_disk_before_it_is_acknowledged() {
    let broker = started("");
    let mut subscriber = Client::plain(broker.address);
    subscriber.send(&connect("subscriber", None, b"", false));
    assert_eq!(subscriber.expect(CONNACK).body[1], 0);
    subscriber.subscribe("t", 1);
    let mut publisher = broker.client("publisher", None, b"");
    let before = number(broker.metrics, "log_syncs_total");
    let messages = 20;
    for _ in 0..messages {
        // One at a time: none shares its sync with another.
        assert_eq!(publisher.publish_acknowledged("t", b"x"), 0);
    }
    let syncs = number(broker.metrics, "log_syncs_total") - before;
    assert!(syncs >= messages, "{syncs} syncs for {messages} messages");
    let timed = number(broker.metrics, "log_sync_seconds_count");
    assert!(timed >= before + messages, "{timed} of them are timed");
    let committed = number(broker.metrics, "proposal_seconds_count");
    assert!(committed >= messages, "{committed} proposals are timed");
    assert_eq!(number(broker.metrics, "proposals_failed_total{reason=\"timed_out\"}"), 0);
}

#[test]
fn sys_topics_count_durable_sessions_whose_clients_are_away() {
    let broker = started("[sys]\ninterval_seconds = 1");
    let mut away = Client::plain(broker.address);
    away.send(&connect("away", None, b"", false));
    assert_eq!(away.expect(CONNACK).body[1], 0);
    away.subscribe("t", 1);
    drop(away);
    let mut publisher = broker.client("publisher", None, b"");
    assert_eq!(publisher.publish_acknowledged("t", b"x"), 0);
    let mut watch = broker.client("watch", None, b"");
    watch.subscribe("$SYS/broker/#", 0);
    let mut wanted = vec![
        ("clients/total", "3"),
        ("clients/disconnected", "1"),
        ("clients/connected", "2"),
        ("subscriptions/count", "2"),
        ("messages/stored", "1"),
        ("store/messages/count", "1"),
    ];
    while !wanted.is_empty() {
        let (topic, payload) = watch.message();
        wanted.retain(|(name, value)| {
            topic != format!("$SYS/broker/{name}") || payload != value.as_bytes()
        });
    }
}
