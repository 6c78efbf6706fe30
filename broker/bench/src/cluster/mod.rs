//! The figures of a cluster: brokers started here, on loopback, with mutual TLS between them; what durable messages, forwarding,
//! the loss of the leader and a second worker cost.

mod failover;
mod row;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use serde::Serialize;

use crate::brokers::{Brokers, ClusterSettings, loopback};
use crate::load::{self, Plan, Report, Spread, Topology};
use crate::output::Format;
use crate::tally::median;
use crate::wire::Version;
use row::{Case, Failover, Measured};

/// How long the leader is asked for.
const LEADS_WITHIN: Duration = Duration::from_secs(2);

/// Starts a cluster of three brokers and measures it: CPU time is summed over the brokers' processes, without the generator.
///
/// Peers speak TLS; clients speak it with --tls. The brokers listen on loopback only and end with the run.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  mqtt-bench cluster --only durable,failover
  mqtt-bench cluster --only workers --seconds 5 --rounds 5
  mqtt-bench cluster -o json > cluster.json")]
pub struct ClusterArgs {
    /// The folder with mqtt-broker; default: where this program is.
    #[arg(long, value_name = "DIR")]
    binaries: Option<PathBuf>,
    /// Only these parts (comma-separated).
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Part>,
    /// Rounds of each load; the median counts.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Seconds that are measured in each round.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// How often the leader is killed.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    kills: u32,
    /// Clients speak TLS too.
    #[arg(long)]
    tls: bool,
    /// A bar of the design that is missed is an error.
    #[arg(long)]
    strict: bool,
    /// text prints Markdown tables, json one object at the end.
    #[arg(long, short = 'o', value_enum, default_value = "text")]
    output: Format,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// QoS 1 to durable sessions: acknowledged when a majority has it on disk.
    Durable,
    /// From one broker to another, beside the same on one broker.
    Forward,
    /// The leader is killed: how long until a durable message is acknowledged again.
    Failover,
    /// One broker with one worker and with two.
    Workers,
}

/// Everything that was measured.
#[derive(Debug, Default, Serialize)]
struct Results {
    load: Vec<Measured>,
    failover: Option<Failover>,
}

impl Results {
    fn missed(&self) -> Vec<String> {
        let load = self.load.iter().flat_map(Measured::missed);
        load.chain(self.failover.as_ref().and_then(Failover::missed)).collect()
    }
}

/// A run under way.
struct Bench<'a> {
    args: &'a ClusterArgs,
    program: PathBuf,
    length: Duration,
    results: Results,
}

/// `mqtt-bench cluster`.
///
/// # Errors
/// In words, with what to change.
pub fn main(args: &ClusterArgs) -> Result<()> {
    let binaries = match &args.binaries {
        Some(binaries) => binaries.clone(),
        None => {
            let own = std::env::current_exe().context("find this program")?;
            own.parent().context("find this program's folder")?.to_owned()
        }
    };
    let length = Duration::try_from_secs_f64(args.seconds).context("--seconds")?;
    ensure!(!length.is_zero(), "--seconds must be above 0");
    let program = binaries.join("mqtt-broker");
    let mut bench = Bench { args, program, length, results: Results::default() };
    bench.run()?;
    if args.output == Format::Json {
        println!("{}", serde_json::to_string_pretty(&bench.results)?);
    }
    let missed = bench.results.missed();
    if !missed.is_empty() {
        eprintln!("bars that are missed: {}", missed.join("; "));
    }
    ensure!(missed.is_empty() || !args.strict, "of the bars, {} are missed", missed.len());
    Ok(())
}

