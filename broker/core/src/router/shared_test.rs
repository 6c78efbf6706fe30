//! Groups against the plain reading of the rules.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::router_test::{filter, sessions, topic};
use super::*;
use crate::codec::packet::SubscriptionOptions;
use crate::engine::SharedMembers;
use crate::topic::matches;
use crate::types::NodeId;

const HERE: Holder = Holder { node: NodeId(5), worker: 1 };

#[derive(Debug, Clone)]
enum Step {
    /// A session becomes a member, connected or not.
    Join(SessionSlot, usize, String, bool),
    Leave(SessionSlot, usize, String),
    SetConnected(SessionSlot, usize, String, bool),
    /// Destination, group, members there.
    Remote(u8, usize, String, u32, u32),
    Clear(u8, bool),
    Look(String),
    Issue,
}

fn step() -> impl Strategy<Value = Step> {
    let key = || (0..4u32, 0..2usize, filter());
    prop_oneof![
        4 => (key(), any::<bool>()).prop_map(|((s, g, f), on)| Step::Join(s, g, f, on)),
        3 => key().prop_map(|(s, g, f)| Step::Leave(s, g, f)),
        2 => (key(), any::<bool>()).prop_map(|((s, g, f), on)| Step::SetConnected(s, g, f, on)),
        3 => (0..4u8, 0..2usize, filter(), 0..3u32, 0..2u32)
            .prop_map(|(to, g, f, connected, offline)| Step::Remote(to, g, f, connected, offline)),
        1 => (0..4u8, any::<bool>()).prop_map(|(to, shared)| Step::Clear(to, shared)),
        5 => topic().prop_map(Step::Look),
        3 => Just(Step::Issue),
    ]
}

fn key(group: usize, filter: &str) -> String {
    format!("$share/g{group}/{filter}")
}

/// Destinations 0 and 2 are workers before and behind this one, 1 and 3 nodes likewise.
fn holder(destination: u8) -> (Option<NodeId>, Holder) {
    match destination {
        1 => (Some(NodeId(2)), Holder { node: NodeId(2), worker: 0 }),
        3 => (Some(NodeId(8)), Holder { node: NodeId(8), worker: 0 }),
        worker => (None, Holder { worker, ..HERE }),
    }
}

/// By key: sessions here with their connections; members by holder and destination.
#[derive(Debug, Clone, Default, PartialEq)]
struct Model {
    local: BTreeMap<String, BTreeMap<SessionSlot, bool>>,
    remote: BTreeMap<String, BTreeMap<Holder, (u8, SharedMembers)>>,
}

impl Model {
    fn members(&self, key: &str) -> SharedMembers {
        let sessions = self.local.get(key).into_iter().flat_map(BTreeMap::values);
        let mut members = SharedMembers::NONE;
        for is_connected in sessions {
            members.connected += u32::from(*is_connected);
            members.offline += u32::from(!is_connected);
        }
        members
    }

    /// Every place of a group's connected members, in order.
    fn places(&self, key: &str) -> Vec<Place> {
        let mut by_holder: BTreeMap<Holder, Vec<Place>> = BTreeMap::new();
        let here = (0..self.members(key).connected).map(Place::Here).collect();
        by_holder.insert(HERE, here);
        for (holder, (destination, members)) in self.remote.get(key).into_iter().flatten() {
            let there = |at| Place::There(Destination::new(*destination).unwrap(), at);
            by_holder.insert(*holder, (0..members.connected).map(there).collect());
        }
        by_holder.into_values().flatten().collect()
    }

    fn matching(&self, topic: &str) -> Vec<String> {
        let keys = self.local.iter().filter(|(_, m)| !m.is_empty()).map(|(key, _)| key);
        let remote = self.remote.iter().filter(|(_, m)| !m.is_empty()).map(|(key, _)| key);
        let mut keys: Vec<_> = keys.chain(remote).cloned().collect();
        keys.retain(|key| matches(&key[10..], topic));
        keys.sort();
        keys.dedup();
        keys
    }
}

