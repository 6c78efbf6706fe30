//! The comparison: this broker and Mosquitto, started here and driven in turn, as one table.

mod broker;
mod measure;
mod row;
mod table;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::output::Format;
use crate::process::{FILES_RESERVED, raise_open_files};
use crate::wire::Version;
use broker::{Broker, Programs};
use measure::Effort;
use row::Row;
use table::{IDLE_HEAD, LOAD_HEAD, Measured, Results, SUBSCRIBE_HEAD};

/// Idle connections that are measured when the limit of open files allows.
const MANY_IDLE: usize = 50_000;

/// Starts this broker and, when installed, Mosquitto, drives both in turn, and prints a table with the cost of each message.
///
/// CPU time per delivered message and its ratio to Mosquitto's in the same run hold on a machine that others share; messages per
/// second don't. Dunlin checks the user's rights on every message; Mosquitto runs with allow_anonymous and no rights. Nothing of
/// Dunlin is switched off. The brokers listen on loopback only and end with the comparison.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  mqtt-bench compare --quick
  mqtt-bench compare --only pairs-qos1,fan-out
  mqtt-bench compare --only idle --idle 20000
  mqtt-bench compare -o json > figures.json")]
pub struct CompareArgs {
    /// The folder with mqtt-operator and mqtt-broker; default: where this program is.
    #[arg(long, value_name = "DIR")]
    binaries: Option<PathBuf>,
    /// Mosquitto's program.
    #[arg(long, default_value = "mosquitto", value_name = "FILE")]
    mosquitto: PathBuf,
    /// Only the rows whose names contain one of these words (comma-separated); a whole name means that row alone. Names:
    /// pairs-qos0-64, fan-in-..., fan-out-..., tls-pairs-..., durable-pairs-..., idle-10000, subscribe-100000.
    #[arg(long, default_value = "")]
    only: String,
    /// One round of one second each, 10,000 connections, 100,000 subscriptions: about three minutes, less exact.
    #[arg(long)]
    quick: bool,
    /// Rounds; the brokers take turns, the median counts. Default: 3, quick 1.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: Option<u32>,
    /// Seconds that are measured in each round. Default: 2, quick 1.
    #[arg(long)]
    seconds: Option<f64>,
    /// Messages delivered each second while the latency is measured.
    #[arg(long, default_value_t = 5_000.0)]
    latency_rate: f64,
    /// MQTT's version.
    #[arg(long, value_enum, default_value = "3.1.1")]
    mqtt: Version,
    /// Numbers of idle connections (comma-separated). Default: 10,000, and 50,000 where the limit of open files allows.
    #[arg(long, value_delimiter = ',')]
    idle: Vec<usize>,
    /// Numbers of subscriptions (comma-separated). Default: 100,000 and 1,000,000.
    #[arg(long, value_delimiter = ',')]
    subscriptions: Vec<usize>,
    /// text prints Markdown tables, json one object at the end.
    #[arg(long, short = 'o', value_enum, default_value = "text")]
    output: Format,
}

impl CompareArgs {
    fn effort(&self) -> Result<Effort> {
        let seconds = self.seconds.unwrap_or(if self.quick { 1.0 } else { 2.0 });
        let length = Duration::try_from_secs_f64(seconds).context("--seconds")?;
        ensure!(!length.is_zero(), "--seconds must be above 0");
        ensure!(self.latency_rate > 0.0, "--latency-rate must be above 0");
        Ok(Effort {
            rounds: self.rounds.unwrap_or(if self.quick { 1 } else { 3 }) as usize,
            warm_up: Duration::from_millis(if self.quick { 200 } else { 500 }),
            length,
            latency_rate: self.latency_rate,
            latency_length: length + length / 2,
        })
    }

    fn rows(&self) -> Result<Vec<Row>> {
        let allowed = raise_open_files(MANY_IDLE as u64 + 2 * FILES_RESERVED + 512);
        let many = !self.quick && allowed > MANY_IDLE as u64 + FILES_RESERVED;
        let idle = match self.idle.as_slice() {
            [] if many => &[10_000, MANY_IDLE][..],
            [] => &[10_000],
            given => given,
        };
        let subscriptions = match self.subscriptions.as_slice() {
            [] if self.quick => &[100_000][..],
            [] => &[100_000, 1_000_000],
            given => given,
        };
        row::rows(&self.only, idle, subscriptions)
    }

    fn programs(&self) -> Result<Programs> {
        let binaries = match &self.binaries {
            Some(binaries) => binaries.clone(),
            None => {
                let own = std::env::current_exe().context("find this program")?;
                own.parent().context("find this program's folder")?.to_owned()
            }
        };
        Ok(Programs { binaries, mosquitto: self.mosquitto.clone(), mqtt: self.mqtt })
    }
}

