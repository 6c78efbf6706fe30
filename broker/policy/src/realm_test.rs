//! Users of one realm are none of another's.

use crate::realm::{RealmUser, enter, is_same_user, name_of, split, user_in};
use crate::record::DefaultAccess;
use crate::{
    Acl, AclType, Action, AuthDecision, Client, Credential, Group, Policy, Record, RefusalReason,
    Role, RoleAssignment, Settings,
};

/// A policy in which `bob` may publish to one topic, and everybody else is of a group that may not.
fn records(topic: &str, has_guests: bool) -> Vec<Record> {
    let acl = Acl {
        acl_type: AclType::PublishClientSend,
        topic: topic.to_owned(),
        priority: 0,
        allow: true,
    };
    let roles = vec![RoleAssignment::new("own")];
    let group = has_guests.then(|| "all".to_owned());
    vec![
        Record::Role(Role { acls: vec![acl], ..Role::new("own") }),
        Record::Group(Group { name: "all".to_owned(), ..Group::default() }),
        Record::Client(Client { username: "bob".to_owned(), roles, ..Client::default() }),
        Record::Settings(Settings {
            default_access: DefaultAccess { publish_client_send: has_guests, ..Default::default() },
            anonymous_group: group.clone(),
            guest_group: group,
            ..Settings::default()
        }),
    ]
}

fn policy() -> Policy {
    let mut all = records("outside", false);
    let (inner, settings) = enter("inner", records("inside", true));
    all.extend(inner);
    for record in &mut all {
        if let Record::Settings(base) = record {
            base.realms.insert("inner".to_owned(), settings.clone());
        }
    }
    Policy::from_records(all).unwrap()
}

#[test]
fn a_name_is_taken_apart_as_it_was_put_together() {
    for name in [Some("bob"), Some(""), None] {
        let user = user_in("inner", name);
        assert_eq!(split(Some(&user)), RealmUser { realm: Some("inner"), name });
        assert!(is_same_user(Some(&user), name) && name_of(Some(&user)) == name);
        assert_eq!(split(name), RealmUser { realm: None, name });
    }
    assert!(!is_same_user(Some(&user_in("inner", None)), Some("inner")));
}

#[test]
fn a_user_has_the_rights_of_the_realm_that_it_came_in_by() {
    let policy = policy();
    let allows = |username: Option<&str>, topic| {
        policy.authorizer(username, "c").allows(Action::Publish, topic)
    };
    let inner = |name| user_in("inner", name);
    assert!(allows(Some("bob"), "outside") && !allows(Some("bob"), "inside"));
    let bob = inner(Some("bob"));
    assert!(allows(Some(&bob), "inside") && allows(Some(&bob), "elsewhere"), "the realm's default");
    assert!(!allows(Some("bob"), "elsewhere"));
    assert!(allows(Some(&inner(None)), "elsewhere"));
    assert!(!allows(Some(&user_in("gone", Some("bob"))), "outside"));
}

#[test]
fn who_is_admitted_is_the_realms_own_business() {
    let policy = policy();
    let refusal = |username: Option<&str>| policy.admits(username, "c").err();
    assert_eq!(refusal(None), Some(RefusalReason::AnonymousRefused));
    assert_eq!(refusal(Some(&user_in("inner", None))), None);
    assert_eq!(refusal(Some("eve")), Some(RefusalReason::UnknownUser));
    assert_eq!(refusal(Some(&user_in("inner", Some("eve")))), None);
    let gone = |name| refusal(Some(&user_in("gone", name)));
    assert_eq!(gone(None), Some(RefusalReason::AnonymousRefused));
    assert_eq!(gone(Some("bob")), Some(RefusalReason::UnknownUser));
    let nobody = user_in("inner", None);
    let decision = policy.authenticate(Some(&nobody), "c", Credential::None);
    assert_eq!(decision, AuthDecision::Accepted, "it has no name to prove");
}

#[test]
fn percent_u_stands_for_the_name_without_its_realm() {
    let (mut all, settings) = enter("inner", records("home/%u", true));
    let base = Settings { realms: [("inner".to_owned(), settings)].into(), ..Default::default() };
    all.push(Record::Settings(Settings {
        realms: base
            .realms
            .into_iter()
            .map(|(name, own)| {
                (
                    name,
                    crate::realm::RealmSettings { default_access: DefaultAccess::default(), ..own },
                )
            })
            .collect(),
        ..Settings::default()
    }));
    let policy = Policy::from_records(all).unwrap();
    let bob = user_in("inner", Some("bob"));
    let authorizer = policy.authorizer(Some(&bob), "c");
    assert!(authorizer.allows(Action::Publish, "home/bob"));
    assert!(!authorizer.allows(Action::Publish, "home/eve"));
}