fn take_step(router: &mut Router, model: &mut Model, step: &Step) {
    match step.clone() {
        Step::Join(session, group, filter, is_connected) => {
            let subscriber = Subscriber::new(session, SubscriptionOptions::default(), None);
            router.subscribe(&key(group, &filter), subscriber, is_connected);
            model.local.entry(key(group, &filter)).or_default().insert(session, is_connected);
        }
        Step::Leave(session, group, filter) => {
            router.unsubscribe(&key(group, &filter), session);
            model.local.entry(key(group, &filter)).or_default().remove(&session);
        }
        Step::SetConnected(session, group, filter, is_connected) => {
            router.set_connected(&key(group, &filter), session, is_connected);
            if let Some(known) =
                model.local.entry(key(group, &filter)).or_default().get_mut(&session)
            {
                *known = is_connected;
            }
        }
        Step::Remote(to, group, filter, connected, offline) => {
            let (node, holder) = holder(to);
            let members = SharedMembers { connected, offline, ..SharedMembers::NONE };
            router.set_remote(RemoteInterest::Shared {
                destination: Destination::new(to).unwrap(),
                node,
                filter: Arc::from(key(group, &filter)),
                members,
            });
            let known = model.remote.entry(key(group, &filter)).or_default();
            if members == SharedMembers::NONE {
                known.remove(&holder);
            } else {
                known.insert(holder, (to, members));
            }
        }
        Step::Clear(to, shared_only) => {
            let destination = Destination::new(to).unwrap();
            router.set_remote(match shared_only {
                true => RemoteInterest::SharedCleared(destination),
                false => RemoteInterest::Cleared(destination),
            });
            for known in model.remote.values_mut() {
                known.remove(&holder(to).1);
            }
        }
        Step::Look(_) | Step::Issue => {}
    }
}

proptest! {
    #[test]
    fn groups_agree_with_counting_one_by_one(steps in prop::collection::vec(step(), 0..80)) {
        let sessions = sessions(4);
        let (mut router, mut model) = (Router::new(1, HERE), Model::default());
        let mut told: BTreeMap<String, SharedMembers> = BTreeMap::new();
        for step in steps {
            take_step(&mut router, &mut model, &step);
            if let Step::Look(topic) = &step {
                let route = router.take_route(topic, &sessions);
                let mut keys: Vec<_> =
                    route.groups.iter().map(|group| group.key.to_string()).collect();
                keys.sort();
                prop_assert_eq!(keys, model.matching(topic));
                for group in &route.groups {
                    let total = group.total(Presence::Connected);
                    let places: Vec<_> = (0..total)
                        .map(|at| group.locate(at, Presence::Connected).unwrap())
                        .collect();
                    prop_assert_eq!(places, model.places(&group.key));
                    prop_assert!(router.turn(group.group).is_some());
                    let offline = model.members(&group.key).offline as usize;
                    prop_assert_eq!(group.here(Presence::Offline).len(), offline);
                }
                router.put_route(route);
            }
            if matches!(step, Step::Issue) {
                for change in router.issue_interest().into_iter().flat_map(|(_, changes)| changes) {
                    let InterestChange::Shared { filter, members } = change else {
                        panic!("{change:?}")
                    };
                    told.insert(filter.to_string(), members);
                }
                for (key, known) in &told {
                    prop_assert_eq!(*known, model.members(key), "{}", key);
                }
                let held = |key: &&String| model.members(key) != SharedMembers::NONE;
                prop_assert_eq!(
                    router.local_filters().len(),
                    model.local.keys().filter(held).count()
                );
                prop_assert!(model.local.keys().filter(held).all(|key| told.contains_key(key)));
            }
        }
    }
}

#[test]
fn a_group_that_everyone_has_left_is_forgotten_once_that_is_told() {
    let mut router = Router::new(1, HERE);
    let subscriber = Subscriber::new(0, SubscriptionOptions::default(), None);
    router.subscribe("$share/g/t", subscriber, true);
    router.issue_interest();
    router.unsubscribe("$share/g/t", 0);
    assert!(!router.groups.is_empty());
    assert_eq!(router.issue_interest().unwrap().1.len(), 1);
    assert!(router.groups.is_empty());
    let filter: Arc<str> = Arc::from("$share/no-group");
    let (destination, node) = (Destination::new(1).unwrap(), None);
    let members = SharedMembers { connected: 1, offline: 0, ..SharedMembers::NONE };
    router.set_remote(RemoteInterest::Shared { destination, node, filter, members });
    assert!(router.groups.is_empty(), "no Topic Filter");
}
