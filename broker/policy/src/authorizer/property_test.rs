//! The compiled evaluator against the naive one, and what holds for both.

use proptest::prelude::*;
use proptest::sample::select;

use super::naive::Naive;
use super::{Action, Because};
use crate::record::*;
use crate::snapshot::Policy;

const NAMES: &[&str] = &["a", "b", "a/b", "", "+", "#", "/", "//", "$a", "a+", "a/", "$SYS"];
const ROLES: &[&str] = &["r1", "r2", "r3", "missing"];
const GROUPS: &[&str] = &["g1", "g2", "missing"];

fn filter() -> impl Strategy<Value = String> {
    let level = select(&["a", "b", "", "+", "%u", "%c", "$a", "x%u"][..]);
    let first = select(&["a", "b", "", "+", "%u", "%c", "$SYS", "$CONTROL", "$share", "$a"][..]);
    (first, prop::collection::vec(level, 0..4), any::<bool>(), 0..12).prop_map(
        |(first, rest, ends_open, only)| {
            if only == 0 || first.is_empty() && rest.is_empty() && !ends_open {
                return "#".to_owned();
            }
            let mut levels = vec![first];
            levels.extend(rest);
            if ends_open {
                levels.push("#");
            }
            levels.join("/")
        },
    )
}

/// Topic names and topic filters alike: an evaluator may be asked about both.
fn topic() -> impl Strategy<Value = String> {
    let level = select(&["a", "b", "", "a", "b", "+", "$a", "$SYS", "broker", "a+"][..]);
    let first = select(&["a", "b", "", "+", "$SYS", "$CONTROL", "$share", "$a", "$CONTROLx"][..]);
    (first, prop::collection::vec(level, 0..5), 0..4).prop_map(|(first, rest, end)| {
        let mut levels = vec![first];
        levels.extend(rest);
        if end == 0 {
            levels.push("#");
        }
        levels.join("/")
    })
}

fn acl() -> impl Strategy<Value = Acl> {
    (select(&AclType::ALL[..]), filter(), -2..3, any::<bool>())
        .prop_map(|(acl_type, topic, priority, allow)| Acl { acl_type, topic, priority, allow })
}

fn role(name: &'static str) -> impl Strategy<Value = Record> {
    let acls = prop::collection::vec(acl(), 0..12);
    (acls, prop::bool::weighted(0.8)).prop_map(move |(acls, allow_wildcard_subscriptions)| {
        Record::Role(Role { acls, allow_wildcard_subscriptions, ..Role::new(name) })
    })
}

fn assignments() -> impl Strategy<Value = Vec<RoleAssignment>> {
    let one = (select(ROLES), -2..3)
        .prop_map(|(name, priority)| RoleAssignment::with_priority(name, priority));
    prop::collection::vec(one, 0..3)
}

fn group(name: &'static str) -> impl Strategy<Value = Record> {
    assignments().prop_map(move |roles| {
        Record::Group(Group { name: name.into(), roles, ..Group::default() })
    })
}

fn client(username: &'static str) -> impl Strategy<Value = Record> {
    let membership = (select(GROUPS), -2..3)
        .prop_map(|(name, priority)| GroupMembership { name: name.into(), priority });
    (assignments(), prop::collection::vec(membership, 0..3)).prop_map(move |(roles, groups)| {
        let username = username.into();
        Record::Client(Client { username, roles, groups, ..Client::default() })
    })
}

fn settings() -> impl Strategy<Value = Record> {
    let group = || prop::option::of(select(GROUPS));
    (any::<[bool; 4]>(), group(), group()).prop_map(|(access, anonymous, guest)| {
        let mut default_access = DefaultAccess::default();
        for (kind, allow) in AccessKind::ALL.into_iter().zip(access) {
            default_access.set(kind, allow);
        }
        let (anonymous_group, guest_group) =
            (anonymous.map(str::to_owned), guest.map(str::to_owned));
        Record::Settings(Settings {
            default_access,
            anonymous_group,
            guest_group,
            ..Settings::default()
        })
    })
}

