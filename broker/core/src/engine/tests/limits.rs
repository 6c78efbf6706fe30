//! Limits: who is over one is told by the specification's reason code, and it is counted.

use std::sync::Arc;

use broker_policy::Quotas;

use super::rig::*;
use crate::codec::ReasonCode;
use crate::codec::packet::*;
use crate::engine::*;
use crate::types::{ConnectionId, Millis};

const SECOND: u64 = 1_000;

fn publishes(per_second: u32) -> Quotas {
    Quotas { publishes_per_second: Some(per_second), ..Quotas::default() }
}

fn bytes(per_second: u64) -> Quotas {
    Quotas { bytes_per_second: Some(per_second), ..Quotas::default() }
}

fn with_rates(client: Quotas, all: Quotas) -> Rig {
    let listener_rates = Arc::from([ListenerRates::default(), ListenerRates { client, all }]);
    Rig::with(EngineConfig { listener_rates, ..EngineConfig::default() }, open_policy())
}

/// A client of the listener with this number.
fn client_of(rig: &mut Rig, listener: u8, client_id: &str) -> ConnectionId {
    let origin = ConnectionOrigin { listener, ..ConnectionOrigin::default() };
    let id = rig.engine.connection_opened(rig.now, origin);
    rig.send(id, &Packet::Connect(connect(client_id)));
    assert!(rig.received(id)[0].starts_with("CONNACK 0x00"));
    id
}

/// How many of ten messages have come through.
fn ten_of(rig: &mut Rig, id: ConnectionId, watch: ConnectionId) -> usize {
    for _ in 0..10 {
        rig.send(id, &Packet::Publish(publish("t", AtMostOnce, 0, "x")));
    }
    rig.received(watch).len()
}

#[test]
fn each_client_of_a_listener_publishes_no_faster_than_the_listener_says() {
    let mut rig = with_rates(publishes(3), Quotas::default());
    let watch = rig.client("watch");
    rig.subscribe(watch, "t", AtMostOnce);
    let (free, first, second) = (
        client_of(&mut rig, 0, "free"),
        client_of(&mut rig, 1, "first"),
        client_of(&mut rig, 1, "second"),
    );
    assert_eq!(ten_of(&mut rig, free, watch), 10);
    let at_once = ten_of(&mut rig, first, watch);
    assert!((3..=4).contains(&at_once), "{at_once}");
    assert_eq!(ten_of(&mut rig, second, watch), at_once);
    rig.wait(10 * SECOND);
    assert_eq!(rig.received(watch).len(), 20 - 2 * at_once, "nothing is lost");
    assert!(rig.engine.counters().quota_pauses > 0);
}

#[test]
fn all_clients_of_a_listener_together_publish_no_faster_than_it_says() {
    let mut rig = with_rates(Quotas::default(), publishes(5));
    let watch = rig.client("watch");
    rig.subscribe(watch, "t", AtMostOnce);
    let ids: Vec<_> = (0..4).map(|n| client_of(&mut rig, 1, &format!("{n}"))).collect();
    let at_once: usize = ids.iter().map(|&id| ten_of(&mut rig, id, watch)).sum();
    // One each may be on its way when the quota is used up.
    assert!((5..=9).contains(&at_once), "{at_once}");
    let free = rig.client("free");
    assert_eq!(ten_of(&mut rig, free, watch), 10, "another listener's clients are free");
    rig.wait(4 * SECOND);
    let later = rig.received(watch).len();
    assert!((15..=25).contains(&later), "{later}");
    rig.wait(60 * SECOND);
    assert_eq!(at_once + later + rig.received(watch).len(), 40, "nothing is lost");
}

#[test]
fn a_packet_that_a_quota_would_hold_up_for_minutes_is_too_large_and_5_0_clients_know() {
    let mut rig = with_rates(bytes(100), Quotas::default());
    let origin = || ConnectionOrigin { listener: 1, ..ConnectionOrigin::default() };
    let id = rig.engine.connection_opened(rig.now, origin());
    rig.send(id, &Packet::Connect(connect("a")));
    let connack = rig.bytes(id);
    let maximum_packet_size = [0x27, 0, 0, 0x0B, 0xB8];
    assert!(connack.windows(5).any(|bytes| bytes == maximum_packet_size), "{connack:02x?}");
    let large = "x".repeat(2_900);
    rig.send(id, &Packet::Publish(publish("t", AtLeastOnce, 1, &large)));
    assert_eq!(rig.received(id), ["PUBACK #1 0x10"]);
    rig.send(id, &Packet::PingReq);
    assert_eq!(rig.received(id), [""; 0], "it waits");
    rig.wait(30 * SECOND);
    assert_eq!(rig.received(id), ["PINGRESP"], "for half a minute at most");
    let larger = "x".repeat(3_000);
    rig.send(id, &Packet::Publish(publish("t", AtLeastOnce, 2, &larger)));
    assert!(rig.received(id)[0].starts_with("DISCONNECT 0x95"));
    assert_eq!(rig.engine.counters().limits.packet_bytes, 1);
}

