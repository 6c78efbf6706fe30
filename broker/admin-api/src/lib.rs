//! Types of the broker's admin API: what the operator writes to a broker and reads from it.
//!
//! Layer: between the operator and the broker, which meet here, in `broker-config` and
//! in `broker-policy` only. Pure: serde types and constants, no HTTP.
//!
//! Conventions of the API:
//! - HTTPS on the admin listener; every path needs a client certificate of the cluster's admin
//!   intermediate, except [`path::HEALTHZ`], [`path::READYZ`] and [`path::METRICS`].
//! - JSON bodies in UTF-8 with `snake_case` keys. Unknown keys are ignored in answers (a broker may
//!   be newer than the operator) and refused in requests (a typo must not be silent).
//! - Every answer with a status of 400 or more holds an [`ErrorBody`].
//! - Points in time are Unix seconds; digests and fingerprints are lower-case hexadecimal.

mod backup;
mod cluster;
mod drain;
mod error;
mod node_id;
mod policy;
mod status;
mod view;

pub mod path;

pub use backup::{BackupHeader, Restored};
pub use cluster::{
    AddLearnerRequest, BootstrapRequest, DemoteRequest, MembershipChanged, PromoteRequest,
    RemoveRequest, TransferAccepted, TransferRequest,
};
pub use drain::{DrainRequest, DrainStatus};
pub use error::{ErrorBody, LeaderHint, Reason};
pub use node_id::{NodeId, NodeIdError};
pub use policy::PolicyChangeApplied;
pub use status::{
    BrokerState, BrokerStatus, CertificateStatus, Member, PeerLink, PolicyCounts, PolicyStatus,
    RaftStatus, ReloadError, Role, ServedCertificate,
};
pub use view::{ClusterView, MemberView, ShardView, ShardsView};
