//! `$SYS`: read by who has the right, written by nobody.

use broker_policy::AclType;

use super::rig::*;
use crate::codec::packet::*;
use crate::engine::*;

fn value(topic: &str, text: &str) -> SysValue {
    SysValue { topic: topic.into(), text: text.into() }
}

#[test]
fn subscribers_of_sys_topics_get_values_and_no_wildcard_at_the_first_level_matches_them() {
    let mut rig = Rig::new();
    let [named, all, plus, tree] = ["a", "b", "c", "d"].map(|id| rig.client(id));
    rig.subscribe(named, "$SYS/broker/uptime", AtLeastOnce);
    rig.subscribe(all, "#", AtMostOnce);
    rig.subscribe(plus, "+/broker/uptime", AtMostOnce);
    rig.subscribe(tree, "$SYS/#", AtMostOnce);
    rig.engine.publish_sys(rig.now, &[value("$SYS/broker/uptime", "7 seconds")]);
    assert_eq!(rig.received(named), [r#"PUBLISH $SYS/broker/uptime q1 #1 "7 seconds""#]);
    assert_eq!(rig.received(tree), [r#"PUBLISH $SYS/broker/uptime q0 "7 seconds""#]);
    assert_eq!(rig.received(all), [""; 0]);
    assert_eq!(rig.received(plus), [""; 0]);
}

#[test]
fn values_stay_on_their_node() {
    let mut rig = Rig::new();
    let elsewhere = Destination::new(5).unwrap();
    rig.engine.set_remote_interest([RemoteInterest::Added(elsewhere, "$SYS/#".into())]);
    rig.engine.publish_sys(rig.now, &[value("$SYS/broker/uptime", "7 seconds")]);
    assert_eq!(rig.engine.pending_forwards(), 0);
}

#[test]
fn who_may_not_read_a_sys_topic_gets_none() {
    let acls = [
        (AclType::SubscribePattern, "$SYS/broker/load/#", false),
        (AclType::PublishClientReceive, "$SYS/broker/clients/#", false),
    ];
    let mut rig = Rig::with(EngineConfig::default(), policy(&["u"], &acls));
    let a = rig.connect(Connect { user_name: Some("u"), ..connect("a") });
    rig.send(a, &subscribe(1, "$SYS/broker/load/#", AtMostOnce));
    assert!(rig.received(a)[0].starts_with("SUBACK #1 0x87"));
    rig.subscribe(a, "$SYS/broker/clients/total", AtMostOnce);
    rig.engine.publish_sys(rig.now, &[value("$SYS/broker/clients/total", "1")]);
    assert_eq!(rig.received(a), [""; 0]);
}

#[test]
fn no_client_writes_below_sys_whatever_its_rights_but_a_bridge_its_state() {
    let acls = ["$SYS/#", "$SYS", "$SYSTEM/#"].map(|t| (AclType::PublishClientSend, t, true));
    let mut rig = Rig::with(EngineConfig::default(), policy(&["u"], &acls));
    let a = rig.connect(Connect { user_name: Some("u"), ..connect("a") });
    let b = rig.client("b");
    rig.subscribe(b, "$SYS/#", AtMostOnce);
    for topic in ["$SYS/broker/version", "$SYS", "$SYSTEM/x"] {
        let lie = Publish { retain: true, ..publish(topic, AtLeastOnce, 1, "lie") };
        rig.send(a, &Packet::Publish(lie));
        assert!(rig.received(a)[0].starts_with("PUBACK #1 0x87"), "{topic}");
    }
    let will = Some(will("$SYS/broker/version", 0));
    let with_will = Connect { user_name: Some("u"), will, ..connect("w") };
    let w = rig.connect(with_will);
    rig.lose(w);
    assert_eq!(rig.received(b), [""; 0]);
    assert!(rig.retained.0.lock().unwrap().is_empty());
    rig.send(a, &Packet::Publish(publish("$SYS/broker/connection/x/state", AtMostOnce, 0, "1")));
    assert_eq!(rig.received(b), [r#"PUBLISH $SYS/broker/connection/x/state q0 "1""#]);
}

#[test]
fn clients_packets_and_payloads_are_counted() {
    let mut rig = Rig::new();
    let a = rig.connect(returning("a"));
    let b = rig.client("b");
    rig.subscribe(a, "t", AtLeastOnce);
    rig.subscribe(b, "$share/g/t", AtMostOnce);
    rig.send(b, &Packet::Publish(publish("t", AtLeastOnce, 1, "four")));
    let counters = *rig.engine.counters();
    assert_eq!((counters.clients_connected, counters.sessions), (2, 2));
    assert_eq!((counters.subscriptions, counters.shared_subscriptions), (2, 1));
    // CONNECT and SUBSCRIBE twice; CONNACK and SUBACK twice, and PUBACK.
    assert_eq!((counters.other_packets_received, counters.other_packets_sent), (4, 5));
    assert_eq!((counters.payload_bytes_received, counters.payload_bytes_sent), (4, 8));
    rig.lose(a);
    rig.lose(b);
    let counters = *rig.engine.counters();
    assert_eq!((counters.clients_connected, counters.sessions), (0, 1));
    assert_eq!((counters.shared_subscriptions, counters.sessions_expired), (0, 0));
    rig.wait(3_600_000);
    let counters = *rig.engine.counters();
    assert_eq!((counters.sessions, counters.sessions_expired), (0, 1));
}

#[test]
fn what_waits_to_be_written_is_counted_when_values_are_told() {
    let mut rig = Rig::new();
    let (a, b) = (rig.client("a"), rig.client("b"));
    rig.subscribe(a, "t", AtMostOnce);
    for _ in 0..3 {
        rig.send(b, &Packet::Publish(publish("t", AtMostOnce, 0, "x")));
    }
    rig.send(b, &Packet::PingReq);
    let bytes = rig.engine.output(a).len() + rig.engine.output(b).len();
    rig.engine.publish_sys(rig.now, &[]);
    let counters = *rig.engine.counters();
    assert_eq!((counters.output_packets, counters.output_bytes), (4, bytes as u64));
    rig.received(a);
    rig.received(b);
    rig.engine.publish_sys(rig.now, &[]);
    assert_eq!(rig.engine.counters().output_packets, 0);
}
