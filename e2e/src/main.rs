//! `dunlin-e2e`: the scenarios on kind (`make e2e`), the benchmarks (`make bench`), real brokers under faults (`make chaos`).

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Tests of the whole product, and its benchmarks.
#[derive(Parser)]
#[command(version)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// The scenarios on a kind cluster that e2e/kind.sh made.
    Kind(e2e::kind::KindArgs),
    /// The operator's figures, on loopback: start, edits, many users. Those of the broker: mqtt-bench compare.
    Bench(e2e::bench::BenchArgs),
    /// Real brokers under faults that a seed draws, with clients that lose nothing; a checker reads what they saw.
    Chaos(e2e::chaos::ChaosArgs),
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let passed = match Args::parse().command {
        Command::Kind(args) => e2e::kind::run(args).await?,
        Command::Bench(args) => e2e::bench::run(args).await?,
        Command::Chaos(args) => e2e::chaos::run(args).await?,
    };
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
