//! `broker-sim`: simulates a cluster under one seed or many.

#![expect(clippy::print_stdout, reason = "a program for people")]

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use broker_sim::{Report, run};
use clap::Parser;

/// Events before a violation that are shown without `--trace`.
const TAIL: usize = 60;

#[derive(Debug, Parser)]
#[command(about = "A cluster of brokers under virtual time and seeded faults")]
struct Args {
    /// The seed, or the first of several.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many seeds are run, until one fails.
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    /// How many are run at a time.
    #[arg(long, default_value_t = 1)]
    jobs: usize,
    /// Prints everything that happens.
    #[arg(long)]
    trace: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let next = AtomicU64::new(args.seed);
    let end = args.seed.saturating_add(args.seeds);
    let failed = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..args.jobs.max(1) {
            scope.spawn(|| work(&next, end, &failed, args.trace));
        }
    });
    let failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
    let Some((seed, report)) = failed.into_iter().next() else {
        println!("{} seeds from {}: nothing is wrong", args.seeds, args.seed);
        return ExitCode::SUCCESS;
    };
    if !args.trace {
        let lines: Vec<&str> = report.trace.lines().collect();
        println!("{}", lines[lines.len().saturating_sub(TAIL)..].join("\n"));
    }
    eprintln!("seed {seed}: {}", report.violation.unwrap_or_default());
    eprintln!("all of it: cargo run -p broker-sim -- --seed {seed} --trace");
    ExitCode::FAILURE
}

/// Runs one seed after the other until there are no more, or one has failed.
fn work(next: &AtomicU64, end: u64, failed: &Mutex<BTreeMap<u64, Report>>, is_traced: bool) {
    loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= end {
            return;
        }
        let report = run(seed);
        if is_traced {
            print!("{}", report.trace);
        }
        if report.violation.is_some() {
            next.store(end, Ordering::Relaxed);
            failed.lock().unwrap_or_else(PoisonError::into_inner).insert(seed, report);
        }
    }
}
