//! Idle connections: what opening one costs, and what one holds.

use std::fmt;
use std::future::poll_fn;
use std::task::Poll;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures::StreamExt;
use serde::Serialize;

use crate::connection::{Connection, scratch};
use crate::output::OutputArgs;
use crate::process::{allow_connections, runtime, settled};
use crate::target::{Target, TargetArgs};
use crate::wire::{PINGREQ, PINGRESP, SessionKeeping};

/// Keep Alive of the connections, in seconds.
const KEEP_ALIVE: u16 = 300;
/// How often they send PINGREQ while they are held.
const PING: Duration = Duration::from_secs(120);
/// How long the broker is waited for until it has no work left.
const SETTLES_WITHIN: Duration = Duration::from_secs(10);

/// Opens many connections that then do nothing, and reports what opening one cost and, with --pid, what one holds.
///
/// The limit of open files is raised as far as the system lets it; on loopback, every 20,000 connections come from a source
/// address of their own (127.0.0.2, ...), so that ports don't run out.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  mqtt-bench idle --connections 10000 --pid $(pidof mosquitto)
  mqtt-bench idle --connections 1000 --per-second 100 --hold 3600")]
pub struct IdleArgs {
    #[command(flatten)]
    target: TargetArgs,
    /// How many connections.
    #[arg(long, short = 'n', default_value_t = 10_000)]
    connections: usize,
    /// Connections that are being opened at a time.
    #[arg(long, default_value_t = 64)]
    opening: usize,
    /// Connections opened each second at most; default: as many as possible.
    #[arg(long)]
    per_second: Option<f64>,
    /// Seconds for which they are then held, with a PINGREQ every two minutes.
    #[arg(long, default_value_t = 0)]
    hold: u64,
    #[command(flatten)]
    output: OutputArgs,
}

/// What idle connections cost.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Connections that were opened.
    pub connections: usize,
    /// Seconds from the first to the last CONNACK.
    pub seconds: f64,
    /// Connections opened each second.
    pub opened_per_second: f64,
    /// The broker's CPU time for each opened connection, in microseconds, where its process is known.
    pub cpu_micros_per_connection: Option<f64>,
    /// The broker's memory for each connection, in bytes, where its process is known.
    pub bytes_per_connection: Option<f64>,
    /// Connections that the broker had closed at the end.
    pub closed: usize,
}

/// What to open.
#[derive(Clone)]
pub struct Settings {
    /// The broker.
    pub target: Target,
    /// Its process id, when it runs on this machine.
    pub pid: Option<u32>,
    /// How many connections.
    pub connections: usize,
    /// Connections that are being opened at a time, at least 1.
    pub opening: usize,
    /// Connections opened each second at most.
    pub per_second: Option<f64>,
    /// How long they are held.
    pub hold: Duration,
}

/// `mqtt-bench idle`.
///
/// # Errors
/// In words, with what to change.
pub fn main(args: &IdleArgs) -> Result<()> {
    ensure!(args.per_second.is_none_or(|rate| rate > 0.0), "--per-second must be above 0");
    let report = run(&Settings {
        target: args.target.target()?,
        pid: args.target.pid,
        connections: args.connections.max(1),
        opening: args.opening.max(1),
        per_second: args.per_second,
        hold: Duration::from_secs(args.hold),
    })?;
    args.output.print(&report)
}

/// Opens the connections, holds them, and closes them.
///
/// # Errors
/// The limit of open files is too low, or a connection could not be opened.
pub fn run(settings: &Settings) -> Result<Report> {
    allow_connections(settings.connections)?;
    runtime()?.block_on(open_and_hold(settings))
}

