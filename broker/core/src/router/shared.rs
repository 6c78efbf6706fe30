//! Groups: the sessions, here and elsewhere, that share a Subscription. Pure.
//!
//! Groups have a tree of their own, so that who has none never meets one. Spec: MQTT 5.0 section
//! 4.8.2.

use std::collections::HashMap;
use std::sync::Arc;

use slab::Slab;

use super::entry::Subscriber;
use crate::engine::{Destination, InterestChange, InterestSeq, SharedMembers};
use crate::session::SessionSlot;
use crate::topic::{FilterTrie, TopicFilter};
use crate::types::NodeId;

/// Index of a group in its router. A route that names it is made anew before the index stands for
/// another group.
pub(crate) type GroupIndex = u32;

/// Who holds members of a group: an engine of this node or another node as a whole. In this order
/// all engines of the cluster count a group's members, so that they mean the same one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Holder {
    pub(crate) node: NodeId,
    /// 0 for another node.
    pub(crate) worker: u8,
}

/// The members of a group in one place elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RemoteMembers {
    pub(crate) holder: Holder,
    pub(crate) destination: Destination,
    pub(crate) members: SharedMembers,
}

/// What the choice of members remembers from message to message.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    /// Counts choices.
    pub(crate) next: u32,
    /// Where the member is that messages stick to.
    pub(crate) place: Option<Place>,
    /// The session here that messages stick to.
    pub(crate) session: Option<SessionSlot>,
}

/// Where a member is: its position among those here, a destination and its position there, or the
/// replicated state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Here(u32),
    There(Destination, u32),
    State,
}

/// The members that one Topic Filter and share name have.
#[derive(Debug)]
pub(super) struct Group {
    /// The whole Topic Filter, `$share/` and the share name included.
    pub(super) key: Arc<str>,
    /// What topics are matched against.
    filter: Arc<str>,
    /// Members here with a connection, sorted by session.
    pub(super) connected: Vec<Subscriber>,
    /// Members here without, sorted by session.
    pub(super) offline: Vec<Subscriber>,
    /// Sorted by holder; nobody is left out.
    pub(super) remote: Vec<RemoteMembers>,
    /// The interest change that tells others of the members here.
    seq: InterestSeq,
    /// Whether that change is still to be given out.
    is_untold: bool,
    turn: Turn,
}

impl Group {
    fn members(&self) -> SharedMembers {
        let served = self.connected.iter().filter(|member| member.is_served_by_state).count();
        SharedMembers {
            connected: self.connected.len() as u32,
            offline: self.offline.len() as u32,
            served_by_state: served as u32,
        }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.connected.is_empty() && self.offline.is_empty() && self.remote.is_empty()
    }

    fn set_remote(&mut self, remote: RemoteMembers) {
        let place = self.remote.binary_search_by_key(&remote.holder, |known| known.holder);
        match (place, remote.members == SharedMembers::NONE) {
            (Ok(at), true) => drop(self.remote.remove(at)),
            (Ok(at), false) => self.remote[at] = remote,
            (Err(at), false) => self.remote.insert(at, remote),
            (Err(_), true) => {}
        }
    }
}

fn insert(members: &mut Vec<Subscriber>, member: Subscriber) {
    match members.binary_search_by_key(&member.session, |known| known.session) {
        Ok(at) => members[at] = member,
        Err(at) => members.insert(at, member),
    }
}

fn remove(members: &mut Vec<Subscriber>, session: SessionSlot) -> Option<Subscriber> {
    let at = members.binary_search_by_key(&session, |known| known.session).ok()?;
    Some(members.remove(at))
}

/// All groups that anyone known here belongs to.
#[derive(Debug)]
pub(crate) struct Groups {
    groups: Slab<Group>,
    /// By what topics are matched against.
    by_filter: FilterTrie<GroupIndex>,
    by_key: HashMap<Arc<str>, GroupIndex>,
    /// Groups whose members others are to be told of.
    untold: Vec<GroupIndex>,
}

