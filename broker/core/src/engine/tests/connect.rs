//! CONNECT, keep alive, and what a broken packet does.

use super::rig::*;
use crate::codec::ReasonCode;
use crate::codec::Sensitive;
use crate::codec::packet::*;
use crate::engine::*;
use crate::types::QoS;

#[test]
fn connack_tells_what_the_server_grants() {
    let config = EngineConfig {
        session_expiry_seconds_max: 100,
        keep_alive_seconds_max: 30,
        ..EngineConfig::default()
    };
    let mut rig = Rig::with(config, open_policy());
    let id = rig.open();
    rig.send(id, &Packet::Connect(returning("a")));
    assert_eq!(rig.received(id), ["CONNACK 0x00 expiry=100 keep_alive=30"]);
    assert_eq!(rig.engine.counters().connects_accepted, 1);
}

#[test]
fn under_mosquittos_profile_the_answers_are_mosquittos_byte_by_byte() {
    let config = EngineConfig {
        profile: Profile::Mosquitto,
        packet_bytes_max: 2_000_000,
        receive_maximum: 20,
        topic_alias_maximum: 10,
        keep_alive_seconds_max: 30,
        ..EngineConfig::default()
    };
    let mut rig = Rig::with(config, open_policy());
    let id = rig.open();
    let asked = Connect { keep_alive_seconds: 60, ..connect("a") };
    rig.send(id, &Packet::Connect(asked));
    let connack = [0x20, 17, 0, 0, 14, 0x22, 0, 10, 0x13, 0, 30, 0x27, 0, 0x1E, 0x84, 0x80];
    assert_eq!(rig.bytes(id), [&connack[..], &[0x21, 0, 20]].concat());
    rig.send(id, &Packet::Publish(publish("t", QoS::AtLeastOnce, 1, "x")));
    rig.send(id, &Packet::Publish(publish("t", QoS::ExactlyOnce, 2, "x")));
    assert_eq!(rig.received(id), ["PUBACK #1 0x10", "PUBREC #2"]);
}

/// [MQTT-3.1.2-28]
#[test]
fn response_information_is_for_clients_that_ask_and_goes_where_it_does_not_fit() {
    let information = Some("answers/%c".into());
    let config = EngineConfig { response_information: information, ..EngineConfig::default() };
    for (asks, bytes_max, expected) in [
        (Some(true), None, "CONNACK 0x00 response=answers/a"),
        (Some(true), Some(27), "CONNACK 0x00"),
        (Some(false), None, "CONNACK 0x00"),
        (None, None, "CONNACK 0x00"),
    ] {
        let mut rig = Rig::with(config.clone(), open_policy());
        let id = rig.open();
        let properties = ConnectProperties {
            request_response_information: asks,
            packet_bytes_max: bytes_max,
            ..ConnectProperties::default()
        };
        rig.send(id, &Packet::Connect(Connect { properties, ..connect("a") }));
        assert_eq!(rig.received(id), [expected]);
    }
}

#[test]
fn a_client_without_identifier_is_given_one() {
    let mut rig = Rig::new();
    let id = rig.open();
    rig.send(id, &Packet::Connect(connect("")));
    let packets = rig.received(id);
    assert!(packets[0].starts_with("CONNACK 0x00 id=dunlin-"), "{packets:?}");
    let other = rig.open();
    rig.send(other, &Packet::Connect(connect("")));
    assert_ne!(rig.received(other), packets);
}

#[test]
fn a_311_client_without_identifier_needs_a_clean_session() {
    let mut rig = Rig::new();
    let id = rig.open();
    let packet = Connect { version: V311, clean_start: false, ..connect("") };
    rig.send(id, &Packet::Connect(packet));
    assert_eq!(rig.received(id), ["CONNACK 0x85"]);
    assert!(rig.is_closed(id));
    let id = rig.open();
    rig.send(id, &Packet::Connect(Connect { version: V311, ..connect("") }));
    assert_eq!(rig.received(id), ["CONNACK 0x00"]);
}

#[test]
fn an_authentication_method_is_refused() {
    let mut rig = Rig::new();
    let id = rig.open();
    let properties =
        ConnectProperties { authentication_method: Some("SCRAM"), ..ConnectProperties::default() };
    rig.send(id, &Packet::Connect(Connect { properties, ..connect("a") }));
    assert_eq!(rig.received(id), ["CONNACK 0x8c"]);
    assert!(rig.is_closed(id));
}