/// A run of the comparison.
struct Comparison {
    programs: Programs,
    effort: Effort,
    with_mosquitto: bool,
    prints: bool,
    results: Results,
}

/// `mqtt-bench compare`.
///
/// # Errors
/// In words, with what to change.
pub fn main(args: &CompareArgs) -> Result<()> {
    let (rows, effort, programs) = (args.rows()?, args.effort()?, args.programs()?);
    let mosquitto = broker::mosquitto_version(&programs);
    let prints = args.output == Format::Text;
    if prints {
        introduce(&mosquitto, &rows, &effort);
    }
    let with_mosquitto = mosquitto.is_ok();
    let mut comparison =
        Comparison { programs, effort, with_mosquitto, prints, results: Results::default() };
    comparison.run(&rows)?;
    if !prints {
        println!("{}", serde_json::to_string_pretty(&comparison.results)?);
    }
    Ok(())
}

fn introduce(mosquitto: &Result<String>, rows: &[Row], effort: &Effort) {
    match mosquitto {
        Ok(version) => println!(
            "Dunlin {} checks rights on every message; Mosquitto {version} runs with allow_anonymous and no rights.",
            env!("CARGO_PKG_VERSION")
        ),
        Err(why) => println!("Mosquitto is left out: {why:#} (apt-get install mosquitto)"),
    }
    let longest = row::estimate(
        rows,
        effort.warm_up + effort.length,
        effort.rounds as u32,
        effort.warm_up + effort.latency_length,
    );
    println!(
        "{} rows, {} rounds of {:.1} s in turn, medians; latency at {:.0} delivered messages a second; about {:.0} \
         minutes.",
        rows.len(),
        effort.rounds,
        effort.length.as_secs_f64(),
        effort.latency_rate,
        (longest.as_secs_f64() / 60.0).ceil()
    );
}

impl Comparison {
    /// Load shares one pair of brokers; what is measured by memory gets fresh ones.
    fn run(&mut self, rows: &[Row]) -> Result<()> {
        let load: Vec<_> = rows
            .iter()
            .filter_map(|row| if let Row::Load(load) = row { Some((row, load)) } else { None })
            .collect();
        if !load.is_empty() {
            self.head(LOAD_HEAD);
            self.with_brokers(|this, brokers| {
                for (row, load) in load {
                    let figures = measure::load(load, brokers, &this.effort)?;
                    let measured = measured(row, load.bar, figures)?;
                    this.line(&table::load_row(&measured));
                    this.results.load.push(measured);
                }
                Ok(())
            })?;
        }
        for row in rows {
            match row {
                Row::Load(_) => {}
                Row::Idle { connections } => self.idle(row, *connections)?,
                Row::Subscribe { filters } => self.subscribe(row, *filters)?,
            }
        }
        Ok(())
    }

    fn idle(&mut self, row: &Row, connections: usize) -> Result<()> {
        if self.results.idle.is_empty() {
            self.head(IDLE_HEAD);
        }
        self.with_brokers(|this, brokers| {
            let figures = brokers.iter().map(|broker| measure::idle(connections, broker));
            let measured = measured(row, None, figures.collect::<Result<_>>()?)?;
            this.line(&table::idle_row(&measured));
            this.results.idle.push(measured);
            Ok(())
        })
    }

    fn subscribe(&mut self, row: &Row, filters: usize) -> Result<()> {
        if self.results.subscribe.is_empty() {
            self.head(SUBSCRIBE_HEAD);
        }
        self.with_brokers(|this, brokers| {
            let effort = this.effort;
            let figures = brokers.iter().map(|broker| measure::subscribe(filters, broker, &effort));
            let measured = measured(row, None, figures.collect::<Result<_>>()?)?;
            this.line(&table::subscribe_row(&measured));
            this.results.subscribe.push(measured);
            Ok(())
        })
    }

    fn with_brokers(
        &mut self,
        measure: impl FnOnce(&mut Self, &[Broker]) -> Result<()>,
    ) -> Result<()> {
        let folder = tempfile::tempdir().context("make a temporary folder")?;
        let brokers = broker::start(&self.programs, folder.path(), self.with_mosquitto)?;
        measure(self, &brokers)
    }

    fn head(&self, head: &str) {
        self.line(&format!("\n{head}"));
    }

    fn line(&self, line: &str) {
        if self.prints {
            println!("{line}");
        }
    }
}

fn measured<F>(row: &Row, bar: Option<f64>, figures: Vec<F>) -> Result<Measured<F>> {
    let mut figures = figures.into_iter();
    let dunlin = figures.next().context("no broker was measured")?;
    Ok(Measured { name: row.name(), title: row.title(), bar, dunlin, mosquitto: figures.next() })
}
