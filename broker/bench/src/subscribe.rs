//! Many subscriptions: what adding one costs and holds, and what a message costs with all of them there.

use std::fmt;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures::{StreamExt, TryStreamExt};
use serde::Serialize;

use crate::connection::{Connection, Scratch, scratch};
use crate::load::{self, Plan, Topology};
use crate::output::OutputArgs;
use crate::process::{allow_connections, runtime, settled};
use crate::target::{Target, TargetArgs};
use crate::wire::{self, FAILURE, SUBACK, SessionKeeping};

/// Connections that subscribe at a time.
pub(crate) const SUBSCRIBING: usize = 16;
/// Filters of one SUBSCRIBE.
pub(crate) const FILTERS_PER_PACKET: usize = 100;
/// How long the broker is waited for until it has no work left.
const SETTLES_WITHIN: Duration = Duration::from_secs(20);
/// Longest filter: its length has two bytes.
const FILTER_BYTES_MAX: usize = 65_535;

/// Adds many different subscriptions, reports what one costs, and then what a message costs with all of them there.
///
/// The message's cost is that of 10 publishers to 10 subscribers, before and with the subscriptions, none of which matches.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  mqtt-bench subscribe --filters 1000000 --pid $(pidof mosquitto)
  mqtt-bench subscribe --filter 'site/{n}/+/#' --filters 10000")]
pub struct SubscribeArgs {
    #[command(flatten)]
    target: TargetArgs,
    /// How many Topic Filters, all of them different.
    #[arg(long, short = 'n', default_value_t = 100_000)]
    filters: usize,
    /// Connections that share the filters out; default: one for each 1,000, a limit that brokers have.
    #[arg(long)]
    connections: Option<usize>,
    /// The filters; {n} stands for a number.
    #[arg(long, default_value = "bench/filters/{n}/+")]
    filter: String,
    /// QoS of the subscriptions.
    #[arg(long, short = 'q', default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=2))]
    qos: u8,
    /// Seconds of load before and after; 0 leaves it out.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    #[command(flatten)]
    output: OutputArgs,
}

/// What subscriptions cost.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Filters that were subscribed to.
    pub filters: usize,
    /// Connections that hold them.
    pub connections: usize,
    /// Seconds from the first SUBSCRIBE to the last SUBACK.
    pub seconds: f64,
    /// Subscriptions added each second.
    pub subscriptions_per_second: f64,
    /// The broker's CPU time for each subscription, in microseconds, where its process is known.
    pub cpu_micros_per_subscription: Option<f64>,
    /// The broker's memory for each subscription, in bytes, where its process is known.
    pub bytes_per_subscription: Option<f64>,
    /// The load without them.
    pub load_before: Option<load::Report>,
    /// The load with them.
    pub load_after: Option<load::Report>,
}

/// What to subscribe to.
#[derive(Clone)]
pub struct Settings {
    /// The broker.
    pub target: Target,
    /// Its process id, when it runs on this machine.
    pub pid: Option<u32>,
    /// How many filters, at least 1.
    pub filters: usize,
    /// Connections that share them out, at least 1.
    pub connections: usize,
    /// The filters; `{n}` stands for a number.
    pub filter: String,
    /// QoS of the subscriptions.
    pub qos: u8,
    /// Load before and after; zero for none.
    pub load: Duration,
}

/// `mqtt-bench subscribe`.
///
/// # Errors
/// In words, with what to change.
pub fn main(args: &SubscribeArgs) -> Result<()> {
    ensure!(args.filter.contains("{n}"), "--filter needs {{n}}: the filters must differ");
    ensure!(args.filter.len() < FILTER_BYTES_MAX / 2, "--filter is too long");
    let filters = args.filters.max(1);
    let report = run(&Settings {
        target: args.target.target()?,
        pid: args.target.pid,
        filters,
        connections: args.connections.unwrap_or_else(|| filters.div_ceil(1000)).clamp(1, filters),
        filter: args.filter.clone(),
        qos: args.qos,
        load: Duration::try_from_secs_f64(args.seconds).context("--seconds")?,
    })?;
    args.output.print(&report)
}

/// Subscribes, measures, and closes the connections.
///
/// # Errors
/// The limit of open files is too low, a connection could not be opened, or a filter was refused.
pub fn run(settings: &Settings) -> Result<Report> {
    allow_connections(settings.connections)?;
    let load = |settings: &Settings| {
        (!settings.load.is_zero()).then(|| load::run(&load_settings(settings))).transpose()
    };
    let load_before = load(settings)?;
    let (held, mut report) = runtime()?.block_on(subscribe_all(settings))?;
    report.load_before = load_before;
    report.load_after = load(settings)?;
    drop(held);
    Ok(report)
}

