//! Durable sessions begin, are taken over and end: by way of the replicated state.

use super::rig::*;
use crate::codec::ReasonCode;
use crate::codec::packet::*;
use crate::engine::*;
use crate::types::ConnectionId;

const SECOND: u64 = 1_000;

#[test]
fn a_connection_whose_session_has_gone_elsewhere_is_closed_though_its_client_is_silent() {
    let mut a = Rig::durable();
    let mut b = a.peer(2);
    let first = a.connect(returning("s"));
    let second = b.connect_returning("s");
    a.hear_from(&mut b);
    assert_eq!(a.received(first), ["DISCONNECT 0x8e"]);
    assert!(a.is_closed(first));
    // What the one that was closed proposes last does not touch the session.
    assert_eq!(b.received(second), ["CONNACK 0x00 present"]);
    b.subscribe(second, "t", AtLeastOnce);
}

#[test]
fn connack_waits_for_the_state_and_says_whether_there_was_a_session() {
    let mut rig = Rig::durable();
    let first = rig.connect_returning("s");
    assert_eq!(rig.received(first), ["CONNACK 0x00"]);
    rig.subscribe(first, "t", AtLeastOnce);
    rig.lose(first);
    assert_eq!(rig.engine.counters().sessions, 0, "the engine keeps nothing of it");
    rig.answers.sessions = false;
    let second = rig.connect_returning("s");
    assert!(rig.received(second).is_empty());
    rig.answers.sessions = true;
    rig.commit_held();
    assert_eq!(rig.received(second), ["CONNACK 0x00 present"]);
    rig.answers.sessions = false;
    let third = rig.connect_returning("other");
    rig.answer_held(&SessionsOutcome::Unknown);
    assert_eq!(rig.received(third), ["CONNACK 0x88"]);
}

#[test]
fn a_client_that_leaves_before_its_session_is_attached_leaves_it_detached() {
    let mut rig = Rig::durable();
    rig.answers.sessions = false;
    let id = rig.connect_returning("s");
    rig.lose(id);
    rig.answers.sessions = true;
    rig.commit_held();
    assert!(rig.store().contains("s"));
    assert!(rig.store().processes().is_empty(), "nobody has it");
    assert!(rig.effects.iter().any(|effect| matches!(effect, Effect::Release { .. })));
}

/// A client that comes back and has a will, and one that hears of it.
fn with_will(rig: &mut Rig) -> (ConnectionId, ConnectionId) {
    let watcher = rig.client("watcher");
    rig.subscribe(watcher, "will", AtMostOnce);
    let mourned = Connect { will: Some(will("will", 0)), ..returning("s") };
    (rig.connect(mourned), watcher)
}

#[test]
fn an_end_that_the_log_has_lost_is_proposed_until_the_state_has_it() {
    for outcome in [SessionsOutcome::Refused, SessionsOutcome::Unknown] {
        let mut rig = Rig::durable();
        let (id, watcher) = with_will(&mut rig);
        rig.answers.sessions = false;
        rig.lose(id);
        for _ in 0..2 {
            assert!(rig.has_held());
            rig.answer_held(&outcome);
            assert!(!rig.has_held(), "not at once: nothing says that it would be taken");
            rig.wait(SECOND);
        }
        rig.answer_held(&outcome);
        rig.answers.sessions = true;
        assert_eq!(rig.store().processes().len(), 1);
        assert!(rig.received(watcher).is_empty());
        rig.wait(SECOND);
        assert!(rig.store().processes().is_empty(), "nobody has it");
        assert_eq!(rig.received(watcher), ["PUBLISH will q0 \"gone\""]);
        assert!(rig.engine.durable.as_ref().unwrap().is_settled());
    }
}

#[test]
fn a_lost_end_is_proposed_as_soon_as_something_else_is_committed() {
    let mut rig = Rig::durable();
    let (id, watcher) = with_will(&mut rig);
    rig.answers.sessions = false;
    rig.lose(id);
    rig.answer_held(&SessionsOutcome::Refused);
    rig.answers.sessions = true;
    rig.connect(returning("other"));
    assert_eq!(rig.received(watcher), ["PUBLISH will q0 \"gone\""]);
}

