//! A client that sends one byte a second costs what it has sent, and holds nobody up.

use super::rig::*;
use crate::codec::encode;
use crate::codec::packet::*;
use crate::engine::EngineConfig;

fn wire(packet: &Packet<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(packet, V5, &mut bytes).unwrap();
    bytes
}

#[test]
fn a_connect_that_comes_a_byte_a_second_is_not_waited_for_longer_than_any_other() {
    let config = EngineConfig { connect_timeout_millis: 10_000, ..EngineConfig::default() };
    let mut rig = Rig::with(config, open_policy());
    let bytes = wire(&Packet::Connect(connect("a-client-with-a-long-name")));
    assert!(bytes.len() > 20);
    let id = rig.open();
    let start = rig.now;
    for byte in bytes {
        rig.send_bytes(id, &[byte]);
        rig.wait(1_000);
        if rig.is_closed(id) {
            break;
        }
    }
    assert!(rig.is_closed(id));
    assert_eq!(rig.now.since(start), 10_000);
    rig.lose(id);
    assert_eq!(rig.engine.counters().connections, 0);
}

#[test]
fn a_publish_that_comes_a_byte_a_second_is_taken_when_it_is_whole_and_others_go_on_meanwhile() {
    let mut rig = Rig::new();
    let watch = rig.client("watch");
    rig.subscribe(watch, "t", AtMostOnce);
    let id = rig.connect(Connect { keep_alive_seconds: 2, ..connect("slow") });
    let other = rig.client("other");
    let payload = "x".repeat(100);
    for byte in wire(&Packet::Publish(publish("t", AtMostOnce, 0, &payload))) {
        assert_eq!(rig.received(watch), [""; 0]);
        rig.send_bytes(id, &[byte]);
        rig.wait(1_000);
        rig.send(other, &Packet::PingReq);
        assert_eq!(rig.received(other), ["PINGRESP"]);
    }
    assert_eq!(rig.received(watch).len(), 1);
    assert!(!rig.is_closed(id), "every byte is a sign of life");
    rig.wait(4_000);
    assert!(rig.is_closed(id), "and none is none");
}
