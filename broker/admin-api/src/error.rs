//! The one shape of every refusal.

use serde::{Deserialize, Serialize};

use crate::NodeId;

/// Body of every answer with a status of 400 or more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// What kind of refusal: for programs.
    pub reason: Reason,
    /// What was wrong and what to change: for people.
    pub message: String,
    /// With `NotLeader`: who leads, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader: Option<LeaderHint>,
    /// With `RevisionMismatch`: the revision in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
}

/// Where to send a request that only the leader answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaderHint {
    /// The leader's identity.
    pub node_id: NodeId,
    /// Its name.
    pub name: String,
}

/// Kinds of refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Reason {
    /// 400: the body is not JSON, or the path's parameter is malformed.
    BadRequest,
    /// 401: no client certificate was presented.
    Unauthenticated,
    /// 403: the client certificate is not one that may administer.
    Forbidden,
    /// 404: no such path.
    NotFound,
    /// 405: the path exists, the method doesn't.
    MethodNotAllowed,
    /// 409: only the leader answers; `leader` names it.
    NotLeader,
    /// 409: the change leads from another revision than the one in force; `revision` names it.
    RevisionMismatch,
    /// 409: the broker has consensus state already.
    AlreadyInitialised,
    /// 409: the membership is another than the step was planned on.
    MembershipChanged,
    /// 409: another membership step is not settled yet.
    MembershipUnsettled,
    /// 409: the node is not a member, or not one in the role that the step needs.
    NotMember,
    /// 409: the learner's log lags.
    NotCaughtUp,
    /// 409: the step would take the last voter or leave no quorum.
    WouldLoseQuorum,
    /// 409: the member leads; transfer leadership first.
    IsLeader,
    /// 409: the backup is of another cluster, and that was not allowed.
    ForeignBackup,
    /// 413: the body is longer than the path takes.
    PayloadTooLarge,
    /// 422: well-formed, but a field's value can't be; the message names it.
    InvalidField,
    /// 422: the body is no backup, a damaged one, or one of a newer version.
    InvalidBackup,
    /// 429: too many requests wait already.
    Overloaded,
    /// 503: no leader or no quorum, or the broker is not initialised; try again.
    Unavailable,
    /// 504: not answered in time; the request may still take effect.
    Timeout,
    /// 500: a fault of the broker.
    Internal,
    /// A reason that a newer broker knows.
    #[serde(other)]
    Unknown,
}

impl Reason {
    /// The HTTP status that goes with the reason.
    #[must_use]
    pub const fn http_status(self) -> u16 {
        match self {
            Self::BadRequest => 400,
            Self::Unauthenticated => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::NotLeader
            | Self::RevisionMismatch
            | Self::AlreadyInitialised
            | Self::MembershipChanged
            | Self::MembershipUnsettled
            | Self::NotMember
            | Self::NotCaughtUp
            | Self::WouldLoseQuorum
            | Self::IsLeader
            | Self::ForeignBackup => 409,
            Self::PayloadTooLarge => 413,
            Self::InvalidField | Self::InvalidBackup => 422,
            Self::Overloaded => 429,
            Self::Unavailable => 503,
            Self::Timeout => 504,
            Self::Internal | Self::Unknown => 500,
        }
    }
}

impl ErrorBody {
    /// A refusal without further facts.
    #[must_use]
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), leader: None, revision: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_facts_are_left_out_and_read_back() {
        let body = ErrorBody::new(Reason::Unavailable, "the meta group has no leader; try again");
        let json = serde_json::to_string(&body).unwrap();
        assert_eq!(
            json,
            r#"{"reason":"Unavailable","message":"the meta group has no leader; try again"}"#
        );
        assert_eq!(serde_json::from_str::<ErrorBody>(&json).unwrap(), body);
    }

    #[test]
    fn reasons_of_a_newer_broker_are_read_as_unknown() {
        let body: ErrorBody =
            serde_json::from_str(r#"{"reason":"Moonlit","message":"x","more":1}"#).unwrap();
        assert_eq!(body.reason, Reason::Unknown);
    }
}
