//! One run: start, rounds of faults, healing, what was found.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::ChaosArgs;
use super::client::{Clients, Shared};
use super::fault::{Fault, Round, plan};
use super::history::{Event, History, read};
use super::injector::{Ground, Injector, accept};
use super::network::PREFIX;
use crate::optional::is_all_required;

/// How long brokers may take to be ready when no fault is there.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// Time without a fault at the start.
const CALM: Duration = Duration::from_secs(1);
/// How long it may take, after the last fault, until all is answered and has arrived.
const ENDS_WITHIN: Duration = Duration::from_secs(60);
/// How long publishers go on after the last fault, at least.
const SERVES_FOR: Duration = Duration::from_secs(2);
/// Time after the last fault in which clients with several connections are still looked at.
const LOOK_FOR: Duration = Duration::from_secs(8);
/// Between two looks at everything.
const LOOK: Duration = Duration::from_millis(50);
/// Name of the history in the run's folder.
const HISTORY: &str = "history.jsonl";

/// A run under way.
struct Run<'a> {
    injector: Injector,
    shared: Arc<Shared>,
    interrupted: &'a AtomicBool,
    started: Instant,
    /// Number of the next fault.
    fault: usize,
}

/// Runs, or checks what has run; whether nothing was wrong.
pub(super) fn run(args: &ChaosArgs, interrupted: &AtomicBool) -> Result<bool> {
    if let Some(path) = &args.check {
        let (checker, violation) = read(path)?;
        println!("{:?}", checker.counts);
        return Ok(verdict(violation));
    }
    let seed = args.seed();
    let prefix = format!("{PREFIX}{}-", std::process::id());
    let mut folder = tempfile::Builder::new().prefix(&prefix).tempdir()?;
    folder.disable_cleanup(true);
    println!(
        "seed {seed}, {} faults; history and logs in {}",
        args.faults,
        folder.path().display()
    );
    let outcome = in_folder(args, seed, folder.path(), interrupted);
    let has_found = !matches!(outcome, Ok(None | Some(true)));
    if has_found || args.keep {
        let history = folder.path().join(HISTORY);
        println!("to check the history again: dunlin-e2e chaos --check {}", history.display());
    } else {
        folder.disable_cleanup(false);
    }
    if has_found {
        println!("to run it again: {}", command(args, seed));
    }
    Ok(outcome?.unwrap_or(false))
}

/// The command that does the same.
fn command(args: &ChaosArgs, seed: u64) -> String {
    let kinds = args.only.iter().filter_map(clap::ValueEnum::to_possible_value);
    let kinds: Vec<String> = kinds.map(|kind| kind.get_name().to_owned()).collect();
    let only =
        if kinds.is_empty() { String::new() } else { format!(" --only {}", kinds.join(",")) };
    let loopback = if args.loopback { " --loopback" } else { "" };
    let binaries = args.binaries.display();
    format!(
        "dunlin-e2e chaos --binaries {binaries} --seed {seed} --faults {}{only}{loopback}",
        args.faults
    )
}

/// Whether nothing was wrong; `None` when it was interrupted before it was over.
fn in_folder(
    args: &ChaosArgs,
    seed: u64,
    folder: &Path,
    interrupted: &AtomicBool,
) -> Result<Option<bool>> {
    let mut kinds = args.kinds();
    let ground = Ground::prepare(folder, args.loopback, kinds.contains(&super::Kind::DiskFull));
    if args.loopback {
        println!("left out: partitions, as --loopback says");
    }
    accept(&ground.left_out, is_all_required())?;
    kinds.retain(|kind| ground.allows(*kind));
    if kinds.is_empty() {
        bail!("no fault is left that can be made here");
    }
    let rounds = plan(seed, args.faults, &kinds);
    let injector = ground.start(args.binaries.join("mqtt-broker"), folder)?;
    let shared = Arc::new(Shared {
        history: History::create(&folder.join(HISTORY))?,
        addresses: injector.brokers.nodes.iter().map(|node| node.plain).collect(),
        login: injector.brokers.login.clone(),
        is_healed: AtomicBool::new(false),
        stop: AtomicBool::new(false),
    });
    let started = Instant::now();
    let mut run = Run { injector, shared: Arc::clone(&shared), interrupted, started, fault: 0 };
    let clients = Clients::start(&shared, seed)?;
    println!("{:7.1} s  all brokers serve, all clients are there", run.seconds());
    let done = run.wait(CALM).and_then(|()| run.rounds(&rounds)).and_then(|()| run.heal());
    drop(clients);
    run.panics();
    shared.history.flush()?;
    run.figures();
    done?;
    let violation = shared.history.violation();
    if violation.is_none() && interrupted.load(Ordering::Relaxed) {
        println!("interrupted");
        return Ok(None);
    }
    Ok(Some(verdict(violation)))
}

fn verdict(violation: Option<String>) -> bool {
    match violation {
        None => {
            println!("nothing that was promised is broken");
            true
        }
        Some(violation) => {
            println!("VIOLATION {violation}");
            false
        }
    }
}

