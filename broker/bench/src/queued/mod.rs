//! Messages that wait for sessions whose clients are away: what they take of memory and disk, and how soon a broker that was
//! killed serves again.

mod broker;
mod client;

use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde::Serialize;

use crate::output::OutputArgs;
use crate::process::usage;
use broker::Broker;
use client::Client;

/// Sessions that are made at a time.
const CONNECTING: usize = 32;

/// How long the broker's files may take to become steady.
const SETTLES_WITHIN: Duration = Duration::from_secs(60);

/// Starts a broker, queues messages for sessions whose clients are away, kills the broker, starts it again, and fetches some of
/// the messages.
///
/// Every session has messages of its own, all of them different, of QoS 1. What is fetched is checked: all messages, each once, in
/// their order.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  mqtt-bench queued --sessions 10000 --messages 1000000 --size 512
  mqtt-bench queued --sessions 100 --messages 10000 --drain 100 --output json")]
pub struct QueuedArgs {
    /// Sessions whose clients are away.
    #[arg(long, default_value_t = 10_000)]
    sessions: usize,
    /// Messages in all.
    #[arg(long, short = 'n', default_value_t = 1_000_000)]
    messages: usize,
    /// Bytes of a payload.
    #[arg(long, default_value_t = 512)]
    size: usize,
    /// Sessions that fetch their messages after the start.
    #[arg(long, default_value_t = 200)]
    drain: usize,
    /// The folder with mqtt-broker; default: this program's own.
    #[arg(long)]
    binaries: Option<PathBuf>,
    /// Where the broker keeps its data for the while; default: the system's folder for temporary files.
    #[arg(long)]
    folder: Option<PathBuf>,
    /// Lines for the broker's configuration, in front of all others.
    #[arg(long, default_value = "")]
    configuration: String,
    /// Bytes that the broker may have in memory at most; more is an error.
    #[arg(long, value_name = "BYTES")]
    resident_max: Option<u64>,
    /// Seconds that the restart may take at most; more is an error.
    #[arg(long, value_name = "SECONDS")]
    restart_max: Option<f64>,
    #[command(flatten)]
    output: OutputArgs,
}

/// What the messages took.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Sessions.
    pub sessions: usize,
    /// Messages that were acknowledged.
    pub messages: usize,
    /// Bytes of a payload.
    pub size: usize,
    /// Messages queued each second.
    pub queued_per_second: f64,
    /// The broker's memory with the sessions and without messages.
    pub resident_bytes_empty: u64,
    /// The broker's memory with all of them.
    pub resident_bytes: u64,
    /// The most it had meanwhile.
    pub resident_bytes_peak: u64,
    /// Bytes in its data directory.
    pub disk_bytes: u64,
    /// Bytes in there that are queued messages which neither log nor snapshot are read for.
    pub spilled_bytes: u64,
    /// Seconds from the start after a kill to the first CONNACK.
    pub restart_seconds: f64,
    /// The broker's memory then.
    pub resident_bytes_restarted: u64,
    /// Messages fetched.
    pub drained: usize,
    /// Messages fetched each second.
    pub drained_per_second: f64,
}

/// `mqtt-bench queued`.
///
/// # Errors
/// In words, with what to change; a message that was lost, came twice, or came out of its order.
pub fn main(args: &QueuedArgs) -> Result<()> {
    ensure!(args.sessions > 0 && args.messages >= args.sessions, "give each session a message");
    let per_session = args.messages / args.sessions;
    let binaries = match &args.binaries {
        Some(folder) => folder.clone(),
        None => {
            let program = std::env::current_exe().context("find this program")?;
            program.parent().context("this program has no folder")?.to_owned()
        }
    };
    let folder = match &args.folder {
        Some(folder) => tempfile::tempdir_in(folder),
        None => tempfile::tempdir(),
    };
    let folder = folder.context("make a folder for the broker")?;
    let mut broker = Broker::new(&binaries, folder.path(), &args.configuration, per_session)?;
    broker.start()?;
    let empty = make_sessions(&broker, args.sessions)?;
    let (seconds, peak) = fill(&broker, args, per_session)?;
    let messages = per_session * args.sessions;
    broker.settle(SETTLES_WITHIN)?;
    let resident = usage(broker.pid()?)?.resident_bytes;
    let (disk_bytes, spilled_bytes) = (broker.disk_bytes(""), broker.disk_bytes("queues"));
    broker.kill()?;
    let began = Instant::now();
    broker.start()?;
    let restart_seconds = began.elapsed().as_secs_f64();
    let resident_restarted = usage(broker.pid()?)?.resident_bytes;
    let began = Instant::now();
    let drained = drain(&broker, args, per_session)?;
    let report = Report {
        sessions: args.sessions,
        messages,
        size: args.size,
        queued_per_second: messages as f64 / seconds,
        resident_bytes_empty: empty,
        resident_bytes: resident,
        resident_bytes_peak: peak.max(resident),
        disk_bytes,
        spilled_bytes,
        restart_seconds,
        resident_bytes_restarted: resident_restarted,
        drained,
        drained_per_second: drained as f64 / began.elapsed().as_secs_f64(),
    };
    args.output.print(&report)?;
    let (resident, seconds) = (report.resident_bytes, report.restart_seconds);
    let most = args.resident_max.unwrap_or(u64::MAX);
    ensure!(resident <= most, "{resident} bytes resident, more than {most}");
    let most = args.restart_max.unwrap_or(f64::INFINITY);
    ensure!(seconds <= most, "{seconds:.2} s until the broker served again, more than {most}");
    Ok(())
}

