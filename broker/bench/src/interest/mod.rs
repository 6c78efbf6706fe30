//! What brokers of a cluster tell each other of subscriptions: how soon many new filters of one are known by the others, and what a
//! change costs all of them.

use std::fmt;
use std::future::poll_fn;
use std::net::ToSocketAddrs as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures::{StreamExt as _, TryStreamExt as _};
use serde::Serialize;

use crate::brokers::{Brokers, ClusterSettings, Node, loopback};
use crate::connection::{Connection, scratch};
use crate::output::OutputArgs;
use crate::process::{allow_connections, runtime, settled};
use crate::stamp::Stamp;
use crate::subscribe::{self, FILTERS_PER_PACKET, SUBSCRIBING};
use crate::target::{Target, TargetArgs};
use crate::wire::{self, PublishTemplate, SUBACK, SessionKeeping, UNSUBACK, Version};
use returned::Returned;

mod returned;

/// How long messages to all filters are waited for.
const ARRIVES_WITHIN: Duration = Duration::from_secs(60);
/// How long brokers are waited for until they have no work left.
const SETTLES_WITHIN: Duration = Duration::from_secs(20);
/// Messages that a peer sends in one write: the subscriber's socket takes them before QoS 0 is dropped.
const MESSAGES_PER_WRITE: usize = 500;

/// Brokers of the cluster that `--binaries` starts.
const BROKERS: usize = 3;

/// Subscribes to many filters at one broker of a cluster and publishes to each of them at the others.
///
/// SUBACK leaves when the other brokers know the filters, so the time to the last one is the time until all are known; that it is true
/// is shown by a message to each filter from each peer. Then filters are taken away and added again for some time. With --binaries a
/// cluster of three is started here, and in the end one of the peers is killed and comes back: how soon it knows all filters again.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  mqtt-bench interest --binaries target/release
  mqtt-bench interest -p 18883 --ca ca.crt -u bench --peer 127.0.0.1:18884 --peer 127.0.0.1:18885 --pids 101,102,103
  With `make run`: its log names the brokers' ports.")]
pub struct InterestArgs {
    #[command(flatten)]
    target: TargetArgs,
    /// Start a cluster of three on loopback, with mqtt-broker of this folder, and measure that.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["peer", "pids", "host", "port", "ca", "username"])]
    binaries: Option<PathBuf>,
    /// Another broker of the cluster, as HOST:PORT; TLS and login are those of the first.
    #[arg(long, required_unless_present = "binaries")]
    peer: Vec<String>,
    /// Process ids of all brokers, for the CPU time of a change.
    #[arg(long, value_delimiter = ',')]
    pids: Vec<u32>,
    /// How many Topic Filters, all of them different.
    #[arg(long, short = 'n', default_value_t = 100_000)]
    filters: usize,
    /// Connections that share the filters out; default: one for each 1,000, a limit that brokers have.
    #[arg(long)]
    connections: Option<usize>,
    /// Seconds for which filters are taken away and added again; 0 leaves it out.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Seconds until all filters may be known at most; more is an error.
    #[arg(long, value_name = "SECONDS")]
    known_max: Option<f64>,
    #[command(flatten)]
    output: OutputArgs,
}

/// What came of it.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Filters that were subscribed to.
    pub filters: usize,
    /// The other brokers.
    pub peers: usize,
    /// Seconds from the first SUBSCRIBE to the last SUBACK: until every peer knew all filters.
    pub known_seconds: f64,
    /// CPU time of all brokers for each filter, in microseconds, where their processes are known.
    pub cpu_micros_per_filter: Option<f64>,
    /// Messages that the peers sent, one for each filter and peer.
    pub messages: usize,
    /// Those that arrived.
    pub arrived: usize,
    /// Filters taken away or added each second.
    pub changes_per_second: Option<f64>,
    /// CPU time of all brokers for each of them, in microseconds.
    pub cpu_micros_per_change: Option<f64>,
    /// A peer that was killed and came back, where brokers were started here.
    pub returned: Option<Returned>,
}

struct Bench {
    settings: subscribe::Settings,
    peers: Vec<Target>,
    pids: Vec<u32>,
    churn: Duration,
}

