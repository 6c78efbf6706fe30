//! Paths and their handlers.

use std::time::Duration;

use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, Path, Request, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use broker_admin_api::{BrokerStatus, PolicyChangeApplied, Reason, path};
use broker_core::cluster_state::{Command, Outcome};
use broker_policy::{BucketIndex, BucketKeys, PolicyChange, PolicyDigests};

use super::refusal::Refusal;
use super::{AdminContext, backup, drain, membership, status, view};

/// Longest body of a policy change: JSON is longer than the log's own form of it.
const CHANGE_BYTES_MAX: usize = 16 << 20;

/// Longest time of a request; above what the meta group gives a step.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);

/// Whether the connection showed a certificate of the admin intermediate.
#[derive(Debug, Clone, Copy)]
pub(super) struct Authenticated(pub(super) bool);

pub(super) type Answer<T> = Result<Json<T>, Refusal>;
pub(super) type Body<T> = Result<Json<T>, JsonRejection>;

/// The paths that need no certificate.
fn open() -> Router<AdminContext> {
    Router::new()
        .route(path::HEALTHZ, get(healthz))
        .route(path::READYZ, get(readyz))
        .route(path::METRICS, get(metrics))
}

/// Numbers and health, and nothing else: what is served without TLS.
pub(super) fn open_routes(context: AdminContext) -> Router {
    let paths = "here are /metrics, /healthz and /readyz, for GET";
    open()
        .fallback(async move || (StatusCode::NOT_FOUND, paths))
        .layer(from_fn(in_time))
        .with_state(context)
}

/// All paths.
pub(super) fn routes(context: AdminContext) -> Router {
    let closed = Router::new()
        .route(path::STATUS, get(read_status))
        .route(path::POLICY_DIGESTS, get(policy_digests))
        .route(&format!("{}/{{number}}", path::POLICY_BUCKETS), get(policy_bucket))
        .route(
            path::POLICY_CHANGES,
            post(policy_change).layer(DefaultBodyLimit::max(CHANGE_BYTES_MAX)),
        )
        .route(path::BOOTSTRAP, post(membership::bootstrap))
        .route(path::LEARNERS, post(membership::add_learner))
        .route(path::VOTERS, post(membership::promote))
        .route(path::DEMOTE, post(membership::demote))
        .route(path::REMOVE, post(membership::remove))
        .route(path::TRANSFER, post(membership::transfer))
        .route(path::DRAIN, post(drain::begin).get(drain::status))
        .route(path::CLUSTER, get(view::cluster))
        .route(path::SHARDS, get(view::shards))
        .route(path::BACKUP, get(backup::backup))
        .route_layer(from_fn(require_certificate));
    // A whole state takes the time that it takes; each piece of it has a time of its own.
    let untimed = Router::new()
        .route(path::RESTORE, post(backup::restore))
        .method_not_allowed_fallback(wrong_method)
        .route_layer(DefaultBodyLimit::disable())
        .route_layer(from_fn(require_certificate));
    open()
        .merge(closed)
        .fallback(async || Refusal::new(Reason::NotFound, "no such path in the admin API"))
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn(in_time))
        .merge(untimed)
        .with_state(context)
}

async fn wrong_method() -> Refusal {
    Refusal::new(Reason::MethodNotAllowed, "this path does not take that method")
}

/// Gives every request its time, the reading of its body included.
async fn in_time(request: Request, next: Next) -> Response {
    match tokio::time::timeout(REQUEST_TIMEOUT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let message = "the request was not answered in time; it may still take effect";
            Refusal::new(Reason::Timeout, message).into_response()
        }
    }
}

async fn require_certificate(
    Extension(authenticated): Extension<Authenticated>,
    request: Request,
    next: Next,
) -> Response {
    if authenticated.0 {
        return next.run(request).await;
    }
    let message =
        "show a client certificate of the cluster's admin intermediate (Secret <cluster>-admin)";
    Refusal::new(Reason::Unauthenticated, message).into_response()
}

/// That this is answered shows that the main thread is well; the hub tells of the cluster's.
async fn healthz(State(context): State<AdminContext>) -> (StatusCode, &'static str) {
    if context.hub.is_alive() {
        (StatusCode::OK, "ok\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "the cluster thread does not answer\n")
    }
}

async fn readyz(State(context): State<AdminContext>) -> (StatusCode, String) {
    match status::readiness(&context) {
        None => (StatusCode::OK, "ok\n".to_owned()),
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
    }
}

async fn metrics(State(context): State<AdminContext>) -> String {
    (context.metrics)()
}

async fn read_status(State(context): State<AdminContext>) -> Json<BrokerStatus> {
    Json(status::read(&context))
}

async fn policy_digests(State(context): State<AdminContext>) -> Json<PolicyDigests> {
    let policy = context.meta.policy().borrow().policy.clone();
    Json(policy.digests())
}

async fn policy_bucket(
    State(context): State<AdminContext>,
    Path(number): Path<String>,
) -> Answer<BucketKeys> {
    let number: BucketIndex = number.parse().map_err(|_| {
        Refusal::new(Reason::BadRequest, format!("bucket {number:?} must be a number of 0 to 255"))
    })?;
    let policy = context.meta.policy().borrow().policy.clone();
    Ok(Json(policy.bucket_keys(number)))
}

async fn policy_change(
    State(context): State<AdminContext>,
    body: Body<PolicyChange>,
) -> Answer<PolicyChangeApplied> {
    let Json(change) = body?;
    let from = change.from;
    let proposed = context.meta.propose(&Command::ApplyPolicy(change)).await?;
    match proposed.outcome {
        Outcome::PolicyApplied { revision } => Ok(Json(PolicyChangeApplied {
            revision: revision.to_string(),
            log_index: proposed.log_index,
        })),
        Outcome::PolicyConflict { current } => Err(Refusal::revision_mismatch(
            format!(
                "the change leads from revision {from}, the policy is at {current}: compare again"
            ),
            current.to_string(),
        )),
        Outcome::PolicyInvalid { reason } => Err(Refusal::new(Reason::InvalidField, reason)),
        outcome => Err(Refusal::new(Reason::Internal, format!("unexpected outcome {outcome:?}"))),
    }
}
