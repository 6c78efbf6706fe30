use broker_policy::document::{DocumentForm, export};
use broker_policy::{Action, AuthDecision, Credential, Policy, RefusalReason};

use super::test_support::{Objects, facts};
use super::{ProblemReason, UserCredential};

const FLEET: &str = r#"
kind: MqttCluster
spec: {policy: {anonymous: guests, defaultAccess: {receive: Deny}}}
---
apiVersion: mqtt.dunlin.io/v1alpha1
kind: MqttUser
metadata: {name: pump-17, labels: {kind: pump}}
spec:
  clusterRef: {name: fleet}
  username: pump/17
  clientIDs: ["pump-17", "pump-17-*"]
  groups: [pumps]
  quotas: {connections: 1, publishesPerSecond: 50, bytesPerSecond: 64Ki}
---
apiVersion: mqtt.dunlin.io/v1alpha1
kind: MqttUser
metadata: {name: gate, labels: {kind: gate}}
spec: {clusterRef: {name: fleet}, authentication: {x509: {}}, suspended: true}
---
apiVersion: mqtt.dunlin.io/v1alpha1
kind: MqttUser
metadata: {name: elsewhere, labels: {kind: pump}}
spec: {clusterRef: {name: other}}
---
apiVersion: mqtt.dunlin.io/v1alpha1
kind: MqttAcl
metadata: {name: pumps}
spec:
  clusterRef: {name: fleet}
  subjects: [{users: {matchLabels: {kind: pump}}}, {group: pumps}]
  rules:
  - {effect: Allow, actions: [Publish], topics: ["fleet/%u/telemetry/#"]}
  - {effect: Allow, actions: [Subscribe, Receive], topics: ["fleet/%u/commands/+", "fleet/all/#"]}
  - {effect: Deny, actions: [Publish], topics: ["fleet/+/commands/#"], priority: 10}
---
apiVersion: mqtt.dunlin.io/v1alpha1
kind: MqttAcl
metadata: {name: everyone}
spec:
  clusterRef: {name: fleet}
  priority: 5
  subjects: [{users: {}}, {anonymous: true}]
  rules:
  - {effect: Allow, actions: [Subscribe], match: Literal, topics: ["news", "news/+"]}
  - {effect: Allow, actions: [Receive], topics: ["news/#"]}
"#;

#[test]
fn a_fleet_compiles_to_this_document() {
    let objects = Objects::from_yaml(FLEET);
    insta::assert_snapshot!("fleet_facts", facts(&objects.compile()));
    insta::assert_snapshot!("fleet_document", export(&objects.policy(), DocumentForm::V2_1));
}

#[test]
fn users_have_the_rights_their_rules_say() {
    let policy = Objects::from_yaml(FLEET).policy();
    let pump = policy.authorizer(Some("pump/17"), "pump-17");
    for (action, topic, expected) in [
        (Action::Publish, "fleet/pump/17/telemetry/rpm", true),
        (Action::Publish, "fleet/x/commands/go", false),
        (Action::Subscribe, "fleet/pump/17/commands/+", true),
        (Action::Subscribe, "$share/g/fleet/pump/17/commands/+", true),
        (Action::Subscribe, "fleet/pump/18/commands/+", false),
        (Action::Subscribe, "news", true),
        (Action::Subscribe, "$share/g/news", true),
        (Action::Subscribe, "news/+", true),
        (Action::Subscribe, "news/today", false),
        (Action::Receive, "news/today", true),
        (Action::Receive, "other", false),
        (Action::Unsubscribe, "anything", true),
    ] {
        assert_eq!(pump.allows(action, topic), expected, "{action:?} {topic}");
    }
    let anonymous = policy.authorizer(None, "c");
    assert!(anonymous.allows(Action::Receive, "news/today"));
    assert!(!anonymous.allows(Action::Publish, "fleet/x/telemetry/y"));
    let decision = policy.authenticate(Some("gate"), "c", Credential::Certificate);
    assert_eq!(decision, AuthDecision::Refused(RefusalReason::Suspended));
}

