//! The compiled policy against the order of rules as the resources tell it.

use broker_policy::topic::{covers, has_wildcard, matches};
use broker_policy::{Action, Policy, Record};
use operator_api::acl::{
    AclRule, Effect, MqttAclSpec, RuleAction, Subject, TopicMatch, UserSelector,
};
use operator_api::{ClusterRef, MqttAcl, MqttUser, MqttUserSpec};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::test_support::Objects;
use super::{CompiledPolicy, Compiler};

const USERNAMES: [&str; 3] = ["a", "b/c", "c"];
const GROUPS: [&str; 2] = ["g1", "g2"];
const KINDS: [&str; 2] = ["x", "y"];

fn fleet() -> ClusterRef {
    ClusterRef { name: "fleet".into() }
}

fn users() -> impl Strategy<Value = Vec<MqttUser>> {
    let one = |username: &'static str| {
        (subsequence(&GROUPS[..], 0..3), select(&KINDS[..])).prop_map(move |(groups, kind)| {
            let groups = groups.into_iter().map(str::to_owned).collect();
            let username = Some(username.to_owned());
            let spec = MqttUserSpec {
                cluster_ref: fleet(),
                username,
                groups,
                authentication: Default::default(),
                client_ids: Vec::new(),
                quotas: Default::default(),
                suspended: false,
            };
            let name = spec.username.clone().unwrap_or_default().replace('/', "-");
            let mut user = MqttUser::new(&name, spec);
            user.metadata.labels = Some([("kind".to_owned(), kind.to_owned())].into());
            user
        })
    };
    USERNAMES.map(one).prop_map(Vec::from)
}

fn topic(with_names: bool) -> impl Strategy<Value = String> {
    let levels = if with_names { &["a", "b", "c", "+", "%u", "%c"][..] } else { &["a", "b", "+"] };
    (prop::collection::vec(select(levels), 1..4), 0..4).prop_map(|(mut levels, end)| {
        if end == 0 {
            levels.push("#");
        }
        levels.join("/")
    })
}

fn rule(with_names: bool) -> impl Strategy<Value = AclRule> {
    let actions =
        [RuleAction::Publish, RuleAction::Receive, RuleAction::Subscribe, RuleAction::Unsubscribe];
    let topics = prop::collection::vec(topic(with_names), 1..3);
    let details = (any::<bool>(), any::<bool>(), -1..2);
    (subsequence(actions.to_vec(), 1..5), topics, details).prop_map(
        move |(mut actions, topics, (allow, literal, priority))| {
            let mut match_ = TopicMatch::Pattern;
            // Literals with wildcards beside patterns with names are decided on the safe side.
            if literal && !with_names {
                actions.retain(|a| matches!(a, RuleAction::Subscribe | RuleAction::Unsubscribe));
                match_ = TopicMatch::Literal;
            }
            if actions.is_empty() {
                actions.push(RuleAction::Subscribe);
            }
            let effect = if allow { Effect::Allow } else { Effect::Deny };
            AclRule { effect, actions, topics, match_, priority }
        },
    )
}

fn subject() -> impl Strategy<Value = Subject> {
    let by_kind = |kind: &str| UserSelector {
        match_labels: [("kind".to_owned(), kind.to_owned())].into(),
        match_expressions: Vec::new(),
    };
    prop_oneof![
        select(&KINDS[..])
            .prop_map(move |kind| Subject { users: Some(by_kind(kind)), ..Subject::default() }),
        select(&["a", "b-c", "ghost"][..])
            .prop_map(|name| Subject { user: Some(name.into()), ..Subject::default() }),
        select(&GROUPS[..])
            .prop_map(|name| Subject { group: Some(name.into()), ..Subject::default() }),
        Just(Subject { anonymous: Some(true), ..Subject::default() }),
    ]
}

fn acls(with_names: bool) -> impl Strategy<Value = Vec<MqttAcl>> {
    let subjects = prop::collection::vec(subject(), 1..3);
    let rules = prop::collection::vec(rule(with_names), 1..5);
    let spec = (subjects, -1..2, rules);
    prop::collection::vec(spec, 0..5).prop_map(|specs| {
        let named = specs.into_iter().zip(["d", "a", "c", "e", "b"]);
        let acl = |((subjects, priority, rules), name)| {
            MqttAcl::new(name, MqttAclSpec { cluster_ref: fleet(), subjects, priority, rules })
        };
        named.map(acl).collect()
    })
}

