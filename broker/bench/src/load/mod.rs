//! Load: publishers and subscribers at full speed or at a rate, and what it costs the broker.

mod connect;
mod pace;
mod plan;
mod receiver;
mod report;
mod sender;
mod shared;
mod thread;

#[cfg(test)]
mod exchange_test;

use std::cell::RefCell;
use std::sync::mpsc::sync_channel;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail, ensure};

pub use plan::{Plan, Topology};
pub use receiver::{Receiver, Windows};
pub use report::{BrokerCost, Report};
pub use sender::Sender;

use crate::output::OutputArgs;
use crate::process::{allow_connections, usage};
use crate::stamp::Stamp;
use crate::tally::Tally;
use crate::target::{Target, TargetArgs};
use crate::window::Window;
use crate::wire::PublishTemplate;
use shared::{Phase, Shared};

/// The largest window: brokers take 1,024 unacknowledged messages or more unless they say less.
const WINDOW_MAX: i64 = 1000;

/// Publishes and receives for some seconds, and reports messages per second, latency and, with --pid, what it cost the broker.
///
/// Every publisher keeps a window of messages on their way: a message is done when all its subscribers have it. So the broker is
/// as busy as it can be and drops nothing; a message that is lost all the same is counted. At full speed the latency is mostly
/// waiting in the window: use --rate to see the latency of a broker that has room.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  mqtt-bench load --pid $(pidof mosquitto)
  mqtt-bench load --topology fan-out --publishers 1 --subscribers 50 --qos 1
  mqtt-bench load --durable --qos 1
  mqtt-bench load --rate 5000 --seconds 30 -o json
  mqtt-bench load --ca ca.crt --host broker.example -u pump-17")]
pub struct LoadArgs {
    #[command(flatten)]
    target: TargetArgs,
    /// Who publishes to whom.
    #[arg(long, short = 't', value_enum, default_value = "pairs")]
    topology: Topology,
    /// Publishers in all; default: 10 for pairs, 20 for fan-in, 1 for fan-out.
    #[arg(long)]
    publishers: Option<usize>,
    /// Subscribers in all; default: 10 for pairs, 1 for fan-in, 50 for fan-out.
    #[arg(long)]
    subscribers: Option<usize>,
    /// QoS of the messages and the subscriptions.
    #[arg(long, short = 'q', default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=2))]
    qos: u8,
    /// Bytes of each payload, at least 20: time, number and publisher stand in it.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(20..=16_777_216))]
    payload: u32,
    /// Let the subscribers' sessions outlive their connections, so that QoS 1 and 2 are acknowledged only once they are kept.
    #[arg(long)]
    durable: bool,
    /// Messages that each publisher has on their way at most; default: up to 100, fewer when many or large ones go to one
    /// subscriber.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=WINDOW_MAX))]
    window: Option<u32>,
    /// Seconds that are measured.
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// Seconds of traffic before.
    #[arg(long, default_value_t = 1.0)]
    warm_up: f64,
    /// Messages published each second by all publishers together, instead of as many as possible.
    #[arg(long)]
    rate: Option<f64>,
    /// Threads of the generator: more than 2 rarely help, and take the broker's cores.
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// The first level of the topics.
    #[arg(long, default_value = "bench")]
    topic: String,
    #[command(flatten)]
    output: OutputArgs,
}

impl LoadArgs {
    fn settings(&self) -> Result<Settings> {
        let (publishers, subscribers) = match self.topology {
            // Who says how many publishers has said how many pairs.
            Topology::Pairs => {
                let pairs = self.publishers.or(self.subscribers).unwrap_or(10);
                (pairs, pairs)
            }
            Topology::FanIn => (20, 1),
            Topology::FanOut => (1, 50),
        };
        let plan = Plan::new(
            self.topology,
            self.publishers.unwrap_or(publishers),
            self.subscribers.unwrap_or(subscribers),
        )?;
        let (warm_up, length) = (duration(self.warm_up)?, duration(self.seconds)?);
        ensure!(!length.is_zero(), "--seconds must be above 0");
        ensure!(!self.durable || self.qos > 0, "--durable needs --qos 1 or 2: QoS 0 is not kept");
        ensure!(self.rate.is_none_or(|rate| rate > 0.0), "--rate must be above 0");
        Ok(Settings {
            target: self.target.target()?,
            spread: None,
            pids: self.target.pid.into_iter().collect(),
            topology: self.topology,
            plan,
            qos: self.qos,
            is_durable: self.durable,
            payload_bytes: self.payload as usize,
            window: self.window,
            warm_up,
            length,
            rate: self.rate,
            threads: self.threads,
            topic: self.topic.clone(),
        })
    }
}

fn duration(seconds: f64) -> Result<Duration> {
    Duration::try_from_secs_f64(seconds).map_err(|error| anyhow!("{seconds} seconds: {error}"))
}

/// The brokers of a cluster: groups are dealt to them in turn.
#[derive(Clone)]
pub struct Spread {
    /// Where the publishers of a group connect; not empty.
    pub publishers: Vec<Target>,
    /// Where its subscribers do; not empty.
    pub subscribers: Vec<Target>,
}

