//! The cluster as clients, operator and faults see it: places for brokers, and who is in them.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use broker_core::types::NodeId;

use crate::history::History;
use crate::network::Network;
use crate::node::{Node, Place};
use crate::random::Random;

/// A cluster. A clone is the same one.
#[derive(Clone)]
pub(crate) struct Cluster {
    pub(crate) network: Network,
    pub(crate) history: History,
    places: Arc<Mutex<Vec<Place>>>,
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
        let places = Arc::new(Mutex::new((0..brokers).map(place).collect()));
        Self { network, history, places, is_ending: Arc::default(), publishers: Arc::default() }
    }

    fn with<T>(&self, act: impl FnOnce(&mut Vec<Place>) -> T) -> T {
        act(&mut self.places.lock().unwrap_or_else(PoisonError::into_inner))
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

    /// The node ids that the cluster is to have.
    pub(crate) fn wanted(&self) -> Vec<NodeId> {
        self.with(|places| places.iter().map(|place| place.id).collect())
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
