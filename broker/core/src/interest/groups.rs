//! Groups of Shared Subscriptions that this node's workers have members of. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::claim::WorkerIndex;
use crate::engine::SharedMembers;
use crate::types::QoS;

/// The members of each group by worker.
#[derive(Debug, Default)]
pub(super) struct NodeGroups {
    groups: BTreeMap<Arc<str>, Group>,
    /// Whether messages for a group go to the same worker as long as it has connected members.
    is_sticky: bool,
}

#[derive(Debug, Default)]
struct Group {
    /// Sorted by worker; nobody is left out.
    workers: Vec<(WorkerIndex, SharedMembers)>,
    stuck_to: Option<WorkerIndex>,
}

impl Group {
    fn total(&self) -> SharedMembers {
        self.workers.iter().fold(SharedMembers::NONE, |sum, (_, members)| sum.plus(*members))
    }

    fn connected(&self, worker: WorkerIndex, qos: QoS) -> u32 {
        let mut workers = self.workers.iter().filter(|(known, _)| *known == worker);
        workers.next().map_or(0, |(_, members)| connected(*members, qos))
    }

    /// The worker with the member at this position, and the position there.
    fn locate(
        &self,
        position: u32,
        count: impl Fn(&SharedMembers) -> u32,
    ) -> Option<(WorkerIndex, u32)> {
        let total: u32 = self.workers.iter().map(|(_, members)| count(members)).sum();
        let mut position = position.checked_rem(total)?;
        for (worker, members) in &self.workers {
            let count = count(members);
            if position < count {
                return Some((*worker, position));
            }
            position -= count;
        }
        None
    }
}

impl NodeGroups {
    pub(super) const fn set_sticky(&mut self, is_sticky: bool) {
        self.is_sticky = is_sticky;
    }

    pub(super) fn len(&self) -> usize {
        self.groups.len()
    }

    /// Notes a worker's members; gives all members of the node if they have come to be others.
    pub(super) fn set(
        &mut self,
        worker: WorkerIndex,
        filter: &Arc<str>,
        members: SharedMembers,
    ) -> Option<SharedMembers> {
        let group = self.groups.entry(Arc::clone(filter)).or_default();
        let before = group.total();
        let place = group.workers.binary_search_by_key(&worker, |(known, _)| *known);
        match (place, members == SharedMembers::NONE) {
            (Ok(at), true) => drop(group.workers.remove(at)),
            (Ok(at), false) => group.workers[at].1 = members,
            (Err(at), false) => group.workers.insert(at, (worker, members)),
            (Err(_), true) => {}
        }
        let after = group.total();
        if group.workers.is_empty() {
            self.groups.remove(filter);
        }
        (after != before).then_some(after)
    }

    /// The worker for a message that a peer sends for the member at this position: one with
    /// connected members if there is any, and the position among its own.
    pub(super) fn member(
        &mut self,
        filter: &str,
        position: u32,
        qos: QoS,
    ) -> Option<(WorkerIndex, u32)> {
        let group = self.groups.get_mut(filter)?;
        if self.is_sticky
            && let Some(worker) = group.stuck_to
            && let Some(position) = position.checked_rem(group.connected(worker, qos))
        {
            return Some((worker, position));
        }
        let place = group
            .locate(position, |members| connected(*members, qos))
            .or_else(|| group.locate(position, |members| members.offline))?;
        group.stuck_to = Some(place.0);
        Some(place)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Arc<str>, SharedMembers)> {
        self.groups.iter().map(|(filter, group)| (filter, group.total()))
    }
}

/// The connected members that get messages of this QoS from engines.
const fn connected(members: SharedMembers, qos: QoS) -> u32 {
    match qos {
        QoS::AtMostOnce => members.connected,
        _ => members.live(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(connected: u32, offline: u32) -> SharedMembers {
        SharedMembers { connected, offline, ..SharedMembers::NONE }
    }

    fn groups() -> (NodeGroups, Arc<str>) {
        let (mut groups, filter) = (NodeGroups::default(), Arc::from("$share/g/t"));
        assert_eq!(groups.set(WorkerIndex(2), &filter, members(1, 1)), Some(members(1, 1)));
        assert_eq!(groups.set(WorkerIndex(0), &filter, members(2, 0)), Some(members(3, 1)));
        assert_eq!(groups.set(WorkerIndex(1), &filter, members(0, 3)), Some(members(3, 4)));
        (groups, filter)
    }

    #[test]
    fn positions_run_over_the_connected_members_of_all_workers() {
        let (mut groups, filter) = groups();
        let places: Vec<_> =
            (0..4).map(|at| groups.member(&filter, at, QoS::AtLeastOnce).unwrap()).collect();
        let worker = |worker, at| (WorkerIndex(worker), at);
        assert_eq!(places, [worker(0, 0), worker(0, 1), worker(2, 0), worker(0, 0)]);
        groups.set(WorkerIndex(0), &filter, SharedMembers::NONE);
        groups.set(WorkerIndex(2), &filter, members(0, 1));
        assert_eq!(
            groups.member(&filter, 3, QoS::AtLeastOnce),
            Some(worker(2, 0)),
            "nobody is connected"
        );
        assert_eq!(groups.set(WorkerIndex(5), &filter, SharedMembers::NONE), None);
        groups.set(WorkerIndex(1), &filter, SharedMembers::NONE);
        groups.set(WorkerIndex(2), &filter, SharedMembers::NONE);
        assert_eq!((groups.member(&filter, 0, QoS::AtLeastOnce), groups.len()), (None, 0));
    }

    #[test]
    fn a_sticky_group_stays_with_its_worker_until_that_has_nobody_connected() {
        let (mut groups, filter) = groups();
        groups.set_sticky(true);
        assert_eq!(groups.member(&filter, 2, QoS::AtLeastOnce).unwrap().0, WorkerIndex(2));
        groups.set(WorkerIndex(1), &filter, members(9, 0));
        assert_eq!(groups.member(&filter, 2, QoS::AtLeastOnce).unwrap().0, WorkerIndex(2));
        groups.set(WorkerIndex(2), &filter, members(0, 2));
        assert_eq!(groups.member(&filter, 2, QoS::AtLeastOnce).unwrap().0, WorkerIndex(1));
    }
}
