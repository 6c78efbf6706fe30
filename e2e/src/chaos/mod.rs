//! Real broker processes under faults, and clients that go on whatever happens. What they saw is written down, and a checker
//! reads it: nothing that was acknowledged is lost, nothing of QoS 2 comes twice.

mod checker;
mod client;
mod disk;
mod fault;
mod fencing;
mod history;
mod injector;
mod network;
mod ownership;
mod random;
mod run;

#[cfg(test)]
mod checker_test;
#[cfg(test)]
mod fencing_test;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};
use clap::ValueEnum as _;
use tokio::signal::unix::{SignalKind, signal};

pub use fault::Kind;

/// How much goes wrong, and which brokers it hits.
#[derive(Clone, Debug, clap::Args)]
pub struct ChaosArgs {
    /// The folder with mqtt-broker.
    #[arg(long, default_value = "target/release", value_name = "DIR")]
    binaries: PathBuf,
    /// How many faults.
    #[arg(long, default_value_t = 30)]
    faults: usize,
    /// Draws the faults, their times, and what the clients do; by default another one each time.
    #[arg(long)]
    seed: Option<u64>,
    /// Only these kinds of faults (comma-separated).
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Kind>,
    /// No namespaces: addresses of 127.0.0.0/8, without partitions. Also where namespaces can't be made.
    #[arg(long)]
    loopback: bool,
    /// Keep the history and the brokers' logs where nothing was wrong, too.
    #[arg(long)]
    keep: bool,
    /// Run nothing: check a history that a run has kept.
    #[arg(long, value_name = "FILE")]
    check: Option<PathBuf>,
}

impl ChaosArgs {
    fn seed(&self) -> u64 {
        let now = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        self.seed.unwrap_or_else(|| now().map_or(1, |now| now.as_secs() % 1_000_000))
    }

    fn kinds(&self) -> Vec<Kind> {
        let all = Kind::value_variants().iter().copied();
        match self.only.as_slice() {
            [] => all.collect(),
            only => all.filter(|kind| only.contains(kind)).collect(),
        }
    }
}

/// Runs it to its end, or until Ctrl-C or SIGTERM; whether nothing was wrong.
///
/// # Errors
/// The cluster did not start, or a fault could not be made.
pub async fn run(args: ChaosArgs) -> Result<bool> {
    let interrupted = Arc::<AtomicBool>::default();
    let noted = Arc::clone(&interrupted);
    let (mut interrupt, mut terminate) =
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        noted.store(true, Ordering::Relaxed);
    });
    let run = move || run::run(&args, &interrupted);
    tokio::task::spawn_blocking(run).await.context("the run panicked")?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_kinds_of_faults_come_unless_some_are_named() {
        let mut args = ChaosArgs {
            binaries: PathBuf::new(),
            faults: 30,
            seed: Some(1),
            only: Vec::new(),
            loopback: false,
            keep: false,
            check: None,
        };
        assert_eq!(args.kinds(), Kind::value_variants());
        args.only = vec![Kind::DiskFull];
        assert_eq!(args.kinds(), [Kind::DiskFull]);
    }
}
