//! Clients that are sent to another server.

use super::rig::*;
use crate::codec::packet::*;
use crate::engine::EngineConfig;

fn elsewhere(refuses_connects: bool) -> Rig {
    let server_reference = Some("b.example:8883".into());
    let config = EngineConfig { server_reference, refuses_connects, ..EngineConfig::default() };
    Rig::with(config, open_policy())
}

#[test]
fn a_drain_names_the_other_server_to_clients_that_understand_it() {
    let mut rig = elsewhere(false);
    let (a, old) = (rig.client("a"), rig.connect(Connect { version: V311, ..connect("old") }));
    let properties =
        ConnectProperties { packet_bytes_max: Some(13), ..ConnectProperties::default() };
    let narrow = rig.connect(Connect { properties, ..connect("narrow") });
    rig.answers.claim = false;
    let waiting = rig.open();
    rig.send(waiting, &Packet::Connect(connect("waiting")));
    rig.engine.drain(rig.now);
    rig.settle();
    assert_eq!(rig.received(a), ["DISCONNECT 0x9c server=b.example:8883"]);
    assert_eq!(rig.received(old), [""; 0]);
    // 20 bytes with the name.
    assert_eq!(rig.received(narrow), ["DISCONNECT 0x9c"]);
    assert_eq!(rig.received(waiting), ["CONNACK 0x9c server=b.example:8883"]);
}

#[test]
fn a_broker_that_takes_nobody_names_the_other_server_before_it_asks_who_it_is() {
    let mut rig = elsewhere(true);
    for (version, expected) in [(V5, "CONNACK 0x9c server=b.example:8883"), (V311, "CONNACK 0x88")]
    {
        let id = rig.open();
        rig.send(id, &Packet::Connect(Connect { version, ..connect("a") }));
        assert_eq!(rig.received(id), [expected]);
        assert!(rig.is_closed(id));
    }
    assert!(rig.effects.is_empty());
}

#[test]
fn other_ends_name_no_server() {
    let mut rig = elsewhere(false);
    let a = rig.client("a");
    rig.send(a, &Packet::Auth(Auth::default()));
    assert_eq!(rig.received(a), ["DISCONNECT 0x82"]);
}

#[test]
fn a_drain_may_name_another_server_than_the_configuration() {
    let mut rig = elsewhere(false);
    let (a, b) = (rig.client("a"), rig.client("b"));
    rig.engine.set_drain_reference(Some("c.example:8883".into()));
    assert_eq!(rig.engine.drain_some(rig.now, 1), 1);
    rig.settle();
    rig.engine.set_drain_reference(None);
    assert_eq!(rig.engine.drain_some(rig.now, 1), 1);
    rig.settle();
    let mut told = [rig.received(a), rig.received(b)].concat();
    told.sort();
    let expected =
        ["DISCONNECT 0x9c server=b.example:8883", "DISCONNECT 0x9c server=c.example:8883"];
    assert_eq!(told, expected);
}