fn session(number: usize) -> String {
    format!("queued-{number}")
}

fn topic(number: usize) -> String {
    format!("queued/{number}")
}

/// Makes the sessions, and leaves them; gives the broker's memory then.
fn make_sessions(broker: &Broker, sessions: usize) -> Result<u64> {
    let address = broker.address();
    let make = |first: usize| {
        for number in (first..sessions).step_by(CONNECTING) {
            let mut client = Client::connect(address, &session(number), true)?;
            client.subscribe(&topic(number)).with_context(|| session(number))?;
            client.disconnect()?;
        }
        anyhow::Ok(())
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..CONNECTING).map(|first| scope.spawn(move || make(first))).collect();
        let mut ended = threads.into_iter().map(|thread| thread.join());
        ended.try_for_each(|made| made.unwrap_or_else(|_| bail!("a thread panicked")))
    })?;
    Ok(usage(broker.pid()?)?.resident_bytes)
}

/// Publishes all messages; gives the seconds it took, and the most memory that the broker had.
fn fill(broker: &Broker, args: &QueuedArgs, per_session: usize) -> Result<(f64, u64)> {
    let began = Instant::now();
    let mut publisher = Client::connect(broker.address(), "queued-publisher", false)?;
    let mut peak = 0;
    for number in 0..per_session {
        for session in 0..args.sessions {
            publisher.publish(&topic(session), args.size, number as u64)?;
        }
        peak = peak.max(usage(broker.pid()?)?.resident_bytes);
    }
    publisher.wait_for_acknowledgements()?;
    let seconds = began.elapsed().as_secs_f64();
    publisher.disconnect()?;
    Ok((seconds, peak))
}

/// Fetches the messages of some sessions, from all over; gives how many they were.
fn drain(broker: &Broker, args: &QueuedArgs, per_session: usize) -> Result<usize> {
    let sessions = args.drain.min(args.sessions);
    for place in 0..sessions {
        let number = place * args.sessions / sessions;
        let mut client = Client::connect(broker.address(), &session(number), true)?;
        client.fetch(per_session, args.size).with_context(|| session(number))?;
        client.disconnect()?;
    }
    Ok(sessions * per_session)
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mebibytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        let Self { sessions, messages, size, .. } = self;
        writeln!(f, "{messages} messages of {size} bytes for {sessions} sessions that are away")?;
        writeln!(f, "queued              {:>10.0} /s", self.queued_per_second)?;
        writeln!(f, "memory, no messages {:>10.1} MiB", mebibytes(self.resident_bytes_empty))?;
        writeln!(f, "memory, all of them {:>10.1} MiB", mebibytes(self.resident_bytes))?;
        writeln!(f, "memory, at most     {:>10.1} MiB", mebibytes(self.resident_bytes_peak))?;
        writeln!(f, "disk                {:>10.1} MiB", mebibytes(self.disk_bytes))?;
        writeln!(f, "of it spilled       {:>10.1} MiB", mebibytes(self.spilled_bytes))?;
        writeln!(f, "killed, serves after{:>10.2} s", self.restart_seconds)?;
        writeln!(f, "memory then         {:>10.1} MiB", mebibytes(self.resident_bytes_restarted))?;
        write!(f, "fetched {} in order {:>10.0} /s", self.drained, self.drained_per_second)
    }
}
