//! The rollout planner against brokers that fail in every order: it never takes a broker that the
//! quorum needs ([`Roll::take`] checks), and when the faults end every broker runs what is wanted.

use proptest::prelude::*;

use super::simulated::{Roll, seconds};
use super::{NextStep, Readiness};

#[derive(Debug, Clone, Copy)]
enum Event {
    Crash(usize),
    Recover(usize),
    /// It answers and votes, but is not ready.
    Stall(usize),
    WantVersion(u8),
    WantTemplate(u8),
    Pass(i64),
    Plan,
    LosePolicy,
    EnforcePolicy,
    Connect(usize, u64),
    Pause(bool),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        1 => (0..5_usize).prop_map(Event::Crash),
        4 => (0..5_usize).prop_map(Event::Recover),
        2 => (0..5_usize).prop_map(Event::Stall),
        1 => (0..3_u8).prop_map(Event::WantVersion),
        1 => (0..3_u8).prop_map(Event::WantTemplate),
        4 => (1..40_i64).prop_map(Event::Pass),
        8 => Just(Event::Plan),
        1 => Just(Event::LosePolicy),
        1 => Just(Event::EnforcePolicy),
        3 => (0..5_usize, 0..60_u64).prop_map(|(at, clients)| Event::Connect(at, clients)),
        1 => any::<bool>().prop_map(Event::Pause),
    ]
}

fn happens(roll: &mut Roll, event: Event) {
    let count = roll.brokers.len();
    match event {
        Event::Crash(at) => roll.crashes(at % count, "exited"),
        Event::Recover(at) => {
            let at = at % count;
            if !roll.cluster.brokers[at].is_up {
                roll.becomes_ready(at);
            }
        }
        Event::Stall(at) => roll.brokers[at % count].readiness = Readiness::Unready(roll.now),
        Event::WantVersion(version) => roll.want_version(&format!("0.{version}.0")),
        Event::WantTemplate(template) => roll.wanted.template = format!("t{template}"),
        Event::Pass(time) => roll.pass(seconds(time)),
        Event::Plan => {
            let step = roll.next_step();
            roll.take(&step);
        }
        Event::LosePolicy => roll.wanted.policy_revision = Some("r2".to_owned()),
        Event::Connect(at, clients) => roll.cluster.brokers[at % count].connections = clients,
        Event::Pause(is_paused) => roll.settings.is_paused = is_paused,
        Event::EnforcePolicy => roll.wanted.policy_revision = Some("r1".to_owned()),
    }
    roll.cluster.elect();
}

/// A stall of a broker that is out of date goes on: restarting it is the planner's task. One that
/// is up to date halts the roll for as long as it lasts.
fn end_faults(roll: &mut Roll) {
    for (at, observed) in roll.observe().iter().enumerate() {
        let stalls_the_roll = observed.outdated(&roll.wanted).is_none()
            && !observed.is_draining()
            && matches!(roll.brokers[at].readiness, Readiness::Unready(_));
        if stalls_the_roll || !roll.cluster.brokers[at].is_up {
            roll.becomes_ready(at);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn no_restart_breaks_a_quorum_and_the_roll_ends_up_to_date(
        count in prop_oneof![Just(1_usize), Just(3), Just(5)],
        events in prop::collection::vec(event(), 0..80),
    ) {
        let mut roll = Roll::settled(count);
        for event in events {
            happens(&mut roll, event);
        }
        roll.wanted.policy_revision = Some("r1".to_owned());
        roll.settings.is_paused = false;
        end_faults(&mut roll);
        let taken = roll.run_to_the_end();
        prop_assert_eq!(roll.next_step(), NextStep::Done);
        let restarts = taken.iter().filter(|act| act.starts_with("b-"));
        prop_assert!(restarts.count() <= count);
        prop_assert!(roll.cluster.brokers.iter().all(|broker| !broker.is_draining));
    }
}
