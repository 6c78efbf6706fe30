//! What a durable session asked for, at CONNECT and SUBSCRIBE, holds on the path through the log.

use super::rig::*;
use crate::codec::ReasonCode;
use crate::codec::packet::*;
use crate::engine::*;
use crate::shard::Operation;
use crate::types::{ConnectionId, NodeId, QoS};

fn send(rig: &mut Rig, from: ConnectionId, topic: &str, qos: QoS) {
    rig.send(from, &Packet::Publish(publish(topic, qos, 1, "x")));
    if qos == ExactlyOnce {
        rig.send(from, &Packet::PubRel(ack(1)));
    }
    rig.received(from);
}

fn subscribe_as(
    rig: &mut Rig,
    at: ConnectionId,
    filter: &str,
    options: SubscriptionOptions,
    id: Option<u32>,
) -> Vec<String> {
    rig.send(at, &subscribe_with(9, filter, options, id));
    let mut received = rig.received(at);
    assert!(received.remove(0).starts_with("SUBACK #9"));
    received
}

const QOS_2: SubscriptionOptions = SubscriptionOptions {
    qos: ExactlyOnce,
    no_local: false,
    retain_as_published: false,
    retain_handling: RetainHandling::SendAtSubscribe,
};

#[test]
fn a_session_expires_when_the_broker_says_though_its_client_asked_for_longer() {
    let config = EngineConfig { session_expiry_seconds_max: 60, ..EngineConfig::default() };
    let mut rig = Rig::durable_with(config);
    let id = rig.connect_returning("s");
    assert_eq!(rig.received(id), ["CONNACK 0x00 expiry=60"]);
    let longer =
        Disconnect { session_expiry_seconds: Some(7200), ..Disconnect::new(ReasonCode::Success) };
    rig.send(id, &Packet::Disconnect(longer));
    assert_eq!(rig.store().next_due(), Some(rig.now.plus_seconds(60)));
    rig.now = rig.now.plus(59_999);
    rig.expire();
    assert!(rig.store().contains("s"));
    rig.now = rig.now.plus(1);
    rig.expire();
    assert!(!rig.store().contains("s"));
    // Also when its broker is gone without a word.
    rig.connect_returning("s");
    let gone = Operation::NodeGone { node: NodeId(1), start: 1 };
    rig.commit(&gone);
    assert_eq!(rig.store().next_due(), Some(rig.now.plus_seconds(60)));
}

#[test]
fn a_will_with_a_delay_waits_for_it_or_the_sessions_end_and_is_called_off_by_a_return() {
    let receivers = |rig: &mut Rig| {
        let durable = rig.connect(returning("durable"));
        let live = rig.client("live");
        for at in [durable, live] {
            rig.subscribe(at, "will", AtLeastOnce);
        }
        [durable, live]
    };
    // The session's end comes first in the second case.
    for (delay, seconds) in [(10, 10), (7200, 3600)] {
        let mut rig = Rig::durable();
        let at = receivers(&mut rig);
        let will = Will { qos: AtLeastOnce, ..will("will", delay) };
        let leaving = rig.connect(Connect { will: Some(will), ..returning("leaving") });
        rig.lose(leaving);
        let again = rig.connect(Connect { will: Some(will), ..returning("leaving") });
        rig.now = rig.now.plus_seconds(seconds);
        rig.expire();
        assert!(at.iter().all(|at| rig.received(*at).is_empty()), "it came back in time");
        rig.lose(again);
        rig.now = rig.now.plus_seconds(seconds - 1);
        rig.expire();
        assert!(at.iter().all(|at| rig.received(*at).is_empty()));
        rig.now = rig.now.plus_seconds(1);
        rig.expire();
        rig.expire();
        for at in at {
            assert_eq!(rig.received(at), ["PUBLISH will q1 #1 \"gone\""]);
        }
    }
}

