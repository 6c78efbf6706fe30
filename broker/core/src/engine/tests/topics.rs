//! Topics in place of others, and Subscriptions that every client is given.

use broker_policy::AclType;

use super::rig::*;
use crate::codec::packet::*;
use crate::engine::*;
use crate::topic::{Rewrite, RewriteAction};
use crate::types::QoS;

fn rewriting() -> EngineConfig {
    let rewrites = [
        Rewrite::new(RewriteAction::Publish, "in/#", "data/$1"),
        Rewrite::new(RewriteAction::Subscribe, "out/+/#", "data/$1/$2"),
        Rewrite::new(RewriteAction::All, "both", "data/both"),
    ];
    EngineConfig { rewrites: rewrites.into(), ..EngineConfig::default() }
}

#[test]
fn a_publish_goes_to_the_other_topic_by_its_rights_also_by_alias_as_will_and_delayed() {
    let no = [
        (AclType::PublishClientSend, "data/no/#", false),
        (AclType::PublishClientSend, "in/#", false),
    ];
    let limits =
        DelayedLimits { messages_max: 9, bytes_max: 999, seconds_max: 9, ..DelayedLimits::NONE };
    let mut rig = Rig::with(EngineConfig { delayed: limits, ..rewriting() }, policy(&["u"], &no));
    let to = rig.client("to");
    rig.subscribe(to, "data/#", AtMostOnce);
    let will = Some(will("in/will", 0));
    let a = rig.connect(Connect { user_name: Some("u"), will, ..connect("a") });
    let properties = PublishProperties { topic_alias: Some(1), ..Default::default() };
    for topic in ["in/a", "", "$delayed/1/in/later"] {
        let properties = if topic.starts_with('$') { Default::default() } else { properties };
        let sent = Publish { properties, retain: true, ..publish(topic, AtMostOnce, 0, "x") };
        rig.send(a, &Packet::Publish(sent));
    }
    rig.send(a, &Packet::Publish(publish("in/no/x", AtLeastOnce, 1, "x")));
    assert!(rig.received(a)[0].starts_with("PUBACK #1 0x87"));
    rig.lose(a);
    rig.wait(1000);
    let expected = [
        r#"PUBLISH data/a q0 "x""#,
        r#"PUBLISH data/a q0 "x""#,
        r#"PUBLISH data/will q0 "gone""#,
        r#"PUBLISH data/later q0 "x""#,
    ];
    assert_eq!(rig.received(to), expected);
    let retained: Vec<String> = rig.retained.0.lock().unwrap().keys().cloned().collect();
    assert_eq!(retained, ["data/a", "data/later"]);
}

