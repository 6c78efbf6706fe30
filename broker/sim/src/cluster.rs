//! The cluster as clients, operator and faults see it: places for brokers, and who is in them.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use broker_core::types::NodeId;

use crate::count::Count;
use crate::history::History;
use crate::network::Network;
use crate::node::{Node, Place};
use crate::random::Random;

/// Voters of a cluster that has as many brokers.
pub(crate) const VOTERS: usize = 3;

/// Difference of clocks that is counted.
const APART: Duration = Duration::from_secs(1);

/// Which places are to have which part.
#[derive(Debug, Default)]
struct Placement {
    voters: BTreeSet<usize>,
    /// Brokers that are to be no members.
    out: BTreeSet<usize>,
}

/// A cluster. A clone is the same one.
#[derive(Clone)]
pub(crate) struct Cluster {
    pub(crate) network: Network,
    pub(crate) history: History,
    places: Arc<Mutex<Vec<Place>>>,
    placement: Arc<Mutex<Placement>>,
    /// Publishers send nothing new.
    is_ending: Arc<AtomicBool>,
    /// Publishers with messages that are not acknowledged yet, or that go on.
    publishers: Arc<AtomicUsize>,
}

impl Cluster {
    /// Places for so many brokers; none runs yet.
    pub(crate) fn new(
        network: Network,
        history: History,
        brokers: usize,
        random: &mut Random,
    ) -> Self {
        let place = |number| Place::new(number, Random::new(random.number(), "place"));
        let places: Vec<Place> = (0..brokers).map(place).collect();
        let voters = (0..brokers.min(VOTERS)).collect();
        let placement = Placement { voters, out: BTreeSet::new() };
        let cluster = Self {
            network,
            history,
            places: Arc::new(Mutex::new(places)),
            placement: Arc::new(Mutex::new(placement)),
            is_ending: Arc::default(),
            publishers: Arc::default(),
        };
        if cluster.clocks_apart() >= APART {
            cluster.history.count(Count::ClocksApart);
        }
        cluster
    }

    fn with<T>(&self, act: impl FnOnce(&mut Vec<Place>) -> T) -> T {
        act(&mut self.places.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// How much the clocks of the brokers differ.
    pub(crate) fn clocks_apart(&self) -> Duration {
        self.with(|places| {
            let clocks = places.iter().map(|place| place.clock.ahead);
            let (first, last) = (clocks.clone().max(), clocks.min());
            Duration::from_millis(first.unwrap_or(0) - last.unwrap_or(0))
        })
    }

    /// How many brokers there are to be.
    pub(crate) fn size(&self) -> usize {
        self.with(|places| places.len())
    }

    /// The processes that run, by their places.
    pub(crate) fn nodes(&self) -> Vec<Arc<Node>> {
        self.with(|places| places.iter().filter_map(|place| place.node.clone()).collect())
    }

    /// The process in a place.
    pub(crate) fn node(&self, place: usize) -> Option<Arc<Node>> {
        self.with(|places| places.get(place)?.node.clone())
    }

    /// Changes a place.
    pub(crate) fn place<T>(&self, place: usize, change: impl FnOnce(&mut Place) -> T) -> T {
        self.with(|places| change(&mut places[place]))
    }

    fn with_placement<T>(&self, act: impl FnOnce(&mut Placement) -> T) -> T {
        act(&mut self.placement.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The node ids that the cluster is to have, and whether each is to vote.
    pub(crate) fn wanted(&self) -> Vec<(NodeId, bool)> {
        let ids: Vec<NodeId> = self.with(|places| places.iter().map(|place| place.id).collect());
        self.with_placement(|placement| {
            let of = |(place, id)| (id, placement.voters.contains(&place));
            let is_in = |(place, _): &(usize, NodeId)| !placement.out.contains(place);
            ids.into_iter().enumerate().filter(is_in).map(of).collect()
        })
    }

    /// Whether the broker in a place is to vote.
    pub(crate) fn is_to_vote(&self, place: usize) -> bool {
        self.with_placement(|placement| placement.voters.contains(&place))
    }

    /// Moves a vote from one place to another, which has none and is not out; false if it is not so.
    pub(crate) fn move_vote(&self, from: usize, to: usize) -> bool {
        self.with_placement(|placement| {
            let may = placement.voters.contains(&from)
                && !placement.voters.contains(&to)
                && !placement.out.contains(&to);
            if may {
                placement.voters.remove(&from);
                placement.voters.insert(to);
            }
            may
        })
    }

    /// Takes a broker that is to have no vote out of the cluster; false for one that is to have one.
    pub(crate) fn take_out(&self, place: usize) -> bool {
        self.with_placement(|placement| {
            !placement.voters.contains(&place) && placement.out.insert(place)
        })
    }

    /// Has all brokers be members again.
    pub(crate) fn take_all_in(&self) {
        self.with_placement(|placement| placement.out.clear());
    }

    /// Ends the publishers' work.
    pub(crate) fn end(&self) {
        self.is_ending.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_ending(&self) -> bool {
        self.is_ending.load(Ordering::Relaxed)
    }

    /// A publisher begins its work.
    pub(crate) fn publisher_begins(&self) {
        self.publishers.fetch_add(1, Ordering::Relaxed);
    }

    /// All that a publisher has sent is acknowledged, and it sends nothing more.
    pub(crate) fn publisher_ends(&self) {
        self.publishers.fetch_sub(1, Ordering::Relaxed);
    }

    /// Publishers that are not done.
    pub(crate) fn publishers(&self) -> usize {
        self.publishers.load(Ordering::Relaxed)
    }
}