#[test]
fn priority_holds_between_rules_for_users_and_for_groups() {
    let acl = |name: &str, priority: i32, subject: &str, effect: &str| {
        format!(
            "apiVersion: mqtt.dunlin.io/v1alpha1\nkind: MqttAcl\nmetadata: {{name: {name}}}\n\
             spec:\n  clusterRef: {{name: fleet}}\n  priority: {priority}\n  subjects: \
             [{{{subject}}}]\n  rules: [{{effect: {effect}, actions: [Publish], topics: [t]}}]\n"
        )
    };
    let user = "apiVersion: mqtt.dunlin.io/v1alpha1\nkind: MqttUser\nmetadata: {name: a}\nspec: \
                {clusterRef: {name: fleet}, groups: [g]}\n";
    let may_publish = |user_priority: i32, group_priority: i32| {
        let by_user = acl("by-user", user_priority, "user: a", "Allow");
        let by_group = acl("by-group", group_priority, "group: g", "Deny");
        let yaml = [user, &by_user, &by_group].join("---\n");
        Objects::from_yaml(&yaml).policy().authorizer(Some("a"), "c").allows(Action::Publish, "t")
    };
    assert!(may_publish(1, 0));
    assert!(!may_publish(0, 1));
    // The name decides between equal priorities: by-group comes first.
    assert!(!may_publish(0, 0));
}

const BROKEN: &str = r##"
kind: MqttCluster
spec: {policy: {anonymous: "-x"}}
---
apiVersion: mqtt.dunlin.io/v1alpha1
kind: MqttUser
metadata: {name: young, creationTimestamp: "2026-02-01T00:00:00Z"}
spec: {clusterRef: {name: fleet}, username: pump}
---
apiVersion: mqtt.dunlin.io/v1alpha1
kind: MqttUser
metadata: {name: z-old, creationTimestamp: "2026-01-01T00:00:00Z", labels: {credential: none}}
spec: {clusterRef: {name: fleet}, username: pump}
---
apiVersion: mqtt.dunlin.io/v1alpha1
kind: MqttUser
metadata: {name: unborn}
spec: {clusterRef: {name: fleet}, username: pump}
---
apiVersion: mqtt.dunlin.io/v1alpha1
kind: MqttUser
metadata: {name: wild}
spec: {clusterRef: {name: fleet}, username: "a+b"}
---
apiVersion: mqtt.dunlin.io/v1alpha1
kind: MqttUser
metadata: {name: odd, labels: {kind: odd}}
spec:
  clusterRef: {name: fleet}
  clientIDs: ["a*b", "ok"]
  groups: ["k8s:anonymous", "-"]
  quotas: {connections: 0, bytesPerSecond: lots}
---
apiVersion: mqtt.dunlin.io/v1alpha1
kind: MqttAcl
metadata: {name: half}
spec:
  clusterRef: {name: fleet}
  subjects: [{user: odd}, {user: odd, group: g}, {user: ghost}, {group: g}, {anonymous: true}]
  rules:
  - {effect: Allow, actions: [Publish], topics: ["ok/#"]}
  - {effect: Deny, actions: [Publish], topics: ["secret/#", "a/#/b", "$SYS/x", "$share/g/x", "f%u/x"]}
  - {effect: Allow, actions: [Publish, Subscribe], match: Literal, topics: ["a", "%u"]}
  - {effect: Allow, actions: [], topics: []}
"##;

#[test]
fn broken_objects_are_explained_and_grant_nothing() {
    let objects = Objects::from_yaml(BROKEN);
    let compiled = objects.compile();
    insta::assert_snapshot!("broken_facts", facts(&compiled));
    insta::assert_snapshot!("broken_document", export(&objects.policy(), DocumentForm::V2_1));
    let policy = Policy::from(compiled.records);
    let odd = policy.authorizer(Some("odd"), "c");
    assert!(!odd.allows(Action::Publish, "ok/x"));
    let explanation = odd.explain(Action::Publish, "secret/x").to_string();
    assert!(explanation.contains("role k8s:iot:half"), "{explanation}");
    assert!(policy.client("odd").unwrap().disabled);
}

#[test]
fn the_oldest_user_has_the_username() {
    let compiled = Objects::from_yaml(BROKEN).compile();
    assert!(compiled.users["z-old"].has_record);
    assert_eq!(compiled.users["z-old"].problems[0].reason, ProblemReason::CredentialsMissing);
    for loser in ["young", "unborn"] {
        assert_eq!(compiled.users[loser].problems[0].reason, ProblemReason::UsernameTaken);
        assert!(!compiled.users[loser].has_record);
    }
}

#[test]
fn objects_that_are_being_deleted_are_passed_over() {
    let mut objects = Objects::from_yaml(FLEET);
    let deleted = Objects::from_yaml(BROKEN).users[0].metadata.creation_timestamp.clone();
    objects.users[0].metadata.deletion_timestamp = deleted.clone();
    objects.acls[1].metadata.deletion_timestamp = deleted;
    let compiled = objects.compile();
    assert_eq!(compiled.users.keys().collect::<Vec<_>>(), ["gate"]);
    assert_eq!(compiled.acls.keys().collect::<Vec<_>>(), ["pumps"]);
}

