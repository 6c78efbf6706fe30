//! What the operator decides: whether a resource makes sense, which objects it needs, what it
//! compiles to, which step comes next and what its status says.
//!
//! Everything here is pure: no client, no clock, no randomness; what was observed, the time and
//! random bytes are passed in. Kubernetes and the local platform use the same functions.

pub mod acl;
pub mod cluster;
pub mod condition;
pub mod membership;
pub mod news;
pub mod policy;
pub mod rollout;
pub mod user;
