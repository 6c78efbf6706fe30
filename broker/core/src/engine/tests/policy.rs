//! Policy changes while clients are connected.

use std::sync::Arc;

use broker_policy::{Acl, AclType, Policy, Record, RecordKey, Role};

use super::rig::*;
use crate::codec::ReasonCode;
use crate::codec::packet::*;
use crate::engine::*;
use crate::types::{ConnectionId, NodeId};

fn as_user<'a>(client_id: &'a str, username: &'a str) -> Connect<'a> {
    Connect { user_name: Some(username), ..connect(client_id) }
}

fn rig() -> Rig {
    Rig::with(EngineConfig::default(), policy(&["u", "v"], &[]))
}

/// Derives a policy from the current one.
fn change(rig: &Rig, upserts: Vec<Record>, removals: Vec<RecordKey>) -> Arc<Policy> {
    let policy = &rig.engine.policy;
    Arc::new(policy.apply(&policy.change(upserts, removals).unwrap()).unwrap())
}

fn set_acls(rig: &mut Rig, acls: &[(AclType, &str)]) {
    let mut role = Role::new("role");
    role.acls = acls
        .iter()
        .map(|&(acl_type, topic)| Acl { acl_type, topic: topic.into(), priority: 0, allow: false })
        .collect();
    let policy = change(rig, vec![Record::Role(role)], vec![]);
    rig.engine.set_policy(rig.now, policy);
    rig.settle();
}

fn set_client(rig: &mut Rig, edit: impl Fn(&mut broker_policy::Client)) {
    let mut client = rig.engine.policy.client("u").unwrap().clone();
    edit(&mut client);
    let policy = change(rig, vec![Record::Client(client)], vec![]);
    rig.engine.set_policy(rig.now, policy);
    rig.settle();
}

fn send(rig: &mut Rig, from: ConnectionId, topic: &str) -> Vec<String> {
    rig.send(from, &Packet::Publish(publish(topic, AtLeastOnce, 1, "x")));
    rig.received(from)
}

#[test]
fn new_rights_hold_at_once_and_the_connection_stays() {
    let mut rig = rig();
    let (a, b) = (rig.connect(as_user("a", "u")), rig.connect(as_user("b", "v")));
    rig.subscribe(a, "t/1", AtMostOnce);
    rig.subscribe(a, "t/2", AtMostOnce);
    rig.subscribe(a, "t/3", AtMostOnce);
    assert_eq!(send(&mut rig, b, "t/1"), ["PUBACK #1"]);
    assert_eq!(rig.received(a).len(), 1);
    let acls = [
        (AclType::SubscribePattern, "t/1"),
        (AclType::PublishClientReceive, "t/2"),
        (AclType::PublishClientSend, "t/3"),
    ];
    set_acls(&mut rig, &acls);
    assert_eq!(send(&mut rig, b, "t/1"), ["PUBACK #1 0x10"]);
    assert_eq!(send(&mut rig, b, "t/2"), ["PUBACK #1 0x10"]);
    assert_eq!(send(&mut rig, b, "t/3"), ["PUBACK #1 0x87"]);
    assert_eq!(rig.received(a), [""; 0]);
    assert!(!rig.is_closed(a) && !rig.is_closed(b));
    assert_eq!(rig.engine.counters().subscriptions, 2);
    set_acls(&mut rig, &[]);
    assert_eq!(send(&mut rig, b, "t/2"), ["PUBACK #1"]);
    assert_eq!(rig.received(a).len(), 1);
}

#[test]
fn an_offline_session_loses_subscriptions_too() {
    let mut rig = rig();
    let a = rig.connect(Connect { user_name: Some("u"), ..returning("a") });
    rig.subscribe(a, "t", AtLeastOnce);
    rig.lose(a);
    set_acls(&mut rig, &[(AclType::SubscribePattern, "t")]);
    assert_eq!(rig.engine.counters().subscriptions, 0);
    assert_eq!(rig.engine.counters().sessions, 1);
}

