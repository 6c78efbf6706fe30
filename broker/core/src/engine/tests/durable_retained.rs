//! Retained messages and durable sessions: what a new Subscription gets.

use super::rig::*;
use crate::codec::packet::*;
use crate::engine::*;
use crate::types::QoS;

const SECOND: u64 = 1_000;

fn retained<'a>(topic: &'a str, qos: QoS, id: u16, payload: &'a str) -> Packet<'a> {
    Packet::Publish(Publish { retain: true, ..publish(topic, qos, id, payload) })
}

#[test]
fn a_retained_message_that_is_lost_on_its_way_to_a_new_subscription_is_looked_for_again() {
    for outcome in [SessionsOutcome::Refused, SessionsOutcome::Unknown] {
        let mut rig = Rig::durable();
        let publisher = rig.client("p");
        for topic in ["t/1", "t/2"] {
            rig.send(publisher, &retained(topic, AtLeastOnce, 1, "old"));
        }
        let subscriber = rig.connect(returning("s"));
        rig.answers.sessions = false;
        rig.send(subscriber, &subscribe(1, "t/+", AtLeastOnce));
        rig.commit_held();
        assert_eq!(rig.received(subscriber), ["SUBACK #1 0x01"]);
        rig.answer_held(&outcome);
        assert!(!rig.has_held(), "not at once: nothing says that it would be taken");
        // What the topic has by then is what the subscriber gets.
        rig.send(publisher, &retained("t/1", AtMostOnce, 0, "new"));
        assert_eq!(rig.received(subscriber), [r#"PUBLISH t/1 q0 "new""#]);
        rig.wait(SECOND);
        rig.answer_held(&outcome);
        rig.answers.sessions = true;
        rig.wait(SECOND);
        let expected = [r#"PUBLISH t/1 q0 retain "new""#, r#"PUBLISH t/2 q1 #1 retain "old""#];
        let mut received = rig.received(subscriber);
        received.sort();
        assert_eq!(received, expected);
        assert!(rig.engine.durable.as_ref().unwrap().is_settled());
    }
}

#[test]
fn a_subscription_that_has_ended_gets_none_of_the_retained_messages_that_were_lost() {
    for is_lost_first in [true, false] {
        let mut rig = Rig::durable();
        let publisher = rig.client("p");
        rig.send(publisher, &retained("t", AtLeastOnce, 1, "x"));
        let subscriber = rig.connect(returning("s"));
        rig.answers.sessions = false;
        rig.send(subscriber, &subscribe(1, "t", AtLeastOnce));
        rig.commit_held();
        if is_lost_first {
            rig.answer_held(&SessionsOutcome::Refused);
        }
        let deliver = std::mem::take(&mut rig.effects);
        rig.answers.sessions = true;
        rig.send(subscriber, &unsubscribe(2, "t"));
        rig.effects.extend(deliver);
        rig.answer_held(&SessionsOutcome::Refused);
        rig.wait(2 * SECOND);
        assert_eq!(rig.received(subscriber), ["SUBACK #1 0x01", "UNSUBACK #2 0x00"]);
    }
}
