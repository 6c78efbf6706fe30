//! What a broker does beside routing messages, as a process and over its configuration.
#![allow(clippy::unwrap_used, reason = "a test ends where something unexpected happens")]

mod support;

use std::collections::HashMap;

use support::client::Client;
use support::mosquitto::{Mosquitto, publish};

/// Not authorized, in MQTT 5.0.
const NOT_AUTHORIZED: u8 = 0x87;

/// Values below `$SYS` until there is one for each of these topics.
fn values_of(client: &mut Client, topics: &[&str]) -> HashMap<String, String> {
    let mut values = HashMap::new();
    while topics.iter().any(|topic| !values.contains_key(*topic)) {
        let (topic, payload) = client.message();
        values.insert(topic, String::from_utf8(payload).unwrap());
    }
    values
}

#[test]
fn sys_topics_tell_at_once_what_the_broker_does_and_then_what_changes() {
    let mut broker = Mosquitto::new();
    broker.write("m.conf", "listener PORT 127.0.0.1\nallow_anonymous true\nsys_interval 1\n");
    broker.start(&["-c", "m.conf"]);
    let mut client = broker.client("watcher", None, b"");
    client.subscribe("$SYS/broker/#", 0);
    let topics =
        ["version", "uptime", "clients/total", "load/messages/received/1min", "bytes/sent"]
            .map(|name| format!("$SYS/broker/{name}"));
    let names = topics.each_ref().map(String::as_str);
    let values = values_of(&mut client, &names);
    assert!(values["$SYS/broker/version"].starts_with("dunlin version "), "{values:?}");
    assert!(values["$SYS/broker/uptime"].ends_with(" seconds"), "{values:?}");
    let mut other = broker.client("other", None, b"");
    while client.message() != ("$SYS/broker/clients/connected".to_owned(), b"2".to_vec()) {}
    assert_eq!(publish(&mut other, "$SYS/broker/version", true), NOT_AUTHORIZED);
    assert_eq!(broker.stop().code(), Some(0));
}

#[test]
fn without_an_interval_there_are_no_sys_topics() {
    let mut broker = Mosquitto::new();
    broker.write("m.conf", "listener PORT 127.0.0.1\nallow_anonymous true\nsys_interval 0\n");
    broker.start(&["-c", "m.conf"]);
    let mut client = broker.client("watcher", None, b"");
    client.subscribe("$SYS/#", 0);
    client.ping();
    assert_eq!(broker.stop().code(), Some(0));
}