impl Run<'_> {
    fn seconds(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }

    /// Whether something ends the run before its time.
    fn is_over(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed) || self.shared.history.violation().is_some()
    }

    fn rounds(&mut self, rounds: &[Round]) -> Result<()> {
        for round in rounds {
            if self.is_over() {
                break;
            }
            self.round(round)?;
        }
        Ok(())
    }

    fn round(&mut self, round: &Round) -> Result<()> {
        let (mut faults, mut taken) = (Vec::new(), Vec::new());
        for fault in &round.faults {
            let fault = self.injector.aim(*fault, &taken);
            taken.push(fault.node);
            faults.push((self.begin(&fault, round.hold)?, fault));
        }
        self.wait(round.hold)?;
        // Those of the network end together.
        for (_, fault) in faults.iter().filter(|(_, fault)| fault.kind.parts()) {
            self.shared.history.record(Event::Rejoining { node: fault.node });
        }
        for (_, fault) in &faults {
            self.injector.end(fault)?;
        }
        if round.settles && !self.is_over() {
            self.until_ready();
        }
        for (number, _) in &faults {
            self.shared.history.record(Event::FaultEnded { fault: *number });
        }
        self.wait(round.pause)
    }

    fn begin(&mut self, fault: &Fault, hold: Duration) -> Result<usize> {
        self.fault += 1;
        let (number, seconds) = (self.fault, hold.as_secs_f64());
        println!("{:7.1} s  {number:3}. {fault} for {seconds:.1} s", self.seconds());
        let (nodes, what) = (fault.nodes(), fault.to_string());
        self.shared.history.record(Event::FaultBegan { fault: number, nodes, what });
        self.injector.begin(fault)?;
        if fault.kind.parts() {
            self.shared.history.record(Event::Parted { node: fault.node });
        }
        Ok(number)
    }

    /// Waits, and looks whether a broker ends by itself.
    fn wait(&mut self, time: Duration) -> Result<()> {
        let until = Instant::now() + time;
        while !self.is_over() {
            if let Some(fallen) = self.injector.fallen()? {
                self.shared.history.violate(fallen);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            std::thread::sleep(left.min(LOOK));
        }
        Ok(())
    }

    fn until_ready(&self) {
        if let Err(error) = self.injector.brokers.ready(READY_WITHIN) {
            self.shared.history.violate(format!("liveness: {error:#}"));
        }
    }

    /// When all faults are over, every publisher is served again: a refusal is an answer, and no service.
    fn serve(&mut self) -> Result<()> {
        self.shared.history.record(Event::Ready);
        println!("{:7.1} s  all faults are over", self.seconds());
        let ready = Instant::now();
        self.wait(SERVES_FOR)?;
        let is_served = |checker: &super::checker::Checker| checker.unserved().next().is_none();
        while !self.shared.history.look(is_served)
            && ready.elapsed() < ENDS_WITHIN
            && !self.is_over()
        {
            self.wait(LOOK)?;
        }
        Ok(())
    }

    /// Then everything is answered and arrives.
    fn heal(&mut self) -> Result<()> {
        if self.is_over() {
            return Ok(());
        }
        self.until_ready();
        self.serve()?;
        self.shared.is_healed.store(true, Ordering::Relaxed);
        self.shared.history.record(Event::Healed);
        let healed = Instant::now();
        println!("{:7.1} s  nothing new is sent", self.seconds());
        let mut due = usize::MAX;
        while due > 0 && healed.elapsed() < ENDS_WITHIN && !self.is_over() {
            self.wait(LOOK)?;
            due = self.shared.history.look(super::checker::Checker::due);
        }
        if due == 0 {
            let seconds = healed.elapsed().as_secs_f64();
            println!(
                "{:7.1} s  all is answered and has arrived, {seconds:.1} s later",
                self.seconds()
            );
        }
        self.wait(LOOK_FOR.saturating_sub(healed.elapsed()))?;
        if !self.interrupted.load(Ordering::Relaxed) {
            self.shared.history.record(Event::Ended);
        }
        Ok(())
    }

    /// A broker that panicked in a thread of its own says so in its log only.
    fn panics(&self) {
        for node in &self.injector.brokers.nodes {
            let log = std::fs::read_to_string(&node.log).unwrap_or_default();
            if let Some(line) = log.lines().find(|line| line.contains("panicked")) {
                self.shared.history.violate(format!("{} panicked: {line}", node.name));
            }
        }
    }

    fn figures(&self) {
        let counts = self.shared.history.look(|checker| checker.counts);
        println!(
            "{} faults in {:.0} s; {} messages sent, {} acknowledged, {} refused; {} deliveries, {} of QoS 1 repeated; \
             {} connections; {} brokers alone for so long that they had to be fenced; longest time without an acknowledgement {:.1} s",
            self.fault,
            self.seconds(),
            counts.sent,
            counts.acknowledged,
            counts.refused,
            counts.received,
            counts.repeated,
            counts.connections,
            counts.fenced,
            counts.longest_silence as f64 / 1e6
        );
    }
}
