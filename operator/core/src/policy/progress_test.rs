//! Whose records are on their way, and who is told so.

use broker_policy::RecordKey;
use operator_api::{MqttAcl, MqttUser};

use super::test_support::Objects;
use super::{CompiledPolicy, EnforcedRecords, Enforcement, Progress};
use crate::condition::{Finding, set_conditions};

const MANIFESTS: &str = "
{kind: MqttUser, metadata: {name: pump-1, generation: 1, labels: {kind: pump}},
  spec: {clusterRef: {name: fleet}}}
---
{kind: MqttUser, metadata: {name: valve-1, generation: 1, labels: {kind: valve}},
  spec: {clusterRef: {name: fleet}, groups: [floor]}}
---
{kind: MqttAcl, metadata: {name: pumps, generation: 1}, spec: {clusterRef: {name: fleet},
  subjects: [{users: {matchLabels: {kind: pump}}}],
  rules: [{effect: Allow, actions: [Publish], topics: [pumps]}]}}
---
{kind: MqttAcl, metadata: {name: valves, generation: 1}, spec: {clusterRef: {name: fleet},
  subjects: [{users: {matchLabels: {kind: valve}}}],
  rules: [{effect: Allow, actions: [Publish], topics: [valves]}]}}
---
{kind: MqttAcl, metadata: {name: floor, generation: 1}, spec: {clusterRef: {name: fleet},
  subjects: [{group: floor}],
  rules: [{effect: Allow, actions: [Publish], topics: [floor]}]}}
";

/// Objects that said `Enforced` of their generation when they were last written.
fn objects() -> Objects {
    let mut objects = Objects::from_yaml(MANIFESTS);
    let enforced = Finding::new("Enforced", true, "Enforced", "");
    let now = jiff::Timestamp::from_second(1).unwrap();
    for user in &mut objects.users {
        let status = user.status.get_or_insert_default();
        set_conditions(&mut status.conditions, std::slice::from_ref(&enforced), Some(1), now);
    }
    for acl in &mut objects.acls {
        let status = acl.status.get_or_insert_default();
        set_conditions(&mut status.conditions, std::slice::from_ref(&enforced), Some(1), now);
    }
    objects
}

fn progress(enforced: &EnforcedRecords) -> Progress {
    Progress {
        pending: enforced.pending(),
        revision: "r2".into(),
        reason: "Propagating",
        message: String::new(),
    }
}

fn user<'a>(objects: &'a mut Objects, name: &str) -> &'a mut MqttUser {
    let found = objects.users.iter_mut().find(|user| user.metadata.name.as_deref() == Some(name));
    found.unwrap()
}

/// The names of those that are not enforced.
fn waiting(objects: &Objects, compiled: &CompiledPolicy, progress: &Progress) -> Vec<String> {
    let is_pending = |found| matches!(found, Enforcement::Pending { reason: "Propagating", .. });
    let name = |name: &Option<String>| name.clone().unwrap();
    let users = objects.users.iter().filter(|user: &&MqttUser| {
        let facts = compiled.users.get(&name(&user.metadata.name));
        is_pending(progress.of_user(user.status.as_ref(), user.metadata.generation, facts))
    });
    let acls = objects.acls.iter().filter(|acl: &&MqttAcl| {
        let facts = compiled.acls.get(&name(&acl.metadata.name));
        is_pending(progress.of_acl(acl.status.as_ref(), acl.metadata.generation, facts))
    });
    let users = users.map(|user| name(&user.metadata.name));
    users.chain(acls.map(|acl| name(&acl.metadata.name))).collect()
}

/// Who waits for the brokers after an edit that is not through, of objects that were.
fn waiting_after(edit: impl FnOnce(&mut Objects)) -> Vec<String> {
    let mut objects = objects();
    let mut enforced = EnforcedRecords::default();
    enforced.note(&objects.compile().records, true);
    edit(&mut objects);
    let compiled = objects.compile();
    enforced.note(&compiled.records, false);
    let found = waiting(&objects, &compiled, &progress(&enforced));
    enforced.note(&compiled.records, true);
    assert!(waiting(&objects, &compiled, &progress(&enforced)).is_empty());
    found
}

#[test]
fn a_label_edit_makes_the_user_wait_and_the_rules_that_it_gains_and_loses() {
    let found = waiting_after(|objects| {
        let labels = &mut user(objects, "pump-1").metadata.labels;
        *labels = Some([("kind".to_owned(), "valve".to_owned())].into());
    });
    assert_eq!(found, ["pump-1", "pumps", "valves"]);
}

#[test]
fn another_credential_makes_its_user_wait_and_nobody_else() {
    let found = waiting_after(|objects| {
        let labels = user(objects, "pump-1").metadata.labels.get_or_insert_default();
        labels.insert("credential".into(), "none".into());
    });
    assert_eq!(found, ["pump-1"]);
}

#[test]
fn an_edited_rule_makes_its_own_object_wait_and_nobody_else() {
    let found = waiting_after(|objects| {
        objects.acls[0].spec.rules[0].topics = vec!["other".into()];
    });
    assert_eq!(found, ["pumps"]);
}

#[test]
fn who_joins_a_group_makes_the_rules_of_the_group_wait() {
    let found = waiting_after(|objects| {
        user(objects, "pump-1").spec.groups = vec!["floor".into()];
    });
    assert_eq!(found, ["pump-1", "floor"]);
}

#[test]
fn while_nothing_is_known_what_was_said_of_this_generation_holds() {
    let mut objects = objects();
    user(&mut objects, "valve-1").metadata.generation = Some(2);
    let compiled = objects.compile();
    let mut enforced = EnforcedRecords::default();
    enforced.note(&compiled.records, false);
    let progress = progress(&enforced);
    assert_eq!(progress.pending, None);
    assert_eq!(waiting(&objects, &compiled, &progress), ["valve-1"]);
}

#[test]
fn after_a_start_what_the_brokers_lack_waits_though_its_generation_was_enforced() {
    let objects = objects();
    let compiled = objects.compile();
    let mut enforced = EnforcedRecords::default();
    enforced.note(&compiled.records, false);
    enforced.note_differing(&[RecordKey::client("pump-1")].into());
    assert_eq!(waiting(&objects, &compiled, &progress(&enforced)), ["pump-1", "pumps"]);
    // More that is known is not taken back.
    enforced.note(&compiled.records, true);
    enforced.note_differing(&[RecordKey::client("pump-1")].into());
    assert!(waiting(&objects, &compiled, &progress(&enforced)).is_empty());
}

#[test]
fn an_object_without_a_record_is_not_enforced() {
    let mut objects = objects();
    user(&mut objects, "pump-1").spec.username = Some(String::new());
    let compiled = objects.compile();
    let mut enforced = EnforcedRecords::default();
    enforced.note(&compiled.records, true);
    let progress = progress(&enforced);
    let found = progress.of_user(None, Some(1), compiled.users.get("pump-1"));
    assert!(matches!(found, Enforcement::Pending { reason: "NoRecord", .. }), "{found:?}");
}