#[test]
fn topics_and_filters_have_as_many_levels_as_the_configuration_says() {
    let config = EngineConfig { topic_levels_max: 2, ..EngineConfig::default() };
    let mut rig = Rig::with(config, open_policy());
    let id = rig.client("a");
    rig.subscribe(id, "a/b", AtMostOnce);
    rig.send(id, &subscribe(2, "a/b/#", AtMostOnce));
    assert!(rig.received(id)[0].starts_with("SUBACK #2 0x8f"));
    rig.send(id, &Packet::Publish(publish("a/b", AtMostOnce, 0, "x")));
    assert_eq!(rig.received(id), [r#"PUBLISH a/b q0 "x""#]);
    rig.send(id, &Packet::Publish(publish("a/b/c", AtMostOnce, 0, "x")));
    assert!(rig.received(id)[0].starts_with("DISCONNECT 0x90"));
    assert_eq!(rig.engine.counters().limits.topic_levels, 2);
}

#[test]
fn who_comes_when_the_driver_is_at_a_limit_is_told_why_in_connack() {
    let mut rig = Rig::new();
    for (version, expected) in [(V5, &[0u8, 0x97][..]), (V311, &[0, 3])] {
        let refusal = Some(ReasonCode::QuotaExceeded);
        let origin = ConnectionOrigin { refusal, ..ConnectionOrigin::default() };
        let id = rig.engine.connection_opened(rig.now, origin);
        rig.send(id, &Packet::Connect(Connect { version, ..connect("a") }));
        let bytes = rig.bytes(id);
        assert_eq!((bytes[0], &bytes[2..4]), (0x20, expected), "{version:?}");
        assert!(rig.is_closed(id));
    }
    assert_eq!(rig.engine.counters().connects_refused, 2);
    assert_eq!(rig.engine.counters().sessions, 0);
}

#[test]
fn a_retained_message_too_many_is_refused_with_0x97_and_3_1_1_goes_on() {
    let mut rig = Rig::new();
    rig.answers.propose = false;
    for (version, expected) in [(V5, "PUBACK #7 0x97"), (V311, "PUBACK #7")] {
        let id = rig.connect(Connect { version, ..connect("a") });
        let message = Publish { retain: true, ..publish("t", AtLeastOnce, 7, "x") };
        rig.send(id, &Packet::Publish(message));
        let Some(Effect::Propose { proposal, .. }) = rig.effects.pop() else { panic!("proposal") };
        rig.engine.committed(rig.now, proposal, CommitOutcome::Refused);
        let received = rig.received(id);
        assert!(received[0].starts_with(expected), "{version:?}: {received:?}");
        rig.send(id, &Packet::PingReq);
        assert_eq!(rig.received(id), ["PINGRESP"], "{version:?}");
        rig.lose(id);
        rig.effects.clear();
    }
    assert_eq!(rig.engine.counters().limits.retained, 2);
}

#[test]
fn a_retained_message_is_kept_no_longer_than_the_configuration_says() {
    let config = EngineConfig { retained_expiry_seconds_max: 60, ..EngineConfig::default() };
    let mut rig = Rig::with(config, open_policy());
    let id = rig.client("a");
    for (topic, asked) in [("never", None), ("late", Some(100)), ("soon", Some(10))] {
        let mut message = Publish { retain: true, ..publish(topic, AtLeastOnce, 1, "x") };
        message.properties.message_expiry_seconds = asked;
        rig.send(id, &Packet::Publish(message));
    }
    let kept = rig.retained.0.lock().unwrap();
    let seconds: Vec<_> = ["never", "late", "soon"]
        .map(|topic| kept[topic].expires_at().since(rig.now) / SECOND)
        .into();
    assert_eq!(seconds, [60, 60, 10]);
    assert!(kept["never"].expires_at() < Millis::NEVER);
}

#[test]
fn what_is_granted_less_than_asked_for_is_counted() {
    let config = EngineConfig {
        session_expiry_seconds_max: 60,
        keep_alive_seconds_max: 30,
        ..EngineConfig::default()
    };
    let mut rig = Rig::with(config, open_policy());
    let modest = Connect { keep_alive_seconds: 30, ..connect("modest") };
    rig.connect(modest);
    let limits = rig.engine.counters().limits;
    assert_eq!((limits.session_expiry, limits.keep_alive), (0, 0));
    rig.connect(returning("greedy"));
    let limits = rig.engine.counters().limits;
    assert_eq!((limits.session_expiry, limits.keep_alive), (1, 1));
}

/// Seconds that a message asked for, or none, and what a 5.0 receiver is told.
fn told(rig: &mut Rig, from: ConnectionId, to: ConnectionId, asked: Option<u32>) -> String {
    let mut message = publish("t", AtLeastOnce, 1, "x");
    message.properties.message_expiry_seconds = asked;
    rig.send(from, &Packet::Publish(message));
    let received = rig.received(to);
    let id = received[0].split('#').nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    rig.send(to, &Packet::PubAck(ack(id)));
    received[0].split(' ').find(|word| word.starts_with("expiry=")).unwrap_or("none").to_owned()
}

#[test]
fn a_message_expires_no_later_than_the_configuration_says_and_receivers_are_told_so() {
    for max in [60, u32::MAX] {
        let config = EngineConfig { message_expiry_seconds_max: max, ..EngineConfig::default() };
        for mut rig in [Rig::with(config.clone(), open_policy()), Rig::durable_with(config)] {
            let to = rig.connect(returning("to"));
            rig.subscribe(to, "#", AtLeastOnce);
            let from = rig.client("from");
            let expiries =
                [None, Some(100), Some(60), Some(10)].map(|asked| told(&mut rig, from, to, asked));
            let expected = match max {
                60 => ["expiry=60", "expiry=60", "expiry=60", "expiry=10"],
                _ => ["none", "expiry=100", "expiry=60", "expiry=10"],
            };
            assert_eq!(expiries, expected);
            let counted = rig.engine.counters().limits.message_expiry;
            assert_eq!(counted, if max == 60 { 2 } else { 0 });
            // So does a message that waits, and a will.
            rig.lose(to);
            let leaves = Some(Will { qos: AtLeastOnce, ..will("w", 0) });
            let gone = rig.connect(Connect { will: leaves, ..connect("gone") });
            rig.send(from, &Packet::Publish(publish("t", AtLeastOnce, 1, "waits")));
            rig.lose(gone);
            rig.wait(59 * SECOND);
            let back = rig.connect_returning("to");
            let received = rig.received(back);
            let told = |at: usize| received[at].contains(" expiry=1 ");
            assert_eq!((received.len(), told(1), told(2)), (3, max == 60, max == 60));
        }
    }
}

#[test]
fn what_waits_longer_than_a_message_may_is_not_delivered() {
    let config = EngineConfig { message_expiry_seconds_max: 60, ..EngineConfig::default() };
    for mut rig in [Rig::with(config.clone(), open_policy()), Rig::durable_with(config)] {
        let to = rig.connect(returning("to"));
        rig.subscribe(to, "#", AtLeastOnce);
        rig.lose(to);
        let from = rig.connect(Connect { version: V311, ..connect("from") });
        rig.send(from, &Packet::Publish(publish("t", AtLeastOnce, 1, "x")));
        rig.wait(61 * SECOND);
        let back = rig.connect_returning("to");
        assert_eq!(rig.received(back).len(), 1, "CONNACK alone");
        assert_eq!(rig.engine.counters().dropped.expired, 1);
    }
}

#[test]
fn a_retained_message_that_durable_sessions_want_is_kept_no_longer_than_others() {
    let config = EngineConfig { retained_expiry_seconds_max: 60, ..EngineConfig::default() };
    let mut rig = Rig::durable_with(config);
    let to = rig.connect(returning("to"));
    rig.subscribe(to, "#", AtLeastOnce);
    let from = rig.client("from");
    let message = Publish { retain: true, ..publish("t", AtLeastOnce, 1, "x") };
    rig.send(from, &Packet::Publish(message));
    assert_eq!(rig.received(from), ["PUBACK #1"]);
    let kept = rig.retained.0.lock().unwrap()["t"].expires_at();
    assert_eq!(kept, rig.now.plus_seconds(60));
    assert_eq!(rig.engine.counters().limits.retained_expiry, 1);
}

#[test]
fn all_sessions_together_queue_no_more_messages_than_they_may() {
    let config = EngineConfig { queued_messages_total_max: 3, ..EngineConfig::default() };
    let mut rig = Rig::with(config, open_policy());
    for client_id in ["a", "b"] {
        let id = rig.connect(returning(client_id));
        rig.subscribe(id, "t", AtLeastOnce);
        rig.lose(id);
    }
    let from = rig.client("from");
    for _ in 0..2 {
        rig.send(from, &Packet::Publish(publish("t", AtLeastOnce, 1, "x")));
    }
    let counters = *rig.engine.counters();
    assert_eq!((counters.queued_messages, counters.dropped.queue_full), (3, 1));
}

#[test]
fn all_durable_sessions_together_queue_no_more_messages_than_they_may() {
    let config = EngineConfig { durable_messages_max: 2, ..EngineConfig::default() };
    let mut rig = Rig::durable_with(config);
    let to = rig.connect(returning("to"));
    rig.subscribe(to, "t", AtLeastOnce);
    rig.lose(to);
    let (v5, v311) = (rig.client("v5"), rig.connect(Connect { version: V311, ..connect("v3") }));
    for expected in ["PUBACK #1", "PUBACK #1", "PUBACK #1 0x97"] {
        rig.send(v5, &Packet::Publish(publish("t", AtLeastOnce, 1, "x")));
        assert!(rig.received(v5)[0].starts_with(expected), "{expected}");
    }
    rig.send(v311, &Packet::Publish(publish("t", AtLeastOnce, 1, "x")));
    assert_eq!(rig.received(v311), ["PUBACK #1"]);
    assert_eq!(rig.store().totals().messages, 2);
    assert_eq!(rig.engine.counters().dropped.queue_full, 2);
    // So is a retained one, as a whole; one that nobody waits for is none of it.
    let retained = Publish { retain: true, ..publish("t", AtLeastOnce, 1, "kept") };
    for (topic, expected) in [("t", "PUBACK #1 0x97"), ("other", "PUBACK #1 0x10")] {
        rig.send(v5, &Packet::Publish(Publish { topic, ..retained }));
        assert!(rig.received(v5)[0].starts_with(expected), "{topic}");
        assert_eq!(rig.retained.0.lock().unwrap().contains_key(topic), topic == "other");
    }
    // QoS 2 of a durable publisher ends as it must.
    let durable = rig.connect(returning("durable"));
    rig.send(durable, &Packet::Publish(publish("t", ExactlyOnce, 1, "x")));
    assert!(rig.received(durable)[0].starts_with("PUBREC #1 0x97"));
    // There is room again.
    let back = rig.connect_returning("to");
    assert_eq!(rig.received(back).len(), 3);
    for id in [1, 2] {
        rig.send(back, &Packet::PubAck(ack(id)));
    }
    rig.send(v5, &Packet::Publish(publish("t", AtLeastOnce, 1, "x")));
    assert_eq!(rig.received(v5), ["PUBACK #1"]);
}

#[test]
fn a_client_that_does_not_come_in_in_time_and_one_durable_session_too_many_are_counted() {
    let mut rig = Rig::durable();
    rig.state.as_mut().unwrap().limits.sessions_max = 1;
    rig.connect(returning("first"));
    let id = rig.open();
    rig.send(id, &Packet::Connect(returning("second")));
    assert!(rig.received(id)[0].starts_with("CONNACK 0x97"));
    let limits = rig.engine.counters().limits;
    assert_eq!((limits.durable_sessions, limits.connect_timeout), (1, 0));
    rig.open();
    rig.answers.claim = false;
    let claiming = rig.open();
    rig.send(claiming, &Packet::Connect(connect("slow")));
    rig.wait(60 * SECOND);
    assert_eq!(rig.engine.counters().limits.connect_timeout, 2);
}

#[test]
fn every_connect_that_can_be_read_is_received_accepted_or_not() {
    let mut rig = Rig::new();
    rig.client("in");
    let refusal = Some(ReasonCode::QuotaExceeded);
    let origin = ConnectionOrigin { refusal, ..ConnectionOrigin::default() };
    let id = rig.engine.connection_opened(rig.now, origin);
    rig.send(id, &Packet::Connect(connect("out")));
    let counters = rig.engine.counters();
    assert_eq!((counters.connects_received, counters.connects_accepted), (2, 1));
}
