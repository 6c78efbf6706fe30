//! `mqtt-bench`: see `mqtt-bench --help`.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Drives an MQTT broker and reports what it does and what it costs.
///
/// CPU time per message holds steady on a machine that others share, where messages per second don't: give --pid, and compare
/// ratios of two brokers driven in turn.
#[derive(Parser)]
#[command(version)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Load(mqtt_bench::load::LoadArgs),
    Idle(mqtt_bench::idle::IdleArgs),
    Subscribe(mqtt_bench::subscribe::SubscribeArgs),
    Interest(mqtt_bench::interest::InterestArgs),
    Compare(mqtt_bench::compare::CompareArgs),
    Cluster(mqtt_bench::cluster::ClusterArgs),
}

fn main() -> ExitCode {
    let result = match Args::parse().command {
        Command::Load(args) => mqtt_bench::load::main(&args),
        Command::Idle(args) => mqtt_bench::idle::main(&args),
        Command::Subscribe(args) => mqtt_bench::subscribe::main(&args),
        Command::Interest(args) => mqtt_bench::interest::main(&args),
        Command::Compare(args) => mqtt_bench::compare::main(&args),
        Command::Cluster(args) => mqtt_bench::cluster::main(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
