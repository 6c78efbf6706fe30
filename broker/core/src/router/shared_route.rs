//! One group that a topic's messages go to: who of it may get them. Pure.

use std::sync::Arc;

use broker_policy::Action;

use super::entry::Subscriber;
use super::route::{Target, merge};
use super::shared::{Group, GroupIndex, Holder, Place, RemoteMembers};
use crate::engine::{Destination, SharedMembers};
use crate::session::{SessionSlot, Sessions};
use crate::types::NodeId;

/// Which members are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Presence {
    /// Those whose clients are connected.
    Connected,
    /// Those of them that the replicated state does not serve: who gets messages of QoS 1 and 2
    /// from engines.
    Live,
    /// Those whose clients are not connected.
    Offline,
}

impl Presence {
    const fn of(self, members: SharedMembers) -> u32 {
        match self {
            Self::Connected => members.connected,
            Self::Live => members.live(),
            Self::Offline => members.offline,
        }
    }
}

/// A group as a route knows it: each message goes to one of its members.
#[derive(Debug)]
pub(crate) struct SharedRoute {
    pub(crate) group: GroupIndex,
    pub(crate) key: Arc<str>,
    /// Members here whose clients are connected, sorted by session.
    pub(crate) connected: Vec<Target>,
    /// Those of them that the replicated state does not serve; `None` when these are all.
    live: Option<Vec<Target>>,
    /// The others here.
    pub(crate) offline: Vec<Target>,
    /// Members here left out as they may not receive from the topic.
    pub(crate) denied: u64,
    /// Members elsewhere, in the order of their holders.
    remote: Vec<RemoteMembers>,
    /// Where the members here stand among those.
    here_at: usize,
}

impl SharedRoute {
    pub(super) fn new(
        index: GroupIndex,
        group: &Group,
        here: Holder,
        topic: &str,
        sessions: &Sessions,
    ) -> Self {
        let mut denied = 0;
        let mut targets = |members: &[Subscriber]| -> Vec<Target> {
            let may_receive = |member: &&Subscriber| {
                let session = sessions.get(member.session);
                let may = session.is_some_and(|s| s.authorizer.allows(Action::Receive, topic));
                denied += u64::from(!may);
                may
            };
            let members = members.iter().filter(may_receive);
            members.map(|member| merge(member.session, std::iter::once(member))).collect()
        };
        let (connected, offline) = (targets(&group.connected), targets(&group.offline));
        let is_served = |member: &&Subscriber| member.is_served_by_state;
        let served = group.connected.iter().filter(is_served).map(|member| member.session);
        let served: Vec<SessionSlot> = served.collect();
        let is_live = |target: &&Target| served.binary_search(&target.session).is_err();
        let live = || connected.iter().filter(is_live).cloned().collect();
        let live = (!served.is_empty()).then(live);
        let here_at = group.remote.partition_point(|remote| remote.holder < here);
        let (key, remote) = (Arc::clone(&group.key), group.remote.clone());
        Self { group: index, key, connected, live, offline, denied, remote, here_at }
    }

    /// What it adds to the size of its route.
    pub(super) fn size(&self) -> usize {
        self.connected.len() + self.offline.len() + self.remote.len()
    }

    pub(crate) fn here(&self, presence: Presence) -> &[Target] {
        match presence {
            Presence::Connected => &self.connected,
            Presence::Live => self.live.as_ref().unwrap_or(&self.connected),
            Presence::Offline => &self.offline,
        }
    }

    pub(crate) fn elsewhere(&self, presence: Presence) -> u32 {
        self.remote.iter().map(|remote| presence.of(remote.members)).sum()
    }

    pub(crate) fn total(&self, presence: Presence) -> u32 {
        self.elsewhere(presence) + self.here(presence).len() as u32
    }

    /// The member at a position below [`Self::total`].
    pub(crate) fn locate(&self, mut position: u32, presence: Presence) -> Option<Place> {
        let (before, after) = self.remote.split_at(self.here_at);
        if let Some(place) = among(before, &mut position, presence) {
            return Some(place);
        }
        let here = self.here(presence).len() as u32;
        if position < here {
            return Some(Place::Here(position));
        }
        position -= here;
        among(after, &mut position, presence)
    }

    /// The member elsewhere at a position below [`Self::elsewhere`].
    pub(crate) fn locate_elsewhere(&self, mut position: u32, presence: Presence) -> Option<Place> {
        among(&self.remote, &mut position, presence)
    }

    /// The positions of a node's members: the first one and how many there are. `node` is the one
    /// that this engine belongs to.
    pub(crate) fn positions_on(&self, node: NodeId, presence: Presence) -> (u32, u32) {
        let sum = |remote: &[RemoteMembers], is_meant: &dyn Fn(NodeId) -> bool| -> u32 {
            let meant = remote.iter().filter(|remote| is_meant(remote.holder.node));
            meant.map(|remote| presence.of(remote.members)).sum()
        };
        let first = sum(&self.remote[..self.here_at], &|other| other < node);
        (first, sum(&self.remote, &|other| other == node) + self.here(presence).len() as u32)
    }

    /// Whether a destination has such members.
    pub(crate) fn has(&self, destination: Destination, presence: Presence) -> bool {
        let mut remote = self.remote.iter();
        remote.any(|known| known.destination == destination && presence.of(known.members) > 0)
    }
}

/// The place of a position among these members; if it is behind them, lowers it by their number.
fn among(remote: &[RemoteMembers], position: &mut u32, presence: Presence) -> Option<Place> {
    for known in remote {
        let count = presence.of(known.members);
        if *position < count {
            return Some(Place::There(known.destination, *position));
        }
        *position -= count;
    }
    None
}