/// `mqtt-bench interest`.
///
/// # Errors
/// In words, with what to change.
pub fn main(args: &InterestArgs) -> Result<()> {
    let filters = args.filters.max(1);
    let folder = tempfile::tempdir().context("make a temporary folder")?;
    let mut brokers = match &args.binaries {
        Some(binaries) => Some(start(binaries, folder.path())?),
        None => None,
    };
    let (target, peers) = match &brokers {
        Some(brokers) => {
            let mut all = (0..BROKERS).map(|n| brokers.target(n, true, Version::V5));
            (all.next().context("no broker")??, all.collect::<Result<_>>()?)
        }
        None => named(args)?,
    };
    let settings = subscribe::Settings {
        target,
        pid: None,
        filters,
        connections: args.connections.unwrap_or_else(|| filters.div_ceil(1000)).clamp(1, filters),
        filter: "bench/interest/{n}".to_owned(),
        qos: 0,
        load: Duration::ZERO,
    };
    let started = brokers.iter().flat_map(|brokers| &brokers.nodes).filter_map(Node::pid);
    let bench = Bench {
        settings,
        peers,
        pids: started.chain(args.pids.iter().copied()).collect(),
        churn: Duration::try_from_secs_f64(args.seconds).context("--seconds")?,
    };
    allow_connections(bench.settings.connections + bench.peers.len())?;
    let last = brokers.as_mut().and_then(|brokers| brokers.nodes.last_mut());
    let report = runtime()?.block_on(bench.run(last))?;
    args.output.print(&report)?;
    let missing = report.messages - report.arrived;
    ensure!(missing == 0, "{missing} messages did not arrive: their filters were not known");
    let (seconds, most) = (report.known_seconds, args.known_max.unwrap_or(f64::INFINITY));
    ensure!(seconds <= most, "{seconds:.2} s until all filters were known, more than {most}");
    Ok(())
}

fn start(binaries: &Path, folder: &Path) -> Result<Brokers> {
    Brokers::start(&ClusterSettings {
        program: binaries.join("mqtt-broker"),
        folder: folder.to_owned(),
        places: loopback(BROKERS, folder),
        workers: 0,
    })
}

/// The broker that is subscribed at, and the others, as the command line names them.
fn named(args: &InterestArgs) -> Result<(Target, Vec<Target>)> {
    let target = args.target.target()?;
    let peers = args.peer.iter().map(|peer| {
        let found = peer.to_socket_addrs().with_context(|| format!("--peer {peer}"))?.next();
        let address = found.with_context(|| format!("--peer {peer} has no address"))?;
        Ok(Target { address, ..target.clone() })
    });
    let peers = peers.collect::<Result<_>>()?;
    Ok((target, peers))
}

impl Bench {
    /// `last`: the broker that the last peer is, where it may be killed.
    async fn run(&self, last: Option<&mut Node>) -> Result<Report> {
        let scratch = scratch();
        let settings = &self.settings;
        let mut connections: Vec<Connection> = futures::stream::iter(0..settings.connections)
            .map(|n| subscribe::open(settings, n, scratch.clone()))
            .buffered(SUBSCRIBING)
            .try_collect()
            .await?;
        let mut publishers = Vec::new();
        for n in 0..self.peers.len() {
            publishers.push(self.publisher(n).await?);
        }
        let before = self.cpu().await?;
        let began = Instant::now();
        let subscribing = connections.iter_mut().enumerate();
        futures::stream::iter(subscribing)
            .map(|(n, connection)| subscribe::subscribe_one(settings, n, connection))
            .buffer_unordered(SUBSCRIBING)
            .try_collect::<()>()
            .await?;
        let known_seconds = began.elapsed().as_secs_f64();
        let after = self.cpu().await?;
        let arrived = self.reach(&mut publishers, &mut connections).await?;
        let mut report = Report {
            filters: settings.filters,
            peers: self.peers.len(),
            known_seconds,
            cpu_micros_per_filter: per(before, after, settings.filters),
            messages: settings.filters * self.peers.len(),
            arrived,
            changes_per_second: None,
            cpu_micros_per_change: None,
            returned: None,
        };
        if !self.churn.is_zero() {
            let before = self.cpu().await?;
            let began = Instant::now();
            let changes = self.churn(&mut connections, began + self.churn).await?;
            report.changes_per_second = Some(changes as f64 / began.elapsed().as_secs_f64());
            report.cpu_micros_per_change = per(before, self.cpu().await?, changes);
        }
        if let Some(node) = last {
            drop(publishers);
            report.returned = Some(returned::measure(node, settings.filters)?);
            // What it says it knows is shown as before.
            let mut publisher = [self.publisher(self.peers.len() - 1).await?];
            report.messages += settings.filters;
            report.arrived += self.reach(&mut publisher, &mut connections).await?;
        }
        Ok(report)
    }

    /// A connection to a peer.
    async fn publisher(&self, n: usize) -> Result<Connection> {
        let client_id = format!("bench-{}-peer-{n}", std::process::id());
        let lasting = (0, SessionKeeping::Clean);
        Ok(self.peers[n].connect(0, &client_id, lasting, &scratch()).await?.0)
    }

    /// CPU time of all brokers, once they have no work left.
    async fn cpu(&self) -> Result<Option<Duration>> {
        let mut total = (!self.pids.is_empty()).then_some(Duration::ZERO);
        for &pid in &self.pids {
            let usage = settled(pid, SETTLES_WITHIN).await?;
            total = total.map(|total| total + usage.cpu);
        }
        Ok(total)
    }