#[test]
fn refused_credentials_and_a_missing_arbiter_are_told() {
    let mut rig = Rig::new();
    rig.answers.authenticate = false;
    let id = rig.open();
    let password = Some(Sensitive(b"secret"));
    rig.send(id, &Packet::Connect(Connect { user_name: Some("u"), password, ..connect("a") }));
    let [Effect::Authenticate { request, .. }] = &rig.effects[..] else { panic!() };
    assert_eq!(request.password.as_deref(), Some(&b"secret"[..]));
    assert!(!format!("{request:?}").contains("secret"));
    let reason_code = ReasonCode::BadUserNameOrPassword;
    rig.engine.authenticated(rig.now, id, AuthOutcome::Refused { reason_code });
    rig.settle();
    assert_eq!(rig.received(id), ["CONNACK 0x86"]);
    assert!(rig.is_closed(id));

    (rig.answers.authenticate, rig.answers.claim) = (true, false);
    let id = rig.open();
    rig.send(id, &Packet::Connect(connect("a")));
    rig.engine.claimed(rig.now, id, ClaimOutcome::Unavailable);
    rig.settle();
    assert_eq!(rig.received(id), ["CONNACK 0x88"]);
    assert_eq!(rig.engine.counters().connects_refused, 2);
}

#[test]
fn packets_after_connect_wait_for_its_answer() {
    let mut rig = Rig::new();
    rig.answers.claim = false;
    let id = rig.open();
    let mut bytes = Vec::new();
    Packet::Connect(connect("a")).encode(V5, &mut bytes).unwrap();
    subscribe(7, "t", AtMostOnce).encode(V5, &mut bytes).unwrap();
    Packet::PingReq.encode(V5, &mut bytes).unwrap();
    let (first, second) = bytes.split_at(bytes.len() - 3);
    assert_eq!(rig.engine.receive(rig.now, id, first), Intake::Paused);
    rig.settle();
    assert_eq!(rig.engine.receive(rig.now, id, second), Intake::Paused);
    assert_eq!(rig.received(id), [""; 0]);
    rig.grant(id, None);
    rig.settle();
    assert_eq!(rig.received(id), ["CONNACK 0x00", "PINGRESP", "SUBACK #7 0x00"]);
    assert_eq!(rig.resumed, [id]);
}

