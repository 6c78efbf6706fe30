//! Interest under any order of changes, broken links and slow workers.

use proptest::prelude::*;

use super::property_world::{NODES, WORKERS, Wanted, World};
use crate::engine::SharedMembers;
use crate::types::NodeId;

const FILTERS: usize = 4;

#[derive(Debug, Clone)]
enum Step {
    /// A worker's sessions begin or end to want a filter, or messages of QoS 0 alone.
    Want {
        node: u64,
        worker: u8,
        filter: usize,
        wanted: Option<Wanted>,
    },
    /// The members that a worker's sessions are of a group have come to be so many.
    Share {
        node: u64,
        worker: u8,
        group: usize,
        connected: u32,
        offline: u32,
    },
    /// The oldest message from one node to another arrives.
    Deliver(u64, u64),
    /// A worker applies its oldest update.
    Work(u64, u8),
    Break(u64, u64),
    Mend(u64, u64),
    Advance(u64),
}

impl World {
    fn apply(&mut self, step: &Step) {
        match *step {
            Step::Want { node, worker, filter, wanted } => {
                self.want(NodeId(node), worker, filter, wanted);
            }
            Step::Share { node, worker, group, connected, offline } => {
                self.share(
                    NodeId(node),
                    worker,
                    group,
                    SharedMembers { connected, offline, ..SharedMembers::NONE },
                );
            }
            Step::Deliver(from, to) => drop(self.deliver(NodeId(from), NodeId(to))),
            Step::Work(node, worker) => drop(self.work(NodeId(node), worker)),
            Step::Break(a, b) => self.break_link(NodeId(a), NodeId(b)),
            Step::Mend(a, b) => self.mend_link(NodeId(a), NodeId(b)),
            Step::Advance(millis) => self.advance(millis),
        }
    }
}

fn step() -> impl Strategy<Value = Step> {
    let kinds = [None, Some(Wanted::QoS0), Some(Wanted::Everything)];
    let want = (0..NODES, 0..WORKERS, 0..FILTERS, prop::sample::select(kinds.to_vec()))
        .prop_map(|(node, worker, filter, wanted)| Step::Want { node, worker, filter, wanted });
    let share = (0..NODES, 0..WORKERS, 0..FILTERS, 0..3u32, 0..2u32).prop_map(
        |(node, worker, group, connected, offline)| Step::Share {
            node,
            worker,
            group,
            connected,
            offline,
        },
    );
    prop_oneof![
        4 => want,
        4 => share,
        10 => (0..NODES, 0..NODES).prop_map(|(a, b)| Step::Deliver(a, b)),
        8 => (0..NODES, 0..WORKERS).prop_map(|(node, worker)| Step::Work(node, worker)),
        1 => (0..NODES, 0..NODES).prop_map(|(a, b)| Step::Break(a, b)),
        1 => (0..NODES, 0..NODES).prop_map(|(a, b)| Step::Mend(a, b)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn every_worker_comes_to_route_by_the_union_of_what_the_others_want(
        steps in prop::collection::vec(prop_oneof![
            20 => step(),
            1 => (0..8_000u64).prop_map(Step::Advance),
        ], 0..100),
    ) {
        let mut world = World::new();
        world.may_give_up = true;
        for step in &steps {
            world.apply(step);
            world.may_give_up = true;
        }
        world.mend_all();
        world.settle();
        for at in world.ids() {
            for of in world.ids().into_iter().filter(|of| *of != at) {
                let wanted = world.wanted(of);
                prop_assert_eq!(&world.known(at, of), &wanted);
                let destination = world.destination(at, of).unwrap();
                for worker in &world.nodes[&at].workers {
                    let routed = worker.table.get(&destination).cloned().unwrap_or_default();
                    prop_assert_eq!(&routed, &wanted);
                }
            }
            for worker in &world.nodes[&at].workers {
                prop_assert_eq!(worker.confirmed, worker.seq);
            }
        }
    }

    /// Without time-outs: what is confirmed is known to everyone who can be reached.
    #[test]
    fn a_confirmed_change_is_known_to_all_who_are_linked(
        steps in prop::collection::vec(step(), 0..100),
    ) {
        let mut world = World::new();
        for step in &steps {
            world.apply(step);
        }
        world.mend_all();
        world.settle();
    }
}