#[test]
fn a_client_that_comes_again_before_its_end_is_known_has_said_goodbye_all_the_same() {
    for clean_start in [false, true] {
        let mut rig = Rig::durable();
        let (id, watcher) = with_will(&mut rig);
        rig.answers.sessions = false;
        rig.send(id, &Packet::Disconnect(Disconnect::new(ReasonCode::Success)));
        rig.answer_held(&SessionsOutcome::Refused);
        rig.answers.sessions = true;
        let again = if clean_start { connect("s") } else { returning("s") };
        let again = rig.connect(again);
        rig.wait(2 * SECOND);
        assert!(rig.received(watcher).is_empty(), "the will was dropped");
        assert!(!rig.is_closed(again));
        assert_eq!(rig.store().contains("s"), !clean_start);
    }
}

#[test]
fn a_session_that_begins_after_its_client_was_refused_has_nobody() {
    for is_late in [false, true] {
        let mut rig = Rig::durable();
        rig.answers.sessions = false;
        let refused = rig.connect_returning("s");
        match is_late {
            true => rig.commit_held_unheard(),
            false => rig.answer_held(&SessionsOutcome::Unknown),
        }
        assert_eq!(rig.received(refused), ["CONNACK 0x88"]);
        assert_eq!(rig.store().processes().len(), usize::from(is_late));
        rig.wait(SECOND);
        rig.answer_held(&SessionsOutcome::Refused);
        rig.answers.sessions = true;
        rig.wait(SECOND);
        assert!(rig.store().processes().is_empty(), "nobody has it");
        assert!(rig.engine.durable.as_ref().unwrap().is_settled());
    }
}

#[test]
fn a_client_that_is_in_again_stays_in_when_its_lost_beginning_is_looked_for() {
    let mut rig = Rig::durable();
    rig.answers.sessions = false;
    rig.connect_returning("s");
    rig.commit_held_unheard();
    // What is to find out is on its way when the client comes again, and is answered first.
    rig.wait(SECOND);
    let look = std::mem::take(&mut rig.effects);
    let again = rig.connect_returning("s");
    let attach = std::mem::replace(&mut rig.effects, look);
    let mut answers = Vec::new();
    for effect in attach {
        if let Effect::ProposeSessions { proposal, operations, .. } = effect {
            answers.push((proposal, rig.apply_sessions(operations)));
        }
    }
    rig.commit_held();
    for (proposal, outcomes) in answers {
        rig.engine.sessions_committed(rig.now, proposal, SessionsOutcome::Applied(outcomes));
    }
    rig.answers.sessions = true;
    rig.settle();
    rig.commit_held();
    assert_eq!(rig.received(again), ["CONNACK 0x00 present"]);
    rig.subscribe(again, "t", AtLeastOnce);
}

#[test]
fn suback_waits_for_the_state_and_unsubscribe_ends_it() {
    let mut rig = Rig::durable();
    let subscriber = rig.connect(returning("s"));
    rig.answers.sessions = false;
    rig.send(subscriber, &subscribe(1, "t", AtLeastOnce));
    assert!(rig.received(subscriber).is_empty());
    let reach = rig.effects.iter().find_map(|effect| match effect {
        Effect::ProposeSessions { reach, .. } => Some(*reach),
        _ => None,
    });
    assert_eq!(reach, Some(Reach::AppliedEverywhere), "whoever publishes is to know of it");
    rig.answers.sessions = true;
    rig.commit_held();
    assert_eq!(rig.received(subscriber), ["SUBACK #1 0x01"]);
    rig.send(subscriber, &unsubscribe(2, "t"));
    rig.send(subscriber, &unsubscribe(3, "t"));
    assert_eq!(rig.received(subscriber), ["UNSUBACK #2 0x00", "UNSUBACK #3 0x11"]);
    let publisher = rig.client("p");
    rig.send(publisher, &Packet::Publish(publish("t", AtLeastOnce, 1, "x")));
    assert_eq!(rig.received(publisher), ["PUBACK #1 0x10"]);
}