fn objects() -> impl Strategy<Value = Objects> {
    let acls = any::<bool>().prop_flat_map(acls);
    let anonymous = select(&["Deny", "g1", "g3"][..]);
    (users(), acls, anonymous).prop_map(|(users, acls, anonymous)| {
        let mut objects = Objects { users, acls, ..Objects::default() };
        objects.settings.anonymous = anonymous.to_owned();
        objects
    })
}

/// Some of the objects, some of the users without a credential, suspended or with a bad quota.
fn edited_objects() -> impl Strategy<Value = Objects> {
    let flags = prop::collection::vec((any::<bool>(), 0..5), USERNAMES.len());
    (objects(), flags).prop_map(|(mut objects, flags)| {
        for (user, (_, edit)) in objects.users.iter_mut().zip(&flags) {
            let labels = user.metadata.labels.get_or_insert_default();
            match edit {
                0 => drop(labels.insert("credential".into(), "none".into())),
                1 => user.spec.suspended = true,
                2 => user.spec.quotas.connections = Some(0),
                3 => user.spec.username = Some("a".into()),
                _ => {}
            }
        }
        let mut kept = flags.iter().map(|(is_kept, _)| *is_kept);
        objects.users.retain(|_| kept.next().unwrap_or(true));
        objects
    })
}

