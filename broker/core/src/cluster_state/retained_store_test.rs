use bytes::Bytes;

use super::*;
use crate::cluster_state::testing::{bytes_of, read, written};
use crate::cluster_state::{ClusterState, Command, CommandBatch, Outcome};
use crate::codec::packet::{Publish, PublishProperties};
use crate::types::QoS;

fn message(topic: &str, payload: &[u8], expires_at: Millis) -> RetainedMessage {
    let publish = Publish {
        dup: false,
        qos: QoS::AtMostOnce,
        retain: true,
        topic,
        packet_id: None,
        properties: PublishProperties::default(),
        payload,
    };
    RetainedMessage::new(&publish, expires_at).unwrap()
}

fn retain(topic: &str, payload: &[u8]) -> Command {
    let message = Some(message(topic, payload, Millis::NEVER));
    Command::Retain(RetainedChange { topic: topic.into(), message })
}

fn clear(topic: &str) -> Command {
    Command::Retain(RetainedChange { topic: topic.into(), message: None })
}

fn apply(state: &mut ClusterState, limits: RetainedLimits, commands: &[Command]) -> Vec<Outcome> {
    let items: Vec<Bytes> = commands.iter().map(|c| c.encode().unwrap()).collect();
    state.apply(1, &CommandBatch::new(limits, &items)).unwrap().outcomes
}

fn found(state: &ClusterState, filter: &str, after: Option<&str>) -> Vec<String> {
    let mut topics = Vec::new();
    let mut budget = usize::MAX;
    let visit = &mut |message: &RetainedMessage| {
        topics.push(message.topic().to_owned());
        ControlFlow::Continue(())
    };
    let store = state.retained();
    let search = store.for_each_match(filter, after, Millis(1000), &mut budget, visit);
    assert_eq!(search, RetainedSearch::Done);
    topics
}

#[test]
fn matching_messages_come_in_the_order_of_their_topics() {
    let mut state = ClusterState::default();
    let topics = ["a", "a/b", "a/b/c", "a!", "b", "a/c", "$SYS/x", "ab"];
    let commands: Vec<_> = topics.iter().map(|topic| retain(topic, b"x")).collect();
    apply(&mut state, RetainedLimits::default(), &commands);
    assert_eq!(found(&state, "a/#", None), ["a", "a/b", "a/b/c", "a/c"]);
    assert_eq!(found(&state, "a/+", None), ["a/b", "a/c"]);
    assert_eq!(found(&state, "a/b", None), ["a/b"]);
    assert_eq!(found(&state, "+", None), ["a", "a!", "ab", "b"]);
    assert_eq!(found(&state, "#", Some("a/b")), ["a/b/c", "a/c", "ab", "b"]);
    assert_eq!(found(&state, "a/b", Some("a/b")), [""; 0]);
    assert_eq!(found(&state, "$SYS/#", None), ["$SYS/x"]);
}

#[test]
fn thousands_of_topics_are_found_one_by_one_and_as_a_whole() {
    let mut state = ClusterState::default();
    // In an order that makes chunks split in the middle and at both ends.
    let numbers: Vec<u32> = (0..3000).map(|n| n * 1871 % 3000).collect();
    let topics: Vec<String> = numbers.iter().map(|n| format!("t/{n:05}/x")).collect();
    let commands: Vec<_> = topics.iter().map(|topic| retain(topic, b"12345")).collect();
    apply(&mut state, RetainedLimits::default(), &commands);
    let mut sorted = topics.clone();
    sorted.sort();
    assert_eq!(found(&state, "t/+/x", None), sorted);
    assert_eq!(found(&state, "#", Some(&sorted[1499])), sorted[1500..]);
    for topic in &topics {
        assert_eq!(found(&state, topic, None), [topic.as_str()]);
    }
    let commands: Vec<_> = topics.iter().map(|topic| clear(topic)).collect();
    apply(&mut state, RetainedLimits::default(), &commands);
    assert_eq!(state.retained().totals(), RetainedTotals::default());
    assert_eq!(found(&state, "#", None), [""; 0]);
    assert!(state.retained().chunks().len() <= 1);
}

#[test]
fn a_full_store_refuses_new_topics_and_says_which_limit() {
    let mut state = ClusterState::default();
    let limits = RetainedLimits { messages_max: 2, bytes_max: 1 << 20 };
    let outcomes = apply(&mut state, limits, &[retain("a", b"1"), retain("b", b"1")]);
    assert_eq!(outcomes, [Outcome::Retained, Outcome::Retained]);
    let outcomes = apply(&mut state, limits, &[retain("c", b"1"), retain("a", b"2"), clear("b")]);
    assert!(
        matches!(&outcomes[0], Outcome::RetainRefused { reason } if reason.contains("messagesMax"))
    );
    assert_eq!(outcomes[1..], [Outcome::Retained, Outcome::Retained]);

    let bytes = state.retained().totals().bytes;
    let limits = RetainedLimits { messages_max: 10, bytes_max: bytes + 10 };
    let outcomes = apply(&mut state, limits, &[retain("big", &[0; 100])]);
    assert!(
        matches!(&outcomes[0], Outcome::RetainRefused { reason } if reason.contains("bytesMax"))
    );
    assert_eq!(state.retained().totals().messages, 1);
}

