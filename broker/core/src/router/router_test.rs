//! Routes against the plain reading of the rules.

use std::collections::BTreeMap;
use std::sync::Arc;

use broker_policy::Policy;
use proptest::prelude::*;

use super::*;
use crate::codec::packet::SubscriptionOptions;
use crate::connection::Identity;
use crate::engine::{AuthProof, Claim};
use crate::session::{OnDemand, Session};
use crate::topic::matches;
use crate::types::{ClientId, Millis, QoS, SubscriptionId};

pub(super) fn sessions(count: usize) -> Sessions {
    let policy = Policy::from_records([broker_policy::Record::Client(broker_policy::Client {
        username: "u".into(),
        ..Default::default()
    })])
    .unwrap();
    let mut sessions = Sessions::default();
    for number in 0..count {
        let client_id = ClientId::new(&number.to_string());
        let username: Option<Arc<str>> = Some("u".into());
        let session = Session {
            authorizer: policy.authorizer(username.as_deref(), client_id.as_str()),
            client_id,
            serial: sessions.next_serial(),
            claim: Claim::default(),
            identity: Identity { username, proof: AuthProof::None },
            connection: None,
            expiry_seconds: 0,
            expires_at: Millis::NEVER,
            subscriptions: Default::default(),
            in_flight: OnDemand::default(),
            queue: OnDemand::default(),
            inbound_qos2: OnDemand::default(),
            retained_cursors: OnDemand::default(),
            is_searching: false,
            in_flight_counted: 0,
            is_recheck_due: false,
            will: None,
            will_at: Millis::NEVER,
            timer_at: Millis::NEVER,
            durable: None,
        };
        assert_eq!(sessions.insert(session), number as SessionSlot);
    }
    sessions
}

#[derive(Debug, Clone)]
enum Step {
    Subscribe(SessionSlot, String, u8, Option<u32>),
    Unsubscribe(SessionSlot, String),
    Remote(u8, String, bool),
    Clear(u8),
    Look(String),
}

pub(super) fn filter() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(vec!["a", "+"]), 1..3).prop_flat_map(|levels| {
        any::<bool>().prop_map(move |has_hash| {
            let mut levels = levels.clone();
            if has_hash {
                levels.push("#");
            }
            levels.join("/")
        })
    })
}

pub(super) fn topic() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(vec!["a", "b"]), 1..3).prop_map(|l| l.join("/"))
}

fn step() -> impl Strategy<Value = Step> {
    let session = 0..3u32;
    prop_oneof![
        4 => (session.clone(), filter(), 0..3u8, prop::option::of(1..9u32))
            .prop_map(|(session, filter, qos, id)| Step::Subscribe(session, filter, qos, id)),
        4 => (session, filter()).prop_map(|(session, filter)| Step::Unsubscribe(session, filter)),
        2 => (0..3u8, filter(), any::<bool>()).prop_map(|(to, f, on)| Step::Remote(to, f, on)),
        1 => (0..3u8).prop_map(Step::Clear),
        4 => topic().prop_map(Step::Look),
    ]
}

type Local = BTreeMap<(SessionSlot, String), (u8, Option<u32>)>;

/// Sessions with the highest QoS and the sorted identifiers that a topic's messages get.
fn expected(local: &Local, topic: &str) -> BTreeMap<SessionSlot, (u8, Vec<u32>)> {
    let mut targets: BTreeMap<SessionSlot, (u8, Vec<u32>)> = BTreeMap::new();
    for ((session, filter), (qos, id)) in local {
        if matches(filter, topic) {
            let target = targets.entry(*session).or_default();
            target.0 = target.0.max(*qos);
            target.1.extend(id);
            target.1.sort_unstable();
        }
    }
    targets
}

fn actual(route: &Route) -> BTreeMap<SessionSlot, (u8, Vec<u32>)> {
    let target = |target: &Target| {
        let mut ids: Vec<u32> =
            target.subscription_ids.iter().flatten().map(|id| id.get()).collect();
        ids.sort_unstable();
        (target.session, (target.qos.as_u8(), ids))
    };
    let targets: BTreeMap<_, _> = route.targets.iter().map(target).collect();
    assert_eq!(targets.len(), route.targets.len(), "one target per session");
    targets
}

proptest! {
    #[test]
    fn routes_agree_with_matching_one_by_one(steps in prop::collection::vec(step(), 0..60)) {
        let sessions = sessions(4);
        let mut router = Router::new(1, Holder { node: crate::types::NodeId(1), worker: 0 });
        let (mut local, mut remote) = (Local::new(), BTreeMap::<(u8, String), ()>::new());
        let mut interest: BTreeMap<String, ()> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Subscribe(session, filter, qos, id) => {
                    let options = SubscriptionOptions {
                        qos: QoS::from_u8(qos).unwrap(),
                        ..SubscriptionOptions::default()
                    };
                    let subscription_id = id.and_then(SubscriptionId::new);
                    let subscriber = Subscriber::new(session, options, subscription_id);
                    router.subscribe(&filter, subscriber, true);
                    local.insert((session, filter), (qos, id));
                }
                Step::Unsubscribe(session, filter) => {
                    router.unsubscribe(&filter, session);
                    local.remove(&(session, filter));
                }
                Step::Remote(to, filter, is_added) => {
                    let destination = Destination::new(to).unwrap();
                    if is_added {
                        router.set_remote(RemoteInterest::Added(destination, filter.as_str().into()));
                        remote.insert((to, filter), ());
                    } else {
                        router.set_remote(RemoteInterest::Removed(destination, filter.as_str().into()));
                        remote.remove(&(to, filter));
                    }
                }
                Step::Clear(to) => {
                    router.set_remote(RemoteInterest::Cleared(Destination::new(to).unwrap()));
                    remote.retain(|(destination, _), ()| *destination != to);
                }
                Step::Look(topic) => {
                    let route = router.take_route(&topic, &sessions);
                    prop_assert_eq!(actual(&route), expected(&local, &topic));
                    let bits = remote.keys().filter(|(_, filter)| matches(filter, &topic));
                    prop_assert_eq!(route.remote, bits.fold(0, |bits, (to, _)| bits | 1 << to));
                    router.put_route(route);
                }
            }
            for change in router.issue_interest().into_iter().flat_map(|(_, changes)| changes) {
                match change {
                    InterestChange::Added(filter) => {
                        prop_assert!(interest.insert(filter.to_string(), ()).is_none());
                    }
                    InterestChange::Removed(filter) => {
                        prop_assert!(interest.remove(&*filter).is_some());
                    }
                    other => prop_assert!(false, "nobody shares or is durable: {other:?}"),
                }
            }
            let held: BTreeMap<String, ()> =
                local.keys().map(|(_, filter)| (filter.clone(), ())).collect();
            prop_assert_eq!(&interest, &held);
            let mut listed: Vec<_> = router.local_filters().iter().map(ToString::to_string).collect();
            listed.sort();
            prop_assert!(listed.iter().eq(held.keys()));
        }
    }
}
