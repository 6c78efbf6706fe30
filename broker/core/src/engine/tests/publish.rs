//! PUBLISH from clients, and its acknowledgements.

use broker_policy::AclType;

use super::rig::*;
use crate::codec::ReasonCode;
use crate::codec::packet::*;
use crate::engine::*;

fn aliased<'a>(topic: &'a str, alias: u16, payload: &'a str) -> Packet<'a> {
    let properties = PublishProperties { topic_alias: Some(alias), ..PublishProperties::default() };
    Packet::Publish(Publish { properties, ..publish(topic, AtMostOnce, 0, payload) })
}

#[test]
fn a_message_reaches_subscribers_and_nobody_else() {
    let mut rig = Rig::new();
    let (a, b, c) = (rig.client("a"), rig.client("b"), rig.client("c"));
    rig.subscribe(a, "t/+", AtMostOnce);
    rig.subscribe(b, "t/1", AtMostOnce);
    rig.subscribe(c, "t/2", AtMostOnce);
    rig.send(a, &Packet::Publish(publish("t/1", AtMostOnce, 0, "x")));
    assert_eq!(rig.received(a), [r#"PUBLISH t/1 q0 "x""#]);
    assert_eq!(rig.received(b), [r#"PUBLISH t/1 q0 "x""#]);
    assert_eq!(rig.received(c), [""; 0]);
    // Again, by the remembered route.
    rig.send(c, &Packet::Publish(publish("t/1", AtMostOnce, 0, "y")));
    assert_eq!(rig.received(b), [r#"PUBLISH t/1 q0 "y""#]);
    // The route is forgotten with the Subscription.
    rig.send(b, &unsubscribe(2, "t/1"));
    rig.received(b);
    rig.send(c, &Packet::Publish(publish("t/1", AtMostOnce, 0, "z")));
    assert_eq!(rig.received(b), [""; 0]);
}

#[test]
fn qos_1_is_acknowledged_and_tells_when_nobody_listens() {
    let mut rig = Rig::new();
    let a = rig.client("a");
    rig.send(a, &Packet::Publish(publish("t", AtLeastOnce, 5, "x")));
    assert_eq!(rig.received(a), ["PUBACK #5 0x10"]);
    rig.subscribe(a, "t", AtMostOnce);
    rig.send(a, &Packet::Publish(publish("t", AtLeastOnce, 6, "x")));
    assert_eq!(rig.received(a), [r#"PUBLISH t q0 "x""#, "PUBACK #6"]);
    let old = rig.connect(Connect { version: V311, ..connect("old") });
    rig.send(old, &Packet::Publish(publish("nobody", AtLeastOnce, 5, "x")));
    assert_eq!(rig.received(old), ["PUBACK #5"]);
}

#[test]
fn qos_2_is_routed_once_however_often_it_is_sent() {
    let mut rig = Rig::new();
    let (a, b) = (rig.connect(returning("a")), rig.client("b"));
    rig.subscribe(b, "t", ExactlyOnce);
    rig.send(a, &Packet::Publish(publish("t", ExactlyOnce, 5, "x")));
    assert_eq!(rig.received(a), ["PUBREC #5"]);
    rig.lose(a);
    let a = rig.connect(returning("a"));
    let again = Publish { dup: true, ..publish("t", ExactlyOnce, 5, "x") };
    rig.send(a, &Packet::Publish(again));
    assert_eq!(rig.received(a), ["PUBREC #5"]);
    assert_eq!(rig.received(b), [r#"PUBLISH t q2 #1 "x""#]);
    rig.send(a, &Packet::PubRel(ack(5)));
    rig.send(a, &Packet::PubRel(ack(5)));
    assert_eq!(rig.received(a), ["PUBCOMP #5", "PUBCOMP #5 0x92"]);
    // The identifier is free: this is another message.
    rig.send(a, &Packet::Publish(publish("t", ExactlyOnce, 5, "y")));
    assert_eq!(rig.received(b), [r#"PUBLISH t q2 #2 "y""#]);
}

/// [MQTT-3.3.4-7]
#[test]
fn more_unacknowledged_messages_than_announced_end_the_connection() {
    let config = EngineConfig { receive_maximum: 2, ..EngineConfig::default() };
    let mut rig = Rig::with(config, open_policy());
    let a = rig.client("a");
    for id in 1..=2 {
        rig.send(a, &Packet::Publish(publish("t", ExactlyOnce, id, "x")));
    }
    rig.send(a, &Packet::Publish(publish("t", ExactlyOnce, 2, "x")));
    assert_eq!(rig.received(a), ["PUBREC #1 0x10", "PUBREC #2 0x10", "PUBREC #2"]);
    rig.send(a, &Packet::Publish(publish("t", AtLeastOnce, 3, "x")));
    assert_eq!(rig.received(a), ["DISCONNECT 0x93"]);
}

#[test]
fn a_topic_alias_stands_for_its_topic() {
    let mut rig = Rig::new();
    let a = rig.client("a");
    rig.subscribe(a, "t", AtMostOnce);
    rig.send(a, &aliased("t", 10, "1"));
    rig.send(a, &aliased("", 10, "2"));
    assert_eq!(rig.received(a), [r#"PUBLISH t q0 "1""#, r#"PUBLISH t q0 "2""#]);
    rig.send(a, &aliased("t", 11, "3"));
    assert_eq!(rig.received(a), ["DISCONNECT 0x94"]);
    // It ended with the connection.
    let a = rig.client("a");
    rig.send(a, &aliased("", 10, "4"));
    assert_eq!(rig.received(a), ["DISCONNECT 0x82"]);
}

#[test]
fn a_denied_publish_is_answered_and_goes_nowhere() {
    let acls = [(AclType::PublishClientSend, "secret/#", false)];
    let mut rig = Rig::with(EngineConfig::default(), policy(&["u"], &acls));
    let reader = rig.client("reader");
    rig.subscribe(reader, "#", AtMostOnce);
    let a = rig.connect(Connect { user_name: Some("u"), ..connect("a") });
    rig.send(a, &Packet::Publish(publish("secret/x", AtLeastOnce, 1, "x")));
    rig.send(a, &Packet::Publish(publish("secret/x", ExactlyOnce, 2, "x")));
    rig.send(a, &Packet::Publish(publish("secret/x", AtMostOnce, 0, "x")));
    assert_eq!(rig.received(a), ["PUBACK #1 0x87", "PUBREC #2 0x87"]);
    // The refusal freed the identifier.
    rig.send(a, &Packet::Publish(publish("open", ExactlyOnce, 2, "x")));
    assert_eq!(rig.received(a), ["PUBREC #2"]);
    let old = rig.connect(Connect { version: V311, user_name: Some("u"), ..connect("old") });
    rig.send(old, &Packet::Publish(publish("secret/x", ExactlyOnce, 2, "x")));
    rig.send(old, &Packet::PubRel(ack(2)));
    assert_eq!(rig.received(old), ["PUBREC #2", "PUBCOMP #2"]);
    assert_eq!(rig.received(reader), [r#"PUBLISH open q0 "x""#]);
    assert_eq!(rig.engine.counters().dropped.publish_denied, 4);
}

#[test]
fn topics_of_the_server_are_closed_to_clients() {
    let mut rig = Rig::new();
    let a = rig.client("a");
    for topic in ["$SYS/broker/uptime", "$CONTROL/dynamic-security/v1", "$share/g/t"] {
        rig.send(a, &Packet::Publish(publish(topic, AtLeastOnce, 1, "x")));
        assert_eq!(rig.received(a), ["PUBACK #1 0x87"], "{topic}");
    }
}

#[test]
fn a_retained_message_is_acknowledged_when_it_is_committed_and_later_ones_after_it() {
    let mut rig = Rig::new();
    rig.answers.propose = false;
    let a = rig.client("a");
    rig.subscribe(a, "t", AtMostOnce);
    let retained = Publish { retain: true, ..publish("t", AtLeastOnce, 1, "x") };
    rig.send(a, &Packet::Publish(retained));
    rig.send(a, &Packet::Publish(publish("t", ExactlyOnce, 2, "y")));
    let retained = Publish { retain: true, ..publish("t", ExactlyOnce, 3, "z") };
    rig.send(a, &Packet::Publish(retained));
    rig.send(a, &Packet::Publish(Publish { dup: true, ..retained }));
    let messages = [r#"PUBLISH t q0 "x""#, r#"PUBLISH t q0 "y""#, r#"PUBLISH t q0 "z""#];
    assert_eq!(rig.received(a), messages);
    let proposals: Vec<_> = rig
        .effects
        .drain(..)
        .map(|effect| match effect {
            Effect::Propose { proposal, change } => (proposal, change),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(proposals.len(), 2);
    assert_eq!(&*proposals[0].1.topic, "t");
    assert!(proposals[0].1.message.as_ref().unwrap().retain());
    rig.engine.committed(rig.now, proposals[0].0, CommitOutcome::Committed);
    assert_eq!(rig.received(a), ["PUBACK #1", "PUBREC #2"]);
    rig.engine.committed(rig.now, proposals[1].0, CommitOutcome::Failed);
    assert_eq!(rig.received(a), ["PUBREC #3 0x83"]);
    rig.send(a, &Packet::PubRel(ack(3)));
    assert_eq!(rig.received(a), ["PUBCOMP #3 0x92"]);
}

#[test]
fn a_311_publisher_is_closed_when_its_retained_message_is_not_committed() {
    let mut rig = Rig::new();
    rig.answers.propose = false;
    let a = rig.connect(Connect { version: V311, ..connect("a") });
    let retained = Publish { retain: true, ..publish("t", AtLeastOnce, 1, "") };
    rig.send(a, &Packet::Publish(retained));
    let [Effect::Propose { proposal, change }] = &rig.effects[..] else { panic!() };
    assert_eq!(change.message, None);
    let proposal = *proposal;
    rig.engine.committed(rig.now, proposal, CommitOutcome::Failed);
    rig.settle();
    assert!(rig.is_closed(a) && rig.received(a).is_empty());
}

#[test]
fn a_client_that_floods_pending_acknowledgements_is_paused() {
    let mut rig = Rig::new();
    rig.answers.propose = false;
    let a = rig.connect(Connect { version: V311, ..connect("a") });
    let mut bytes = Vec::new();
    for id in 1..=2000 {
        let retained = Publish { retain: true, ..publish("t", AtLeastOnce, id, "x") };
        Packet::Publish(retained).encode(V311, &mut bytes).unwrap();
    }
    assert_eq!(rig.engine.receive(rig.now, a, &bytes), Intake::Paused);
    rig.settle();
    assert_eq!(rig.effects.len(), 1025);
    rig.answers.propose = true;
    for effect in std::mem::take(&mut rig.effects) {
        let Effect::Propose { proposal, .. } = effect else { continue };
        rig.engine.committed(rig.now, proposal, CommitOutcome::Committed);
    }
    rig.settle();
    let packets = rig.received(a);
    assert_eq!((packets.len(), packets.last()), (2000, Some(&"PUBACK #2000".to_owned())));
    assert_eq!(rig.resumed, [a, a]);
}

#[test]
fn an_acknowledgement_of_the_wrong_kind_is_an_error_and_an_unknown_one_is_not() {
    let mut rig = Rig::new();
    let a = rig.client("a");
    rig.subscribe(a, "t", ExactlyOnce);
    rig.send(a, &Packet::PubAck(ack(9)));
    rig.send(a, &Packet::PubComp(ack(9)));
    rig.send(a, &Packet::PubRec(ack(9)));
    assert_eq!(rig.received(a), ["PUBREL #9 0x92"]);
    rig.send(a, &Packet::Publish(publish("t", AtLeastOnce, 1, "x")));
    rig.send(a, &Packet::PubRec(ack(1)));
    assert_eq!(rig.received(a), [r#"PUBLISH t q1 #1 "x""#, "PUBACK #1", "DISCONNECT 0x82"]);
}

#[test]
fn a_pubrec_that_refuses_ends_the_exchange() {
    let mut rig = Rig::new();
    let properties = ConnectProperties { receive_maximum: Some(1), ..ConnectProperties::default() };
    let a = rig.connect(Connect { properties, ..connect("a") });
    rig.subscribe(a, "t", ExactlyOnce);
    for (id, payload) in [(1, "x"), (2, "y")] {
        rig.send(a, &Packet::Publish(publish("t", ExactlyOnce, id, payload)));
    }
    let expected = [r#"PUBLISH t q2 #1 "x""#, "PUBREC #1", "PUBREC #2"];
    assert_eq!(rig.received(a), expected);
    rig.send(a, &Packet::PubRec(ack_with(1, ReasonCode::QuotaExceeded)));
    assert_eq!(rig.received(a), [r#"PUBLISH t q2 #2 "y""#]);
}
