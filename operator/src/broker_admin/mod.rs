//! The brokers' admin API as the operator uses it: the only place where the operator talks to brokers.
//!
//! [`BrokerAdmin`] is what the controllers and the local platform are written against; [`HttpsAdmin`] speaks to real brokers,
//! in tests, brokers in memory answer. IO; decides nothing.

mod error;
mod https;
#[cfg(test)]
mod https_test;
mod identity;

use broker_admin_api::{
    AddLearnerRequest, BootstrapRequest, BrokerStatus, DemoteRequest, DrainRequest, DrainStatus,
    MembershipChanged, PolicyChangeApplied, PromoteRequest, RemoveRequest, TransferAccepted,
    TransferRequest,
};
use broker_policy::{BucketIndex, BucketKeys, PolicyChange, PolicyDigests};
use futures::future::BoxFuture;

pub use error::AdminError;
pub use https::HttpsAdmin;
pub use identity::{AdminIdentity, IdentityError};

/// Where one broker's admin API is, and who must answer there.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct BrokerEndpoint {
    /// The broker's name; only for messages.
    pub name: String,
    /// Host name or IP address to connect to.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The name that the broker's certificate must hold.
    pub server_name: String,
}

/// An answer that arrives later.
pub type Answer<'a, T> = BoxFuture<'a, Result<T, AdminError>>;

/// What a broker can be asked. Each call has a time-out of its own and may be dropped at any time; a dropped change may still
/// take effect.
pub trait BrokerAdmin: Send + Sync {
    /// What the broker says of itself.
    fn status<'a>(&'a self, broker: &'a BrokerEndpoint) -> Answer<'a, BrokerStatus>;
    /// The policy revision that it has applied, and its buckets' digests.
    fn policy_digests<'a>(&'a self, broker: &'a BrokerEndpoint) -> Answer<'a, PolicyDigests>;
    /// The keys of one bucket.
    fn policy_bucket<'a>(
        &'a self,
        broker: &'a BrokerEndpoint,
        bucket: BucketIndex,
    ) -> Answer<'a, BucketKeys>;
    /// Commits a change of the policy.
    fn change_policy<'a>(
        &'a self,
        broker: &'a BrokerEndpoint,
        change: &'a PolicyChange,
    ) -> Answer<'a, PolicyChangeApplied>;
    /// Founds the cluster on this broker.
    fn bootstrap<'a>(
        &'a self,
        broker: &'a BrokerEndpoint,
        request: &'a BootstrapRequest,
    ) -> Answer<'a, MembershipChanged>;
    /// Adds a broker without a vote; the leader answers.
    fn add_learner<'a>(
        &'a self,
        broker: &'a BrokerEndpoint,
        request: &'a AddLearnerRequest,
    ) -> Answer<'a, MembershipChanged>;
    /// Gives a learner its vote; the leader answers.
    fn promote<'a>(
        &'a self,
        broker: &'a BrokerEndpoint,
        request: &'a PromoteRequest,
    ) -> Answer<'a, MembershipChanged>;
    /// Takes a voter's vote; the leader answers.
    fn demote<'a>(
        &'a self,
        broker: &'a BrokerEndpoint,
        request: &'a DemoteRequest,
    ) -> Answer<'a, MembershipChanged>;
    /// Takes a member out; the leader answers.
    fn remove<'a>(
        &'a self,
        broker: &'a BrokerEndpoint,
        request: &'a RemoveRequest,
    ) -> Answer<'a, MembershipChanged>;
    /// Hands leadership over; the leader answers.
    fn transfer<'a>(
        &'a self,
        broker: &'a BrokerEndpoint,
        request: &'a TransferRequest,
    ) -> Answer<'a, TransferAccepted>;
    /// Starts or ends moving clients away.
    fn drain<'a>(
        &'a self,
        broker: &'a BrokerEndpoint,
        request: &'a DrainRequest,
    ) -> Answer<'a, DrainStatus>;
}