/// What to run.
#[derive(Clone)]
pub struct Settings {
    /// The broker.
    pub target: Target,
    /// Several brokers in its place.
    pub spread: Option<Spread>,
    /// The brokers' process ids, when they run on this machine.
    pub pids: Vec<u32>,
    /// The name of the plan.
    pub topology: Topology,
    /// Who publishes to whom.
    pub plan: Plan,
    /// QoS of messages and subscriptions: 0, 1 or 2.
    pub qos: u8,
    /// Whether the subscribers' sessions outlive their connections.
    pub is_durable: bool,
    /// Bytes of each payload, at least [`Stamp::BYTES`].
    pub payload_bytes: usize,
    /// Messages on their way per publisher; `None`: [`Plan::window`].
    pub window: Option<u32>,
    /// Traffic before it is measured.
    pub warm_up: Duration,
    /// What is measured.
    pub length: Duration,
    /// Messages published each second in all; `None`: as many as possible.
    pub rate: Option<f64>,
    /// Threads, at least 1.
    pub threads: usize,
    /// First level of the topics.
    pub topic: String,
}

impl Settings {
    /// The broker of a group's publishers, or of its subscribers.
    fn target_of(&self, group: usize, is_subscriber: bool) -> &Target {
        let Some(spread) = &self.spread else { return &self.target };
        let targets = if is_subscriber { &spread.subscribers } else { &spread.publishers };
        targets.get(group % targets.len().max(1)).unwrap_or(&self.target)
    }

    /// Messages on their way per publisher.
    #[must_use]
    pub fn window_size(&self) -> u32 {
        let packet = || {
            let payload_bytes = self.payload_bytes.max(Stamp::BYTES);
            PublishTemplate::new(self.target.version, &self.topic, self.qos, payload_bytes)
        };
        self.window.unwrap_or_else(|| self.plan.window(packet().packet_bytes()))
    }

    fn windows(&self) -> Windows {
        let (size, receivers) = (self.window_size(), self.plan.subscribers as u32);
        let window = || RefCell::new(Window::new(size, receivers, self.rate.is_some()));
        (0..self.plan.publishers).map(|_| window()).collect()
    }
}

/// `mqtt-bench load`.
///
/// # Errors
/// In words, with what to change.
pub fn main(args: &LoadArgs) -> Result<()> {
    let report = run(&args.settings()?)?;
    args.output.print(&report)
}

/// Runs a load to its end.
///
/// # Errors
/// A connection could not be opened or broke, or nothing was delivered.
pub fn run(settings: &Settings) -> Result<Report> {
    allow_connections(settings.plan.connections())?;
    let shared = Shared::new();
    let threads = start(settings, &shared)?;
    let measured = measure(settings, &shared, &threads);
    shared.enter(Phase::Stop);
    let mut tally = Tally::new()?;
    for thread in threads {
        let result = thread.join().map_err(|_| anyhow!("a thread of the generator panicked"))?;
        tally.add(&result?)?;
    }
    Report::new(settings, &measured?, &tally)
}

fn start(settings: &Settings, shared: &Shared) -> Result<Vec<JoinHandle<Result<Tally>>>> {
    let ranges = settings.plan.threads(settings.threads);
    let (ready, readiness) = sync_channel(ranges.len());
    let (mut threads, mut starts) = (Vec::new(), Vec::new());
    for groups in ranges {
        let (start, wait) = sync_channel(1);
        let (settings, shared, ready) = (settings.clone(), shared.clone(), ready.clone());
        let run = move || thread::run(&settings, groups, &shared, &ready, &wait);
        threads.push(std::thread::Builder::new().name("load".to_owned()).spawn(run)?);
        starts.push(start);
    }
    drop(ready);
    for _ in &threads {
        match readiness.recv() {
            Ok(ready) => ready?,
            Err(_) => bail!("a thread of the generator ended before it was ready"),
        }
    }
    for start in starts {
        let _ = start.send(());
    }
    Ok(threads)
}

/// What one measured stretch counted.
struct Measured {
    seconds: f64,
    delivered: u64,
    broker_cpu: Option<Duration>,
    broker_resident_bytes: Option<u64>,
    generator_cpu: Duration,
}

fn measure(
    settings: &Settings,
    shared: &Shared,
    threads: &[JoinHandle<Result<Tally>>],
) -> Result<Measured> {
    wait(settings.warm_up, threads);
    let of_brokers = || settings.pids.iter().map(|pid| usage(*pid)).collect::<Result<Vec<_>>>();
    let own = || usage(std::process::id());
    let (brokers, generator) = (of_brokers()?, own()?);
    let (began, delivered) = (Instant::now(), shared.delivered());
    shared.enter(Phase::Measure);
    wait(settings.length, threads);
    let (delivered, elapsed) = (shared.delivered() - delivered, began.elapsed());
    let (brokers_after, generator_after) = (of_brokers()?, own()?);
    let used = brokers.iter().zip(&brokers_after).map(|(a, b)| b.cpu.saturating_sub(a.cpu));
    let is_known = !brokers.is_empty();
    Ok(Measured {
        seconds: elapsed.as_secs_f64(),
        delivered,
        broker_cpu: is_known.then(|| used.sum()),
        broker_resident_bytes: is_known
            .then(|| brokers_after.iter().map(|after| after.resident_bytes).sum()),
        generator_cpu: generator_after.cpu.saturating_sub(generator.cpu),
    })
}

/// Waits, but not for a generator that has failed.
fn wait(length: Duration, threads: &[JoinHandle<Result<Tally>>]) {
    let deadline = Instant::now() + length;
    while !threads.iter().any(JoinHandle::is_finished) {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        std::thread::sleep(left.min(Duration::from_millis(50)));
    }
}
