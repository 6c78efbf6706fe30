//! Links that come, and links that are given up.

use std::time::Duration;

use broker::cluster::LinkEvent;
use broker_core::types::NodeId;

use super::link::{End, Link};
use super::{DELAY_TROUBLE_MILLIS, Network, State};
use crate::count::Count;
use crate::environment::{elapsed, sleep};

/// How often the links are looked after.
const LOOK: Duration = Duration::from_millis(50);

/// Looks at which a link is silent before it is given up: a little above two seconds, as in the
/// product.
const SILENT_LOOKS_MAX: u32 = 45;

/// A node that could be dialled is, at a look, with this probability in percent.
const DIAL_PERCENT: u64 = 30;

impl Network {
    /// Dials, gives up what is silent, and notes who is in trouble.
    pub(super) async fn tend(self) {
        loop {
            sleep(LOOK).await;
            for serial in self.with(State::silent_links) {
                // Whichever end notices first.
                let is_dialler = self.with(|state| state.random.percent(50));
                self.close(serial, if is_dialler { End::Dialler } else { End::Acceptor });
            }
            for (dialler, acceptor) in self.with(State::dials) {
                self.link(dialler, acceptor);
            }
            self.with(State::note_trouble);
        }
    }

    fn link(&self, dialler: NodeId, acceptor: NodeId) {
        let is_first = !self.is_accepted(acceptor, dialler);
        self.with(|state| {
            state.last_link += 1;
            state.links.insert(state.last_link, Link::new(dialler, acceptor));
        });
        if is_first {
            let event = LinkEvent::Accepted { node: dialler, name: self.name(dialler) };
            self.tell(acceptor, &event);
        }
        self.tell(dialler, &LinkEvent::Up { node: acceptor, name: self.name(acceptor) });
    }
}

impl State {
    /// Links that have been silent for too long.
    fn silent_links(&mut self) -> Vec<u64> {
        let mut silent = Vec::new();
        for (serial, link) in &mut self.links {
            let is_blocked = [End::Dialler, End::Acceptor]
                .iter()
                .any(|from| self.blocked.contains(&link.direction(*from)));
            link.silent_looks = if is_blocked { link.silent_looks + 1 } else { 0 };
            if link.silent_looks > SILENT_LOOKS_MAX {
                silent.push(*serial);
                if link.silent_looks == SILENT_LOOKS_MAX + 1 {
                    self.tally.count(Count::LinksGivenUp);
                }
            }
        }
        silent
    }

    /// Who dials whom now.
    fn dials(&mut self) -> Vec<(NodeId, NodeId)> {
        let mut dials = Vec::new();
        for (dialler, acceptor) in self.pairs() {
            let is_blocked = self.blocked.contains(&(dialler, acceptor))
                || self.blocked.contains(&(acceptor, dialler));
            if !is_blocked
                && !self.is_dialled(dialler, acceptor)
                && self.random.percent(DIAL_PERCENT)
            {
                dials.push((dialler, acceptor));
            }
        }
        dials
    }

    /// Nodes that run, two and two, each way.
    fn pairs(&self) -> Vec<(NodeId, NodeId)> {
        let open = |node: &NodeId| self.nodes.get(node).is_some_and(|port| port.is_open);
        let nodes: Vec<NodeId> = self.nodes.keys().copied().filter(open).collect();
        let pairs = nodes.iter().flat_map(|a| nodes.iter().map(move |b| (*a, *b)));
        pairs.filter(|(a, b)| a != b).collect()
    }

    pub(super) fn is_dialled(&self, dialler: NodeId, acceptor: NodeId) -> bool {
        self.dialled(dialler, acceptor).is_some()
    }

    /// The link that a node uses for its requests to another.
    pub(super) fn dialled(&self, dialler: NodeId, acceptor: NodeId) -> Option<u64> {
        let is_it = |link: &Link| {
            link.is_dialler_open && (link.dialler, link.acceptor) == (dialler, acceptor)
        };
        self.links.iter().find(|(_, link)| is_it(link)).map(|(serial, _)| *serial)
    }

    fn note_trouble(&mut self) {
        let now = elapsed();
        for (a, b) in self.pairs() {
            let is_well = self.is_dialled(a, b)
                && !self.blocked.contains(&(a, b))
                && self.slow.get(&(a, b)).is_none_or(|slow| *slow < DELAY_TROUBLE_MILLIS);
            if !is_well {
                self.troubled.insert(a, now);
                self.troubled.insert(b, now);
            }
        }
    }
}
