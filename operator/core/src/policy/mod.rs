//! Compiles the users and the rules of a cluster into the records its brokers enforce. Pure.
//!
//! One `MqttUser` becomes one client record, one `MqttAcl` one role `k8s:<namespace>:<name>`, each
//! group that is named anywhere one group record, the cluster's settings one settings record.
//!
//! # Order
//! Between MqttAcls the higher `priority` decides, then the name. Dynamic security asks a client's
//! own roles before those of its groups, so a role that concerns a group is assigned to the
//! members themselves too, with the MqttAcl's priority: it then stands in one order with those
//! that concern them as users. Between rules of one MqttAcl the higher `priority` decides, then a
//! Deny before an Allow; both go into the priority of the dynamic-security ACL.
//!
//! # What does not make sense
//! The operator has no memory, so it can't keep what an object said before it was broken. It errs
//! on the safe side instead, and stops nothing else:
//! - an MqttAcl with anything invalid grants nothing; its valid Deny rules hold for its valid
//!   subjects;
//! - an MqttUser with anything invalid is suspended, so that its sessions keep what they have; one
//!   without a usable username has no record;
//! - of several MqttUsers with one username the oldest has it, the others have no record.

mod acl_entries;
mod check;
mod compile;
mod conflict;
mod cover;
mod credential;
mod problem;
mod progress;
#[cfg(test)]
mod progress_test;
mod rule;
mod subjects;
mod users;

#[cfg(test)]
mod compile_test;
#[cfg(test)]
mod property_test;
#[cfg(test)]
mod test_support;

use std::collections::BTreeMap;

use broker_policy::{PasswordHash, RecordSet, Revision, ScramCredential};
use operator_api::cluster::PolicySettings;
use operator_api::{MqttAcl, MqttUser};

pub use compile::{Compiler, compile};
pub use conflict::{Conflict, RuleRef};
pub use credential::{PasswordOrigin, hash_password, salt_of_user};
pub use problem::{Problem, ProblemReason};
pub use progress::{EnforcedRecords, Enforcement, Pending, Progress};

/// The name that roles made by the operator begin with.
pub const ROLE_PREFIX: &str = "k8s:";
/// The group whose roles anonymous clients have; no user can be a member.
pub const ANONYMOUS_GROUP: &str = "k8s:anonymous";
/// The value of `spec.policy.anonymous` that refuses anonymous clients.
pub const ANONYMOUS_DENIED: &str = "Deny";

/// The role that an MqttAcl compiles to.
pub fn role_name(namespace: &str, acl: &str) -> String {
    format!("{ROLE_PREFIX}{namespace}:{acl}")
}

/// All that a cluster's policy is compiled from.
#[derive(Debug, Clone)]
pub struct PolicyInput<'a> {
    /// The namespace of the cluster and of its users and rules.
    pub namespace: &'a str,
    /// The cluster's name. Users and rules of other clusters are passed over.
    pub cluster: &'a str,
    /// `spec.policy` of the cluster.
    pub settings: &'a PolicySettings,
    /// The namespace's users. Those that are being deleted are passed over.
    pub users: Vec<UserInput<'a>>,
    /// The namespace's rules. Those that are being deleted are passed over.
    pub acls: Vec<&'a MqttAcl>,
}

/// A user with what it proves itself with.
#[derive(Debug, Clone)]
pub struct UserInput<'a> {
    /// The object.
    pub user: &'a MqttUser,
    /// Its credential.
    pub credential: UserCredential,
}

/// What a user proves itself with, as far as the brokers need to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UserCredential {
    /// A password with this hash, and what proves it by SCRAM-SHA-256 where that is asked for.
    Password(PasswordHash, Option<ScramCredential>),
    /// A client certificate whose common name is the username.
    Certificate,
    /// Not issued yet, or not found: the user has a record, but can't connect.
    Missing,
}

/// A cluster's policy, with what is to be said about the objects it came from.
#[derive(Debug, Clone)]
pub struct CompiledPolicy {
    /// The records. Compare them with the brokers' digests to see what to send.
    pub records: RecordSet,
    /// What is wrong with the cluster's own settings.
    pub problems: Vec<Problem>,
    /// By object name: the users of this cluster.
    pub users: BTreeMap<String, UserFacts>,
    /// By object name: the rules of this cluster.
    pub acls: BTreeMap<String, AclFacts>,
}

impl CompiledPolicy {
    /// The name of the records' content.
    pub const fn revision(&self) -> Revision {
        self.records.revision()
    }
}

/// What a user's status says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UserFacts {
    /// The name its clients give.
    pub username: String,
    /// Whether the policy has a record for it.
    pub has_record: bool,
    /// What is wrong; empty: nothing.
    pub problems: Vec<Problem>,
}

/// What an MqttAcl's status says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AclFacts {
    /// The role it compiles to.
    pub role: String,
    /// How many users it concerns now.
    pub subjects: usize,
    /// What is wrong; empty: it is compiled whole.
    pub problems: Vec<Problem>,
    /// Rules that always lose, at most [`CONFLICTS_MAX`].
    pub conflicts: Vec<Conflict>,
    /// What deserves a look but is not wrong: subjects that match nobody.
    pub notes: Vec<String>,
}

/// Most conflicts that are told of one MqttAcl.
pub const CONFLICTS_MAX: usize = 16;