#[test]
fn a_user_without_credential_has_a_record_but_can_not_connect() {
    let policy = Objects::from_yaml(BROKEN).policy();
    let decision = policy.authenticate(Some("pump"), "c", Credential::Password(b"secret"));
    assert_eq!(decision, AuthDecision::Refused(RefusalReason::PasswordNotAccepted));
    assert_eq!(UserCredential::Missing.clone(), UserCredential::Missing);
}

const CONFLICTING: &str = r##"
apiVersion: mqtt.dunlin.io/v1alpha1
kind: MqttUser
metadata: {name: a, labels: {kind: pump}}
spec: {clusterRef: {name: fleet}, groups: [g]}
---
apiVersion: mqtt.dunlin.io/v1alpha1
kind: MqttUser
metadata: {name: b, labels: {kind: pump}}
spec: {clusterRef: {name: fleet}}
---
apiVersion: mqtt.dunlin.io/v1alpha1
kind: MqttAcl
metadata: {name: lockdown}
spec:
  clusterRef: {name: fleet}
  priority: 10
  subjects: [{users: {matchLabels: {kind: pump}}}]
  rules:
  - {effect: Deny, actions: [Publish, Subscribe], topics: ["secret/#"]}
  - {effect: Allow, actions: [Publish], topics: ["secret/+/open", "other/x"]}
  - {effect: Deny, actions: [Publish], topics: ["other/+"], priority: 1}
---
apiVersion: mqtt.dunlin.io/v1alpha1
kind: MqttAcl
metadata: {name: members}
spec:
  clusterRef: {name: fleet}
  subjects: [{group: g}]
  rules:
  - {effect: Allow, actions: [Publish, Subscribe, Receive], topics: ["secret/plans", "fine"]}
---
apiVersion: mqtt.dunlin.io/v1alpha1
kind: MqttAcl
metadata: {name: for-others}
spec:
  clusterRef: {name: fleet}
  subjects: [{group: nobody}]
  rules: [{effect: Allow, actions: [Publish], topics: ["secret/plans"]}]
---
apiVersion: mqtt.dunlin.io/v1alpha1
kind: MqttAcl
metadata: {name: names}
spec:
  clusterRef: {name: fleet}
  subjects: [{user: a}]
  rules:
  - {effect: Deny, actions: [Publish], topics: ["n/+/x"], priority: 1}
  - {effect: Allow, actions: [Publish], topics: ["n/%u/x"]}
"##;

#[test]
fn a_rule_that_loses_for_some_subjects_only_is_no_conflict() {
    let conflicts = |narrow: &str, wide: &str| {
        let acl = |name: &str, priority: i32, subject: &str, effect: &str| {
            format!(
                "apiVersion: mqtt.dunlin.io/v1alpha1\nkind: MqttAcl\nmetadata: {{name: {name}}}\n\
                 spec:\n  clusterRef: {{name: fleet}}\n  priority: {priority}\n  subjects: \
                 [{subject}]\n  rules: [{{effect: {effect}, actions: [Publish], topics: [t]}}]\n"
            )
        };
        let cluster = "kind: MqttCluster\nspec: {policy: {anonymous: guests}}\n";
        let [before, after] = [acl("first", 1, narrow, "Deny"), acl("last", 0, wide, "Allow")];
        let users = CONFLICTING.split("---\n").take(2).collect::<Vec<_>>().join("---\n");
        let objects = Objects::from_yaml(&[cluster, &users, &before, &after].join("---\n"));
        objects.compile().acls["last"].conflicts.len()
    };
    let both = "{users: {}}";
    assert_eq!(conflicts("{user: a}", both), 0);
    assert_eq!(conflicts("{user: b}, {anonymous: true}", "{user: a}"), 0);
    assert_eq!(conflicts(both, "{user: a}, {anonymous: true}"), 0);
    assert_eq!(conflicts(both, "{user: a}"), 1);
    assert_eq!(conflicts("{anonymous: true}, {user: a}", "{group: guests}, {group: g}"), 1);
}

#[test]
fn rules_that_always_lose_name_the_winner() {
    insta::assert_snapshot!(facts(&Objects::from_yaml(CONFLICTING).compile()));
}