type Question = (Option<&'static str>, RuleAction, String);

fn question() -> impl Strategy<Value = Question> {
    let levels = prop::collection::vec(select(&["a", "b", "c", "+"][..]), 1..5);
    let action = select(
        &[RuleAction::Publish, RuleAction::Receive, RuleAction::Subscribe, RuleAction::Unsubscribe]
            [..],
    );
    let who = prop::option::weighted(0.8, select(&USERNAMES[..]));
    (who, action, levels, 0..6).prop_map(|(who, action, mut levels, extra)| {
        let is_filter = matches!(action, RuleAction::Subscribe | RuleAction::Unsubscribe);
        if is_filter && extra == 0 {
            levels.push("#");
        }
        let share = if is_filter && extra == 1 { "$share/g/" } else { "" };
        (who, action, format!("{share}{}", levels.join("/")))
    })
}

/// What the resources say, straight from their description.
fn naive(objects: &Objects, who: Option<&str>, action: RuleAction, topic: &str) -> bool {
    let anonymous = objects.settings.anonymous.as_str();
    if who.is_none() && anonymous == "Deny" {
        return false;
    }
    let user = objects.users.iter().find(|user| Some(user.username().as_str()) == who);
    let concerns = |subject: &Subject| match user {
        Some(user) => {
            let labels = user.metadata.labels.clone().unwrap_or_default();
            subject.user == user.metadata.name
                || subject.users.as_ref().is_some_and(|selector| selector.matches(&labels))
                || subject.group.as_ref().is_some_and(|group| user.spec.groups.contains(group))
        }
        None => subject.anonymous == Some(true) || subject.group.as_deref() == Some(anonymous),
    };
    let mut acls: Vec<&MqttAcl> = objects.acls.iter().collect();
    acls.retain(|acl| acl.spec.subjects.iter().any(concerns));
    acls.sort_by_key(|acl| (-acl.spec.priority, acl.metadata.name.clone()));
    for acl in acls {
        let mut rules: Vec<&AclRule> = acl.spec.rules.iter().collect();
        rules.sort_by_key(|rule| (-rule.priority, rule.effect == Effect::Allow));
        let decides = |rule: &&AclRule| {
            rule.actions.contains(&action)
                && rule.topics.iter().any(|own| speaks_of(rule, own, who, action, topic))
        };
        if let Some(rule) = rules.into_iter().find(decides) {
            return rule.effect == Effect::Allow;
        }
    }
    matches!(action, RuleAction::Receive | RuleAction::Unsubscribe)
}

fn speaks_of(
    rule: &AclRule,
    own: &str,
    who: Option<&str>,
    action: RuleAction,
    topic: &str,
) -> bool {
    let unshared = topic.strip_prefix("$share/g/");
    let is_filter = matches!(action, RuleAction::Subscribe | RuleAction::Unsubscribe);
    if rule.match_ == TopicMatch::Literal {
        let speaks_of_shared = |unshared: &str| {
            let is_wide = has_wildcard(own);
            own == unshared && !is_wide
                || is_wide && rule.effect == Effect::Deny && covers(own, unshared)
        };
        return own == topic || unshared.is_some_and(speaks_of_shared);
    }
    let mut levels = Vec::new();
    for level in own.split('/') {
        levels.push(match (level, who) {
            ("%u", None) => return false,
            ("%u", Some(name)) => name,
            ("%c", _) => "c",
            (level, _) => level,
        });
    }
    let own = levels.join("/");
    if is_filter { covers(&own, unshared.unwrap_or(topic)) } else { matches(&own, topic) }
}

fn ask(policy: &Policy, who: Option<&str>, action: RuleAction, topic: &str) -> bool {
    let action = match action {
        RuleAction::Publish => Action::Publish,
        RuleAction::Receive => Action::Receive,
        RuleAction::Subscribe => Action::Subscribe,
        RuleAction::Unsubscribe => Action::Unsubscribe,
    };
    policy.authorizer(who, "c").allows(action, topic)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn the_compiled_policy_decides_as_the_resources_say(
        objects in objects(),
        questions in prop::collection::vec(question(), 1..60),
    ) {
        let compiled = objects.compile();
        prop_assert!(compiled.acls.values().all(|facts| facts.problems.is_empty()));
        let policy = Policy::from(compiled.records);
        for (who, action, topic) in questions {
            let expected = naive(&objects, who, action, &topic);
            let found = ask(&policy, who, action, &topic);
            prop_assert_eq!(found, expected, "{:?} {:?} {}", who, action, topic);
        }
    }

    #[test]
    fn a_rule_told_to_lose_can_be_left_out(
        objects in objects(),
        questions in prop::collection::vec(question(), 1..60),
    ) {
        let before = objects.policy();
        let mut without = objects.clone();
        for (name, facts) in objects.compile().acls {
            let found = without.acls.iter_mut().find(|a| a.metadata.name == Some(name.clone()));
            let acl = found.unwrap();
            for conflict in facts.conflicts {
                let rule = &mut acl.spec.rules[conflict.rule];
                // One action fewer, by a rule for each of the others.
                let mut others = rule.clone();
                others.actions.retain(|action| *action != conflict.action);
                rule.actions = vec![conflict.action];
                rule.topics.retain(|topic| *topic != conflict.topic);
                acl.spec.rules.push(others);
            }
            acl.spec.rules.retain(|rule| !rule.topics.is_empty() && !rule.actions.is_empty());
            if acl.spec.rules.is_empty() {
                without.acls.retain(|acl| acl.metadata.name != Some(name.clone()));
            }
        }
        let after = without.policy();
        for (who, action, topic) in questions {
            let expected = ask(&before, who, action, &topic);
            prop_assert_eq!(ask(&after, who, action, &topic), expected, "{:?} {}", who, topic);
        }
    }

    #[test]
    fn what_breaks_an_object_takes_rights_and_gives_none(
        objects in objects(),
        broken in 0..5usize,
        questions in prop::collection::vec(question(), 1..60),
    ) {
        let before = objects.policy();
        let mut after = objects;
        if let Some(acl) = after.acls.get_mut(broken) {
            acl.spec.rules.push(AclRule {
                effect: Effect::Allow,
                actions: vec![RuleAction::Publish],
                topics: vec!["a/#/b".into()],
                match_: TopicMatch::Pattern,
                priority: 0,
            });
        }
        let after = after.policy();
        for (who, action, topic) in questions {
            let had = ask(&before, who, action, &topic);
            prop_assert!(had || !ask(&after, who, action, &topic), "{:?} {}", who, topic);
        }
    }

    #[test]
    fn a_compiler_that_knows_what_came_before_compiles_the_same(
        sequence in prop::collection::vec(edited_objects(), 1..6),
    ) {
        let mut compiler = Compiler::default();
        for objects in sequence {
            let anew = objects.compile();
            let again = objects.compile_with(&mut compiler);
            prop_assert_eq!(again.records.digests(), anew.records.digests());
            let records = |compiled: &CompiledPolicy| -> Vec<Record> {
                compiled.records.records().map(|record| (**record).clone()).collect()
            };
            prop_assert_eq!(records(&again), records(&anew));
            prop_assert_eq!(again.problems, anew.problems);
            prop_assert_eq!(again.users, anew.users);
            prop_assert_eq!(again.acls, anew.acls);
        }
    }

    #[test]
    fn the_order_of_objects_does_not_matter(objects in objects()) {
        let mut reversed = objects.clone();
        reversed.users.reverse();
        reversed.acls.reverse();
        prop_assert_eq!(reversed.compile().revision(), objects.compile().revision());
    }
}
