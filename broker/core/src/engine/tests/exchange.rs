//! Extended authentication: whose turn it is, and whom success belongs to.

use broker_policy::{Client, Policy, Record, ScramCredential};

use super::rig::*;
use crate::codec::packet::*;
use crate::codec::{ReasonCode, Sensitive};
use crate::engine::*;
use crate::types::ConnectionId;

const METHOD: &str = "SCRAM-SHA-256";

fn exchanging(client_id: &str) -> Connect<'_> {
    let properties = ConnectProperties {
        authentication_method: Some(METHOD),
        authentication_data: Some(Sensitive(b"first")),
        ..ConnectProperties::default()
    };
    Connect { properties, ..connect(client_id) }
}

fn auth(reason_code: ReasonCode, data: &[u8]) -> Packet<'_> {
    Packet::Auth(Auth {
        reason_code,
        authentication_method: Some(METHOD),
        authentication_data: Some(Sensitive(data)),
        ..Auth::default()
    })
}

fn begin(rig: &mut Rig, connect: Connect<'_>) -> ConnectionId {
    let id = rig.open();
    rig.send(id, &Packet::Connect(connect));
    id
}

fn answer(rig: &mut Rig, id: ConnectionId, outcome: ExchangeOutcome) {
    rig.effects.clear();
    rig.engine.exchanged(rig.now, id, outcome);
    rig.settle();
}

fn go_on() -> ExchangeOutcome {
    ExchangeOutcome::Continue { data: b"challenge"[..].into() }
}

fn proved(username: &str) -> ExchangeOutcome {
    ExchangeOutcome::Proved { username: username.into(), data: b"signature"[..].into() }
}

fn refused() -> ExchangeOutcome {
    ExchangeOutcome::Refused { reason_code: ReasonCode::NotAuthorized }
}

/// A client that has come in as `pump`.
fn come_in(rig: &mut Rig) -> ConnectionId {
    let id = begin(rig, exchanging("a"));
    answer(rig, id, go_on());
    rig.send(id, &auth(ReasonCode::ContinueAuthentication, b"proof"));
    answer(rig, id, proved("pump"));
    let expected = ["AUTH 0x18 challenge", "CONNACK 0x00 method=SCRAM-SHA-256 signature"];
    assert_eq!(rig.received(id), expected);
    id
}

#[test]
fn an_exchange_leads_to_connack_with_its_last_data() {
    let mut rig = Rig::with(EngineConfig::default(), policy(&["pump"], &[]));
    let id = begin(&mut rig, Connect { user_name: Some("pump"), ..exchanging("a") });
    let [Effect::BeginExchange { request, .. }] = &rig.effects[..] else { panic!() };
    assert_eq!((&*request.data, request.username.as_deref()), (&b"first"[..], Some("pump")));
    assert!(!format!("{request:?}").contains("first"));
    answer(&mut rig, id, go_on());
    rig.send(id, &auth(ReasonCode::ContinueAuthentication, b"proof"));
    let expected = Effect::ContinueExchange { connection: id, data: b"proof"[..].into() };
    assert_eq!(rig.effects, [expected]);
    rig.lose(id);
    come_in(&mut rig);
}

#[test]
fn a_client_that_is_refused_or_out_of_turn_gets_connack_with_the_reason() {
    let strange = Auth {
        reason_code: ReasonCode::ContinueAuthentication,
        authentication_method: Some("SCRAM-SHA-512"),
        ..Auth::default()
    };
    let cases = [
        (Packet::Auth(strange), "CONNACK 0x8c"),
        (Packet::Auth(Auth::default()), "CONNACK 0x82"),
        (auth(ReasonCode::ReAuthenticate, b"first"), "CONNACK 0x82"),
        (Packet::PingReq, "CONNACK 0x82"),
        (subscribe(1, "#", AtMostOnce), "CONNACK 0x82"),
    ];
    for (packet, expected) in cases {
        let mut rig = Rig::new();
        let id = begin(&mut rig, exchanging("a"));
        answer(&mut rig, id, go_on());
        assert_eq!(rig.received(id), ["AUTH 0x18 challenge"]);
        rig.send(id, &packet);
        assert_eq!(rig.received(id), [expected]);
        assert!(rig.is_closed(id));
    }
    for packet in [
        Packet::Publish(publish("t", AtMostOnce, 0, "x")),
        Packet::Disconnect(Disconnect::new(ReasonCode::Success)),
    ] {
        let mut rig = Rig::new();
        let watcher = rig.client("watcher");
        rig.subscribe(watcher, "#", AtMostOnce);
        let id = begin(&mut rig, Connect { will: Some(will("gone", 0)), ..exchanging("a") });
        answer(&mut rig, id, go_on());
        rig.send(id, &packet);
        assert!(rig.is_closed(id));
        assert_eq!(rig.received(watcher), [""; 0]);
    }
    let mut rig = Rig::new();
    let id = begin(&mut rig, exchanging("a"));
    answer(&mut rig, id, refused());
    assert_eq!(rig.received(id), ["CONNACK 0x87"]);
}

