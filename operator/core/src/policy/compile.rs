//! The compilation itself: users, then rules, then what stands around them. Pure.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashSet};

use broker_policy::{
    DefaultAccess, Group, Record, RecordKey, RecordKind, RecordSet, Role, RoleAssignment, Settings,
};
use operator_api::MqttAcl;
use operator_api::cluster::{Access, PolicySettings};

use super::acl_entries::acl_entries;
use super::check::check_group;
use super::conflict::{Contribution, find_conflicts};
use super::problem::{Problem, ProblemReason};
use super::rule::check_rules;
use super::subjects::Directory;
use super::users::{CompiledUser, compile_users};
use super::{ANONYMOUS_DENIED, ANONYMOUS_GROUP, AclFacts, CompiledPolicy, PolicyInput, role_name};

/// Compiles the policy of one cluster again and again: records that come out as before are neither
/// checked nor hashed anew, which is most of the cost.
#[derive(Debug, Default)]
pub struct Compiler {
    /// What the last compilation came to.
    records: RecordSet,
}

impl Compiler {
    /// As [`compile`], with the same outcome.
    pub fn compile(&mut self, input: &PolicyInput<'_>) -> CompiledPolicy {
        let compiled = compile_after(&self.records, input);
        self.records = compiled.records.clone();
        compiled
    }
}

/// Compiles the policy of a cluster. Never fails: what makes no sense is told in the facts of the
/// object and contributes as little as the [module](super) says.
///
/// Cost: one pass over users and rules, and one assignment for each user that an MqttAcl concerns.
pub fn compile(input: &PolicyInput<'_>) -> CompiledPolicy {
    compile_after(&RecordSet::default(), input)
}

fn compile_after(before: &RecordSet, input: &PolicyInput<'_>) -> CompiledPolicy {
    let mut problems = Vec::new();
    let anonymous_group = anonymous_group(input.settings, &mut problems);
    let mut users = compile_users(input);
    let (contributions, mut acl_facts, mut groups) = {
        let directory = Directory::new(&users.users, anonymous_group);
        let (contributions, facts) = contributions(input, &directory);
        let groups = directory.groups();
        let groups = groups.into_keys().map(|name| (name.to_owned(), Vec::new()));
        (contributions, facts, groups.collect::<Groups>())
    };
    for (contribution, conflicts) in contributions.iter().zip(find_conflicts(&contributions)) {
        if let Some(facts) = acl_facts.get_mut(contribution.name) {
            facts.conflicts = conflicts;
        }
    }
    if anonymous_group.is_some() {
        groups.insert(ANONYMOUS_GROUP.to_owned(), Vec::new());
    }
    let mut records = vec![settings_record(input.settings, anonymous_group.is_some())];
    for (contribution, acl) in contributions.iter().zip(input_order(input)) {
        assign(input.namespace, contribution, acl.spec.priority, &mut users.users, &mut groups);
        records.push(role_record(input.namespace, contribution));
    }
    records.extend(users.users.into_iter().map(|user| Record::Client(user.client)));
    records.extend(
        groups
            .into_iter()
            .map(|(name, roles)| Record::Group(Group { name, roles, ..Group::default() })),
    );
    let (records, left_out) = checked(before, records);
    let mut compiled = CompiledPolicy { records, problems, users: users.facts, acls: acl_facts };
    for (key, what) in left_out {
        tell_left_out(&mut compiled, &key, &what);
    }
    compiled
}

/// Roles by group.
type Groups = BTreeMap<String, Vec<RoleAssignment>>;

/// The cluster's MqttAcls in evaluation order.
fn input_order<'a>(input: &PolicyInput<'a>) -> Vec<&'a MqttAcl> {
    let is_ours = |acl: &&&MqttAcl| {
        acl.spec.cluster_ref.name == input.cluster && acl.metadata.deletion_timestamp.is_none()
    };
    let mut acls: Vec<&MqttAcl> = input.acls.iter().filter(is_ours).copied().collect();
    acls.sort_by_key(|acl| (Reverse(acl.spec.priority), object_name(acl)));
    acls
}

fn object_name(acl: &MqttAcl) -> &str {
    acl.metadata.name.as_deref().unwrap_or_default()
}

/// What each MqttAcl contributes, in evaluation order, and what is to be said of it.
fn contributions<'a>(
    input: &PolicyInput<'a>,
    directory: &Directory<'_>,
) -> (Vec<Contribution<'a>>, BTreeMap<String, AclFacts>) {
    let mut contributions = Vec::new();
    let mut all_facts = BTreeMap::new();
    for acl in input_order(input) {
        let name = object_name(acl);
        let mut facts = AclFacts { role: role_name(input.namespace, name), ..AclFacts::default() };
        let subjects = directory.resolve(acl, &mut facts.problems, &mut facts.notes);
        let mut rules = check_rules(acl, &mut facts.problems);
        if !facts.problems.is_empty() {
            // Fail-safe: what is not understood as a whole grants nothing, but still denies.
            rules.retain(|rule| !rule.allows());
        }
        facts.subjects = subjects.users.len();
        contributions.push(Contribution { name, rules, subjects });
        all_facts.insert(name.to_owned(), facts);
    }
    (contributions, all_facts)
}

