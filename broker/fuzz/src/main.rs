//! `broker-fuzz`: runs the fuzz targets, and replays an input.

#![expect(clippy::print_stdout, reason = "a program for people")]

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use broker_fuzz::allocation::CountingAllocator;
use broker_fuzz::{Limits, TARGETS, Target, is_instrumented, replay, run};
use clap::{Parser, Subcommand};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

#[derive(Debug, Parser)]
#[command(about = "Fuzz targets of the broker's pure crates")]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Names the targets, one a line.
    List,
    /// Tries inputs until the time is over or one fails; then it ends with 1.
    Run {
        /// The target.
        target: String,
        /// How long.
        #[arg(long, default_value_t = 60)]
        seconds: u64,
        /// What the random choices derive from.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Folder for the input that fails.
        #[arg(long, default_value = "fuzz-failures")]
        folder: PathBuf,
    },
    /// Tries one input, as `run` has written it.
    Replay {
        /// The target.
        target: String,
        /// The input.
        file: PathBuf,
    },
}

fn main() -> ExitCode {
    match Args::parse().command {
        Command::List => {
            TARGETS.iter().for_each(|target| println!("{}", target.name));
            ExitCode::SUCCESS
        }
        Command::Run { target, seconds, seed, folder } => {
            let time = Duration::from_secs(seconds);
            let limits = Limits { time, executions: u64::MAX, seed };
            named(&target).map_or(ExitCode::from(2), |target| run_one(target, limits, &folder))
        }
        Command::Replay { target, file } => {
            named(&target).map_or(ExitCode::from(2), |target| replay_one(target, &file))
        }
    }
}

fn named(name: &str) -> Option<&'static Target> {
    let target = TARGETS.iter().find(|target| target.name == name);
    if target.is_none() {
        let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
        eprintln!("there is no target {name:?}: it is one of {}", names.join(", "));
    }
    target
}

fn run_one(target: &Target, limits: Limits, folder: &std::path::Path) -> ExitCode {
    let name = target.name;
    if !is_instrumented() {
        eprintln!("{name}: without coverage, inputs are changed blindly: use make fuzz");
    }
    let report = match run(target, limits, folder) {
        Ok(report) => report,
        Err(error) => {
            eprintln!("{name}: {error}: {}", error.source);
            return ExitCode::from(2);
        }
    };
    let (executions, inputs, edges) = (report.executions, report.inputs, report.edges);
    println!("{name}: {executions} executions, {inputs} inputs, {edges} edges");
    match report.failure {
        None => ExitCode::SUCCESS,
        Some(failure) => {
            let file = failure.file.display();
            eprintln!("{name}: {}\n{name}: replay it with", failure.message);
            eprintln!("  cargo run -p broker-fuzz -- replay {name} {file}");
            ExitCode::FAILURE
        }
    }
}

fn replay_one(target: &Target, file: &std::path::Path) -> ExitCode {
    let input = match std::fs::read(file) {
        Ok(input) => input,
        Err(error) => {
            eprintln!("read {}: {error}", file.display());
            return ExitCode::from(2);
        }
    };
    match replay(target, &input) {
        None => {
            println!("{}: the input is well", target.name);
            ExitCode::SUCCESS
        }
        Some(message) => {
            println!("{}: {message}", target.name);
            ExitCode::FAILURE
        }
    }
}
