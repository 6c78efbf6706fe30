//! Users into client records: who has which username, and what is wrong. Pure.

use std::collections::{BTreeMap, HashMap};

use broker_policy::{Client, ClientIdPattern, GroupMembership, Quotas, RoleAssignment};
use jiff::Timestamp;
use operator_api::{MqttUser, measure};

use super::check::{check_client_id, check_group, check_username};
use super::problem::{Problem, ProblemReason};
use super::{PolicyInput, UserCredential, UserFacts, UserInput};

/// A user that has a record, and the roles it is given while the rules are compiled.
pub(super) struct CompiledUser<'a> {
    pub(super) user: &'a MqttUser,
    pub(super) client: Client,
}

/// All users of the cluster.
pub(super) struct CompiledUsers<'a> {
    /// Those with a record.
    pub(super) users: Vec<CompiledUser<'a>>,
    /// By object name: all of them.
    pub(super) facts: BTreeMap<String, UserFacts>,
}

impl CompiledUser<'_> {
    pub(super) fn labels(&self) -> &BTreeMap<String, String> {
        static NONE: BTreeMap<String, String> = BTreeMap::new();
        self.user.metadata.labels.as_ref().unwrap_or(&NONE)
    }

    pub(super) fn object_name(&self) -> &str {
        self.user.metadata.name.as_deref().unwrap_or_default()
    }

    pub(super) fn assign(&mut self, role: &str, priority: i32) {
        self.client.roles.push(RoleAssignment::with_priority(role, priority));
    }
}

pub(super) fn compile_users<'a>(input: &PolicyInput<'a>) -> CompiledUsers<'a> {
    let mut candidates: Vec<&UserInput<'a>> =
        input.users.iter().filter(|user| is_of_cluster(user.user, input)).collect();
    candidates.sort_by_key(|candidate| seniority(candidate.user));
    let mut compiled = CompiledUsers { users: Vec::new(), facts: BTreeMap::new() };
    let mut holders: HashMap<String, &str> = HashMap::new();
    for candidate in candidates {
        let name = candidate.user.metadata.name.as_deref().unwrap_or_default();
        let username = candidate.user.username();
        let mut facts =
            UserFacts { username: username.clone(), has_record: false, problems: Vec::new() };
        if let Err(message) = check_username(&username) {
            let is_given = candidate.user.spec.username.is_some();
            let field = if is_given { "spec.username" } else { "metadata.name" };
            let message = format!("{field}: {message}");
            facts.problems.push(Problem::new(ProblemReason::InvalidUsername, message));
        } else if let Some(holder) = holders.get(&username) {
            facts.problems.push(username_taken(&username, holder));
        } else {
            let client = compile_client(candidate, &username, &mut facts.problems);
            compiled.users.push(CompiledUser { user: candidate.user, client });
            facts.has_record = true;
            holders.insert(username, name);
        }
        compiled.facts.insert(name.to_owned(), facts);
    }
    compiled
}

fn is_of_cluster(user: &MqttUser, input: &PolicyInput<'_>) -> bool {
    user.spec.cluster_ref.name == input.cluster && user.metadata.deletion_timestamp.is_none()
}

/// Orders users by age: an object without a creation time counts as the youngest.
fn seniority(user: &MqttUser) -> (bool, Option<Timestamp>, &str) {
    let created = user.metadata.creation_timestamp.as_ref().map(|time| time.0);
    (created.is_none(), created, user.metadata.name.as_deref().unwrap_or_default())
}

fn username_taken(username: &str, holder: &str) -> Problem {
    let message = format!(
        "spec.username: {username:?} belongs to the older MqttUser {holder:?}; choose another or \
         delete that one"
    );
    Problem::new(ProblemReason::UsernameTaken, message)
}

fn compile_client(input: &UserInput<'_>, username: &str, problems: &mut Vec<Problem>) -> Client {
    let spec = &input.user.spec;
    let client_ids = valid(&spec.client_ids, check_client_id, |index, message| {
        let message = format!("spec.clientIDs[{index}]: {message}");
        problems.push(Problem::new(ProblemReason::InvalidClientId, message));
    });
    let groups = valid(&spec.groups, check_group, |index, message| {
        let message = format!("spec.groups[{index}]: {message}");
        problems.push(Problem::new(ProblemReason::InvalidGroup, message));
    });
    let quotas = compile_quotas(&spec.quotas, problems);
    // What is invalid may be a restriction: without it nobody is let in.
    let is_invalid = !problems.is_empty();
    let mut client = Client {
        username: username.to_owned(),
        disabled: spec.suspended || is_invalid,
        client_ids: client_ids.into_iter().map(|text| ClientIdPattern::parse(text)).collect(),
        groups: groups.into_iter().map(|name| GroupMembership::new(name.clone())).collect(),
        quotas,
        ..Client::default()
    };
    match &input.credential {
        UserCredential::Password(hash, scram) => {
            client.password = Some(hash.clone());
            client.scram = scram.clone();
        }
        UserCredential::Certificate => client.certificate = true,
        UserCredential::Missing => problems.push(Problem::new(
            ProblemReason::CredentialsMissing,
            "the user has no credential yet, so no client can connect as it",
        )),
    }
    client
}

/// The items that pass the check; the others are reported with their index.
fn valid(
    items: &[String],
    check: fn(&str) -> Result<(), String>,
    mut report: impl FnMut(usize, String),
) -> Vec<&String> {
    let mut valid = Vec::new();
    for (index, item) in items.iter().enumerate() {
        match check(item) {
            Ok(()) => valid.push(item),
            Err(message) => report(index, message),
        }
    }
    valid
}

fn compile_quotas(quotas: &operator_api::user::Quotas, problems: &mut Vec<Problem>) -> Quotas {
    let bytes_per_second = quotas.bytes_per_second.as_deref().and_then(|text| {
        let bytes = measure::bytes(text).filter(|bytes| *bytes > 0);
        if bytes.is_none() {
            let message = format!(
                "spec.quotas.bytesPerSecond: {text:?} is not an amount of bytes; write it as 65536 \
                 or 64Ki"
            );
            problems.push(Problem::new(ProblemReason::InvalidQuota, message));
        }
        bytes
    });
    let limits =
        [("connections", quotas.connections), ("publishesPerSecond", quotas.publishes_per_second)];
    for (field, limit) in limits {
        if limit == Some(0) {
            let message =
                format!("spec.quotas.{field}: 0 lets nothing through; set suspended instead");
            problems.push(Problem::new(ProblemReason::InvalidQuota, message));
        }
    }
    Quotas {
        connections: quotas.connections,
        publishes_per_second: quotas.publishes_per_second,
        bytes_per_second,
    }
}