fn load_settings(settings: &Settings) -> load::Settings {
    load::Settings {
        is_durable: false,
        target: settings.target.clone(),
        spread: None,
        pids: settings.pid.into_iter().collect(),
        topology: Topology::Pairs,
        plan: Plan { groups: 10, publishers: 1, subscribers: 1 },
        qos: 0,
        payload_bytes: 64,
        window: None,
        warm_up: settings.load.min(Duration::from_millis(500)),
        length: settings.load,
        rate: None,
        threads: 2,
        topic: settings.filter.split('/').next().unwrap_or("bench").to_owned(),
    }
}

async fn subscribe_all(settings: &Settings) -> Result<(Vec<Connection>, Report)> {
    let scratch = scratch();
    let mut opening = futures::stream::iter(0..settings.connections)
        .map(|n| open(settings, n, scratch.clone()))
        .buffered(SUBSCRIBING);
    let mut connections = Vec::with_capacity(settings.connections);
    while let Some(connection) = opening.try_next().await? {
        connections.push(connection);
    }
    drop(opening);
    // The connections are not part of the cost of a subscription.
    let before = match settings.pid {
        Some(pid) => Some(settled(pid, SETTLES_WITHIN).await?),
        None => None,
    };
    let began = Instant::now();
    futures::stream::iter(connections.iter_mut().enumerate())
        .map(|(n, connection)| subscribe_one(settings, n, connection))
        .buffer_unordered(SUBSCRIBING)
        .try_collect::<()>()
        .await?;
    let seconds = began.elapsed().as_secs_f64();
    let count = settings.filters as f64;
    let (mut cpu, mut bytes) = (None, None);
    if let (Some(pid), Some(before)) = (settings.pid, before) {
        let after = settled(pid, SETTLES_WITHIN).await?;
        cpu = Some(after.cpu.saturating_sub(before.cpu).as_secs_f64() * 1e6 / count);
        bytes = Some((after.resident_bytes as f64 - before.resident_bytes as f64) / count);
    }
    let report = Report {
        filters: settings.filters,
        connections: settings.connections,
        seconds,
        subscriptions_per_second: count / seconds,
        cpu_micros_per_subscription: cpu,
        bytes_per_subscription: bytes,
        load_before: None,
        load_after: None,
    };
    Ok((connections, report))
}

/// Opens connection `n`.
pub(crate) async fn open(settings: &Settings, n: usize, scratch: Scratch) -> Result<Connection> {
    let client_id = format!("bench-{}-filters-{n}", std::process::id());
    let (connection, _) =
        settings.target.connect(n, &client_id, (0, SessionKeeping::Clean), &scratch).await?;
    Ok(connection)
}

/// Subscribes connection `n` to its share of the filters, one packet after the other.
pub(crate) async fn subscribe_one(
    settings: &Settings,
    n: usize,
    connection: &mut Connection,
) -> Result<()> {
    let version = settings.target.version;
    let share = |n: usize| settings.filters * n / settings.connections;
    let (mut next, end) = (share(n), share(n + 1));
    let mut packet_id = 0u16;
    while next < end {
        let until = end.min(next + FILTERS_PER_PACKET);
        let filters: Vec<String> =
            (next..until).map(|n| settings.filter.replace("{n}", &n.to_string())).collect();
        packet_id = packet_id.checked_add(1).unwrap_or(1);
        let names = filters.iter().map(String::as_str);
        wire::subscribe(version, packet_id, names, settings.qos, connection.output());
        let refused = connection
            .call(SUBACK, |frame| {
                Ok(frame.suback_codes(version)?.iter().copied().find(|code| *code >= FAILURE))
            })
            .await
            .with_context(|| format!("subscribe to {} and the following", filters[0]))?;
        if let Some(code) = refused {
            anyhow::bail!(
                "the broker refused one of {} to {} with code {code:#04x}: may this user subscribe to it, and does \
                 the broker allow so many of one connection (--connections)?",
                filters[0],
                filters[filters.len() - 1]
            );
        }
        next = until;
    }
    Ok(())
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} subscriptions of {} connections in {:.1} s, {:.0} each second",
            self.filters, self.connections, self.seconds, self.subscriptions_per_second
        )?;
        if let Some(micros) = self.cpu_micros_per_subscription {
            write!(f, "\n  broker        {micros:.2} CPU-us per subscription")?;
        }
        if let Some(bytes) = self.bytes_per_subscription {
            write!(f, "\n  memory        {bytes:.0} bytes per subscription")?;
        }
        for (when, load) in [("before", &self.load_before), ("with them", &self.load_after)] {
            if let Some(load) = load {
                write!(f, "\n{when}: {load}")?;
            }
        }
        Ok(())
    }
}