#[test]
fn a_clean_start_discards_the_durable_session() {
    let mut rig = Rig::durable();
    for connect in [connect("s"), Connect { clean_start: true, ..returning("s") }] {
        let first = rig.connect(returning("s"));
        rig.subscribe(first, "t", AtLeastOnce);
        rig.lose(first);
        let second = rig.open();
        let keeps = connect.properties.session_expiry_seconds.is_some();
        rig.send(second, &Packet::Connect(connect));
        assert_eq!(rig.received(second), ["CONNACK 0x00"]);
        assert_eq!(rig.store().contains("s"), keeps);
        rig.send(second, &unsubscribe(1, "t"));
        assert_eq!(rig.received(second), ["UNSUBACK #1 0x11"]);
        rig.lose(second);
    }
}

#[test]
fn a_clean_session_begins_when_the_durable_one_of_its_client_is_no_more() {
    let mut rig = Rig::durable();
    let first = rig.connect(returning("s"));
    rig.lose(first);
    rig.answers.sessions = false;
    let second = rig.open();
    rig.send(second, &Packet::Connect(connect("s")));
    assert!(rig.received(second).is_empty(), "its end could come after another beginning");
    rig.answers.sessions = true;
    rig.commit_held();
    assert_eq!(rig.received(second), ["CONNACK 0x00"]);
    assert!(!rig.store().contains("s"));
}

#[test]
fn a_connection_that_is_closed_for_a_newer_claim_leaves_the_durable_session_to_it() {
    let mut rig = Rig::durable();
    let first = rig.connect(returning("s"));
    rig.subscribe(first, "t", AtLeastOnce);
    // So a node is told that it could not be reached when the newer claim was granted.
    let left = rig.engine.take_over(rig.now, &ClientId::new("s"), true);
    rig.settle();
    assert!(left.is_none() && rig.is_closed(first));
    let second = rig.connect_returning("s");
    assert_eq!(rig.received(second), ["CONNACK 0x00 present"]);
    // A newer connection that wants nothing of the session says so itself.
    let third = rig.connect(Connect { clean_start: true, ..returning("s") });
    rig.send(third, &unsubscribe(1, "t"));
    assert_eq!(rig.received(third), ["UNSUBACK #1 0x11"]);
}

#[test]
fn a_newer_connection_takes_the_session_over() {
    let mut rig = Rig::durable();
    let first = rig.connect(returning("s"));
    rig.subscribe(first, "t", AtLeastOnce);
    let second = rig.connect_returning("s");
    assert_eq!(rig.received(second), ["CONNACK 0x00 present"]);
    assert_eq!(rig.received(first), ["DISCONNECT 0x8e"]);
    let publisher = rig.client("p");
    rig.send(publisher, &Packet::Publish(publish("t", AtLeastOnce, 1, "x")));
    assert_eq!(rig.received(second), ["PUBLISH t q1 #1 \"x\""]);
}

#[test]
fn a_session_ends_with_a_disconnect_that_says_so() {
    let mut rig = Rig::durable();
    let id = rig.connect(returning("s"));
    let disconnect =
        Disconnect { session_expiry_seconds: Some(0), ..Disconnect::new(ReasonCode::Success) };
    rig.send(id, &Packet::Disconnect(disconnect));
    assert!(!rig.store().contains("s"));
}

fn to_each_client() -> EngineConfig {
    let options = SubscriptionOptions { qos: AtLeastOnce, ..SubscriptionOptions::default() };
    let auto_subscriptions = [AutoSubscription { filter: "to/%c/#".into(), options }].into();
    EngineConfig { auto_subscriptions, ..EngineConfig::default() }
}

#[test]
fn a_durable_session_has_the_subscriptions_of_every_client_while_it_is_away_too() {
    let mut rig = Rig::durable_with(to_each_client());
    let publisher = rig.client("p");
    let kept = Publish { retain: true, ..publish("to/s/kept", AtLeastOnce, 1, "k") };
    rig.send(publisher, &Packet::Publish(kept));
    let first = rig.connect_returning("s");
    let expected = ["CONNACK 0x00", "PUBLISH to/s/kept q1 #1 retain \"k\""];
    assert_eq!(rig.received(first), expected);
    rig.send(first, &Packet::PubAck(ack(1)));
    rig.lose(first);
    rig.send(publisher, &Packet::Publish(publish("to/s/x", AtLeastOnce, 2, "x")));
    let second = rig.connect_returning("s");
    let expected = ["CONNACK 0x00 present", "PUBLISH to/s/x q1 #2 \"x\""];
    assert_eq!(rig.received(second), expected, "what is retained was sent once");
}
