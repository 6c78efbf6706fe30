//! `/healthz`, `/readyz` and `/metrics` over HTTP, for probes and Prometheus. No secrets pass here. IO.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use tokio::net::TcpListener;

use crate::metrics::Metrics;

/// Whether the process is ready; shared with what makes it so. At first it is not.
#[derive(Clone, Debug)]
pub struct Readiness {
    /// How many things are waited for.
    awaited: Arc<AtomicUsize>,
}

impl Default for Readiness {
    fn default() -> Self {
        Self { awaited: Arc::new(AtomicUsize::new(1)) }
    }
}

impl Readiness {
    /// From now on `/readyz` says yes.
    pub fn ready(&self) {
        self.await_parts(0);
    }

    /// From now on `/readyz` says no, until this many parts are ready.
    pub fn await_parts(&self, parts: usize) {
        self.awaited.store(parts, Ordering::Relaxed);
    }

    /// One of the parts that are waited for is ready.
    pub fn part_is_ready(&self) {
        let less = |awaited: usize| Some(awaited.saturating_sub(1));
        // It never refuses: `less` always gives a number.
        let _ = self.awaited.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }

    /// Whether nothing is waited for.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.awaited.load(Ordering::Relaxed) == 0
    }
}

/// Serves until the process ends.
///
/// # Errors
/// The address can't be bound.
pub async fn serve(
    listen: SocketAddr,
    metrics: Metrics,
    readiness: Readiness,
) -> std::io::Result<()> {
    serve_on(TcpListener::bind(listen).await?, metrics, readiness).await
}

/// As [`serve`], on a socket that listens already.
///
/// # Errors
/// The socket has no address.
pub async fn serve_on(
    listener: TcpListener,
    metrics: Metrics,
    readiness: Readiness,
) -> std::io::Result<()> {
    tracing::info!(address = %listener.local_addr()?, "serving /healthz, /readyz and /metrics");
    axum::serve(listener, routes(metrics, readiness)).await
}

fn routes(metrics: Metrics, readiness: Readiness) -> Router {
    let probes = Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .with_state(readiness);
    let scrape = Router::new().route("/metrics", get(scrape)).with_state(metrics);
    probes.merge(scrape)
}

async fn readyz(State(readiness): State<Readiness>) -> (StatusCode, &'static str) {
    if readiness.is_ready() {
        (StatusCode::OK, "ok\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not everything was read yet: see the log\n")
    }
}

async fn scrape(State(metrics): State<Metrics>) -> Result<String, (StatusCode, String)> {
    metrics.text().map_err(|error| (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")))
}
