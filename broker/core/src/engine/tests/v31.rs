//! MQTT 3.1 clients, byte by byte.

use super::rig::*;
use crate::codec::packet::*;
use crate::types::ProtocolVersion::V31;

/// A CONNECT of 3.1 with these Connect Flags, keep alive 60 and this Client Identifier.
fn connect_bytes(flags: u8, client_id: &str) -> Vec<u8> {
    let length = 14 + client_id.len() as u8;
    let head = [0x10, length, 0, 6, b'M', b'Q', b'I', b's', b'd', b'p', 3, flags, 0, 60];
    [&head[..], &[0, client_id.len() as u8], client_id.as_bytes()].concat()
}

fn exchange(rig: &mut Rig, at: crate::types::ConnectionId, bytes: &[u8]) -> Vec<u8> {
    rig.send_bytes(at, bytes);
    rig.bytes(at)
}

#[test]
fn a_31_client_is_served_as_one_of_311() {
    let mut rig = Rig::new();
    let id = rig.open();
    let long_id = "an identifier of more than 23 characters";
    assert_eq!(exchange(&mut rig, id, &connect_bytes(0b10, long_id)), [0x20, 2, 0, 0]);
    let suback = exchange(&mut rig, id, &[0x82, 6, 0, 1, 0, 1, b't', 1]);
    assert_eq!(suback, [0x90, 3, 0, 1, 1]);
    let publish = exchange(&mut rig, id, &[0x32, 6, 0, 1, b't', 0, 7, b'x']);
    assert_eq!(publish, [0x32, 6, 0, 1, b't', 0, 1, b'x', 0x40, 2, 0, 7]);
    assert_eq!(exchange(&mut rig, id, &[0xC0, 0]), [0xD0, 0]);
    assert_eq!(exchange(&mut rig, id, &[0xA2, 5, 0, 2, 0, 1, b't']), [0xB0, 2, 0, 2]);
    rig.send_bytes(id, &[0xE0, 0]);
    assert!(rig.is_closed(id));
}

#[test]
fn a_31_client_may_set_dup_where_it_repeats_itself_and_a_311_client_may_not() {
    let mut rig = Rig::new();
    let id = rig.open();
    exchange(&mut rig, id, &connect_bytes(0b10, "a"));
    exchange(&mut rig, id, &[0x34, 6, 0, 1, b't', 0, 7, b'x']);
    assert_eq!(exchange(&mut rig, id, &[0x6A, 2, 0, 7]), [0x70, 2, 0, 7]);
    let suback = exchange(&mut rig, id, &[0x8A, 6, 0, 1, 0, 1, b't', 1]);
    assert_eq!(suback, [0x90, 3, 0, 1, 1]);
    rig.send_bytes(id, &[0xC8, 0]);
    assert!(rig.is_closed(id), "PINGREQ has no DUP");

    let id = rig.connect(Connect { version: V311, ..connect("b") });
    rig.send_bytes(id, &[0x6A, 2, 0, 7]);
    assert!(rig.is_closed(id));
}

#[test]
fn a_31_client_is_not_told_of_its_session_and_needs_an_identifier() {
    let mut rig = Rig::new();
    for _ in 0..2 {
        let id = rig.open();
        assert_eq!(exchange(&mut rig, id, &connect_bytes(0, "a")), [0x20, 2, 0, 0]);
        rig.lose(id);
    }
    let id = rig.open();
    assert_eq!(exchange(&mut rig, id, &connect_bytes(0b10, "")), [0x20, 2, 0, 2]);
    assert!(rig.is_closed(id));
    let mut encoded = Vec::new();
    let of_31 = Connect { version: V31, keep_alive_seconds: 60, ..connect("a") };
    of_31.encode(&mut encoded).unwrap();
    assert_eq!(encoded, connect_bytes(0b10, "a"));
}
