//! `$delayed/<seconds>/<topic>`.

use broker_policy::{
    Acl, AclType, Client, DefaultAccess, Group, Policy, Record, Role, RoleAssignment, Settings,
};

use super::rig::*;
use crate::codec::packet::*;
use crate::engine::*;
use crate::types::ConnectionId;

const LIMITS: DelayedLimits =
    DelayedLimits { messages_max: 3, bytes_max: 10_000, seconds_max: 3600, ..DelayedLimits::NONE };

fn config() -> EngineConfig {
    EngineConfig { delayed: LIMITS, ..EngineConfig::default() }
}

/// A rig with a subscriber to everything, and a publisher.
fn pair() -> (Rig, ConnectionId, ConnectionId) {
    let mut rig = Rig::with(config(), open_policy());
    let to = rig.client("to");
    rig.subscribe(to, "#", AtMostOnce);
    let from = rig.client("from");
    (rig, to, from)
}

fn send(rig: &mut Rig, from: ConnectionId, topic: &str) -> Vec<String> {
    rig.send(from, &Packet::Publish(publish(topic, AtLeastOnce, 1, "x")));
    rig.received(from)
}

#[test]
fn a_message_comes_after_its_delay_also_when_its_publisher_has_gone() {
    let (mut rig, to, from) = pair();
    assert_eq!(send(&mut rig, from, "$delayed/5/t/a"), ["PUBACK #1"]);
    assert_eq!(send(&mut rig, from, "$delayed/2//b"), ["PUBACK #1"]);
    assert_eq!(send(&mut rig, from, "$delayed/0/c"), ["PUBACK #1"]);
    rig.lose(from);
    assert_eq!(rig.received(to), [""; 0]);
    rig.wait(0);
    assert_eq!(rig.received(to), [r#"PUBLISH c q0 "x""#]);
    rig.wait(1999);
    assert_eq!(rig.received(to), [""; 0]);
    rig.wait(1);
    assert_eq!(rig.received(to), [r#"PUBLISH /b q0 "x""#]);
    assert_eq!(rig.engine.counters().delayed_messages, 1);
    rig.wait(3000);
    assert_eq!(rig.received(to), [r#"PUBLISH t/a q0 "x""#]);
    assert_eq!(rig.engine.counters().delayed_bytes, 0);
}

#[test]
fn a_retained_message_is_retained_when_its_time_has_come_and_an_expiry_counts_from_the_start() {
    let (mut rig, to, from) = pair();
    let retained = Publish { retain: true, ..publish("$delayed/5/kept", ExactlyOnce, 1, "x") };
    rig.send(from, &Packet::Publish(retained));
    assert_eq!(rig.received(from), ["PUBREC #1"]);
    for expiry in [4, 9] {
        let properties =
            PublishProperties { message_expiry_seconds: Some(expiry), ..Default::default() };
        let retain = expiry == 4;
        let short = Publish { properties, retain, ..publish("$delayed/5/t", AtMostOnce, 0, "x") };
        rig.send(from, &Packet::Publish(short));
    }
    assert!(rig.retained.0.lock().unwrap().is_empty());
    rig.wait(5000);
    assert_eq!(rig.received(to), [r#"PUBLISH kept q0 "x""#, r#"PUBLISH t q0 expiry=4 "x""#]);
    assert_eq!(rig.engine.counters().dropped.expired, 1);
    let retained: Vec<String> = rig.retained.0.lock().unwrap().keys().cloned().collect();
    assert_eq!(retained, ["kept"], "what has expired is not retained either");
}

/// A policy that lets its user do everything, and clients without a name.
fn with_user(username: &str, disabled: bool) -> Policy {
    let mut role = Role::new("role");
    role.acls = [AclType::PublishClientSend, AclType::PublishClientReceive]
        .map(|acl_type| Acl { acl_type, topic: "#".into(), priority: 0, allow: true })
        .to_vec();
    let roles = vec![RoleAssignment::new("role")];
    let group = Group { name: "anyone".into(), roles: roles.clone(), ..Group::default() };
    let anonymous_group = Some("anyone".into());
    let default_access = DefaultAccess { subscribe: true, ..DefaultAccess::default() };
    Policy::from_records([
        Record::Settings(Settings { anonymous_group, default_access, ..Settings::default() }),
        Record::Role(role),
        Record::Group(group),
        Record::Client(Client { username: username.into(), disabled, roles, ..Client::default() }),
    ])
    .unwrap()
}

#[test]
fn the_right_to_the_real_topic_is_asked_when_the_message_comes_and_when_it_goes() {
    let no = |topic| [(AclType::PublishClientSend, topic, false)];
    let mut rig = Rig::with(config(), policy(&["u"], &no("no/#")));
    let to = rig.client("to");
    rig.subscribe(to, "#", AtMostOnce);
    let mut from = rig.connect(Connect { user_name: Some("u"), ..connect("from") });
    assert_eq!(send(&mut rig, from, "$delayed/5/no/t"), ["PUBACK #1 0x87"]);
    assert_eq!(send(&mut rig, from, "$delayed/5/$SYS/broker/uptime"), ["PUBACK #1 0x87"]);
    assert_eq!(send(&mut rig, from, "$delayed/5/later/t"), ["PUBACK #1"]);
    rig.engine.set_policy(rig.now, policy(&["u"], &no("later/#")).into());
    rig.wait(5000);
    assert_eq!(rig.received(to), [""; 0]);
    for (username, disabled) in [("u", true), ("other", false)] {
        assert_eq!(send(&mut rig, from, "$delayed/5/t"), ["PUBACK #1"]);
        rig.engine.set_policy(rig.now, with_user(username, disabled).into());
        rig.wait(5000);
        assert_eq!(rig.received(to), [""; 0], "the user is suspended, then deleted");
        rig.engine.set_policy(rig.now, with_user("u", false).into());
        from = rig.connect(Connect { user_name: Some("u"), ..connect("from") });
    }
    assert_eq!(rig.engine.counters().dropped.publish_denied, 5);
}

#[test]
fn what_can_not_be_read_or_held_is_refused_with_its_reason() {
    let (mut rig, to, from) = pair();
    let unreadable = [
        "$delayed/x/t",
        "$delayed/5",
        "$delayed/5/",
        "$delayed//t",
        "$delayed/-5/t",
        "$delayed/3601/t",
        "$delayed/99999999999/t",
        "$delayed/1/$delayed/1/t",
    ];
    for topic in unreadable {
        assert_eq!(send(&mut rig, from, topic), ["PUBACK #1 0x90"], "{topic}");
    }
    for _ in 0..LIMITS.messages_max {
        assert_eq!(send(&mut rig, from, "$delayed/5/t"), ["PUBACK #1"]);
    }
    assert_eq!(send(&mut rig, from, "$delayed/5/t"), ["PUBACK #1 0x97"]);
    assert_eq!(rig.engine.counters().dropped.delayed_refused, 9);
    rig.wait(5000);
    assert_eq!(rig.received(to).len(), 3);
    let large = "x".repeat(9_000);
    for expected in ["PUBACK #1", "PUBACK #1 0x97"] {
        rig.send(from, &Packet::Publish(publish("$delayed/5/t", AtLeastOnce, 1, &large)));
        assert_eq!(rig.received(from), [expected]);
    }
}

#[test]
fn many_that_are_due_at_once_come_in_their_order() {
    let delayed = DelayedLimits { messages_max: 1000, ..LIMITS };
    let mut rig = Rig::with(EngineConfig { delayed, ..config() }, open_policy());
    let (to, from) = (rig.client("to"), rig.client("from"));
    rig.subscribe(to, "#", AtMostOnce);
    let expected: Vec<String> = (0..600).map(|n| format!("PUBLISH {n} q0 {:?}", "x")).collect();
    for n in 0..600 {
        let topic = format!("$delayed/5/{n}");
        rig.send(from, &Packet::Publish(publish(&topic, AtMostOnce, 0, "x")));
    }
    rig.wait(5000);
    assert_eq!(rig.received(to), expected);
}

#[test]
fn without_room_for_any_the_topics_are_like_others_and_a_will_is_not_delayed_so() {
    let mut rig = Rig::new();
    let (to, from) = (rig.client("to"), rig.client("from"));
    rig.subscribe(to, "$delayed/#", AtMostOnce);
    assert_eq!(send(&mut rig, from, "$delayed/5/t"), ["PUBACK #1"]);
    assert_eq!(rig.received(to), [r#"PUBLISH $delayed/5/t q0 "x""#]);
    let (mut rig, to, _) = pair();
    let w = rig.connect(Connect { will: Some(will("$delayed/5/t", 0)), ..connect("w") });
    rig.lose(w);
    rig.wait(5000);
    assert_eq!(rig.received(to), [""; 0]);
    assert_eq!(rig.engine.counters().dropped.publish_denied, 1);
}
