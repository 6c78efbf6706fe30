//! Refusals as HTTP answers: every one has a reason for programs and a sentence for people.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use broker_admin_api::{ErrorBody, LeaderHint, NodeId, Reason};

use crate::cluster::meta::{MembershipError, MetaMember, ProposeError};

/// An answer with a status of 400 or more.
#[derive(Debug)]
pub(super) struct Refusal(ErrorBody);

impl Refusal {
    pub(super) fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self(ErrorBody::new(reason, message))
    }

    pub(super) fn not_leader(message: String, leader: Option<&MetaMember>) -> Self {
        let mut body = ErrorBody::new(Reason::NotLeader, message);
        body.leader = leader
            .map(|leader| LeaderHint { node_id: NodeId(leader.node.0), name: leader.name.clone() });
        Self(body)
    }

    pub(super) fn revision_mismatch(message: String, revision: String) -> Self {
        let mut body = ErrorBody::new(Reason::RevisionMismatch, message);
        body.revision = Some(revision);
        Self(body)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.reason.http_status())
            .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, Json(self.0)).into_response()
    }
}

impl From<JsonRejection> for Refusal {
    fn from(rejection: JsonRejection) -> Self {
        let reason = match &rejection {
            JsonRejection::JsonDataError(_) => Reason::InvalidField,
            _ if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => Reason::PayloadTooLarge,
            _ => Reason::BadRequest,
        };
        Self::new(reason, rejection.body_text())
    }
}

impl From<MembershipError> for Refusal {
    fn from(error: MembershipError) -> Self {
        let message = error.to_string();
        let reason = match &error {
            MembershipError::NotLeader { leader } => {
                return Self::not_leader(message, leader.as_ref());
            }
            MembershipError::AlreadyInitialised => Reason::AlreadyInitialised,
            MembershipError::Changed { .. } => Reason::MembershipChanged,
            MembershipError::Unsettled => Reason::MembershipUnsettled,
            MembershipError::NotMember { .. } => Reason::NotMember,
            MembershipError::NotLinked { .. }
            | MembershipError::TooOld { .. }
            | MembershipError::NoQuorum => Reason::Unavailable,
            MembershipError::NotCaughtUp { .. } => Reason::NotCaughtUp,
            MembershipError::WouldLoseQuorum { .. } => Reason::WouldLoseQuorum,
            MembershipError::IsLeader { .. } => Reason::IsLeader,
            MembershipError::TimedOut => Reason::Timeout,
            MembershipError::Stopped { .. } => Reason::Internal,
        };
        Self::new(reason, message)
    }
}

impl From<ProposeError> for Refusal {
    fn from(error: ProposeError) -> Self {
        let reason = match &error {
            ProposeError::Unavailable => Reason::Unavailable,
            ProposeError::TimedOut => Reason::Timeout,
            ProposeError::Overloaded => Reason::Overloaded,
            ProposeError::TooLong { .. } => Reason::PayloadTooLarge,
            ProposeError::Invalid { .. } => Reason::Internal,
        };
        Self::new(reason, error.to_string())
    }
}
