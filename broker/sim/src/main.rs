//! `broker-sim`: simulates a cluster under one seed or many.

#![expect(clippy::print_stdout, reason = "a program for people")]

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use broker_sim::{Count, Counts, Report, run};
use clap::Parser;

/// Events before a violation that are shown without `--trace`.
const TAIL: usize = 60;

/// Seeds in which all that is counted happens.
const SEEDS_FOR_ALL: u64 = 100;

#[derive(Debug, Parser)]
#[command(about = "A cluster of brokers under virtual time and seeded faults")]
struct Args {
    /// The seed, or the first of several.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many seeds are run.
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    /// How many are run at a time.
    #[arg(long, default_value_t = 1)]
    jobs: usize,
    /// Runs all seeds, also when one has failed.
    #[arg(long)]
    keep_going: bool,
    /// Prints everything that happens.
    #[arg(long)]
    trace: bool,
    /// Prints what the brokers log, as it comes: a filter such as `broker=debug,openraft=debug`.
    #[arg(long)]
    log: Option<String>,
}

/// What has come of the seeds so far.
#[derive(Default)]
struct Outcome {
    counts: Counts,
    failed: BTreeMap<u64, Report>,
    run: u64,
}

fn main() -> ExitCode {
    let args = Args::parse();
    if let Some(filter) = &args.log {
        let log = tracing_subscriber::fmt().with_env_filter(filter).without_time();
        log.with_ansi(false).with_writer(std::io::stdout).init();
    }
    let next = AtomicU64::new(args.seed);
    let outcome = Mutex::<Outcome>::default();
    std::thread::scope(|scope| {
        for _ in 0..args.jobs.max(1) {
            scope.spawn(|| work(&args, &next, &outcome));
        }
    });
    let outcome = outcome.into_inner().unwrap_or_else(PoisonError::into_inner);
    print_counts(&outcome.counts);
    let Some((seed, report)) = outcome.failed.first_key_value() else {
        if let Some(nothing) = never(&outcome) {
            eprintln!(
                "in {} seeds there were no {}: they test less than they should",
                outcome.run,
                nothing.name()
            );
            return ExitCode::FAILURE;
        }
        println!("{} seeds from {}: nothing is wrong", outcome.run, args.seed);
        return ExitCode::SUCCESS;
    };
    if !args.trace {
        let lines: Vec<&str> = report.trace.lines().collect();
        println!("{}", lines[lines.len().saturating_sub(TAIL)..].join("\n"));
    }
    for (seed, report) in &outcome.failed {
        eprintln!("seed {seed}: {}", report.violation.as_deref().unwrap_or_default());
    }
    eprintln!("all of it: cargo run -p broker-sim -- --seed {seed} --trace");
    ExitCode::FAILURE
}

/// Runs one seed after the other until there are no more, or one has failed.
fn work(args: &Args, next: &AtomicU64, outcome: &Mutex<Outcome>) {
    let end = args.seed.saturating_add(args.seeds);
    loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= end {
            return;
        }
        let report = run(seed);
        if args.trace {
            print!("{}", report.trace);
            println!("hash {:016x}", report.hash);
        }
        let mut outcome = outcome.lock().unwrap_or_else(PoisonError::into_inner);
        outcome.run += 1;
        outcome.counts.add(&report.counts);
        if let Some(violation) = &report.violation {
            match args.keep_going {
                true => eprintln!("seed {seed}: {violation}"),
                false => next.store(end, Ordering::Relaxed),
            }
            outcome.failed.insert(seed, report);
        }
    }
}

/// What has not happened once in so many seeds that it should have.
fn never(outcome: &Outcome) -> Option<Count> {
    let is_missing = |count: &Count| outcome.counts.get(*count) == 0;
    (outcome.run >= SEEDS_FOR_ALL).then(|| Count::ALL.into_iter().find(is_missing)).flatten()
}

/// What happened how often: a fault that never does, or an invariant with nothing to look at, is
/// seen here.
fn print_counts(counts: &Counts) {
    for count in Count::ALL {
        println!("{:>10} {}", counts.get(count), count.name());
    }
}