#[test]
fn a_deny_comes_before_an_allow_of_the_same_priority_and_topic() {
    let with = |first: &str, second: &str, topic: &str, kind: &str| {
        let rule = |effect: &str| {
            format!(
                "{{effect: {effect}, actions: [Subscribe], match: {kind}, topics: [\"{topic}\"]}}"
            )
        };
        let yaml = format!(
            "apiVersion: mqtt.dunlin.io/v1alpha1\nkind: MqttUser\nmetadata: {{name: a}}\nspec: \
             {{clusterRef: {{name: fleet}}}}\n---\napiVersion: mqtt.dunlin.io/v1alpha1\nkind: \
             MqttAcl\nmetadata: {{name: r}}\nspec:\n  clusterRef: {{name: fleet}}\n  subjects: \
             [{{user: a}}]\n  rules: [{}, {}]\n",
            rule(first),
            rule(second)
        );
        let objects = Objects::from_yaml(&yaml);
        let allowed = objects.policy().authorizer(Some("a"), "c").allows(Action::Subscribe, topic);
        (allowed, objects.compile().acls["r"].conflicts.len())
    };
    for (topic, kind, conflicts) in [("t", "Pattern", 1), ("t/+", "Literal", 0)] {
        assert_eq!(with("Allow", "Deny", topic, kind), (false, conflicts), "{topic}");
        assert_eq!(with("Deny", "Allow", topic, kind), (false, conflicts), "{topic}");
        assert!(with("Allow", "Allow", topic, kind).0, "{topic}");
    }
}

#[test]
fn rules_too_large_for_a_broker_are_told_to_their_own_object_and_keep_denying() {
    let topics: Vec<String> = (0..8_000).map(|n| format!("\"{}/{n}\"", "t".repeat(200))).collect();
    let objects = Objects::from_yaml(&format!(
        r##"
apiVersion: mqtt.dunlin.io/v1alpha1
kind: MqttUser
metadata: {{name: a}}
spec: {{clusterRef: {{name: fleet}}}}
---
apiVersion: mqtt.dunlin.io/v1alpha1
kind: MqttAcl
metadata: {{name: large}}
spec:
  clusterRef: {{name: fleet}}
  priority: 1
  subjects: [{{users: {{}}}}]
  rules:
  - {{effect: Deny, actions: [Publish], topics: ["secret"]}}
  - {{effect: Allow, actions: [Publish], topics: [{}]}}
---
apiVersion: mqtt.dunlin.io/v1alpha1
kind: MqttAcl
metadata: {{name: small}}
spec:
  clusterRef: {{name: fleet}}
  subjects: [{{users: {{}}}}]
  rules: [{{effect: Allow, actions: [Publish], topics: ["secret", "open"]}}]
"##,
        topics.join(", ")
    ));
    let compiled = objects.compile();
    let told = compiled.acls["large"].problems[0].message.clone();
    assert!(told.contains("longer than 1 MiB; split the object"), "{told}");
    assert!(compiled.acls["small"].problems.is_empty());
    assert!(compiled.records.records().all(|record| record.json_bytes() <= 1 << 20));
    let policy = Policy::from(compiled.records);
    let user = policy.authorizer(Some("a"), "c");
    assert!(user.allows(Action::Publish, "open"));
    assert!(!user.allows(Action::Publish, "secret"));
}

#[test]
fn a_deny_of_a_literal_filter_holds_for_shared_subscriptions_to_it() {
    let policy = Objects::from_yaml(
        r##"
apiVersion: mqtt.dunlin.io/v1alpha1
kind: MqttUser
metadata: {name: a}
spec: {clusterRef: {name: fleet}}
---
apiVersion: mqtt.dunlin.io/v1alpha1
kind: MqttAcl
metadata: {name: r}
spec:
  clusterRef: {name: fleet}
  subjects: [{user: a}]
  rules:
  - {effect: Deny, actions: [Subscribe], match: Literal, topics: ["#", "t/+"], priority: 1}
  - {effect: Allow, actions: [Subscribe], topics: ["#"]}
  - {effect: Allow, actions: [Subscribe], topics: ["u/+"], priority: 2}
"##,
    )
    .policy();
    let user = policy.authorizer(Some("a"), "c");
    for (filter, expected) in [
        ("#", false),
        ("$share/x/#", false),
        ("t/+", false),
        ("$share/x/t/+", false),
        ("t/1", true),
        // What the filter covers is denied with it, below a share name only.
        ("$share/x/t/1", false),
        ("$share/x/u/1", true),
    ] {
        assert_eq!(user.allows(Action::Subscribe, filter), expected, "{filter}");
    }
}
