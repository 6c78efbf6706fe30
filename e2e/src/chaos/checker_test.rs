use super::checker::Checker;
use super::history::Event;

fn connected(client: &str, connection: u64, node: usize, is_session_present: bool) -> Event {
    Event::Connected { client: client.into(), connection, node, is_session_present }
}

fn subscribed(client: &str, group: Option<&str>) -> Event {
    Event::Subscribed { client: client.into(), group: group.map(str::to_owned) }
}

const fn sent(stream: u32, number: u64, qos: u8) -> Event {
    Event::Sent { stream, number, qos, node: 0 }
}

const fn acknowledged(stream: u32, number: u64) -> Event {
    Event::Acknowledged { stream, number, node: 0 }
}

const fn refused(stream: u32, number: u64) -> Event {
    Event::Refused { stream, number, code: 0x83 }
}

fn received(client: &str, stream: u32, number: u64) -> Event {
    Event::Received { client: client.into(), stream, number }
}

fn alive(client: &str, connection: u64, seconds: u64) -> Event {
    Event::Alive { client: client.into(), connection, pinged_at: seconds * 1_000_000 }
}

/// The first thing that is wrong, where an event happens each second.
fn check(events: &[Event]) -> Option<String> {
    let mut checker = Checker::default();
    (0..).zip(events).find_map(|(second, event)| checker.observe(second * 1_000_000, event).err())
}

/// The rule that is broken.
fn rule(events: &[Event]) -> String {
    let violation = check(events).unwrap_or_default();
    violation.split(':').next().unwrap_or_default().to_owned()
}

/// A stream of QoS 1 and one of QoS 2, both complete at a durable session and at a group.
fn sound() -> Vec<Event> {
    vec![
        subscribed("s", None),
        subscribed("m1", Some("g")),
        subscribed("m2", Some("g")),
        sent(0, 0, 1),
        sent(0, 1, 1),
        sent(1, 0, 2),
        received("s", 0, 0),
        acknowledged(0, 0),
        acknowledged(0, 1),
        acknowledged(1, 0),
        received("m2", 0, 1),
        received("m1", 0, 0),
        received("s", 0, 1),
        received("s", 1, 0),
        received("m1", 1, 0),
        // As QoS 1 may.
        received("s", 0, 0),
        Event::Healed,
        Event::Ended,
    ]
}

/// A sound history without the events that are like one of `taken`.
fn sound_without(taken: &[Event]) -> Vec<Event> {
    sound().into_iter().filter(|event| !taken.contains(event)).collect()
}

#[test]
fn a_sound_history_has_nothing_wrong_and_counts_what_it_holds() {
    assert_eq!(check(&sound()), None);
    let mut checker = Checker::default();
    for event in sound() {
        checker.observe(0, &event).unwrap();
    }
    let counts = checker.counts;
    assert_eq!((counts.sent, counts.acknowledged, counts.received, counts.repeated), (3, 3, 7, 1));
    assert_eq!(checker.due(), 0);
}

#[test]
fn an_acknowledged_message_that_a_session_or_a_group_has_not_got_is_found() {
    assert_eq!(rule(&sound_without(&[received("s", 0, 1)])), "acknowledged_is_delivered");
    assert_eq!(rule(&sound_without(&[received("m2", 0, 1)])), "acknowledged_is_delivered");
    assert_eq!(rule(&sound_without(&[received("s", 1, 0)])), "qos2_once");
    assert_eq!(rule(&sound_without(&[received("m1", 1, 0)])), "qos2_once");
    let without_acknowledgement = sound_without(&[received("s", 0, 1), acknowledged(0, 1)]);
    assert_eq!(rule(&without_acknowledgement), "liveness", "it may be lost, not unanswered");
}

#[test]
fn a_refused_message_may_come_or_not() {
    let mut events = vec![subscribed("s", None), sent(0, 0, 1), refused(0, 0), Event::Ended];
    assert_eq!(check(&events), None);
    events.insert(3, received("s", 0, 0));
    assert_eq!(check(&events), None);
}

#[test]
fn what_was_acknowledged_before_a_session_subscribed_is_not_owed_to_it() {
    let events = [sent(0, 0, 1), subscribed("s", None), acknowledged(0, 0), Event::Ended];
    assert_eq!(check(&events), None);
    let events =
        [sent(0, 0, 1), subscribed("s", None), sent(0, 1, 1), acknowledged(0, 1), Event::Ended];
    assert_eq!(rule(&events), "acknowledged_is_delivered");
}

