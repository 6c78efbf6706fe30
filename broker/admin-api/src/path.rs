//! Paths of the admin API, with method and meaning.

/// `GET`: 200 while the process's threads answer. No certificate needed. Text.
pub const HEALTHZ: &str = "/healthz";
/// `GET`: 200 when the broker may be given clients, else 503 with the reason. No certificate
/// needed. Text.
pub const READYZ: &str = "/readyz";
/// `GET`: metrics in the Prometheus text format. No certificate needed.
pub const METRICS: &str = "/metrics";
/// `GET`: [`crate::BrokerStatus`].
pub const STATUS: &str = "/v1/status";
/// `GET`: `broker_policy::PolicyDigests`.
pub const POLICY_DIGESTS: &str = "/v1/policy/digests";
/// `GET`, with a bucket's number of 0 to 255 behind it: `broker_policy::BucketKeys`.
pub const POLICY_BUCKETS: &str = "/v1/policy/buckets";
/// `POST` a `broker_policy` change: [`crate::PolicyChangeApplied`]. On any broker; it is handed to
/// the leader.
pub const POLICY_CHANGES: &str = "/v1/policy/changes";
/// `POST` [`crate::BootstrapRequest`]: [`crate::MembershipChanged`]. On the one broker that founds
/// the cluster.
pub const BOOTSTRAP: &str = "/v1/cluster/bootstrap";
/// `POST` [`crate::AddLearnerRequest`]: [`crate::MembershipChanged`]. On the leader.
pub const LEARNERS: &str = "/v1/cluster/learners";
/// `POST` [`crate::PromoteRequest`]: [`crate::MembershipChanged`]. On the leader.
pub const VOTERS: &str = "/v1/cluster/voters";
/// `POST` [`crate::DemoteRequest`]: [`crate::MembershipChanged`]. On the leader.
pub const DEMOTE: &str = "/v1/cluster/demote";
/// `POST` [`crate::RemoveRequest`]: [`crate::MembershipChanged`]. On the leader.
pub const REMOVE: &str = "/v1/cluster/remove";
/// `POST` [`crate::TransferRequest`]: [`crate::TransferAccepted`]. On the leader.
pub const TRANSFER: &str = "/v1/cluster/transfer";
/// `POST` [`crate::DrainRequest`], `GET`: [`crate::DrainStatus`]. On the broker to be drained.
pub const DRAIN: &str = "/v1/drain";
/// `GET`: [`crate::ClusterView`]. On any broker; how far members' logs are, on the leader.
pub const CLUSTER: &str = "/v1/cluster";
/// `GET`: [`crate::ShardsView`]. On any broker.
pub const SHARDS: &str = "/v1/shards";
/// `GET`: the state of the cluster as of one log entry, in the format of `broker/src/backup`. On any
/// broker that has caught up. It holds secrets.
pub const BACKUP: &str = "/v1/backup";
/// `POST` a backup: [`crate::Restored`]. On an empty broker, which founds the cluster from it. With
/// `?allow_foreign=true` also from the backup of another cluster.
pub const RESTORE: &str = "/v1/cluster/restore";
