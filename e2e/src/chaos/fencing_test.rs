use super::checker::Checker;
use super::history::Event;

/// The broker that is alone, from second 10 on.
const ALONE: usize = 1;

const fn parted() -> Event {
    Event::Parted { node: ALONE }
}

const fn rejoining() -> Event {
    Event::Rejoining { node: ALONE }
}

fn connected(connection: u64, node: usize) -> Event {
    let is_session_present = connection > 1;
    Event::Connected { client: "w".into(), connection, node, is_session_present }
}

fn alive(connection: u64, seconds: u64) -> Event {
    Event::Alive { client: "w".into(), connection, pinged_at: seconds * 1_000_000 }
}

const fn sent(number: u64, node: usize) -> Event {
    Event::Sent { stream: 0, number, qos: 2, node }
}

const fn acknowledged(number: u64, node: usize) -> Event {
    Event::Acknowledged { stream: 0, number, node }
}

/// Whether this rule is broken first, by events at their seconds.
fn is_broken(events: &[(u64, Event)]) -> bool {
    let mut checker = Checker::default();
    let mut observe =
        |(second, event): &(u64, Event)| checker.observe(second * 1_000_000, event).err();
    let violation = events.iter().find_map(&mut observe);
    let rule = violation.as_deref().and_then(|violation| violation.split(':').next());
    assert!(matches!(rule, None | Some("fenced")), "{violation:?}");
    rule.is_some()
}

#[test]
fn a_minority_acknowledges_nothing_that_is_sent_to_it_late() {
    let with = |sent_at, node, acknowledged_at, by| {
        is_broken(&[
            (1, connected(1, ALONE)),
            (10, parted()),
            (sent_at, sent(0, node)),
            (acknowledged_at, acknowledged(0, by)),
        ])
    };
    assert!(with(21, ALONE, 22, ALONE));
    assert!(!with(19, ALONE, 22, ALONE), "it may have been committed when it was parted");
    assert!(!with(21, 0, 22, 0), "the others go on");
    assert!(!with(21, ALONE, 22, 0), "sent again to another one");
}

#[test]
fn what_a_minority_acknowledges_when_it_is_none_any_more_is_right() {
    let late = [(10, parted()), (21, sent(0, ALONE)), (22, rejoining())];
    assert!(!is_broken(&[&late[..], &[(23, acknowledged(0, ALONE))]].concat()));
    let again = [(24, parted()), (25, acknowledged(0, ALONE))];
    assert!(!is_broken(&[&late[..], &again].concat()), "it was not sent to this minority");
}

#[test]
fn a_minority_sends_its_clients_away_and_lets_none_in() {
    let before = [(1, connected(1, ALONE)), (10, parted())];
    let with = |event| is_broken(&[&before[..], &[event]].concat());
    assert!(with((22, alive(1, 21))));
    assert!(!with((22, alive(1, 19))), "asked before it had to be gone");
    assert!(with((21, connected(2, ALONE))));
    assert!(!with((19, connected(2, ALONE))));
    assert!(!with((21, connected(2, 0))));
    let after = [(22, rejoining()), (23, connected(2, ALONE)), (24, alive(2, 23))];
    assert!(!is_broken(&[&before[..], &after].concat()));
}

#[test]
fn minorities_that_had_to_be_fenced_are_counted() {
    let mut checker = Checker::default();
    for (second, event) in [(10, parted()), (19, rejoining()), (30, parted()), (41, rejoining())] {
        checker.observe(second * 1_000_000, &event).unwrap();
    }
    assert_eq!(checker.counts.fenced, 1);
}
