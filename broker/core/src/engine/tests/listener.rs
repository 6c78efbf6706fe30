//! What differs between listeners: mount points, and what of the protocol clients may use.

use broker_policy::AclType;

use super::rig::*;
use crate::codec::packet::*;
use crate::engine::*;
use crate::types::ProtocolVersion;

/// The clients of listener 0 see all topics, those of 1 and 2 what is below `m/` and `n/`.
fn mounted() -> EngineConfig {
    let listener = |mount: Option<&str>| ListenerOptions {
        mount_point: mount.map(Into::into),
        ..ListenerOptions::default()
    };
    let listeners = [None, Some("m/"), Some("n/")].map(listener);
    EngineConfig { listeners: listeners.into(), ..EngineConfig::default() }
}

fn with(options: ListenerOptions) -> EngineConfig {
    EngineConfig {
        listeners: [options, ListenerOptions::default()].into(),
        ..EngineConfig::default()
    }
}

fn v5(client_id: &str) -> Connect<'_> {
    Connect { properties: ConnectProperties::default(), ..connect(client_id) }
}

#[test]
fn clients_behind_a_mount_point_see_its_topics_only_and_nothing_of_it() {
    let mut rig = Rig::with(mounted(), open_policy());
    let (all, m) = (rig.client("all"), rig.connect_by(1, v5("m")));
    let (m_too, n) = (rig.connect_by(1, connect("m too")), rig.connect_by(2, connect("n")));
    for client in [all, m, m_too, n] {
        rig.subscribe(client, "#", AtLeastOnce);
    }
    rig.send(m, &Packet::Publish(publish("a/b", AtLeastOnce, 7, "x")));
    assert_eq!(rig.received(all), [r#"PUBLISH m/a/b q1 #1 "x""#]);
    assert_eq!(rig.received(m), ["PUBLISH a/b q1 #1 \"x\"", "PUBACK #7"]);
    assert_eq!(rig.received(m_too), [r#"PUBLISH a/b q1 #1 "x""#]);
    assert_eq!(rig.received(n), [""; 0]);
    rig.send(all, &Packet::Publish(publish("n/c", AtMostOnce, 0, "y")));
    assert_eq!(rig.received(n), [r#"PUBLISH c q0 "y""#]);
    rig.send(m, &unsubscribe(2, "#"));
    assert_eq!(rig.received(m), ["UNSUBACK #2 0x00"]);
    rig.send(all, &Packet::Publish(publish("m/a", AtMostOnce, 0, "z")));
    assert_eq!(rig.received(m), [""; 0]);
    assert_eq!(rig.received(m_too), [r#"PUBLISH a q0 "z""#]);
}

#[test]
fn a_will_a_retained_message_and_an_alias_are_mounted_too() {
    let mut rig = Rig::with(mounted(), open_policy());
    let all = rig.client("all");
    rig.subscribe(all, "#", AtMostOnce);
    let will = Some(Will { retain: true, ..will("gone", 0) });
    let m = rig.connect_by(1, Connect { will, ..connect("m") });
    let properties = PublishProperties { topic_alias: Some(1), ..Default::default() };
    for topic in ["a", ""] {
        let sent = Publish { properties, ..publish(topic, AtMostOnce, 0, "x") };
        rig.send(m, &Packet::Publish(sent));
    }
    rig.lose(m);
    let expected =
        [r#"PUBLISH m/a q0 "x""#, r#"PUBLISH m/a q0 "x""#, r#"PUBLISH m/gone q0 "gone""#];
    assert_eq!(rig.received(all), expected);
    let retained: Vec<String> = rig.retained.0.lock().unwrap().keys().cloned().collect();
    assert_eq!(retained, ["m/gone"]);
    // The topic that is sent, and so the one that has the alias, is the one that the client sees.
    let properties =
        ConnectProperties { topic_alias_maximum: Some(5), ..ConnectProperties::default() };
    let m = rig.connect_by(1, Connect { properties, ..connect("m") });
    rig.send(m, &subscribe(1, "+", AtMostOnce));
    assert_eq!(rig.received(m), ["SUBACK #1 0x00", r#"PUBLISH gone q0 retain alias=1 "gone""#]);
    rig.send(all, &Packet::Publish(publish("m/gone", AtMostOnce, 0, "again")));
    assert_eq!(rig.received(m), [r#"PUBLISH  q0 alias=1 "again""#]);
}

#[test]
fn a_shared_filter_is_mounted_behind_its_share_name_and_delayed_topics_behind_their_delay() {
    let delayed =
        DelayedLimits { messages_max: 9, bytes_max: 999, seconds_max: 9, ..DelayedLimits::NONE };
    let mut rig = Rig::with(EngineConfig { delayed, ..mounted() }, open_policy());
    let (all, m) = (rig.client("all"), rig.connect_by(1, connect("m")));
    rig.subscribe(m, "$share/g/a", AtMostOnce);
    rig.send(all, &Packet::Publish(publish("m/a", AtMostOnce, 0, "x")));
    rig.send(all, &Packet::Publish(publish("a", AtMostOnce, 0, "not")));
    assert_eq!(rig.received(m), [r#"PUBLISH a q0 "x""#]);
    rig.send(m, &Packet::Publish(publish("$delayed/1/a", AtMostOnce, 0, "later")));
    rig.wait(1000);
    assert_eq!(rig.received(m), [r#"PUBLISH a q0 "later""#]);
    rig.send(m, &subscribe(2, "$SYS/#", AtMostOnce));
    assert_eq!(rig.received(m), ["SUBACK #2 0x00"]);
    let filters = rig.engine.interest();
    assert!(filters.iter().any(|filter| &**filter == "m/$SYS/#"), "{filters:?}");
}

#[test]
fn rights_are_asked_for_whole_topics() {
    let acls = [
        (AclType::PublishClientSend, "m/no", false),
        (AclType::PublishClientSend, "a", false),
        (AclType::SubscribePattern, "m/no", false),
        (AclType::SubscribePattern, "a", false),
        (AclType::PublishClientReceive, "m/hidden", false),
    ];
    let mut rig = Rig::with(mounted(), policy(&["u"], &acls));
    let (all, m) = (rig.client("all"), rig.connect_by(1, connect_as("m", "u")));
    let codes = |rig: &mut Rig| {
        let packets = rig.received(m);
        packets.iter().map(|packet| packet[..packet.len().min(14)].to_owned()).collect::<Vec<_>>()
    };
    rig.send(m, &Packet::Publish(publish("a", AtLeastOnce, 1, "x")));
    rig.send(m, &Packet::Publish(publish("no", AtLeastOnce, 2, "x")));
    rig.send(m, &subscribe(3, "a", AtMostOnce));
    rig.send(m, &subscribe(4, "no", AtMostOnce));
    let expected = ["PUBACK #1 0x10", "PUBACK #2 0x87", "SUBACK #3 0x00", "SUBACK #4 0x87"];
    assert_eq!(codes(&mut rig), expected);
    rig.send(m, &subscribe(5, "#", AtMostOnce));
    rig.received(m);
    rig.send(all, &Packet::Publish(publish("m/hidden", AtMostOnce, 0, "x")));
    assert_eq!(rig.received(m), [""; 0]);
}

fn connect_as<'a>(client_id: &'a str, username: &'a str) -> Connect<'a> {
    Connect { user_name: Some(username), ..connect(client_id) }
}

#[test]
fn a_topic_that_the_mount_point_makes_too_deep_is_refused() {
    let mut rig = Rig::with(EngineConfig { topic_levels_max: 2, ..mounted() }, open_policy());
    let m = rig.connect_by(1, connect("m"));
    rig.send(m, &subscribe(1, "a/b", AtMostOnce));
    assert!(rig.received(m)[0].starts_with("SUBACK #1 0x8f"));
    rig.send(m, &Packet::Publish(publish("a/b", AtMostOnce, 0, "x")));
    assert!(rig.received(m)[0].starts_with("DISCONNECT 0x90"));
    let with_will = rig.open_by(1);
    let will = Some(will("a/b", 0));
    rig.send(with_will, &Packet::Connect(Connect { will, ..connect("w") }));
    assert!(rig.received(with_will)[0].starts_with("CONNACK 0x90"));
}

#[test]
fn a_session_that_comes_back_elsewhere_gets_what_it_can_see_there() {
    for rig in [Rig::with(mounted(), open_policy()), Rig::durable_with(mounted())] {
        let mut rig = rig;
        let m = rig.connect_by(1, returning("c"));
        rig.subscribe(m, "a", AtLeastOnce);
        rig.lose(m);
        let all = rig.client("all");
        for (number, topic) in [(1, "m/a"), (2, "n/a")] {
            rig.send(all, &Packet::Publish(publish(topic, AtLeastOnce, number, "x")));
        }
        let n = rig.open_by(2);
        rig.send(n, &Packet::Connect(returning("c")));
        assert_eq!(rig.received(n), ["CONNACK 0x00 present"], "m/a is no topic of its own there");
        rig.subscribe(n, "a", AtLeastOnce);
        rig.send(all, &Packet::Publish(publish("n/a", AtLeastOnce, 3, "y")));
        let got = rig.received(n);
        assert!(got[0].starts_with("PUBLISH a q1") && got[0].ends_with("\"y\""), "{got:?}");
        assert_eq!(got.len(), 1, "{got:?}");
    }
}

#[test]
fn a_qos_above_the_listeners_ends_the_connection_and_a_subscription_is_granted_less() {
    let config = with(ListenerOptions { qos_max: AtLeastOnce, ..ListenerOptions::default() });
    let mut rig = Rig::with(config, open_policy());
    let a = rig.open();
    rig.send(a, &Packet::Connect(connect("a")));
    assert_eq!(rig.received(a), ["CONNACK 0x00 qos_max=1"]);
    rig.send(a, &subscribe(1, "t", ExactlyOnce));
    assert_eq!(rig.received(a), ["SUBACK #1 0x01"]);
    let other = rig.connect_by(1, connect("other"));
    rig.send(other, &Packet::Publish(publish("t", ExactlyOnce, 1, "x")));
    assert_eq!(rig.received(a), [r#"PUBLISH t q1 #1 "x""#]);
    rig.send(a, &Packet::Publish(publish("t", ExactlyOnce, 1, "x")));
    assert!(rig.received(a)[0].starts_with("DISCONNECT 0x9b"));
    let b = rig.open();
    let will = Some(Will { qos: ExactlyOnce, ..will("w", 0) });
    rig.send(b, &Packet::Connect(Connect { will, ..connect("b") }));
    assert!(rig.received(b)[0].starts_with("CONNACK 0x9b"));
    // No return code of 3.1.1 says it.
    let old = rig.open();
    rig.send(old, &Packet::Connect(Connect { version: V311, will, ..connect("old") }));
    assert!(rig.is_closed(old) && rig.received(old).is_empty());
}

#[test]
fn a_message_to_be_retained_ends_the_connection_where_none_may_be() {
    let options = ListenerOptions { retain_available: false, ..ListenerOptions::default() };
    let mut rig = Rig::with(with(options), open_policy());
    let a = rig.open();
    rig.send(a, &Packet::Connect(connect("a")));
    assert_eq!(rig.received(a), ["CONNACK 0x00 no_retain"]);
    let retained = Publish { retain: true, ..publish("t", AtMostOnce, 0, "x") };
    rig.send(a, &Packet::Publish(retained));
    assert!(rig.received(a)[0].starts_with("DISCONNECT 0x9a"));
    assert!(rig.retained.0.lock().unwrap().is_empty());
    let b = rig.open();
    let will = Some(Will { retain: true, ..will("w", 0) });
    rig.send(b, &Packet::Connect(Connect { will, ..connect("b") }));
    assert!(rig.received(b)[0].starts_with("CONNACK 0x9a"));
}

#[test]
fn a_payload_above_the_listeners_is_refused_and_the_connection_stays() {
    let options = ListenerOptions { payload_bytes_max: 3, ..ListenerOptions::default() };
    let mut rig = Rig::with(with(options), open_policy());
    let (a, b) = (rig.client("a"), rig.connect_by(1, connect("b")));
    let old = rig.connect(Connect { version: V311, ..connect("old") });
    rig.subscribe(b, "t", AtMostOnce);
    for (qos, id) in [(AtMostOnce, 0), (AtLeastOnce, 1), (ExactlyOnce, 2)] {
        let sent = Publish { retain: true, ..publish("t", qos, id, "four") };
        rig.send(a, &Packet::Publish(sent));
        rig.send(old, &Packet::Publish(sent));
    }
    let got = rig.received(a);
    assert!(
        got[0].starts_with("PUBACK #1 0x97") && got[1].starts_with("PUBREC #2 0x97"),
        "{got:?}"
    );
    assert_eq!(rig.received(old), ["PUBACK #1", "PUBREC #2"]);
    assert_eq!(rig.received(b), [""; 0]);
    assert!(rig.retained.0.lock().unwrap().is_empty());
    rig.send(a, &Packet::Publish(publish("t", AtMostOnce, 0, "3.0")));
    rig.send(b, &Packet::Publish(publish("t", AtMostOnce, 0, "unlimited")));
    assert_eq!(rig.received(b).len(), 2);
}

#[test]
fn only_the_listeners_versions_and_identifiers_come_in() {
    let options = ListenerOptions {
        versions: [false, false, true],
        assigns_client_ids: false,
        ..ListenerOptions::default()
    };
    let mut rig = Rig::with(with(options), open_policy());
    let answer = |rig: &mut Rig, version: ProtocolVersion, client_id: &str, listener| {
        let id = rig.open_by(listener);
        rig.send(id, &Packet::Connect(Connect { version, ..connect(client_id) }));
        rig.received(id)[0][..12].to_owned()
    };
    assert_eq!(answer(&mut rig, V311, "a", 0), "CONNACK 0x84");
    assert_eq!(answer(&mut rig, ProtocolVersion::V31, "a", 0), "CONNACK 0x84");
    assert_eq!(answer(&mut rig, V5, "", 0), "CONNACK 0x85");
    assert_eq!(answer(&mut rig, V5, "a", 0), "CONNACK 0x00");
    assert_eq!(answer(&mut rig, V311, "b", 1), "CONNACK 0x00");
    assert_eq!(answer(&mut rig, V5, "", 1), "CONNACK 0x00");
}

#[test]
fn assigned_identifiers_begin_as_the_listener_or_the_profile_says() {
    let prefix = Some("x-".into());
    let own = ListenerOptions { assigned_id_prefix: prefix, ..ListenerOptions::default() };
    let answer = |config, listener| {
        let mut rig = Rig::with(config, open_policy());
        let id = rig.open_by(listener);
        rig.send(id, &Packet::Connect(connect("")));
        rig.received(id)[0].clone()
    };
    assert!(answer(with(own.clone()), 0).contains(" id=x-"));
    assert!(answer(with(own), 1).contains(" id=dunlin-"));
    let config = EngineConfig { profile: Profile::Mosquitto, ..EngineConfig::default() };
    assert!(answer(config, 0).contains(" id=auto-"));
}

#[test]
fn topic_aliases_are_as_many_as_the_listener_takes() {
    let options = ListenerOptions { topic_alias_maximum: Some(1), ..ListenerOptions::default() };
    let mut rig = Rig::with(with(options), open_policy());
    let alias = |rig: &mut Rig, client, value: u16| {
        let properties = PublishProperties { topic_alias: Some(value), ..Default::default() };
        let sent = Publish { properties, ..publish("t", AtMostOnce, 0, "x") };
        rig.send(client, &Packet::Publish(sent));
        rig.received(client).iter().any(|packet| packet.starts_with("DISCONNECT 0x94"))
    };
    let (a, b) = (rig.client("a"), rig.connect_by(1, connect("b")));
    assert!(!alias(&mut rig, a, 1) && !alias(&mut rig, b, 2));
    assert!(alias(&mut rig, a, 2));
}