#[test]
fn a_qos_2_message_that_comes_twice_is_found_also_when_two_members_get_it() {
    let mut events = sound();
    events.insert(15, received("s", 1, 0));
    assert_eq!(rule(&events), "qos2_once");
    let mut events = sound();
    events.insert(15, received("m2", 1, 0));
    assert_eq!(rule(&events), "qos2_once");
}

#[test]
fn a_message_that_comes_first_after_a_later_one_is_found_and_a_repetition_is_none() {
    let early = [subscribed("s", None), sent(0, 0, 1), sent(0, 1, 1), received("s", 0, 1)];
    assert_eq!(rule(&[&early[..], &[received("s", 0, 0)]].concat()), "order");
    assert_eq!(check(&[&early[..], &[received("s", 0, 1)]].concat()), None);
    // A member of a group may be given what another one has left.
    let member = [subscribed("m", Some("g")), sent(0, 0, 1), sent(0, 1, 1), received("m", 0, 1)];
    assert_eq!(check(&[&member[..], &[received("m", 0, 0)]].concat()), None);
}

#[test]
fn what_nobody_sent_or_nobody_subscribed_to_is_found() {
    let events = [subscribed("s", None), sent(0, 0, 1), received("s", 0, 1)];
    assert_eq!(rule(&events), "sent_is_received");
    assert_eq!(rule(&[sent(0, 0, 1), received("s", 0, 0)]), "sent_is_received");
}

#[test]
fn a_stream_of_which_nothing_is_acknowledged_when_all_faults_are_over_is_found() {
    let before = [subscribed("s", None), sent(0, 0, 1), acknowledged(0, 0), received("s", 0, 0)];
    let after = |answers: &[Event]| {
        let all = [&before[..], &[Event::Ready], answers, &[Event::Healed, Event::Ended]].concat();
        rule(&all)
    };
    assert_eq!(after(&[]), "liveness", "nothing was sent either");
    assert_eq!(after(&[sent(0, 1, 1), refused(0, 1)]), "liveness", "a refusal is no service");
    let served = [sent(0, 1, 1), refused(0, 1), sent(0, 2, 1), acknowledged(0, 2)];
    assert_eq!(after(&[&served[..], &[received("s", 0, 2)]].concat()), "");
    // An answer to what was sent before tells nothing of what is sent now.
    let mut late = before.to_vec();
    late[2] = Event::Ready;
    late.extend([acknowledged(0, 0), Event::Healed, Event::Ended]);
    assert_eq!(rule(&late), "liveness");
}

#[test]
fn a_session_that_is_not_there_again_is_found() {
    let first = connected("s", 1, 0, false);
    assert_eq!(check(&[first.clone(), connected("s", 2, 1, true)]), None);
    assert_eq!(rule(&[first, connected("s", 2, 1, false)]), "durable_session_stays");
}

#[test]
fn an_older_connection_that_still_answers_is_found_where_the_brokers_were_well() {
    let both = [connected("w", 1, 0, false), connected("w", 2, 1, true)];
    let with = |later: &[Event]| rule(&[&both[..], later].concat());
    assert_eq!(with(&[alive("w", 1, 30)]), "one_connection");
    assert_eq!(with(&[alive("w", 2, 30)]), "", "the newest lives");
    assert_eq!(with(&[alive("w", 1, 5)]), "", "it takes a moment to close the older one");
    let fault =
        |nodes: &[usize]| Event::FaultBegan { fault: 1, nodes: nodes.into(), what: "".into() };
    assert_eq!(with(&[fault(&[1]), alive("w", 1, 30)]), "", "broker 1 is not well");
    assert_eq!(with(&[fault(&[2]), alive("w", 1, 30)]), "one_connection", "another one is not");
    assert_eq!(with(&[fault(&[2]), alive("w", 1, 7)]), "", "which may have led a moment ago");
    let ended = Event::FaultEnded { fault: 1 };
    assert_eq!(with(&[fault(&[1]), ended.clone(), alive("w", 1, 7)]), "");
    assert_eq!(with(&[fault(&[1]), ended, alive("w", 1, 30)]), "one_connection");
}
