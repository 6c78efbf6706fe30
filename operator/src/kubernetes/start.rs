//! `mqtt-operator run`: the runtime, the client of the API server, signals. IO.

use anyhow::Context as _;
use kube::Client;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::run::{self, Options};
use super::scope::Settings;
use crate::args::RunArgs;
use crate::health::{self, Readiness};
use crate::metrics::Metrics;

/// The Lease by which one of several replicas leads.
const LEASE_NAME: &str = "mqtt-operator";

/// Runs the Kubernetes platform until a signal stops it.
///
/// # Errors
/// The API server can't be reached, the probes' address can't be bound, or the Lease was lost.
pub fn main(args: &RunArgs) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(serve(args))
}

async fn serve(args: &RunArgs) -> anyhow::Result<()> {
    let kube_client = Client::try_default()
        .await
        .context("no API server: run in a pod, or with a kubeconfig (KUBECONFIG)")?;
    let metrics = Metrics::new().context("metrics")?;
    let readiness = Readiness::default();
    let (stop, stopped) = watch::channel(false);
    let mut terminate = signal(SignalKind::terminate()).context("listen to SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listen to SIGINT")?;
    let options = Options {
        settings: Settings {
            operator_namespace: args.namespace.clone(),
            identity: args.identity.clone(),
            cluster_domain: String::new(),
            concurrency: args.concurrency,
        },
        namespaces: args.watch_namespaces.clone(),
        lease: Some(LEASE_NAME.to_owned()),
    };
    let probes = health::serve(args.http_listen, metrics.clone(), readiness.clone());
    let operator = run::run(kube_client, options, metrics, readiness, stopped);
    tokio::pin!(operator);
    tokio::select! {
        outcome = &mut operator => return outcome,
        served = probes => {
            served.with_context(|| format!("--http-listen {}", args.http_listen))?;
        }
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("stopping");
    stop.send_replace(true);
    operator.await
}