#[test]
fn what_comes_behind_connect_waits_for_the_drivers_turn_to_end() {
    let mut rig = Rig::new();
    let id = begin(&mut rig, exchanging("a"));
    rig.send(id, &auth(ReasonCode::ContinueAuthentication, b"proof"));
    assert_eq!(rig.effects.len(), 1, "one question at a time: {:?}", rig.effects);
    answer(&mut rig, id, go_on());
    assert_eq!(rig.effects.len(), 1, "{:?}", rig.effects);
    assert!(matches!(rig.effects[0], Effect::ContinueExchange { .. }));
}

#[test]
fn a_client_that_is_in_proves_itself_again_and_stays() {
    let mut rig = Rig::with(EngineConfig::default(), policy(&["pump", "gate"], &[]));
    let id = come_in(&mut rig);
    for _ in 0..2 {
        rig.send(id, &auth(ReasonCode::ReAuthenticate, b"first"));
        let [Effect::BeginExchange { request, .. }] = &rig.effects[..] else { panic!() };
        assert_eq!(request.username.as_deref(), Some("pump"));
        // Other packets go on meanwhile.
        rig.send(id, &Packet::PingReq);
        answer(&mut rig, id, go_on());
        rig.send(id, &auth(ReasonCode::ContinueAuthentication, b"proof"));
        answer(&mut rig, id, proved("pump"));
        assert_eq!(rig.received(id), ["PINGRESP", "AUTH 0x18 challenge", "AUTH 0x00 signature"]);
    }
    assert!(!rig.is_closed(id));
}

#[test]
fn a_client_that_proves_to_be_another_user_or_nobody_is_disconnected() {
    for outcome in [proved("gate"), refused()] {
        let mut rig = Rig::with(EngineConfig::default(), policy(&["pump", "gate"], &[]));
        let id = come_in(&mut rig);
        rig.send(id, &auth(ReasonCode::ReAuthenticate, b"first"));
        answer(&mut rig, id, outcome);
        assert_eq!(rig.received(id), ["DISCONNECT 0x87"]);
        assert!(rig.is_closed(id));
    }
}

#[test]
fn auth_out_of_turn_or_by_another_method_disconnects_a_client_that_is_in() {
    let other = Auth {
        reason_code: ReasonCode::ReAuthenticate,
        authentication_method: Some("PLAIN"),
        ..Auth::default()
    };
    let cases = [
        (Packet::Auth(other), "DISCONNECT 0x82"),
        (Packet::Auth(Auth::default()), "DISCONNECT 0x82"),
        (auth(ReasonCode::ContinueAuthentication, b"proof"), "DISCONNECT 0x82"),
    ];
    for (packet, expected) in cases {
        let mut rig = Rig::with(EngineConfig::default(), policy(&["pump"], &[]));
        let id = come_in(&mut rig);
        rig.send(id, &packet);
        assert_eq!(rig.received(id), [expected]);
    }
}

#[test]
fn an_answer_that_comes_too_late_does_nothing() {
    let mut rig = Rig::new();
    let id = begin(&mut rig, exchanging("a"));
    rig.wait(CONNECT_TIMEOUT_MILLIS);
    assert_eq!(rig.received(id), ["CONNACK 0x88"]);
    answer(&mut rig, id, proved("pump"));
    rig.lose(id);
    answer(&mut rig, id, proved("pump"));
    assert_eq!(rig.engine.counters().connects_accepted, 0);
}

fn with_credential(password: Option<&[u8]>) -> Policy {
    let scram = password.map(|p| ScramCredential::derive(p, &[7; 16], 4096).unwrap());
    let client = Client { username: "pump".into(), scram, ..Client::default() };
    Policy::from_records([Record::Client(client)]).unwrap()
}

#[test]
fn a_client_whose_credential_changes_has_to_come_again() {
    let mut rig = Rig::with(EngineConfig::default(), with_credential(Some(b"one")));
    let id = come_in(&mut rig);
    rig.engine.set_policy(rig.now, with_credential(Some(b"one")).into());
    rig.settle();
    assert!(!rig.is_closed(id));
    rig.engine.set_policy(rig.now, with_credential(Some(b"two")).into());
    rig.settle();
    assert_eq!(rig.received(id), ["DISCONNECT 0x98"]);
}

#[test]
fn a_credential_that_changes_during_the_exchange_proves_nothing() {
    let mut rig = Rig::with(EngineConfig::default(), with_credential(Some(b"one")));
    let id = begin(&mut rig, exchanging("a"));
    answer(&mut rig, id, go_on());
    rig.engine.set_policy(rig.now, with_credential(None).into());
    rig.send(id, &auth(ReasonCode::ContinueAuthentication, b"proof"));
    answer(&mut rig, id, proved("pump"));
    assert_eq!(rig.received(id), ["AUTH 0x18 challenge", "CONNACK 0x87"]);
}