impl Bench<'_> {
    fn wants(&self, part: Part) -> bool {
        self.args.only.is_empty() || self.args.only.contains(&part)
    }

    fn line(&self, line: &str) {
        if self.args.output == Format::Text {
            println!("{line}");
        }
    }

    fn run(&mut self) -> Result<()> {
        let parts = [Part::Durable, Part::Forward];
        if parts.iter().any(|part| self.wants(*part)) {
            self.with_brokers(3, 0, |this, brokers| {
                this.line(&format!("\n{}", row::LOAD_HEAD));
                if this.wants(Part::Durable) {
                    this.cases(brokers, &row::durable())?;
                }
                if this.wants(Part::Forward) {
                    this.cases(brokers, &row::forward())?;
                }
                Ok(())
            })?;
        }
        if self.wants(Part::Workers) {
            self.line(&format!("\n{}", row::LOAD_HEAD));
            for workers in [1, 2] {
                self.with_brokers(1, workers, |this, brokers| {
                    this.cases(brokers, &row::workers(workers))
                })?;
            }
        }
        if self.wants(Part::Failover) {
            let (kills, is_tls) = (self.args.kills, self.args.tls);
            self.with_brokers(3, 0, |this, brokers| {
                let figures = failover::measure(brokers, kills, is_tls)?;
                this.line(&format!("\n{}\n{}", row::FAILOVER_HEAD, row::failover_row(&figures)));
                this.results.failover = Some(figures);
                Ok(())
            })?;
        }
        Ok(())
    }

    fn with_brokers(
        &mut self,
        brokers: usize,
        workers: u16,
        measure: impl FnOnce(&mut Self, &mut Brokers) -> Result<()>,
    ) -> Result<()> {
        let folder = tempfile::tempdir().context("make a temporary folder")?;
        let mut brokers = Brokers::start(&ClusterSettings {
            program: self.program.clone(),
            folder: folder.path().to_owned(),
            places: loopback(brokers, folder.path()),
            workers,
        })?;
        measure(self, &mut brokers)
    }

    fn cases(&mut self, brokers: &Brokers, cases: &[Case]) -> Result<()> {
        for case in cases {
            let settings = self.settings(brokers, case)?;
            let reports: Vec<Report> = (0..self.args.rounds)
                .map(|_| load::run(&settings).with_context(|| case.name.clone()))
                .collect::<Result<_>>()?;
            let measured = measured(case, &reports, &self.results.load);
            self.line(&row::load_row(&measured));
            self.results.load.push(measured);
        }
        Ok(())
    }

    fn settings(&self, brokers: &Brokers, case: &Case) -> Result<load::Settings> {
        let count = brokers.nodes.len();
        let target = |ordinal| brokers.target(ordinal, self.args.tls, Version::V5);
        let targets = |first: usize, step: usize| {
            (0..count).map(|n| target((first + n * step) % count)).collect::<Result<Vec<_>>>()
        };
        // The leader has more to do than the others: what is compared begins at the same broker.
        let leader = brokers.leader(LEADS_WITHIN).context("no broker leads")?;
        let (publishers, subscribers) = match case.route {
            row::Route::All => (targets(0, 1)?, targets(1, 1)?),
            row::Route::Local => (vec![target(leader)?], vec![target(leader)?]),
            row::Route::Across => (vec![target(leader)?], vec![target((leader + 1) % count)?]),
            row::Route::Lone => {
                (vec![target((leader + 1) % count)?], vec![target((leader + 2) % count)?])
            }
        };
        Ok(load::Settings {
            target: target(0)?,
            spread: Some(Spread { publishers, subscribers }),
            pids: brokers.nodes.iter().filter_map(crate::brokers::Node::pid).collect(),
            topology: Topology::Pairs,
            plan: Plan::new(Topology::Pairs, case.pairs, case.pairs)?,
            qos: case.qos,
            is_durable: case.is_durable,
            payload_bytes: case.payload_bytes,
            window: Some(case.window),
            warm_up: Duration::from_secs(1),
            length: self.length,
            rate: case.rate,
            threads: 2,
            topic: "bench".to_owned(),
        })
    }
}

/// The medians of the rounds; `before` has what the case is compared with.
fn measured(case: &Case, reports: &[Report], before: &[Measured]) -> Measured {
    let of = |value: fn(&Report) -> f64| median(&reports.iter().map(value).collect::<Vec<_>>());
    let cost = of(|report| report.broker.map_or(0.0, |broker| broker.cpu_micros_per_message));
    let compared = case.compared_with.as_ref();
    let other = compared.and_then(|name| before.iter().find(|row| row.name == *name));
    Measured {
        name: case.name.clone(),
        title: case.title.clone(),
        cpu_micros_per_message: cost,
        cpu_micros_bar: case.bar,
        ratio: other.map(|other| cost / other.cpu_micros_per_message),
        ratio_bar: case.ratio_bar,
        cores: of(|report| report.broker.map_or(0.0, |broker| broker.cores)),
        cores_bar: case.cores_bar,
        messages_per_second: of(|report| report.messages_per_second),
        p50_micros: of(|report| report.latency_micros.p50),
        p50_micros_bar: case.p50_bar,
        p99_micros: of(|report| report.latency_micros.p99),
        generator_cpu_micros_per_message: of(|report| report.generator_cpu_micros_per_message),
        lost: reports.iter().map(|report| report.lost).sum(),
        skipped: reports.iter().map(|report| report.skipped).sum(),
    }
}