#[test]
fn bytes_may_arrive_one_by_one() {
    let mut rig = Rig::new();
    let id = rig.open();
    let mut bytes = Vec::new();
    Packet::Connect(connect("a")).encode(V5, &mut bytes).unwrap();
    subscribe(7, "t", AtMostOnce).encode(V5, &mut bytes).unwrap();
    Packet::Publish(publish("t", AtMostOnce, 0, "hello")).encode(V5, &mut bytes).unwrap();
    bytes.iter().for_each(|byte| rig.send_bytes(id, &[*byte]));
    assert_eq!(rig.received(id), ["CONNACK 0x00", "SUBACK #7 0x00", r#"PUBLISH t q0 "hello""#]);
}

/// [MQTT-3.1.0-1] [MQTT-3.1.0-2]
#[test]
fn the_first_packet_must_be_connect_and_a_second_one_is_an_error() {
    let mut rig = Rig::new();
    let id = rig.open();
    rig.send_bytes(id, &[0xC0, 0]);
    assert!(rig.is_closed(id) && rig.received(id).is_empty());
    let id = rig.client("a");
    rig.send(id, &Packet::Connect(connect("a")));
    assert_eq!(rig.received(id), ["DISCONNECT 0x82"]);
    assert!(rig.is_closed(id));
}

#[test]
fn a_malformed_packet_ends_the_connection_and_nothing_else_happens() {
    let mut rig = Rig::new();
    let reader = rig.client("reader");
    rig.subscribe(reader, "#", AtMostOnce);
    let id = rig.client("a");
    let mut bytes = vec![0x36, 5, 0, 1, b't', 0, 1]; // QoS 3
    Packet::Publish(publish("t", AtMostOnce, 0, "x")).encode(V5, &mut bytes).unwrap();
    rig.send_bytes(id, &bytes);
    assert_eq!(rig.received(id), ["DISCONNECT 0x81"]);
    assert!(rig.is_closed(id));
    assert_eq!(rig.received(reader), [""; 0]);
    rig.send_bytes(id, &[0xC0, 0]);
    assert_eq!(rig.received(id), [""; 0]);
    // 3.1.1 has no DISCONNECT from the server.
    let id = rig.connect(Connect { version: V311, ..connect("b") });
    rig.send_bytes(id, &[0x36, 5, 0, 1, b't', 0, 1]);
    assert!(rig.is_closed(id) && rig.received(id).is_empty());
}

#[test]
fn a_connect_of_an_unknown_version_is_answered() {
    let mut rig = Rig::new();
    let id = rig.open();
    rig.send_bytes(id, &[0x10, 13, 0, 4, b'M', b'Q', b'T', b'T', 9, 2, 0, 0, 0, 0, 0]);
    assert_eq!(rig.received(id), ["CONNACK 0x84"]);
    assert!(rig.is_closed(id));
}

#[test]
fn connect_must_come_in_time() {
    let mut rig = Rig::new();
    let id = rig.open();
    rig.wait(14_999);
    assert!(!rig.is_closed(id));
    rig.wait(1);
    assert!(rig.is_closed(id));
}

#[test]
fn a_slow_answer_to_connect_is_not_waited_for() {
    let mut rig = Rig::new();
    rig.answers.claim = false;
    let id = rig.open();
    rig.send(id, &Packet::Connect(connect("a")));
    rig.wait(15_000);
    assert_eq!(rig.received(id), ["CONNACK 0x88"]);
    assert!(rig.is_closed(id));
    let withdrawn = |effect: &Effect| matches!(effect, Effect::Withdraw { connection, .. } if *connection == id);
    assert!(rig.effects.iter().any(withdrawn), "{:?}", rig.effects);
    rig.lose(id);
    rig.effects.clear();
    rig.grant(id, None);
    rig.settle();
    let [Effect::Release { client_id, .. }] = &rig.effects[..] else { panic!("{:?}", rig.effects) };
    assert_eq!(client_id.as_str(), "a");
}

/// [MQTT-3.1.2-22]
#[test]
fn a_silent_client_is_disconnected_after_one_and_a_half_keep_alives() {
    let mut rig = Rig::new();
    let id = rig.connect(Connect { keep_alive_seconds: 10, ..connect("a") });
    rig.wait(14_000);
    rig.send(id, &Packet::PingReq);
    assert_eq!(rig.received(id), ["PINGRESP"]);
    rig.wait(14_999);
    assert!(!rig.is_closed(id));
    rig.wait(1);
    assert_eq!(rig.received(id), ["DISCONNECT 0x8d"]);
    assert!(rig.is_closed(id));
}

#[test]
fn a_client_without_keep_alive_may_be_silent_for_ever() {
    let mut rig = Rig::new();
    let id = rig.client("a");
    rig.wait(1_000_000_000);
    assert!(!rig.is_closed(id));
    assert_eq!(rig.engine.next_timeout(), None);
}

#[test]
fn a_new_connection_takes_the_identifier_over() {
    let mut rig = Rig::new();
    let old = rig.client("a");
    let new = rig.client("a");
    assert_eq!(rig.received(old), ["DISCONNECT 0x8e"]);
    assert!(rig.is_closed(old) && !rig.is_closed(new));
    rig.lose(old);
    rig.send(new, &Packet::PingReq);
    assert_eq!(rig.received(new), ["PINGRESP"]);
    assert_eq!((rig.engine.counters().sessions, rig.engine.counters().connections), (1, 1));
}

#[test]
fn identifiers_of_connections_do_not_come_back() {
    let mut rig = Rig::new();
    let first = rig.client("a");
    rig.lose(first);
    let second = rig.client("b");
    assert_ne!(first, second);
    assert_eq!(first.0 as u32, second.0 as u32);
    rig.send_bytes(first, &[0xC0, 0]);
    assert_eq!(rig.received(second), [""; 0]);
}

#[test]
fn drain_disconnects_everyone_and_keeps_sessions() {
    let mut rig = Rig::new();
    let (a, b) = (rig.client("a"), rig.connect(returning("b")));
    assert_eq!(rig.engine.drain_some(rig.now, 1), 1);
    rig.settle();
    assert!(rig.is_closed(a) && !rig.is_closed(b));
    assert_eq!(rig.engine.drain_some(rig.now, 9), 1);
    rig.settle();
    assert_eq!(
        (rig.received(a), rig.received(b)),
        (vec!["DISCONNECT 0x8b".into()], vec!["DISCONNECT 0x8b".into()])
    );
    assert!(rig.is_closed(a) && rig.is_closed(b));
    assert_eq!(rig.engine.counters().sessions, 1);
}

#[test]
fn auth_is_an_error_where_connect_named_no_method() {
    let mut rig = Rig::new();
    let id = rig.client("a");
    rig.send(id, &Packet::Auth(Auth::default()));
    assert_eq!(rig.received(id), ["DISCONNECT 0x82"]);
}

#[test]
fn a_311_client_keeps_its_keep_alive_as_it_cannot_be_told_of_another() {
    let config = EngineConfig { keep_alive_seconds_max: 30, ..EngineConfig::default() };
    let mut rig = Rig::with(config, open_policy());
    let a = rig.connect(Connect { version: V311, keep_alive_seconds: 60, ..connect("a") });
    rig.wait(89_999);
    assert!(!rig.is_closed(a));
    rig.wait(1);
    assert!(rig.is_closed(a));
}

#[test]
fn what_a_connection_and_a_session_cost_at_rest() {
    let connection = std::mem::size_of::<crate::connection::Connection>();
    let session = std::mem::size_of::<crate::session::Session>();
    assert!(connection <= 256 && session <= 400, "{connection} + {session} bytes");
}