impl Groups {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            groups: Slab::new(),
            by_filter: FilterTrie::with_seed(seed),
            by_key: HashMap::new(),
            untold: Vec::new(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    pub(super) fn get(&self, index: GroupIndex) -> Option<&Group> {
        self.groups.get(index as usize)
    }

    pub(super) fn of_key(&self, key: &str) -> Option<&Group> {
        self.by_key.get(key).and_then(|index| self.get(*index))
    }

    pub(super) fn turn(&mut self, index: GroupIndex) -> Option<&mut Turn> {
        self.groups.get_mut(index as usize).map(|group| &mut group.turn)
    }

    /// Calls `visit` with each group whose filter matches the topic.
    pub(super) fn for_each_match(&self, topic: &str, mut visit: impl FnMut(GroupIndex, &Group)) {
        self.by_filter.for_each_match(topic, |&index| {
            if let Some(group) = self.get(index) {
                visit(index, group);
            }
        });
    }

    /// Adds a member or replaces it; gives the key to keep and the filter that is concerned.
    /// `None` for what is no Shared Subscription's Topic Filter.
    pub(super) fn join(
        &mut self,
        key: &str,
        member: Subscriber,
        is_connected: bool,
        next: InterestSeq,
    ) -> Option<(Arc<str>, Arc<str>)> {
        let index = self.find_or_create(key)?;
        let group = self.groups.get_mut(index as usize)?;
        if is_connected {
            remove(&mut group.offline, member.session);
            insert(&mut group.connected, member);
        } else {
            remove(&mut group.connected, member.session);
            insert(&mut group.offline, member);
        }
        let known = (Arc::clone(&group.key), Arc::clone(&group.filter));
        self.tell(index, next);
        Some(known)
    }

    /// Takes a member out; gives the filter that is concerned.
    pub(super) fn leave(
        &mut self,
        key: &str,
        session: SessionSlot,
        next: InterestSeq,
    ) -> Option<Arc<str>> {
        let index = *self.by_key.get(key)?;
        let group = self.groups.get_mut(index as usize)?;
        remove(&mut group.connected, session).or_else(|| remove(&mut group.offline, session))?;
        let filter = Arc::clone(&group.filter);
        self.tell(index, next);
        Some(filter)
    }

    /// A member's client has come or gone; gives the filter that is concerned.
    pub(super) fn set_connected(
        &mut self,
        key: &str,
        session: SessionSlot,
        is_connected: bool,
        next: InterestSeq,
    ) -> Option<Arc<str>> {
        let index = *self.by_key.get(key)?;
        let group = self.groups.get_mut(index as usize)?;
        let (from, to) = match is_connected {
            true => (&mut group.offline, &mut group.connected),
            false => (&mut group.connected, &mut group.offline),
        };
        insert(to, remove(from, session)?);
        let filter = Arc::clone(&group.filter);
        self.tell(index, next);
        Some(filter)
    }

    /// Notes the members in another place; gives the filter that is concerned.
    pub(super) fn set_remote(&mut self, key: &str, remote: RemoteMembers) -> Option<Arc<str>> {
        let index = self.find_or_create(key)?;
        let group = self.groups.get_mut(index as usize)?;
        group.set_remote(remote);
        let filter = Arc::clone(&group.filter);
        self.remove_if_unused(index);
        Some(filter)
    }

    /// Forgets a destination's members in this group.
    pub(super) fn clear_remote(&mut self, key: &str, destination: Destination) {
        let Some(&index) = self.by_key.get(key) else { return };
        if let Some(group) = self.groups.get_mut(index as usize) {
            group.remote.retain(|remote| remote.destination != destination);
        }
        self.remove_if_unused(index);
    }

    /// The interest change that others must know before the group is heard everywhere.
    pub(super) fn seq_of(&self, key: &str) -> InterestSeq {
        self.of_key(key).map(|group| group.seq).unwrap_or_default()
    }

    /// Whether there is anything to tell others.
    pub(super) const fn has_untold(&self) -> bool {
        !self.untold.is_empty()
    }

    /// Appends what others are to be told.
    pub(super) fn issue(&mut self, changes: &mut Vec<InterestChange>) {
        for index in std::mem::take(&mut self.untold) {
            let Some(group) = self.groups.get_mut(index as usize) else { continue };
            group.is_untold = false;
            let (filter, members) = (Arc::clone(&group.key), group.members());
            changes.push(InterestChange::Shared { filter, members });
            self.remove_if_unused(index);
        }
    }

    /// Keys of the groups that have members here.
    pub(super) fn local_keys(&self) -> impl Iterator<Item = &Arc<str>> {
        let has_local = |group: &&Group| group.members() != SharedMembers::NONE;
        self.groups.iter().map(|(_, group)| group).filter(has_local).map(|group| &group.key)
    }

    fn find_or_create(&mut self, key: &str) -> Option<GroupIndex> {
        if let Some(index) = self.by_key.get(key) {
            return Some(*index);
        }
        let parsed = TopicFilter::parse_unbounded(key).ok()?;
        parsed.share_name()?;
        let key: Arc<str> = key.into();
        let index = self.groups.insert(Group {
            key: Arc::clone(&key),
            filter: parsed.filter().into(),
            connected: Vec::new(),
            offline: Vec::new(),
            remote: Vec::new(),
            seq: InterestSeq(0),
            is_untold: false,
            turn: Turn::default(),
        }) as GroupIndex;
        self.by_filter.insert(parsed.filter(), index);
        self.by_key.insert(key, index);
        Some(index)
    }

    /// The members here have changed: others are to know by the next interest change.
    fn tell(&mut self, index: GroupIndex, next: InterestSeq) {
        let Some(group) = self.groups.get_mut(index as usize) else { return };
        group.seq = next;
        if !std::mem::replace(&mut group.is_untold, true) {
            self.untold.push(index);
        }
    }

    fn remove_if_unused(&mut self, index: GroupIndex) {
        let Some(group) = self.groups.get(index as usize) else { return };
        if !group.is_empty() || group.is_untold {
            return;
        }
        let group = self.groups.remove(index as usize);
        self.by_filter.remove(&group.filter, |known| *known == index);
        self.by_key.remove(&group.key);
    }
}