/// A policy with one client of each name that may be one.
fn records() -> impl Strategy<Value = Vec<Record>> {
    let clients = NAMES[..11].iter().filter(|name| !name.is_empty()).map(|name| client(name));
    let clients: Vec<_> = clients.collect();
    let roles = (role("r1"), role("r2"), role("r3"));
    (clients, roles, group("g1"), group("g2"), settings()).prop_map(
        |(mut records, (r1, r2, r3), g1, g2, settings)| {
            records.extend([r1, r2, r3, g1, g2, settings]);
            records
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn compiled_rules_decide_and_explain_as_the_naive_reading(
        records in records(),
        questions in prop::collection::vec(
            (prop::option::of(select(NAMES)), select(NAMES), select(&Action::ALL[..]), topic()),
            1..60,
        ),
    ) {
        let policy = Policy::from_records(records.clone()).unwrap();
        for (username, client_id, action, topic) in questions {
            let naive = Naive { records: &records, username, client_id };
            let expected = naive.explain(action, &topic);
            let authorizer = policy.authorizer(username, client_id);
            let found = authorizer.explain(action, &topic);
            prop_assert_eq!(&found, &expected, "{:?} {:?} {}", username, action, topic);
            prop_assert_eq!(authorizer.allows(action, &topic), expected.is_allowed);
        }
    }

    #[test]
    fn any_text_is_answered_without_a_panic(
        records in records(),
        username in ".{0,8}",
        client_id in ".{0,8}",
        topic in "[a$+#/%uü\u{0}]{0,12}",
    ) {
        let policy = Policy::from_records(records).unwrap();
        for name in [None, Some(username.as_str()), Some("a")] {
            for action in Action::ALL {
                policy.authorizer(name, &client_id).explain(action, &topic);
            }
        }
    }
}

fn acl_of(acl_type: AclType, topic: &str, allow: bool) -> Acl {
    Acl { acl_type, topic: topic.into(), priority: 0, allow }
}

fn policy_with(acls: Vec<Acl>, usernames: &[&str]) -> Policy {
    let role = Role { acls, ..Role::new("r") };
    let clients = usernames.iter().map(|name| {
        let roles = vec![RoleAssignment::new("r")];
        Record::Client(Client { username: (*name).into(), roles, ..Client::default() })
    });
    Policy::from_records(clients.chain([Record::Role(role)])).unwrap()
}

#[test]
fn a_username_of_several_levels_stands_for_all_of_them() {
    let acl = acl_of(AclType::PublishClientSend, "fleet/%u/telemetry/#", true);
    let policy = policy_with(vec![acl], &["pump/17", "pump"]);
    let pump = policy.authorizer(Some("pump/17"), "c");
    assert!(pump.allows(Action::Publish, "fleet/pump/17/telemetry/x"));
    assert!(!pump.allows(Action::Publish, "fleet/pump/18/telemetry/x"));
    assert!(!pump.allows(Action::Publish, "fleet/pump/17x/telemetry/x"));
    assert!(
        !policy.authorizer(Some("pump"), "c").allows(Action::Publish, "fleet/pump/17/telemetry")
    );
}

#[test]
fn a_name_that_is_a_wildcard_stands_for_nothing() {
    let acls = vec![
        acl_of(AclType::SubscribePattern, "fleet/%u", true),
        acl_of(AclType::PublishClientSend, "fleet/%c", true),
    ];
    let policy = policy_with(acls, &["+", "#", "/"]);
    for name in ["+", "#", "/"] {
        let authorizer = policy.authorizer(Some(name), name);
        for topic in ["fleet/+", "fleet/#", "fleet//", "fleet/x"] {
            assert!(!authorizer.allows(Action::Subscribe, topic), "{name} {topic}");
            assert!(!authorizer.allows(Action::Publish, topic), "{name} {topic}");
        }
    }
}

#[test]
fn a_shared_subscription_needs_an_acl_of_its_own() {
    let policy = policy_with(vec![acl_of(AclType::SubscribePattern, "#", true)], &["a"]);
    let authorizer = policy.authorizer(Some("a"), "c");
    assert!(authorizer.allows(Action::Subscribe, "x/#"));
    assert!(!authorizer.allows(Action::Subscribe, "$share/g/x"));
}

#[test]
fn equal_roles_share_one_rule_set_and_a_change_elsewhere_keeps_it() {
    let acl = acl_of(AclType::PublishClientSend, "a", true);
    let policy = policy_with(vec![acl], &["a", "b"]);
    let (a, b) = (policy.authorizer(Some("a"), "c"), policy.authorizer(Some("b"), "c"));
    assert!(std::sync::Arc::ptr_eq(&a.rules, &b.rules));
    let other = Record::Role(Role::new("other"));
    let next = policy.apply(&policy.change(vec![other], vec![]).unwrap()).unwrap();
    let again = next.authorizer(Some("a"), "c");
    assert!(std::sync::Arc::ptr_eq(&a.rules, &again.rules));
    assert!(a.has_same_rights(&again));
    let opened =
        Role { acls: vec![acl_of(AclType::PublishClientSend, "b", true)], ..Role::new("r") };
    let next = next.apply(&next.change(vec![Record::Role(opened)], vec![]).unwrap()).unwrap();
    assert!(!next.authorizer(Some("a"), "c").has_same_rights(&a));
    assert!(!a.allows(Action::Publish, "b"));
    assert!(next.authorizer(Some("a"), "c").allows(Action::Publish, "b"));
}

#[test]
fn unused_rule_sets_are_forgotten() {
    let mut policy = policy_with(Vec::new(), &["a"]);
    for number in 0..300 {
        let acl = acl_of(AclType::PublishClientSend, &format!("t/{number}"), true);
        let role = Record::Role(Role { acls: vec![acl], ..Role::new("r") });
        policy = policy.apply(&policy.change(vec![role], vec![]).unwrap()).unwrap();
        assert!(policy.authorizer(Some("a"), "c").allows(Action::Publish, &format!("t/{number}")));
    }
    assert!(policy.compiled_count() <= 65);
}

#[test]
fn an_explanation_reads_as_a_sentence() {
    let policy = policy_with(vec![acl_of(AclType::PublishClientSend, "a/#", false)], &["a"]);
    let explain = |user, topic| policy.authorizer(user, "c").explain(Action::Publish, topic);
    assert_eq!(
        explain(Some("a"), "a/b").to_string(),
        "denied by role r: deny publishClientSend a/# (priority 0)"
    );
    assert_eq!(
        explain(Some("a"), "b").to_string(),
        "denied by default access: publishClientSend; no acl matches"
    );
    assert_eq!(explain(None, "b").because, Because::AnonymousRefused);
    assert_eq!(explain(Some("x"), "b").because, Because::UnknownUser);
}
