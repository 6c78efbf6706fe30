//! The membership planner against clusters that fail in every order: a majority of voters never
//! goes by its doing, the cluster is founded once, and when the faults end it arrives.

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
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        2 => (0..7_usize).prop_map(Event::Crash),
        3 => (0..7_usize).prop_map(Event::Recover),
        1 => (0..7_usize).prop_map(Event::LoseDisk),
        4 => Just(Event::Replicate),
        8 => Just(Event::Plan),
        1 => Just(Event::ForgetRecord),
    ]
}

struct Run {
    cluster: SimulatedCluster,
    desired: Desired,
    is_data_at_risk: bool,
}

impl Run {
    fn new(count: usize) -> Self {
        let cluster = SimulatedCluster::new(count);
        let brokers = cluster.names();
        let desired = Desired { cluster_id: CLUSTER_ID.to_owned(), brokers, is_founded: false };
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
            Event::Recover(at) => self.cluster.brokers[at % count].is_up = true,
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
        }
        self.cluster.elect();
    }

    fn is_voter(&self, at: usize) -> bool {
        let id = self.cluster.brokers[at].node_id;
        self.cluster.members.iter().any(|member| member.voter && member.node_id == id)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn no_step_breaks_a_quorum_and_the_wanted_membership_is_reached(
        count in prop_oneof![Just(1_usize), Just(3), Just(5), Just(7)],
        events in prop::collection::vec(event(), 0..80),
    ) {
        let mut run = Run::new(count);
        for event in events {
            run.happens(event);
        }
        for broker in &mut run.cluster.brokers {
            broker.is_up = true;
        }
        run.cluster.elect();
        let mut last = Step::Aligned;
        for _ in 0..10 * count + 10 {
            run.cluster.elect();
            run.cluster.replicate();
            last = run.plan();
            if last == Step::Aligned {
                break;
            }
        }
        prop_assert!(run.cluster.foundings <= 1);
        match last {
            Step::Aligned => {
                prop_assert_eq!(run.cluster.voters(), count);
                prop_assert_eq!(run.cluster.alive_voters(), count);
            }
            Step::Refuse { reason: RefuseReason::QuorumLost, .. } => {
                prop_assert!(run.is_data_at_risk, "refused although no voter lost its disk");
            }
            other => prop_assert!(false, "ends with {:?}", other),
        }
    }

    #[test]
    fn growing_and_shrinking_keeps_a_quorum_at_every_step(
        from in 1..6_usize,
        to in 1..6_usize,
        down in prop::option::of(0..6_usize),
    ) {
        let mut cluster = SimulatedCluster::formed(from);
        while cluster.brokers.len() < to {
            cluster.add_broker();
        }
        let down = down.filter(|at| *at < from && from >= 3);
        if let Some(at) = down {
            cluster.brokers[at].is_up = false;
            cluster.elect();
        }
        let brokers = cluster.names()[..to].to_vec();
        let desired = Desired { cluster_id: CLUSTER_ID.to_owned(), brokers, is_founded: true };
        let mut last = Step::Aligned;
        for _ in 0..40 {
            cluster.replicate();
            last = next_step(&desired, &cluster.observe());
            cluster.take(&last);
            if last == Step::Aligned {
                break;
            }
        }
        if down.is_none() {
            prop_assert_eq!(last, Step::Aligned);
            prop_assert_eq!(cluster.voters(), to);
        }
    }
}
