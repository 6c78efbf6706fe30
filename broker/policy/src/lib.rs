//! Who may connect, what they may do, and how that policy is named, compared and changed.
//!
//! A policy is a set of dynamic-security [`Record`]s (clients, groups, roles, settings). It lies in
//! 256 buckets; a bucket has a digest, and the digest over all buckets is the policy's
//! [`Revision`]. A [`PolicyChange`] leads from one revision to another. [`Policy`] is an immutable
//! snapshot that answers two questions: may this client connect ([`Policy::authenticate`]), and may
//! it do this with that topic ([`Policy::authorizer`]).
//!
//! The operator compiles its resources into records and the brokers enforce them, so this crate
//! stands below both. It is pure: no sockets, no clock, no randomness.

pub mod authentication;
pub mod authorizer;
mod catalogue;
pub mod change;
pub mod diff;
pub mod digest;
pub mod document;
pub mod password;
pub mod realm;
pub mod record;
pub mod record_set;
pub mod scram;
pub mod snapshot;
pub mod topic;

#[cfg(test)]
mod authentication_test;
#[cfg(test)]
mod realm_test;
#[cfg(test)]
mod record_set_test;

pub use authentication::{AuthDecision, Credential, RefusalReason};
pub use authorizer::{Action, Authorizer, Because, DecisionCache, Explanation};
pub use change::{ChangeError, PolicyChange};
pub use diff::{BucketKeys, DiffError, PolicyDigests};
pub use digest::{BUCKET_COUNT, BucketIndex, Digest, Revision, bucket_of};
pub use password::{PasswordError, PasswordHash, VerificationCost};
pub use record::{
    Acl, AclType, Client, ClientIdPattern, DefaultAccess, Group, GroupMembership, InvalidRecord,
    Quotas, Record, RecordKey, RecordKind, Role, RoleAssignment, Settings,
};
pub use record_set::RecordSet;
pub use scram::{ScramCost, ScramCredential};
pub use snapshot::{Impact, Policy, PolicyCounts};