    /// Publishes to every filter at every peer; how many messages arrive.
    async fn reach(
        &self,
        publishers: &mut [Connection],
        connections: &mut [Connection],
    ) -> Result<usize> {
        let wanted = self.settings.filters * publishers.len();
        let deadline = tokio::time::Instant::now() + ARRIVES_WITHIN;
        let mut arrived = 0;
        let mut sent = 0;
        while arrived < wanted && tokio::time::Instant::now() < deadline {
            // What was sent is received before more is: a subscriber that is behind loses QoS 0.
            let until = self.settings.filters.min(sent + MESSAGES_PER_WRITE);
            for publisher in publishers.iter_mut() {
                for n in sent..until {
                    let topic = self.settings.filter.replace("{n}", &n.to_string());
                    let template = PublishTemplate::new(self.settings.target.version, &topic, 0, 0);
                    let stamp = Stamp { sent_nanos: 0, sequence: n as u64, publisher: 0 };
                    template.append(0, stamp, publisher.output());
                }
                poll_fn(|cx| publisher.poll_flush(cx)).await?;
            }
            sent = until;
            let so_far = sent * publishers.len();
            let received = receive(connections, so_far - arrived);
            match tokio::time::timeout_at(deadline, received).await {
                Ok(count) => arrived += count?,
                Err(_) => break,
            }
        }
        Ok(arrived)
    }

    /// Takes filters away and adds them again until it is time; how many changes that were.
    async fn churn(&self, connections: &mut [Connection], until: Instant) -> Result<usize> {
        let churning = connections.iter_mut().enumerate();
        futures::stream::iter(churning)
            .map(|(n, connection)| self.churn_one(n, connection, until))
            .buffer_unordered(SUBSCRIBING)
            .try_fold(0, |total, changes| async move { Ok(total + changes) })
            .await
    }

    async fn churn_one(
        &self,
        n: usize,
        connection: &mut Connection,
        until: Instant,
    ) -> Result<usize> {
        let settings = &self.settings;
        let first = settings.filters * n / settings.connections;
        let end = settings.filters * (n + 1) / settings.connections;
        let filters: Vec<String> = (first..end.min(first + FILTERS_PER_PACKET))
            .map(|n| settings.filter.replace("{n}", &n.to_string()))
            .collect();
        let (version, mut changes) = (settings.target.version, 0);
        while Instant::now() < until {
            let names = || filters.iter().map(String::as_str);
            wire::unsubscribe(version, 1, names(), connection.output());
            connection.call(UNSUBACK, |_| Ok(())).await?;
            wire::subscribe(version, 2, names(), 0, connection.output());
            connection.call(SUBACK, |_| Ok(())).await?;
            changes += 2 * filters.len();
        }
        Ok(changes)
    }
}

/// Reads from all until so many messages have come.
async fn receive(connections: &mut [Connection], wanted: usize) -> Result<usize> {
    let mut arrived = 0;
    while arrived < wanted {
        poll_fn(|cx| {
            let mut is_ready = false;
            for connection in connections.iter_mut() {
                let polled = connection.poll_frames(cx, |frame, _| {
                    arrived += usize::from(frame.is_publish());
                    Ok(())
                });
                match polled {
                    std::task::Poll::Ready(Ok(())) => is_ready = true,
                    std::task::Poll::Ready(Err(error)) => {
                        return std::task::Poll::Ready(Err(error));
                    }
                    std::task::Poll::Pending => {}
                }
            }
            match is_ready {
                true => std::task::Poll::Ready(Ok(())),
                false => std::task::Poll::Pending,
            }
        })
        .await?;
    }
    Ok(arrived)
}

fn per(before: Option<Duration>, after: Option<Duration>, count: usize) -> Option<f64> {
    let spent = after?.saturating_sub(before?).as_secs_f64();
    Some(spent * 1e6 / count.max(1) as f64)
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} filters of one broker known by {} others after {:.2} s\n  {} of {} messages from there arrived",
            self.filters, self.peers, self.known_seconds, self.arrived, self.messages
        )?;
        if let Some(micros) = self.cpu_micros_per_filter {
            write!(f, "\n  all brokers   {micros:.1} CPU-us per filter")?;
        }
        if let Some(changes) = self.changes_per_second {
            write!(f, "\n{changes:.0} filters taken away or added each second")?;
        }
        if let Some(micros) = self.cpu_micros_per_change {
            write!(f, "\n  all brokers   {micros:.1} CPU-us per change")?;
        }
        if let Some(returned) = &self.returned {
            write!(f, "\n{returned}")?;
        }
        Ok(())
    }
}
