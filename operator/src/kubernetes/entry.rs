//! `mqtt-operator run`: client, signals, health, and the platform. IO.

use anyhow::Context as _;
use kube::{Client, Config};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::run::{Options, run};
use super::scope::Settings;
use crate::args::RunArgs;
use crate::health::{self, Readiness};
use crate::metrics::Metrics;

/// The Lease by which one of several replicas leads.
const LEASE: &str = "mqtt-operator";
/// Where a pod finds the names that its resolver tries.
const RESOLVER: &str = "/etc/resolv.conf";
/// How many threads the operator uses: compiling a large policy must not hold renewals back.
const THREADS: usize = 2;

/// Does what `mqtt-operator run` says, until SIGTERM or SIGINT.
///
/// # Errors
/// In words: Kubernetes can't be reached, an address can't be bound, or the Lease was lost.
pub fn main(args: &RunArgs) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .enable_all()
        .build()
        .context("start the runtime")?;
    runtime.block_on(serve(args))
}

async fn serve(args: &RunArgs) -> anyhow::Result<()> {
    let config = Config::infer().await.context(
        "find Kubernetes: run inside a cluster, set KUBECONFIG, or use `mqtt-operator local up`",
    )?;
    let mut lease_config = config.clone();
    lease_config.default_retry = false;
    let clients = (
        Client::try_from(config).context("make a client of Kubernetes")?,
        Client::try_from(lease_config).context("make a client of Kubernetes")?,
    );
    let metrics = Metrics::new().context("set up metrics")?;
    let readiness = Readiness::default();
    let health = health::serve(args.http_listen, metrics.clone(), readiness.clone());
    let options = Options {
        settings: Settings {
            operator_namespace: args.namespace.clone(),
            identity: args.identity.clone(),
            cluster_domain: cluster_domain(),
            concurrency: args.concurrency,
        },
        namespaces: args.watch_namespaces.clone(),
        lease: Some(LEASE.into()),
    };
    let (stop, stopped) = watch::channel(false);
    let signals = tokio::spawn(wait_for_signal(stop));
    let outcome = tokio::select! {
        outcome = run(clients, options, metrics, readiness, stopped) => outcome,
        outcome = health => {
            outcome.with_context(|| format!("serve health and metrics at {}", args.http_listen))
        }
    };
    signals.abort();
    outcome
}

async fn wait_for_signal(stop: watch::Sender<bool>) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listen for SIGINT")?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("stopping");
    stop.send_replace(true);
    // A second signal ends the process at once, as it would without this.
    tokio::select! {
        _ = terminate.recv() => std::process::exit(1),
        _ = interrupt.recv() => std::process::exit(1),
    }
}

/// The DNS domain of the Kubernetes cluster, from the names that a pod's resolver tries; empty when
/// it can't be told.
fn cluster_domain() -> String {
    let resolver = std::fs::read_to_string(RESOLVER).unwrap_or_default();
    domain_of(&resolver).unwrap_or_default().to_owned()
}

fn domain_of(resolver: &str) -> Option<&str> {
    let searched = resolver.lines().filter_map(|line| line.trim().strip_prefix("search "));
    searched.flat_map(str::split_whitespace).find_map(|name| name.strip_prefix("svc."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_domain_is_read_from_the_resolver() {
        let resolver = "nameserver 10.96.0.10\nsearch iot.svc.example.org svc.example.org lan\n";
        assert_eq!(domain_of(resolver), Some("example.org"));
        assert_eq!(domain_of("nameserver 192.0.2.1\nsearch lan\n"), None);
    }
}