#[test]
fn a_subscription_is_made_and_ended_under_the_other_filter_by_its_rights() {
    let no = [(AclType::SubscribePattern, "data/no/#", false)];
    let mut rig = Rig::with(rewriting(), policy(&["u"], &no));
    let a = rig.connect(Connect { user_name: Some("u"), ..connect("a") });
    let b = rig.client("b");
    rig.send(a, &subscribe(1, "out/no/x", AtMostOnce));
    assert!(rig.received(a)[0].starts_with("SUBACK #1 0x87"));
    for filter in ["out/+/#", "$share/g/both"] {
        rig.subscribe(a, filter, AtMostOnce);
    }
    let filters: Vec<String> = rig.engine.interest().iter().map(|f| f.to_string()).collect();
    assert_eq!(filters.len(), 2, "{filters:?}");
    assert!(filters.contains(&"data/+/#".into()) && filters.contains(&"$share/g/data/both".into()));
    rig.send(b, &Packet::Publish(publish("data/x/y", AtMostOnce, 0, "x")));
    assert_eq!(rig.received(a), [r#"PUBLISH data/x/y q0 "x""#]);
    rig.send(a, &unsubscribe(2, "out/+/#"));
    assert_eq!(rig.received(a), ["UNSUBACK #2 0x00"]);
    rig.send(b, &Packet::Publish(publish("data/x/y", AtMostOnce, 0, "x")));
    assert_eq!(rig.received(a), [""; 0]);
}

fn subscribing(filters: &[(&str, QoS)]) -> EngineConfig {
    let auto_subscriptions = filters
        .iter()
        .map(|&(filter, qos)| AutoSubscription {
            filter: filter.into(),
            options: SubscriptionOptions { qos, ..SubscriptionOptions::default() },
        })
        .collect();
    EngineConfig { auto_subscriptions, ..EngineConfig::default() }
}

#[test]
fn a_client_has_its_subscriptions_and_what_is_retained_when_it_comes_in() {
    let config = subscribing(&[("to/%c/%u/#", AtLeastOnce), ("all", AtMostOnce)]);
    let mut rig = Rig::with(config, policy(&["u"], &[]));
    let other = rig.connect(Connect { user_name: Some("u"), ..connect("other") });
    let kept = Publish { retain: true, ..publish("to/a/u/kept", AtMostOnce, 0, "x") };
    rig.send(other, &Packet::Publish(kept));
    let a = rig.open();
    rig.send(a, &Packet::Connect(Connect { user_name: Some("u"), ..connect("a") }));
    let expected = ["CONNACK 0x00", r#"PUBLISH to/a/u/kept q0 retain "x""#];
    assert_eq!(rig.received(a), expected);
    rig.send(other, &Packet::Publish(publish("to/a/u/x", AtLeastOnce, 1, "x")));
    rig.send(other, &Packet::Publish(publish("all", AtMostOnce, 0, "x")));
    let expected = [r#"PUBLISH to/a/u/x q1 #1 "x""#, r#"PUBLISH all q0 "x""#];
    assert_eq!(rig.received(a), expected);
    assert_eq!(rig.engine.counters().subscriptions, 4);
}

#[test]
fn who_has_no_right_no_user_name_or_one_with_wildcards_goes_without() {
    let config = subscribing(&[("to/%c", AtMostOnce), ("by/%u", AtMostOnce), ("no/t", AtMostOnce)]);
    let no = [(AclType::SubscribePattern, "no/#", false)];
    let mut rig = Rig::with(config, policy(&["u"], &no));
    rig.client("+");
    assert_eq!(rig.engine.counters().subscriptions, 1, "no/t, which anonymous clients may");
    rig.connect(Connect { user_name: Some("u"), ..connect("a/b") });
    let mut filters: Vec<String> = rig.engine.interest().iter().map(|f| f.to_string()).collect();
    filters.sort();
    assert_eq!(filters, ["by/u", "no/t", "to/a/b"]);
}

#[test]
fn what_a_session_has_already_stays_as_the_client_made_it() {
    let mut rig = Rig::with(subscribing(&[("all", AtMostOnce)]), open_policy());
    let a = rig.connect(returning("a"));
    rig.subscribe(a, "all", ExactlyOnce);
    rig.lose(a);
    let a = rig.connect_returning("a");
    assert_eq!(rig.received(a), ["CONNACK 0x00 present"]);
    let b = rig.client("b");
    rig.send(b, &Packet::Publish(publish("all", ExactlyOnce, 1, "x")));
    assert_eq!(rig.received(a), [r#"PUBLISH all q2 #1 "x""#]);
    assert_eq!(rig.engine.counters().subscriptions, 2);
}

#[test]
fn connack_waits_until_the_subscriptions_are_known_elsewhere() {
    let mut rig = Rig::with(subscribing(&[("all", AtMostOnce)]), open_policy());
    rig.answers.interest = false;
    let a = rig.open();
    rig.send(a, &Packet::Connect(connect("a")));
    assert_eq!(rig.received(a), [""; 0]);
    let [Effect::Interest { seq, .. }] = rig.effects[..] else { panic!("{:?}", rig.effects) };
    rig.engine.interest_confirmed(rig.now, seq);
    assert_eq!(rig.received(a), ["CONNACK 0x00"]);
}