async fn open_and_hold(settings: &Settings) -> Result<Report> {
    let before = match settings.pid {
        Some(pid) => Some(settled(pid, SETTLES_WITHIN).await?),
        None => None,
    };
    let began = Instant::now();
    let mut connections = open(settings, began).await?;
    let seconds = began.elapsed().as_secs_f64();
    let count = settings.connections as f64;
    let (mut cpu, mut bytes) = (None, None);
    if let (Some(pid), Some(before)) = (settings.pid, before) {
        let after = settled(pid, SETTLES_WITHIN).await?;
        cpu = Some(after.cpu.saturating_sub(before.cpu).as_secs_f64() * 1e6 / count);
        bytes = Some((after.resident_bytes as f64 - before.resident_bytes as f64) / count);
    }
    let closed = hold(&mut connections, settings.hold).await;
    Ok(Report {
        connections: settings.connections,
        seconds,
        opened_per_second: count / seconds,
        cpu_micros_per_connection: cpu,
        bytes_per_connection: bytes,
        closed,
    })
}

async fn open(settings: &Settings, began: Instant) -> Result<Vec<Connection>> {
    let scratch = scratch();
    let mut opening = futures::stream::iter(0..settings.connections)
        .map(|n| {
            let scratch = scratch.clone();
            async move {
                if let Some(per_second) = settings.per_second {
                    let due = began + Duration::from_secs_f64(n as f64 / per_second);
                    tokio::time::sleep_until(due.into()).await;
                }
                let client_id = format!("bench-{}-idle-{n}", std::process::id());
                settings
                    .target
                    .connect(n, &client_id, (KEEP_ALIVE, SessionKeeping::Clean), &scratch)
                    .await
            }
        })
        .buffer_unordered(settings.opening);
    let mut connections = Vec::with_capacity(settings.connections);
    while let Some(opened) = opening.next().await {
        let (connection, _) = opened.with_context(|| {
            format!(
                "{} connections were open: the broker's limits of connections, of connections a second and of open \
                 files, or --per-second, may need a change",
                connections.len()
            )
        })?;
        connections.push(connection);
    }
    Ok(connections)
}

/// Holds the connections and returns how many the broker has closed.
async fn hold(connections: &mut Vec<Connection>, length: Duration) -> usize {
    let (count, deadline) = (connections.len(), Instant::now() + length);
    let mut ping_at = Instant::now() + PING;
    loop {
        let now = Instant::now();
        if now >= ping_at {
            ping_at = now + PING;
            connections.iter_mut().for_each(|connection| connection.output().extend(PINGREQ));
        }
        let mut open = Vec::with_capacity(connections.len());
        for mut connection in connections.drain(..) {
            if poll_fn(|cx| Poll::Ready(is_open(&mut connection, cx))).await {
                open.push(connection);
            }
        }
        *connections = open;
        if now >= deadline {
            return count - connections.len();
        }
        let left = deadline - now;
        tokio::time::sleep(left.min(Duration::from_secs(1))).await;
    }
}

/// Writes what is to be written and reads what has come.
fn is_open(connection: &mut Connection, cx: &mut std::task::Context<'_>) -> bool {
    if matches!(connection.poll_flush(cx), Poll::Ready(Err(_))) {
        return false;
    }
    loop {
        let read = connection.poll_frames(cx, |frame, _| {
            ensure!(frame.first == PINGRESP, "an idle connection got {:#04x}", frame.first);
            Ok(())
        });
        match read {
            Poll::Pending => return true,
            Poll::Ready(Err(_)) => return false,
            Poll::Ready(Ok(())) => {}
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} connections opened in {:.1} s, {:.0} each second",
            self.connections, self.seconds, self.opened_per_second
        )?;
        if let Some(micros) = self.cpu_micros_per_connection {
            write!(f, "\n  broker        {micros:.1} CPU-us per opened connection")?;
        }
        if let Some(bytes) = self.bytes_per_connection {
            write!(f, "\n  memory        {:.2} KB per idle connection", bytes / 1000.0)?;
        }
        if self.closed > 0 {
            write!(f, "\n  CLOSED        {} by the broker", self.closed)?;
        }
        Ok(())
    }
}
