//! The membership planner against clusters that fail in every order and are scaled meanwhile: a
//! majority of voters never goes by its doing ([`SimulatedCluster::take`] checks), the cluster is
//! founded once, and when the faults end it arrives, without undoing a step of its own.

use jiff::SignedDuration;
use proptest::prelude::*;

use super::simulated::{CLUSTER_ID, SimulatedCluster};
use super::{Desired, RefuseReason, Step, next_step};

#[derive(Debug, Clone, Copy)]
enum Event {
    Crash(usize),
    Recover(usize),
    LoseDisk(usize),
    Replicate,
    Plan,
    ForgetRecord,
    /// So many brokers, and so many of them voters.
    Want(usize, u16),
    /// Time in which nothing happens, in seconds.
    Pass(i64),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        2 => (0..7_usize).prop_map(Event::Crash),
        3 => (0..7_usize).prop_map(Event::Recover),
        1 => (0..7_usize).prop_map(Event::LoseDisk),
        4 => Just(Event::Replicate),
        12 => Just(Event::Plan),
        1 => Just(Event::ForgetRecord),
        1 => (size(), voters()).prop_map(|(count, voters)| Event::Want(count, voters)),
        2 => (1..400_i64).prop_map(Event::Pass),
    ]
}

fn size() -> impl Strategy<Value = usize> {
    prop::sample::select(vec![1_usize, 3, 4, 5, 6, 7])
}

fn voters() -> impl Strategy<Value = u16> {
    prop::sample::select(vec![1_u16, 3, 5, 7])
}

struct Run {
    cluster: SimulatedCluster,
    desired: Desired,
    is_data_at_risk: bool,
}

impl Run {
    fn new(count: usize, voters: u16) -> Self {
        let cluster = SimulatedCluster::new(count);
        let (cluster_id, brokers) = (CLUSTER_ID.to_owned(), cluster.names());
        let desired =
            Desired { cluster_id, brokers, voters, is_founded: false, awaits_backup: false };
        Self { cluster, desired, is_data_at_risk: false }
    }

    fn plan(&mut self) -> Step {
        let step = next_step(&self.desired, &self.cluster.observe());
        self.cluster.take(&step);
        if matches!(step, Step::Bootstrap { .. } | Step::RecordFounded) {
            self.desired.is_founded = true;
        }
        step
    }

    fn happens(&mut self, event: Event) {
        let count = self.cluster.brokers.len();
        match event {
            Event::Crash(at) => self.cluster.brokers[at % count].is_up = false,
            Event::Recover(at) => self.recover(at % count),
            Event::LoseDisk(at) => {
                let was_voter = self.is_voter(at % count);
                self.is_data_at_risk |= was_voter && self.cluster.foundings > 0;
                self.cluster.lose_disk(at % count);
            }
            Event::Replicate => self.cluster.replicate(),
            Event::Plan => drop(self.plan()),
            // An operator that crashed between founding and recording it: only while the founder
            // is the only member, since nothing else is done before the record.
            Event::ForgetRecord => {
                if self.cluster.members.len() == 1 && self.cluster.has_quorum() {
                    self.desired.is_founded = false;
                    let _ = self.plan();
                }
            }
            Event::Want(count, voters) => {
                while self.cluster.brokers.len() < count {
                    self.cluster.add_broker();
                }
                self.desired.brokers = self.cluster.names()[..count].to_vec();
                self.desired.voters = voters;
            }
            Event::Pass(seconds) => {
                for broker in self.cluster.brokers.iter_mut().filter(|broker| !broker.is_up) {
                    broker.down_for += SignedDuration::from_secs(seconds);
                }
            }
        }
        self.cluster.elect();
    }

    fn recover(&mut self, at: usize) {
        let broker = &mut self.cluster.brokers[at];
        (broker.is_up, broker.down_for) = (true, SignedDuration::ZERO);
    }

    fn is_voter(&self, at: usize) -> bool {
        let id = self.cluster.brokers[at].node_id;
        self.cluster.members.iter().any(|member| member.voter && member.node_id == id)
    }

