//! The network between the nodes: ordered links that break, hold frames up, and come again.
//!
//! A link stands for one TCP connection. What one end sends arrives at the other in order, each frame
//! after a time of its own; what a partition holds up arrives when it is over, unless the link has
//! been given up by then. Frames of different links overtake each other.

mod deliver;
mod dial;
mod link;
mod links;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use broker::cluster::PeerHandler;
use broker_core::types::NodeId;

use crate::count::Tally;
use crate::digest::Digest;
use crate::environment::elapsed;
use crate::life::Life;
use crate::random::Random;
use link::Link;
pub(crate) use links::SimLinks;

/// Time of a frame on its way in milliseconds, from and below.
const DELAY: (u64, u64) = (1, 12);

/// Delay from which a link counts as troubled.
const DELAY_TROUBLE_MILLIS: u64 = 100;

type Handlers = Vec<(RangeInclusive<u8>, Arc<dyn PeerHandler>)>;

/// The network. A clone is the same one.
#[derive(Clone)]
pub(crate) struct Network(Arc<Mutex<State>>);

struct State {
    random: Random,
    nodes: BTreeMap<NodeId, Port>,
    links: BTreeMap<u64, Link>,
    last_link: u64,
    /// Directions in which nothing gets through.
    blocked: BTreeSet<(NodeId, NodeId)>,
    /// Milliseconds that frames take longer in this direction, at most.
    slow: BTreeMap<(NodeId, NodeId), u64>,
    /// When a node was last not linked, both ways and swiftly, with every other one that runs.
    troubled: BTreeMap<NodeId, Duration>,
    tally: Tally,
    /// Of all that has arrived.
    digest: Digest,
    /// Frames sent so far; each has its number.
    sent: u64,
    /// The number of the latest frame that has arrived at a node.
    arrived: BTreeMap<NodeId, u64>,
}

/// A node's place in the network.
struct Port {
    life: Life,
    name: Arc<str>,
    handlers: Handlers,
    /// Whether it dials and accepts.
    is_open: bool,
}

impl Network {
    pub(crate) fn new(random: Random, tally: Tally) -> Self {
        let network = Self(Arc::new(Mutex::new(State {
            random,
            nodes: BTreeMap::new(),
            links: BTreeMap::new(),
            last_link: 0,
            blocked: BTreeSet::new(),
            slow: BTreeMap::new(),
            troubled: BTreeMap::new(),
            tally,
            digest: Digest::default(),
            sent: 0,
            arrived: BTreeMap::new(),
        })));
        crate::environment::spawn(network.clone().tend());
        network
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A place for a process of a node; it has no links before [`Network::open`].
    pub(crate) fn join(&self, node: NodeId, name: &str, life: &Life) -> SimLinks {
        let name: Arc<str> = name.into();
        self.with(|state| {
            let (life, name) = (life.clone(), Arc::clone(&name));
            let port = Port { life, name, handlers: Vec::new(), is_open: false };
            state.nodes.insert(node, port);
            state.troubled.insert(node, elapsed());
        });
        SimLinks { network: self.clone(), node, name, life: life.clone() }
    }

    /// Lets a node dial and accept.
    pub(crate) fn open(&self, node: NodeId) {
        self.with(|state| {
            if let Some(port) = state.nodes.get_mut(&node) {
                port.is_open = true;
            }
        });
    }

    /// The node's process ends. Its peers are told, as by its kernel, or find out by silence.
    pub(crate) fn leave(&self, node: NodeId, are_peers_told: bool) {
        let ends = self.with(|state| {
            state.nodes.remove(&node);
            let mut ends = Vec::new();
            for (serial, link) in &mut state.links {
                if let Some(own) = link.end_of(node) {
                    link.shut(own);
                    ends.push((*serial, own.other()));
                }
            }
            ends
        });
        for (serial, end) in ends {
            let network = self.clone();
            let time = self.with(|state| match are_peers_told {
                true => state.random.millis(DELAY.0, DELAY.1),
                false => state.random.millis(2000, 2500),
            });
            crate::environment::spawn(async move {
                crate::environment::sleep(time).await;
                network.close(serial, end);
            });
        }
    }

    /// Lets nothing through from one node to another.
    pub(crate) fn block(&self, from: NodeId, to: NodeId) {
        self.with(|state| state.blocked.insert((from, to)));
    }

    /// Makes frames take up to so many milliseconds longer.
    pub(crate) fn slow(&self, from: NodeId, to: NodeId, millis: u64) {
        self.with(|state| state.slow.insert((from, to), millis));
    }

    /// Ends every partition and delay.
    pub(crate) fn heal(&self) {
        self.with(|state| {
            state.blocked.clear();
            state.slow.clear();
        });
        self.release();
    }

    /// Ends what was done in these directions.
    pub(crate) fn mend(&self, directions: &[(NodeId, NodeId)]) {
        self.with(|state| {
            for direction in directions {
                state.blocked.remove(direction);
                state.slow.remove(direction);
            }
        });
        self.release();
    }

    /// A hash over all that has arrived, with the time at which it has.
    pub(crate) fn digest(&self) -> Digest {
        self.with(|state| state.digest)
    }

    /// Whether the node has been linked with every other one that runs, both ways and swiftly, for
    /// so long.
    pub(crate) fn is_well(&self, node: NodeId, time: Duration) -> bool {
        let last = self.with(|state| state.troubled.get(&node).copied()).unwrap_or_default();
        elapsed().saturating_sub(last) >= time
    }
}
