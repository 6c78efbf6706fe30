//! Will Messages. Spec: MQTT 5.0 sections 3.1.2.5 and 3.1.3.2.

use broker_policy::AclType;

use super::rig::*;
use crate::codec::ReasonCode;
use crate::codec::packet::*;
use crate::engine::EngineConfig;
use crate::types::ConnectionId;

fn watched() -> (Rig, ConnectionId) {
    let mut rig = Rig::new();
    let watcher = rig.client("watcher");
    rig.subscribe(watcher, "will/#", AtMostOnce);
    (rig, watcher)
}

const GONE: &str = r#"PUBLISH will/a q0 "gone""#;

#[test]
fn a_lost_connection_leaves_its_will() {
    let (mut rig, watcher) = watched();
    let a = rig.connect(Connect { will: Some(will("will/a", 0)), ..connect("a") });
    rig.lose(a);
    assert_eq!(rig.received(watcher), [GONE]);
}

/// [MQTT-3.14.4-3]
#[test]
fn a_goodbye_takes_the_will_along_unless_it_asks_for_it() {
    let (mut rig, watcher) = watched();
    let a = rig.connect(Connect { will: Some(will("will/a", 0)), ..connect("a") });
    rig.send(a, &Packet::Disconnect(Disconnect::default()));
    assert!(rig.is_closed(a));
    rig.lose(a);
    assert_eq!(rig.received(watcher), [""; 0]);
    let a = rig.connect(Connect { will: Some(will("will/a", 0)), ..connect("a") });
    let reason_code = ReasonCode::DisconnectWithWill;
    rig.send(a, &Packet::Disconnect(Disconnect { reason_code, ..Disconnect::default() }));
    assert_eq!(rig.received(watcher), [GONE]);
    rig.lose(a);
    assert_eq!(rig.received(watcher), [""; 0]);
}

#[test]
fn an_error_and_a_silence_leave_the_will() {
    let (mut rig, watcher) = watched();
    let with_will = Connect { will: Some(will("will/a", 0)), ..connect("a") };
    let a = rig.connect(with_will);
    rig.send_bytes(a, &[0xF0, 0xFF, 0xFF, 0xFF, 0xFF]);
    assert_eq!(rig.received(watcher), [GONE]);
    rig.connect(Connect { keep_alive_seconds: 1, ..with_will });
    rig.wait(1500);
    assert_eq!(rig.received(watcher), [GONE]);
}

#[test]
fn a_will_waits_for_its_delay_and_a_reconnect_cancels_it() {
    let (mut rig, watcher) = watched();
    let with_will = Connect { will: Some(will("will/a", 5)), ..returning("a") };
    let a = rig.connect(with_will);
    rig.lose(a);
    rig.wait(4999);
    assert_eq!(rig.received(watcher), [""; 0]);
    let a = rig.connect(with_will);
    rig.wait(10_000);
    assert_eq!(rig.received(watcher), [""; 0]);
    rig.lose(a);
    rig.wait(5000);
    assert_eq!(rig.received(watcher), [GONE]);
    rig.wait(4_000_000);
    assert_eq!(rig.received(watcher), [""; 0]);
}

#[test]
fn the_end_of_the_session_does_not_wait_for_the_delay() {
    let (mut rig, watcher) = watched();
    let a = rig.connect(Connect { will: Some(will("will/a", 5)), ..connect("a") });
    rig.lose(a);
    assert_eq!(rig.received(watcher), [GONE]);
    let with_will = Connect { will: Some(will("will/a", 5000)), ..returning("a") };
    let a = rig.connect(with_will);
    rig.lose(a);
    rig.wait(3600 * 1000);
    assert_eq!(rig.received(watcher), [GONE]);
    // A clean start ends the session too.
    let a = rig.connect(with_will);
    rig.lose(a);
    rig.connect(connect("a"));
    assert_eq!(rig.received(watcher), [GONE]);
}

#[test]
fn a_take_over_publishes_a_will_without_delay_only() {
    let (mut rig, watcher) = watched();
    rig.connect(Connect { will: Some(will("will/a", 0)), ..returning("a") });
    rig.connect(Connect { will: Some(will("will/a", 9)), ..returning("a") });
    assert_eq!(rig.received(watcher), [GONE]);
    rig.connect(returning("a"));
    rig.wait(100_000);
    assert_eq!(rig.received(watcher), [""; 0]);
}

#[test]
fn a_will_needs_the_right_to_publish() {
    let acls = [(AclType::PublishClientSend, "will/#", false)];
    let mut rig = Rig::with(EngineConfig::default(), policy(&["u"], &acls));
    let watcher = rig.client("watcher");
    rig.subscribe(watcher, "will/#", AtMostOnce);
    let will = Some(will("will/a", 0));
    let a = rig.connect(Connect { user_name: Some("u"), will, ..connect("a") });
    rig.lose(a);
    assert_eq!(rig.received(watcher), [""; 0]);
    assert_eq!(rig.engine.counters().dropped.publish_denied, 1);
}

#[test]
fn a_retained_will_is_proposed_and_its_expiry_starts_when_it_is_published() {
    let (mut rig, watcher) = watched();
    let properties = WillProperties {
        message_expiry_seconds: Some(3),
        delay_seconds: Some(10),
        ..WillProperties::default()
    };
    let will = Will { retain: true, properties, ..will("will/a", 0) };
    let a = rig.connect(Connect { will: Some(will), ..returning("a") });
    rig.lose(a);
    rig.wait(10_000);
    assert_eq!(rig.received(watcher), [r#"PUBLISH will/a q0 expiry=3 "gone""#]);
    let store = rig.retained.0.lock().unwrap();
    assert_eq!(store["will/a"].expires_at(), rig.now.plus(3000));
}