#[test]
fn lowered_limits_let_messages_shrink_but_not_grow() {
    let mut state = ClusterState::default();
    apply(&mut state, RetainedLimits::default(), &[retain("a", &[0; 100]), retain("b", b"1")]);
    let limits = RetainedLimits { messages_max: 1, bytes_max: 10 };
    let outcomes = apply(&mut state, limits, &[retain("a", &[0; 50]), retain("a", &[0; 60])]);
    assert_eq!(outcomes[0], Outcome::Retained);
    assert!(matches!(outcomes[1], Outcome::RetainRefused { .. }));
}

#[test]
fn expired_messages_are_not_found_and_are_dropped_by_command() {
    let mut state = ClusterState::default();
    let expiring = Command::Retain(RetainedChange {
        topic: "a".into(),
        message: Some(message("a", b"x", Millis(1000))),
    });
    apply(&mut state, RetainedLimits::default(), &[expiring, retain("b", b"x")]);
    assert_eq!(found(&state, "#", None), ["b"]);
    assert_eq!(state.retained().totals().messages, 2);
    let expire = |now| Command::ExpireRetained { now: Millis(now), messages_max: 10 };
    let outcomes = apply(&mut state, RetainedLimits::default(), &[expire(999), expire(1000)]);
    assert_eq!(outcomes, [Outcome::Expired { messages: 0 }, Outcome::Expired { messages: 1 }]);
    assert_eq!(state.retained().totals().messages, 1);
}

#[test]
fn messages_expire_in_their_order_so_many_at_a_time() {
    let mut state = ClusterState::default();
    let expiring = |topic: &str, at| {
        let message = Some(message(topic, b"x", Millis(at)));
        Command::Retain(RetainedChange { topic: topic.into(), message })
    };
    let commands =
        [expiring("a", 30), expiring("b", 10), expiring("c", 20), expiring("b", 40), clear("d")];
    apply(&mut state, RetainedLimits::default(), &commands);
    assert_eq!(state.retained().next_expiry(), Some(Millis(20)));
    let expire = Command::ExpireRetained { now: Millis(100), messages_max: 2 };
    let outcomes = apply(&mut state, RetainedLimits::default(), std::slice::from_ref(&expire));
    assert_eq!(outcomes, [Outcome::Expired { messages: 2 }]);
    assert_eq!(state.retained().next_expiry(), Some(Millis(40)));
    // A restored state knows when messages expire, too.
    let mut restored = ClusterState::default();
    restored.install(state.snapshot());
    for state in [&mut state, &mut restored] {
        let outcomes = apply(state, RetainedLimits::default(), &[expire.clone(), expire.clone()]);
        assert_eq!(outcomes, [Outcome::Expired { messages: 1 }, Outcome::Expired { messages: 0 }]);
        assert_eq!(state.retained().next_expiry(), None);
        assert_eq!(state.retained().totals(), RetainedTotals::default());
    }
}

#[test]
fn a_snapshot_holds_what_was_there_when_it_was_taken() {
    let mut state = ClusterState::default();
    let commands: Vec<_> = (0..1000).map(|n| retain(&format!("t/{n}"), b"before")).collect();
    apply(&mut state, RetainedLimits::default(), &commands);
    let snapshot = state.snapshot();
    let before = found(&state, "#", None);
    let totals = state.retained().totals();
    apply(&mut state, RetainedLimits::default(), &[clear("t/5"), retain("t/6", b"after")]);

    let bytes = bytes_of(&snapshot);
    let mut restored = ClusterState::default();
    let store = Arc::clone(restored.retained());
    restored.install(read(bytes.clone()).unwrap());
    assert_eq!(found(&restored, "#", None), before);
    assert_eq!(store.totals(), totals);
    assert_eq!(written(&restored), bytes);
    let payload = store.message("t/6").unwrap();
    assert_eq!(payload.publish().unwrap().payload, b"before");

    for length in (0..bytes.len()).step_by(97) {
        assert!(read(bytes.slice(..length)).is_err(), "{length} bytes");
    }
}

#[test]
fn a_search_stops_when_its_budget_is_used_up_by_topics_that_do_not_match() {
    let mut state = ClusterState::default();
    let topics: Vec<String> = (0..1000).map(|n| format!("t/{n:03}/{}", n % 500)).collect();
    let commands: Vec<_> = topics.iter().map(|topic| retain(topic, b"x")).collect();
    apply(&mut state, RetainedLimits::default(), &commands);
    let (mut after, mut topics, mut searches) = (None, Vec::new(), 0);
    loop {
        let mut budget = 100;
        let visit = &mut |message: &RetainedMessage| {
            topics.push(message.topic().to_owned());
            ControlFlow::Continue(())
        };
        let from = after.as_deref();
        let store = state.retained();
        let search = store.for_each_match("+/+/499", from, Millis(0), &mut budget, visit);
        searches += 1;
        match search {
            RetainedSearch::Done => break,
            RetainedSearch::Stopped { after: stopped } => {
                assert_eq!(budget, 0);
                after = stopped;
            }
        }
    }
    assert_eq!(topics, ["t/499/499", "t/999/499"]);
    assert_eq!(searches, 10);
}