fn assign(
    namespace: &str,
    contribution: &Contribution<'_>,
    priority: i32,
    users: &mut [CompiledUser<'_>],
    groups: &mut Groups,
) {
    let role = role_name(namespace, contribution.name);
    let subjects = &contribution.subjects;
    for user in &subjects.users {
        users[*user as usize].assign(&role, priority);
    }
    let anonymous = subjects.anonymous.then_some(ANONYMOUS_GROUP);
    for group in subjects.groups.iter().map(String::as_str).chain(anonymous) {
        let roles = groups.entry(group.to_owned()).or_default();
        roles.push(RoleAssignment::with_priority(role.clone(), priority));
    }
}

fn role_record(namespace: &str, contribution: &Contribution<'_>) -> Record {
    let name = role_name(namespace, contribution.name);
    Record::Role(Role { acls: acl_entries(&contribution.rules), ..Role::new(name) })
}

fn settings_record(settings: &PolicySettings, has_anonymous: bool) -> Record {
    let is_allowed = |access: Access| access == Access::Allow;
    let access = &settings.default_access;
    Record::Settings(Settings {
        default_access: DefaultAccess {
            publish_client_send: is_allowed(access.publish),
            publish_client_receive: is_allowed(access.receive),
            subscribe: is_allowed(access.subscribe),
            unsubscribe: is_allowed(access.unsubscribe),
        },
        anonymous_group: has_anonymous.then(|| ANONYMOUS_GROUP.to_owned()),
        guest_group: None,
        ..Settings::default()
    })
}

/// The group whose rights anonymous clients have, if they are let in.
fn anonymous_group<'a>(
    settings: &'a PolicySettings,
    problems: &mut Vec<Problem>,
) -> Option<&'a str> {
    let group = settings.anonymous.as_str();
    if group == ANONYMOUS_DENIED {
        return None;
    }
    match check_group(group) {
        Ok(()) => Some(group),
        Err(message) => {
            let message = format!("spec.policy.anonymous: {message}, or write Deny");
            problems.push(Problem::new(ProblemReason::InvalidGroup, message));
            None
        }
    }
}

/// Longest encoded record: brokers take a command of 4 MiB and no change of the policy passes one
/// that is longer, so a record must stay far below that.
const RECORD_BYTES_MAX: usize = 1 << 20;

/// Whether a record is short enough; of a rule set that isn't, its Deny rules are left.
fn shortened(record: &mut Record) -> bool {
    let Record::Role(role) = record else { return false };
    role.acls.retain(|acl| !acl.allow);
    record.json_bytes() <= RECORD_BYTES_MAX
}

/// The records that a policy takes, and what is said of the others. After the checks before, only a
/// record that grew beyond all limits is left out here.
fn checked(before: &RecordSet, records: Vec<Record>) -> (RecordSet, Vec<(RecordKey, String)>) {
    let mut upserts = Vec::new();
    let mut left_out = Vec::new();
    let mut keys = Vec::with_capacity(records.len());
    let mut known = 0;
    for mut record in records {
        record.normalise();
        let key = record.key();
        let same = before.get(&key);
        if !same.is_some_and(|same| **same == record) {
            if let Err(error) = record.validate() {
                left_out.push((key, format!("is left out of the policy: {error}")));
                continue;
            }
            if record.json_bytes() > RECORD_BYTES_MAX {
                let is_kept = shortened(&mut record);
                let kept = if is_kept { " but for its Deny rules" } else { "" };
                let message = format!(
                    "is left out of the policy{kept}: it is longer than 1 MiB; split the object"
                );
                left_out.push((key.clone(), message));
                if !is_kept {
                    continue;
                }
            }
            upserts.push(record);
        }
        known += usize::from(same.is_some());
        keys.push(key);
    }
    let mut removals = Vec::new();
    if known < before.len() {
        let keys: HashSet<RecordKey> = keys.into_iter().collect();
        let old = before.records().map(|record| record.key());
        removals.extend(old.filter(|key| !keys.contains(key)));
    }
    (before.derive(upserts, removals).unwrap_or_default(), left_out)
}

/// Says of the cluster, and of the object that the record is of, that the policy can't hold it.
fn tell_left_out(compiled: &mut CompiledPolicy, key: &RecordKey, what: &str) {
    let message = format!("{key} {what}");
    let problem = Problem::new(ProblemReason::InvalidRule, message);
    match key.kind() {
        RecordKind::Client => {
            let mut users = compiled.users.values_mut();
            if let Some(facts) = users.find(|f| f.has_record && f.username == key.name()) {
                facts.has_record = false;
                facts.problems.push(problem.clone());
            }
        }
        RecordKind::Role => {
            if let Some(facts) = compiled.acls.values_mut().find(|f| f.role == key.name()) {
                facts.problems.push(problem.clone());
            }
        }
        RecordKind::Group | RecordKind::Settings => {}
    }
    compiled.problems.push(problem);
}