    /// Steps until nothing is left to do, while nothing fails any more. Every membership on the
    /// way is another one.
    fn calm_down(&mut self) -> Step {
        let mut last = Step::Aligned;
        let mut seen = vec![self.membership()];
        for _ in 0..100 {
            self.cluster.elect();
            self.cluster.replicate();
            last = self.plan();
            if last == Step::Aligned {
                break;
            }
            let is_change = matches!(
                last,
                Step::AddLearner { .. }
                    | Step::Promote { .. }
                    | Step::Demote { .. }
                    | Step::Remove { .. }
            );
            if is_change {
                let now = self.membership();
                assert!(!seen.contains(&now), "{last:?} leads back to {now:?}");
                seen.push(now);
            }
        }
        last
    }

    fn membership(&self) -> Vec<(String, u64, bool)> {
        let members = self.cluster.members.iter();
        let mut all: Vec<_> = members.map(|m| (m.name.clone(), m.node_id.0, m.voter)).collect();
        all.sort();
        all
    }

    fn check(&self, last: &Step) {
        assert!(self.cluster.foundings <= 1);
        let wanted = usize::from(self.desired.voters).min(self.desired.brokers.len());
        match last {
            Step::Aligned => {
                assert_eq!(self.cluster.voters(), wanted);
                let mut members: Vec<_> =
                    self.cluster.members.iter().map(|member| member.name.clone()).collect();
                members.sort();
                assert_eq!(members, self.desired.brokers);
            }
            Step::Refuse { reason: RefuseReason::QuorumLost, .. } => {
                assert!(self.is_data_at_risk, "refused although no voter lost its disk");
            }
            other => panic!("ends with {other:?}"),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn no_step_breaks_a_quorum_and_the_wanted_membership_is_reached(
        count in size(),
        voters in voters(),
        events in prop::collection::vec(event(), 0..100),
    ) {
        let mut run = Run::new(count, voters);
        for event in events {
            run.happens(event);
        }
        for at in 0..run.cluster.brokers.len() {
            run.recover(at);
        }
        let last = run.calm_down();
        run.check(&last);
        if last == Step::Aligned {
            prop_assert_eq!(run.cluster.alive_voters(), run.cluster.voters());
        }
    }

    /// While one broker is away for good, votes move to those that are there and stay.
    #[test]
    fn a_vote_is_replaced_once_where_there_is_a_broker_for_it(
        count in size(),
        lost in 0..7_usize,
    ) {
        let mut run = Run::new(count, 3);
        prop_assert_eq!(run.calm_down(), Step::Aligned);
        let lost = lost % count;
        run.happens(Event::Crash(lost));
        run.happens(Event::Pass(400));
        let was_voter = run.is_voter(lost);
        let last = run.calm_down();
        if count > 3 {
            prop_assert_eq!(last, Step::Aligned);
            prop_assert_eq!(run.cluster.alive_voters(), 3);
            prop_assert!(!run.is_voter(lost));
        } else if count == 3 {
            prop_assert_eq!(last, Step::Aligned);
            prop_assert_eq!(run.is_voter(lost), was_voter);
        }
        run.recover(lost);
        run.cluster.elect();
        run.cluster.replicate();
        prop_assert_eq!(run.plan(), Step::Aligned);
    }

    #[test]
    fn growing_and_shrinking_keeps_a_quorum_at_every_step(
        from in size(),
        to in size(),
        voters in (voters(), voters()),
        down in prop::option::of(0..6_usize),
    ) {
        let mut run = Run::new(from, voters.0);
        prop_assert_eq!(run.calm_down(), Step::Aligned);
        let down = down.filter(|at| *at < from && from >= 3);
        if let Some(at) = down {
            run.happens(Event::Crash(at));
        }
        run.happens(Event::Want(to, voters.1));
        let last = run.calm_down();
        if down.is_none() {
            run.check(&last);
        }
    }
}