#[test]
fn a_suspended_or_deleted_user_is_disconnected_without_its_will() {
    let mut rig = rig();
    let watcher = rig.connect(as_user("watcher", "v"));
    rig.subscribe(watcher, "will/#", AtMostOnce);
    let with_will = Connect { will: Some(will("will/a", 0)), ..as_user("a", "u") };
    let a = rig.connect(with_will);
    set_client(&mut rig, |client| client.disabled = true);
    assert_eq!(rig.received(a), ["DISCONNECT 0x98"]);
    assert!(rig.is_closed(a));
    set_client(&mut rig, |client| client.disabled = false);
    let a = rig.connect(with_will);
    let policy = change(&rig, vec![], vec![RecordKey::client("u")]);
    rig.engine.set_policy(rig.now, policy);
    rig.settle();
    assert_eq!(rig.received(a), ["DISCONNECT 0x98"]);
    assert_eq!(rig.received(watcher), [""; 0]);
    assert!(!rig.is_closed(watcher));
}

#[test]
fn a_changed_password_ends_connections_that_used_the_old_one() {
    let mut rig = rig();
    let password = Some(crate::codec::Sensitive(b"secret"));
    let a = rig.connect(Connect { password, ..as_user("a", "u") });
    let hash = "$7$1$c2FsdHNhbHRzYWx0$".to_owned() + &"A".repeat(86) + "==";
    let hash = broker_policy::PasswordHash::parse(&hash).unwrap();
    set_client(&mut rig, |client| client.text_name = "a pump".into());
    assert!(!rig.is_closed(a));
    set_client(&mut rig, |client| client.password = Some(hash.clone()));
    assert_eq!(rig.received(a), ["DISCONNECT 0x98"]);
}

#[test]
fn a_policy_that_changes_while_a_client_connects_is_minded() {
    let mut rig = rig();
    rig.answers.claim = false;
    let a = rig.open();
    rig.send(a, &Packet::Connect(as_user("a", "u")));
    set_client(&mut rig, |client| client.disabled = true);
    rig.grant(a, None);
    rig.settle();
    assert_eq!(rig.received(a), ["CONNACK 0x87"]);
    assert!(rig.is_closed(a));
    assert!(rig.effects.iter().any(|effect| matches!(effect, Effect::Release { .. })));
    set_client(&mut rig, |client| client.disabled = false);
    rig.answers.authenticate = false;
    let a = rig.open();
    rig.send(a, &Packet::Connect(as_user("a", "u")));
    set_client(&mut rig, |client| client.disabled = true);
    let outcome = AuthOutcome::Accepted { username: Some("u".into()), proof: AuthProof::None };
    rig.engine.authenticated(rig.now, a, outcome);
    assert_eq!(rig.received(a), [format!("CONNACK {:#04x}", ReasonCode::NotAuthorized.as_u8())]);
}

#[test]
fn a_client_beyond_its_quota_is_read_more_slowly_and_loses_nothing() {
    let mut rig = rig();
    set_client(&mut rig, |client| client.quotas.publishes_per_second = Some(10));
    let a = rig.connect(Connect { keep_alive_seconds: 1, ..as_user("a", "u") });
    let b = rig.connect(as_user("b", "v"));
    rig.subscribe(b, "t", AtMostOnce);
    let mut bytes = Vec::new();
    for number in 0..50 {
        let payload = number.to_string();
        Packet::Publish(publish("t", AtMostOnce, 0, &payload)).encode(V5, &mut bytes).unwrap();
    }
    assert_eq!(rig.engine.receive(rig.now, a, &bytes), Intake::Paused);
    let first = rig.received(b).len();
    assert!((10..=11).contains(&first), "{first}");
    rig.resumed.clear();
    rig.wait(2000);
    let next = rig.received(b).len();
    assert!((19..=21).contains(&next), "{next}");
    rig.wait(2100);
    assert_eq!(first + next + rig.received(b).len(), 50);
    assert!(!rig.is_closed(a), "waiting is not silence");
    assert_eq!(rig.resumed.last(), Some(&a));
    rig.wait(1600);
    assert_eq!(rig.received(a), ["DISCONNECT 0x8d"]);
}

/// Puts messages to these topics into the queue of an offline session of user `u`.
fn leave_waiting(rig: &mut Rig, topics: &[&str]) {
    let a = rig.connect(Connect { user_name: Some("u"), ..returning("a") });
    rig.subscribe(a, "#", AtLeastOnce);
    rig.lose(a);
    let b = rig.connect(as_user("b", "v"));
    for topic in topics {
        send(rig, b, topic);
    }
}