#[test]
fn a_message_says_what_is_left_of_its_time_when_it_is_sent() {
    let mut rig = Rig::durable();
    let subscriber = rig.connect(returning("s"));
    rig.subscribe(subscriber, "t", AtLeastOnce);
    rig.lose(subscriber);
    let publisher = rig.client("p");
    let properties =
        PublishProperties { message_expiry_seconds: Some(10), ..PublishProperties::default() };
    let expiring = Publish { properties, ..publish("t", AtLeastOnce, 1, "x") };
    rig.send(publisher, &Packet::Publish(expiring));
    rig.wait(4000);
    let again = rig.connect_returning("s");
    let expected = ["CONNACK 0x00 present", r#"PUBLISH t q1 #1 expiry=6 "x""#];
    assert_eq!(rig.received(again), expected);
}

#[test]
fn messages_that_have_expired_make_room_in_a_full_session() {
    let mut rig = Rig::durable();
    rig.state.as_mut().unwrap().limits.messages_max = 2;
    let subscriber = rig.connect(returning("s"));
    rig.subscribe(subscriber, "t", AtLeastOnce);
    rig.lose(subscriber);
    let publisher = rig.client("p");
    for (id, expiry) in [(1, Some(5)), (2, None), (3, Some(5))] {
        let properties =
            PublishProperties { message_expiry_seconds: expiry, ..PublishProperties::default() };
        let message = Publish { properties, ..publish("t", AtLeastOnce, id, "x") };
        rig.send(publisher, &Packet::Publish(message));
    }
    assert_eq!(rig.received(publisher), ["PUBACK #1", "PUBACK #2", "PUBACK #3 0x97"]);
    let before = rig.store().totals();
    rig.now = rig.now.plus(5000);
    rig.send(publisher, &Packet::Publish(publish("t", AtLeastOnce, 4, "new")));
    assert_eq!(rig.received(publisher), ["PUBACK #4"]);
    let totals = rig.store().totals();
    assert_eq!((totals.messages, totals.bytes), (2, before.bytes + 2), "two letters more");
    assert_eq!(rig.engine.counters().dropped.expired, 1);
    let again = rig.connect_returning("s");
    let expected = ["CONNACK 0x00 present", r#"PUBLISH t q1 #2 "x""#, r#"PUBLISH t q1 #3 "new""#];
    assert_eq!(rig.received(again), expected);
}

#[test]
fn a_message_carries_the_identifiers_of_all_subscriptions_that_it_matches_and_comes_once() {
    let mut rig = Rig::durable();
    let subscriber = rig.connect(returning("s"));
    for (filter, qos, id) in
        [("a/b", AtLeastOnce, Some(1)), ("a/+", ExactlyOnce, Some(2)), ("#", AtMostOnce, None)]
    {
        let options = SubscriptionOptions { qos, ..QOS_2 };
        subscribe_as(&mut rig, subscriber, filter, options, id);
    }
    let publisher = rig.client("p");
    send(&mut rig, publisher, "a/b", ExactlyOnce);
    assert_eq!(rig.received(subscriber), [r#"PUBLISH a/b q2 #1 sub=1 sub=2 "x""#]);
    // Another identifier takes the place of the first.
    let options = SubscriptionOptions { qos: AtLeastOnce, ..QOS_2 };
    subscribe_as(&mut rig, subscriber, "a/b", options, Some(3));
    rig.lose(subscriber);
    send(&mut rig, publisher, "a/b", AtLeastOnce);
    let again = rig.connect_returning("s");
    let received = rig.received(again);
    assert_eq!(received.last().unwrap(), r#"PUBLISH a/b q1 #2 sub=3 sub=2 "x""#);
}

#[test]
fn a_client_that_said_no_local_does_not_hear_itself_and_others_do() {
    let mut rig = Rig::durable();
    let [a, b] = ["a", "b"].map(|name| rig.connect(returning(name)));
    let no_local = SubscriptionOptions { no_local: true, ..QOS_2 };
    for at in [a, b] {
        subscribe_as(&mut rig, at, "t", no_local, None);
    }
    send(&mut rig, a, "t", AtLeastOnce);
    assert_eq!(rig.received(b), [r#"PUBLISH t q1 #1 "x""#]);
    // One of its Subscriptions lets it: that one counts.
    subscribe_as(&mut rig, a, "#", QOS_2, None);
    rig.send(a, &Packet::Publish(publish("t", AtLeastOnce, 2, "y")));
    assert_eq!(rig.received(a), ["PUBACK #2", r#"PUBLISH t q1 #1 "y""#]);
}

#[test]
fn retain_stays_where_it_was_asked_for_and_the_lower_qos_counts() {
    let mut rig = Rig::durable();
    let as_published = SubscriptionOptions { retain_as_published: true, ..QOS_2 };
    let lower = SubscriptionOptions { qos: AtLeastOnce, ..QOS_2 };
    let [a, b] = [("a", as_published), ("b", lower)].map(|(name, options)| {
        let at = rig.connect(returning(name));
        subscribe_as(&mut rig, at, "t", options, None);
        at
    });
    let publisher = rig.client("p");
    let retained = Publish { retain: true, ..publish("t", ExactlyOnce, 1, "x") };
    rig.send(publisher, &Packet::Publish(retained));
    assert_eq!(rig.received(a), [r#"PUBLISH t q2 #1 retain "x""#]);
    assert_eq!(rig.received(b), [r#"PUBLISH t q1 #1 "x""#]);
}

#[test]
fn retained_messages_come_as_retain_handling_says() {
    let mut rig = Rig::durable();
    let publisher = rig.client("p");
    let retained = Publish { retain: true, ..publish("t", AtLeastOnce, 1, "x") };
    rig.send(publisher, &Packet::Publish(retained));
    let subscriber = rig.connect(returning("s"));
    let with = |retain_handling| SubscriptionOptions { retain_handling, ..QOS_2 };
    let never = with(RetainHandling::DoNotSend);
    let if_new = with(RetainHandling::SendAtNewSubscription);
    let always = with(RetainHandling::SendAtSubscribe);
    assert!(subscribe_as(&mut rig, subscriber, "t", never, None).is_empty());
    assert!(subscribe_as(&mut rig, subscriber, "t", if_new, None).is_empty());
    let expected = [r#"PUBLISH t q1 #1 retain sub=5 "x""#];
    assert_eq!(subscribe_as(&mut rig, subscriber, "t", always, Some(5)), expected);
    rig.lose(subscriber);
    let again = rig.connect_returning("s");
    rig.received(again);
    assert!(subscribe_as(&mut rig, again, "t", if_new, None).is_empty(), "it had it before");
    assert_eq!(subscribe_as(&mut rig, again, "+", if_new, None).len(), 1);
}

#[test]
fn a_message_that_is_too_large_for_its_client_is_dropped_and_not_sent_again() {
    let mut rig = Rig::durable();
    let properties = ConnectProperties {
        session_expiry_seconds: Some(3600),
        packet_bytes_max: Some(100),
        ..ConnectProperties::default()
    };
    let subscriber = rig.connect(Connect { properties, ..returning("s") });
    rig.subscribe(subscriber, "t", AtLeastOnce);
    let publisher = rig.client("p");
    let large = "x".repeat(200);
    rig.send(publisher, &Packet::Publish(publish("t", AtLeastOnce, 1, &large)));
    rig.send(publisher, &Packet::Publish(publish("t", AtLeastOnce, 2, "y")));
    assert_eq!(rig.received(subscriber), [r#"PUBLISH t q1 #2 "y""#]);
    assert_eq!(rig.engine.counters().dropped.too_large, 1);
    assert_eq!(rig.store().totals().messages, 1);
}

#[test]
fn what_one_session_has_no_room_for_is_counted_once_by_the_node_of_the_publisher() {
    let mut left = Rig::durable();
    let mut right = left.peer(2);
    for rig in [&mut left, &mut right] {
        rig.state.as_mut().unwrap().limits.messages_max = 1;
    }
    let (full, keeping) = (right.connect(returning("full")), right.connect(returning("keeping")));
    for at in [full, keeping] {
        right.subscribe(at, "t", AtLeastOnce);
    }
    right.lose(full);
    let publisher = left.client("p");
    send(&mut left, publisher, "t", AtLeastOnce);
    left.send(publisher, &Packet::Publish(publish("t", AtLeastOnce, 2, "x")));
    assert_eq!(left.received(publisher), ["PUBACK #2"], "another one keeps it");
    right.hear_from(&mut left);
    assert_eq!(right.received(keeping).len(), 2);
    let counts = [&left, &right].map(|rig| rig.engine.counters().dropped.queue_full);
    assert_eq!(counts, [1, 0]);
    // When no session could keep it, it is refused: counted once as well.
    right.lose(keeping);
    left.send(publisher, &Packet::Publish(publish("t", AtLeastOnce, 3, "x")));
    assert_eq!(left.received(publisher), ["PUBACK #3 0x97"]);
    assert_eq!(left.engine.counters().dropped.queue_full, 3, "for each of the two");
}
