//! A drain, as it is asked for and told of.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use broker_admin_api::{DrainRequest, DrainStatus, Reason};

use super::AdminContext;
use super::refusal::Refusal;
use super::routes::{Answer, Body};
use crate::hub::Drain;

pub(super) async fn begin(
    State(context): State<AdminContext>,
    body: Body<DrainRequest>,
) -> Answer<DrainStatus> {
    let Json(request) = body?;
    check(&request)?;
    let drain = request.enabled.then(|| Drain {
        clients_per_second: request.clients_per_second,
        server_reference: request.server_reference.as_deref().map(Arc::from),
        requested_by: request.requested_by.as_deref().map(Arc::from),
    });
    tracing::info!(
        draining = request.enabled,
        clients_per_second = request.clients_per_second,
        requested_by = request.requested_by,
        "drain asked for"
    );
    // The hub closes the gate and has the workers move their clients.
    context.drain.send_replace(drain);
    Ok(Json(read(&context)))
}

pub(super) async fn status(State(context): State<AdminContext>) -> Json<DrainStatus> {
    Json(read(&context))
}

/// How far it has come.
pub(super) fn read(context: &AdminContext) -> DrainStatus {
    let connections = context.workers.iter().map(|w| w.counters.read().engine.connections).sum();
    let drain = context.drain.borrow();
    let Some(drain) = &*drain else {
        return DrainStatus { connections, ..DrainStatus::default() };
    };
    let rate = drain.clients_per_second;
    DrainStatus {
        draining: true,
        connections,
        clients_per_second: Some(rate),
        seconds_left: Some(connections.div_ceil(u64::from(rate.max(1)))),
        server_reference: drain.server_reference.as_deref().map(str::to_owned),
        requested_by: drain.requested_by.as_deref().map(str::to_owned),
    }
}

fn check(request: &DrainRequest) -> Result<(), Refusal> {
    let invalid = |message: String| Err(Refusal::new(Reason::InvalidField, message));
    if !(1..=DrainRequest::CLIENTS_PER_SECOND_MAX).contains(&request.clients_per_second) {
        return invalid(format!(
            "clients_per_second {}: give 1 to {}",
            request.clients_per_second,
            DrainRequest::CLIENTS_PER_SECOND_MAX
        ));
    }
    for (field, text, bytes_max) in [
        ("server_reference", &request.server_reference, DrainRequest::SERVER_REFERENCE_BYTES_MAX),
        ("requested_by", &request.requested_by, DrainRequest::REQUESTED_BY_BYTES_MAX),
    ] {
        let Some(text) = text else { continue };
        if text.is_empty() || text.len() > bytes_max || text.chars().any(char::is_control) {
            return invalid(format!(
                "{field}: give 1 to {bytes_max} bytes without control characters, or leave it out"
            ));
        }
    }
    Ok(())
}