fn return_as_u(rig: &mut Rig) -> Vec<String> {
    let a = rig.open();
    rig.send(a, &Packet::Connect(Connect { user_name: Some("u"), ..returning("a") }));
    rig.received(a)
}

#[test]
fn messages_that_wait_are_not_sent_to_who_may_no_longer_receive_them() {
    let mut rig = rig();
    leave_waiting(&mut rig, &["open", "secret/1", "late"]);
    set_acls(&mut rig, &[(AclType::PublishClientReceive, "secret/#")]);
    let expected =
        ["CONNACK 0x00 present", r#"PUBLISH open q1 #1 "x""#, r#"PUBLISH late q1 #2 "x""#];
    assert_eq!(return_as_u(&mut rig), expected);
    assert_eq!(rig.engine.counters().dropped.receive_denied, 1);
    assert_eq!(rig.engine.counters().queued_messages, 0);
    // Neither are those that were sent once and not acknowledged.
    set_acls(&mut rig, &[(AclType::PublishClientReceive, "open")]);
    assert_eq!(return_as_u(&mut rig), ["CONNACK 0x00 present", r#"PUBLISH late q1 #2 dup "x""#]);
    assert_eq!(rig.engine.counters().dropped.receive_denied, 2);
}

#[test]
fn messages_that_wait_in_a_durable_session_are_not_sent_to_who_may_no_longer_receive_them() {
    let node = NodeId(1);
    let config = EngineConfig { node, ..EngineConfig::default() };
    let mut rig = Rig::with(config, policy(&["u", "v"], &[]));
    rig.join(node, Arc::default(), Arc::default());
    leave_waiting(&mut rig, &["open", "secret/1", "late"]);
    set_acls(&mut rig, &[(AclType::PublishClientReceive, "secret/#")]);
    let expected =
        ["CONNACK 0x00 present", r#"PUBLISH open q1 #1 "x""#, r#"PUBLISH late q1 #3 "x""#];
    assert_eq!(return_as_u(&mut rig), expected);
    assert_eq!(rig.engine.counters().dropped.receive_denied, 1);
    assert_eq!(rig.store().totals().messages, 2, "the one that is denied waits no longer");
    // Neither are those that were sent once and not acknowledged.
    set_acls(&mut rig, &[(AclType::PublishClientReceive, "open")]);
    assert_eq!(return_as_u(&mut rig), ["CONNACK 0x00 present", r#"PUBLISH late q1 #3 dup "x""#]);
    assert_eq!(rig.engine.counters().dropped.receive_denied, 2);
}

#[test]
fn the_session_of_a_deleted_or_suspended_user_ends_with_what_waits_in_it() {
    for is_connected in [false, true] {
        for is_deleted in [false, true] {
            let mut rig = rig();
            leave_waiting(&mut rig, &["t"]);
            if is_connected {
                return_as_u(&mut rig);
            }
            match is_deleted {
                true => {
                    let client = rig.engine.policy.client("u").unwrap().clone();
                    let removed = change(&rig, vec![], vec![RecordKey::client("u")]);
                    rig.engine.set_policy(rig.now, removed);
                    let added = change(&rig, vec![Record::Client(client)], vec![]);
                    rig.engine.set_policy(rig.now, added);
                    rig.settle();
                }
                false => {
                    set_client(&mut rig, |client| client.disabled = true);
                    set_client(&mut rig, |client| client.disabled = false);
                }
            }
            assert_eq!(rig.engine.counters().sessions, 1, "only b's");
            assert_eq!(rig.engine.counters().queued_messages, 0);
            assert_eq!(return_as_u(&mut rig), ["CONNACK 0x00"]);
        }
    }
}

#[test]
fn a_new_password_leaves_the_session_to_who_knows_it() {
    let mut rig = rig();
    leave_waiting(&mut rig, &["t"]);
    let hash = "$7$1$c2FsdHNhbHRzYWx0$".to_owned() + &"A".repeat(86) + "==";
    let hash = broker_policy::PasswordHash::parse(&hash).unwrap();
    set_client(&mut rig, |client| client.password = Some(hash.clone()));
    assert_eq!(return_as_u(&mut rig), ["CONNACK 0x00 present", r#"PUBLISH t q1 #1 "x""#]);
}
