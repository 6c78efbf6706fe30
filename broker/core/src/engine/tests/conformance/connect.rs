//! Chapters 3.1, 3.2 and 3.14: CONNECT, CONNACK, DISCONNECT; and 4.1, how long a session lives.

use super::super::rig::*;
use crate::codec::packet::*;
use crate::engine::*;

#[test]
fn identifiers_of_1_to_23_letters_and_digits_are_allowed() {
    let letters = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    let mut rig = Rig::new();
    for start in 0..letters.len() {
        for bytes in [1, 23] {
            let Some(client_id) = letters.get(start..start + bytes) else { continue };
            for version in [V311, V5] {
                let id = rig.open();
                rig.send(id, &Packet::Connect(Connect { version, ..connect(client_id) }));
                assert_eq!(rig.received(id), ["CONNACK 0x00"], "{client_id}");
            }
        }
    }
}

#[test]
fn a_malformed_connect_ends_the_connection_before_anything_is_asked() {
    // The reserved flag, a missing identifier, a user name that is not there, Will QoS without a will.
    let (v5, v311): (&[u8], &[u8]) = (&[5, 0], &[4]);
    for (flags, identifier) in
        [(0x03, &[0, 1, b'a'][..]), (0x02, &[]), (0x82, &[0, 1, b'a']), (0x0A, &[0, 1, b'a'])]
    {
        for level in [v5, v311] {
            let mut rig = Rig::new();
            rig.answers.authenticate = false;
            let id = rig.open();
            let name = [0, 4, b'M', b'Q', b'T', b'T', level[0]];
            let body = [&name[..], &[flags, 0, 0], &level[1..], identifier].concat();
            rig.send_bytes(id, &[&[0x10, body.len() as u8], &body[..]].concat());
            // 3.1.1 has no return code for it.
            let expected: &[&str] = if level == v5 { &["CONNACK 0x81"] } else { &[] };
            assert_eq!(rig.received(id), expected, "{level:?} {flags:02x}");
            assert!(rig.is_closed(id) && rig.effects.is_empty(), "{level:?} {flags:02x}");
        }
    }
}

#[test]
fn what_follows_a_refused_connect_is_not_processed() {
    let mut rig = Rig::new();
    let watcher = rig.client("watcher");
    rig.subscribe(watcher, "#", AtMostOnce);
    let properties =
        ConnectProperties { authentication_method: Some("SCRAM"), ..ConnectProperties::default() };
    let mut bytes = Vec::new();
    Packet::Connect(Connect { properties, ..connect("a") }).encode(V5, &mut bytes).unwrap();
    Packet::Publish(publish("t", AtMostOnce, 0, "x")).encode(V5, &mut bytes).unwrap();
    let id = rig.open();
    rig.send_bytes(id, &bytes);
    assert_eq!(rig.received(id), ["CONNACK 0x8c"]);
    assert!(rig.is_closed(id));
    assert_eq!(rig.received(watcher), [""; 0]);
}

#[test]
fn a_refusal_does_not_say_that_a_session_is_present() {
    let mut rig = Rig::new();
    let a = rig.connect(returning("a"));
    rig.lose(a);
    rig.answers.claim = false;
    let a = rig.open();
    rig.send(a, &Packet::Connect(returning("a")));
    rig.engine.claimed(rig.now, a, ClaimOutcome::Unavailable);
    rig.settle();
    assert_eq!(rig.received(a), ["CONNACK 0x88"]);
    assert!(rig.is_closed(a));
}

#[test]
fn a_session_is_kept_while_its_connection_is_open() {
    let mut rig = Rig::new();
    let b = rig.client("b");
    let properties =
        ConnectProperties { session_expiry_seconds: Some(1), ..ConnectProperties::default() };
    let a = rig.connect(Connect { properties, ..connect("a") });
    rig.subscribe(a, "t", AtMostOnce);
    rig.wait(100_000_000);
    rig.send(b, &Packet::Publish(publish("t", AtMostOnce, 0, "x")));
    assert_eq!(rig.received(a), [r#"PUBLISH t q0 "x""#]);
    assert_eq!(rig.engine.counters().sessions, 2);
}

#[test]
fn a_will_is_retained_only_when_it_says_so_and_keeps_its_qos() {
    for (qos, expected) in [(AtMostOnce, "q0"), (AtLeastOnce, "q1 #1"), (ExactlyOnce, "q2 #1")] {
        for retain in [false, true] {
            let mut rig = Rig::new();
            let watcher = rig.client("watcher");
            rig.subscribe(watcher, "will/a", ExactlyOnce);
            let will = Some(Will { qos, retain, ..will("will/a", 0) });
            let a = rig.connect(Connect { will, ..connect("a") });
            rig.lose(a);
            assert_eq!(rig.received(watcher), [format!(r#"PUBLISH will/a {expected} "gone""#)]);
            let is_stored = rig.retained.0.lock().unwrap().contains_key("will/a");
            assert_eq!(is_stored, retain, "{qos:?}");
        }
    }
}

#[test]
fn without_a_will_nothing_is_published_for_a_lost_connection() {
    for version in [V311, V5] {
        let mut rig = Rig::new();
        let watcher = rig.client("watcher");
        rig.subscribe(watcher, "#", AtMostOnce);
        let without = Connect { version, clean_start: false, ..connect("a") };
        let will = Some(will("will/a", 0));
        let a = rig.connect(Connect { will, ..without });
        rig.lose(a);
        assert_eq!(rig.received(watcher), [r#"PUBLISH will/a q0 "gone""#]);
        let a = rig.open();
        rig.send(a, &Packet::Connect(without));
        rig.lose(a);
        rig.wait(100_000);
        assert_eq!(rig.received(watcher), [""; 0]);
    }
}
