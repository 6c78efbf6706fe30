//! What a broker does beside routing messages, as a process and over its configuration.
#![allow(clippy::unwrap_used, reason = "a test ends where something unexpected happens")]

mod support;

use std::collections::HashMap;
use std::io::Write as _;
use std::process::{Command, Stdio};

use support::client::{CONNACK, Client, DISCONNECT, connect};
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

/// What a client says that python3 runs; `None`: there is no python3.
fn scram_client(broker: &Mosquitto, arguments: &[&str]) -> Option<Vec<String>> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/scram_client.py");
    let port = broker.address.port().to_string();
    let output = Command::new("python3").arg(script).arg(port).args(arguments).output().ok()?;
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    Some(said.lines().map(str::to_owned).collect())
}

fn scram_line(broker: &Mosquitto, username: &str, password: &str) -> String {
    let mut command = broker.command(&["scram-password", username]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    writeln!(child.stdin.take().unwrap(), "{password}").unwrap();
    String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
}

#[test]
fn a_client_proves_its_password_without_sending_it_and_again_later() {
    let mut broker = Mosquitto::new();
    let lines = scram_line(&broker, "pump,1", "pencil") + &scram_line(&broker, "gate", "rubber");
    broker.write("passwd", &lines);
    broker.write("m.conf", "listener PORT 127.0.0.1\npassword_file passwd\npersistence true\n");
    broker.start(&["-c", "m.conf"]);
    let Some(said) = scram_client(&broker, &["pump,1", "pencil", "pump,1", "pencil"]) else {
        eprintln!("python3 is not there: SCRAM is not tried by a client of another make");
        return;
    };
    assert_eq!((&*said[0], &*said[3]), ("connack 0x00", "again"));
    let other = scram_client(&broker, &["pump,1", "pencil", "gate", "rubber"]).unwrap();
    assert_eq!(other[3], "disconnect 0x87");
    let wrong = scram_client(&broker, &["pump,1", "pencil", "pump,1", "pen"]).unwrap();
    assert_eq!(wrong[3], "disconnect 0x87");
    // Who is not there looks like who is, each time.
    let nobody = [scram_client(&broker, &["eve", "x"]), scram_client(&broker, &["eve", "y"])];
    let [Some(first), Some(second)] = nobody else { panic!() };
    assert_eq!((&*first[0], &first), ("connack 0x87", &second));
    assert_eq!(scram_client(&broker, &["gate", "wrong"]).unwrap()[0], "connack 0x87");
    // Another spelling of the name is the same user; the credential of most says how all are asked.
    assert_eq!(scram_client(&broker, &["\u{FF47}ate", "rubber"]).unwrap()[0], "connack 0x00");
    assert_eq!((&*said[2], &*first[2]), ("iterations 4096", "iterations 4096"));
    assert_eq!(broker.stop().code(), Some(0));
    // The secret is kept over a restart, and another broker has another one.
    broker.start(&["-c", "m.conf"]);
    assert_eq!(scram_client(&broker, &["eve", "x"]), Some(first.clone()));
    assert_eq!(broker.stop().code(), Some(0));
    let mut other = Mosquitto::new();
    other.write("passwd", &lines);
    other.write("m.conf", "listener PORT 127.0.0.1\npassword_file passwd\n");
    other.start(&["-c", "m.conf"]);
    assert_ne!(scram_client(&other, &["eve", "x"]), Some(first));
    assert_eq!(other.stop().code(), Some(0));

    // Where no password is taken, none is proved.
    broker.write("m.conf", "listener PORT 127.0.0.1\nallow_anonymous true\n");
    broker.start(&["-c", "m.conf"]);
    assert_eq!(scram_client(&broker, &["gate", "rubber"]).unwrap()[0], "connack 0x8c");
    assert_eq!(broker.stop().code(), Some(0));
}

#[test]
fn clients_are_told_another_server_at_the_end_and_at_the_door_where_the_configuration_says_so() {
    let mut broker = Mosquitto::new();
    broker.write("m.conf", "listener PORT 127.0.0.1\nallow_anonymous true\nsys_interval 0\n");
    let imported = broker.command(&["import-mosquitto", "m.conf"]).output().unwrap();
    let text = String::from_utf8(imported.stdout).unwrap();
    let reference = b"\x1c\x00\x0eb.example:8883";
    let redirect = "\n[redirect]\nserver_reference = \"b.example:8883\"\n";
    broker.write("broker.toml", &format!("{text}{redirect}"));
    broker.start(&["run", "--config", "broker.toml"]);
    let mut client = broker.client("c", None, b"");
    broker.signal("TERM");
    let end = client.expect(DISCONNECT).body;
    assert_eq!((end[0], &end[2..]), (0x9C, &reference[..]));
    assert_eq!(broker.wait().code(), Some(0));

    broker.write("broker.toml", &format!("{text}{redirect}refuse_connects = true\n"));
    broker.start(&["run", "--config", "broker.toml"]);
    let mut client = Client::plain(broker.address);
    client.send(&connect("c", None, b"", true));
    let answer = client.expect(CONNACK).body;
    assert_eq!((answer[1], &answer[3..]), (0x9C, &reference[..]));
    assert_eq!(broker.stop().code(), Some(0));

    broker.write("broker.toml", &format!("{text}\n[redirect]\nrefuse_connects = true\n"));
    let output = broker.command(&["check", "--config", "broker.toml"]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("redirect.server_reference is not set"), "{said}");
}

#[test]
fn a_delayed_message_is_published_after_its_publisher_has_gone() {
    let mut broker = Mosquitto::new();
    broker.write("m.conf", "listener PORT 127.0.0.1\nallow_anonymous true\nsys_interval 0\n");
    let imported = broker.command(&["import-mosquitto", "m.conf"]).output().unwrap();
    let text = String::from_utf8(imported.stdout).unwrap();
    broker.write("broker.toml", &text.replace("messages_max = 0", "messages_max = 2"));
    broker.start(&["run", "--config", "broker.toml"]);
    let mut client = broker.client("c", None, b"");
    client.subscribe("#", 0);
    let mut publisher = broker.client("p", None, b"");
    assert_eq!(publish(&mut publisher, "$delayed/1/later", false), 0);
    assert_eq!(publish(&mut publisher, "now", false), 0);
    assert_eq!(publish(&mut publisher, "$delayed/soon/later", false), 0x90);
    drop(publisher);
    assert_eq!(client.message().0, "now");
    assert_eq!(client.message().0, "later");
    assert_eq!(broker.stop().code(), Some(0));
}

#[test]
fn topics_are_rewritten_and_every_client_has_its_subscription() {
    let mut broker = Mosquitto::new();
    broker.write("m.conf", "listener PORT 127.0.0.1\nallow_anonymous true\nsys_interval 0\n");
    let imported = broker.command(&["import-mosquitto", "m.conf"]).output().unwrap();
    let text = String::from_utf8(imported.stdout).unwrap();
    let rewrite = |destination| {
        format!("{text}\n[[rewrites]]\nsource = \"old/+/#\"\ndestination = \"{destination}\"\n")
    };
    broker.write("broker.toml", &rewrite("new/$3"));
    let output = broker.command(&["check", "--config", "broker.toml"]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("rewrites[0].destination is \"new/$3\" and its source has 2"), "{said}");

    let auto = "\n[[auto_subscriptions]]\nfilter = \"new/%c/#\"\nqos = 0\n";
    broker.write("broker.toml", &(rewrite("new/$1/$2") + auto));
    broker.start(&["run", "--config", "broker.toml"]);
    let mut pump = broker.client("pump", None, b"");
    let mut other = broker.client("other", None, b"");
    other.subscribe("old/pump/#", 0);
    let mut publisher = broker.client("publisher", None, b"");
    assert_eq!(publish(&mut publisher, "old/pump/start", false), 0);
    assert_eq!(pump.message().0, "new/pump/start");
    assert_eq!(other.message().0, "new/pump/start");
    assert_eq!(broker.stop().code(), Some(0));
}
