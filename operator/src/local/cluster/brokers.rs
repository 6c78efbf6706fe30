//! The brokers of a cluster as they run: started, restarted after a crash, asked how they are. IO.

use std::path::Path;
use std::time::{Duration, Instant};

use broker_admin_api::{BrokerStatus, Role};
use broker_policy::Revision;
use futures::future::join_all;
use jiff::Timestamp;
use operator_core::rollout::{Instance, Observed, Readiness};
use tokio::sync::{mpsc, watch};

use super::super::console::Console;
use super::super::process::{BrokerProcess, Exited, Launch, log_tail};
use super::super::state::StateDir;
use super::configuration::Configured;
use crate::broker_admin::{BrokerAdmin, BrokerEndpoint};
use crate::error_chain::chain;
use crate::policy_sync::{Enforcement, enforcement, is_serving};

/// How long a broker that crashed is left alone, at first; it doubles with every crash.
const BACKOFF_FIRST: Duration = Duration::from_millis(500);
/// And at most.
const BACKOFF_MAX: Duration = Duration::from_secs(30);
/// A broker that ran for this long is forgiven earlier crashes.
const FORGIVEN_AFTER: Duration = Duration::from_secs(60);
/// How long a broker may take to say how it is.
const STATUS_TIMEOUT: Duration = Duration::from_secs(1);
/// Lines of the log that are shown of a broker that crashed.
const LOG_LINES: usize = 3;

/// The brokers of one cluster, by ordinal.
#[derive(Debug)]
pub(super) struct Brokers {
    all: Vec<Broker>,
    exits: mpsc::Sender<Exited>,
}

#[derive(Debug)]
struct Broker {
    configured: Configured,
    endpoint: BrokerEndpoint,
    process: Option<BrokerProcess>,
    /// Digest of the configuration that it was started with.
    started_with: String,
    started_at: Instant,
    readiness: Readiness,
    status: Result<BrokerStatus, String>,
    /// Whether this process served when it last answered.
    has_served: bool,
    is_stopping: bool,
    /// It is not wanted any more.
    is_leaving: bool,
    crashes: u32,
    retry_at: Option<Instant>,
    failure: Option<String>,
}

/// How brokers are started.
#[derive(Debug, Clone)]
pub(super) struct Program<'a> {
    pub(super) binary: &'a Path,
    pub(super) state: &'a StateDir,
    pub(super) console: &'a Console,
    /// Below which the logs are: the namespace, unless it is the default one.
    pub(super) scope: &'a str,
}

impl Brokers {
    pub(super) fn new(exits: mpsc::Sender<Exited>) -> Self {
        Self { all: Vec::new(), exits }
    }

    /// Takes in new configurations; brokers that run go on with the ones that they were started with,
    /// those that have none any more stop.
    pub(super) fn configure(&mut self, configured: Vec<Configured>) {
        for broker in &mut self.all {
            let leaves = configured.iter().all(|next| next.name != broker.configured.name);
            if std::mem::replace(&mut broker.is_leaving, leaves) == leaves {
                continue;
            }
            // One that is wanted again while it stops is started when it has.
            broker.is_stopping |= broker.process.is_some();
            if let Some(process) = broker.process.as_mut().filter(|_| leaves) {
                process.request_stop();
            }
        }
        self.forget_gone();
        for next in configured {
            let endpoint = BrokerEndpoint {
                name: next.name.clone(),
                host: "127.0.0.1".to_owned(),
                port: next.ports.admin,
                server_name: "localhost".to_owned(),
            };
            match self.all.iter_mut().find(|broker| broker.configured.name == next.name) {
                Some(broker) => (broker.configured, broker.endpoint) = (next, endpoint),
                None => self.all.push(Broker::new(next, endpoint)),
            }
        }
    }

    /// Starts what should run and doesn't.
    pub(super) fn start(&mut self, program: &Program<'_>) {
        for broker in &mut self.all {
            let is_due = broker.retry_at.is_none_or(|at| Instant::now() >= at);
            if broker.process.is_none() && is_due && !broker.is_leaving {
                broker.start(program, &self.exits);
            }
        }
    }

    /// Takes note of a broker that ended.
    pub(super) fn exited(&mut self, exited: &Exited, program: &Program<'_>) {
        let found = self.all.iter_mut().find(|broker| {
            broker.process.as_ref().is_some_and(|process| process.pid == exited.pid)
        });
        if let Some(broker) = found {
            broker.exited(exited, program);
        }
        self.forget_gone();
    }

    /// Forgets those that were to go and have.
    fn forget_gone(&mut self) {
        self.all.retain(|broker| !broker.is_leaving || broker.process.is_some());
    }

    /// Asks all brokers how they are, at once.
    pub(super) async fn observe(&mut self, admin: &dyn BrokerAdmin) {
        let answers = join_all(self.all.iter().map(|broker| async {
            if broker.process.is_none() {
                return Err("it is not running".to_owned());
            }
            match tokio::time::timeout(STATUS_TIMEOUT, admin.status(&broker.endpoint)).await {
                Ok(answer) => answer.map_err(|error| error.chain()),
                Err(_) => Err("it does not answer within 1 s".to_owned()),
            }
        }))
        .await;
        let now = Timestamp::now();
        for (broker, answer) in self.all.iter_mut().zip(answers) {
            broker.note(answer, now);
        }
    }

    /// What the rollout planner is told.
    pub(super) fn observed(&self, version: &str, template: &str) -> Vec<Observed> {
        self.all.iter().map(|broker| broker.observed(version, template)).collect()
    }

    pub(super) fn statuses(&self) -> impl Iterator<Item = &BrokerStatus> {
        self.all.iter().filter_map(|broker| broker.status.as_ref().ok())
    }

    /// How far the brokers are with a revision; one that runs and served when it last answered counts
    /// also while it does not answer.
    pub(super) fn enforcement(&self, revision: Revision) -> Enforcement {
        let silent = self.all.iter().filter(|broker| broker.is_silent());
        enforcement(revision, self.statuses())
            .with_silent(silent.map(|broker| broker.configured.name.as_str()))
    }

    pub(super) fn leader(&self) -> Option<&BrokerStatus> {
        self.statuses()
            .filter(|status| status.raft.role == Role::Leader)
            .max_by_key(|status| status.raft.term)
    }

    /// Where the brokers are asked, the leader first.
    pub(super) fn endpoints(&self) -> Vec<BrokerEndpoint> {
        let leader = self.leader().map(|status| status.name.clone());
        let mut endpoints: Vec<BrokerEndpoint> = self
            .all
            .iter()
            .filter(|broker| broker.status.is_ok())
            .map(|broker| broker.endpoint.clone())
            .collect();
        endpoints.sort_by_key(|endpoint| Some(&endpoint.name) != leader.as_ref());
        endpoints
    }

    pub(super) fn endpoint(&self, name: &str) -> Option<&BrokerEndpoint> {
        self.all.iter().find(|broker| broker.configured.name == name).map(|b| &b.endpoint)
    }

    pub(super) fn configured(&self) -> impl Iterator<Item = &Configured> {
        self.all.iter().map(|broker| &broker.configured)
    }

    pub(super) fn is_any_running(&self) -> bool {
        self.all.iter().any(|broker| broker.process.is_some())
    }

    /// Asks one broker to stop; it is started again when it has.
    pub(super) fn restart(&mut self, name: &str) {
        let broker = self.all.iter_mut().find(|broker| broker.configured.name == name);
        if let Some(broker) = broker
            && let Some(process) = &mut broker.process
        {
            broker.is_stopping = true;
            process.request_stop();
        }
    }

    /// Stops all brokers, one after the other, the leader last.
    pub(super) async fn stop(&mut self, console: &Console, hurry: &mut watch::Receiver<bool>) {
        let leader = self.leader().map(|status| status.name.clone());
        let mut order: Vec<&mut Broker> = self.all.iter_mut().rev().collect();
        order.sort_by_key(|broker| Some(&broker.configured.name) == leader.as_ref());
        for broker in order {
            let Some(mut process) = broker.process.take() else { continue };
            let started = Instant::now();
            process.stop(hurry).await;
            let took = super::super::console::human(started.elapsed());
            console.step(&broker.configured.name, &format!("stopped in {took}"));
        }
    }
}

impl Broker {
    fn new(configured: Configured, endpoint: BrokerEndpoint) -> Self {
        Self {
            configured,
            endpoint,
            process: None,
            started_with: String::new(),
            started_at: Instant::now(),
            readiness: Readiness::Unready(Timestamp::now()),
            status: Err("it was not started yet".to_owned()),
            has_served: false,
            is_stopping: false,
            is_leaving: false,
            crashes: 0,
            retry_at: None,
            failure: None,
        }
    }

    fn log_below(&self, program: &Program<'_>) -> String {
        let name = super::super::manifest::scoped(program.scope, &self.configured.name);
        format!("logs/{name}.log")
    }

    fn start(&mut self, program: &Program<'_>, exits: &mpsc::Sender<Exited>) {
        let log = self.log_below(program);
        let launch = Launch {
            binary: program.binary.to_owned(),
            config: self.configured.file.clone(),
            name: self.configured.name.clone(),
            log: program.state.path(&log),
        };
        self.has_served = false;
        self.started_at = Instant::now();
        self.started_with.clone_from(&self.configured.digest);
        self.readiness = Readiness::Unready(Timestamp::now());
        if let Some(port) = self.configured.ports.occupied() {
            return self.crashed(format!("port {port} is in use by another program"), program);
        }
        match launch.start(exits.clone()) {
            Ok(process) => {
                let ports: Vec<String> = self
                    .configured
                    .ports
                    .listeners
                    .iter()
                    .map(|(listener, port)| format!("{listener} localhost:{port}"))
                    .collect();
                let (pid, ports) = (process.pid, ports.join(", "));
                let log = program.state.shown(&log);
                let text = format!("started, process {pid}, {ports}, log {log}");
                program.console.step(&self.configured.name, &text);
                self.process = Some(process);
            }
            Err(error) => self.crashed(chain(&error), program),
        }
    }

    fn exited(&mut self, exited: &Exited, program: &Program<'_>) {
        self.process = None;
        self.status = Err(format!("it {}", exited.how));
        if self.is_leaving {
            program.console.step(&self.configured.name, "stopped: it is not wanted any more");
        }
        if std::mem::take(&mut self.is_stopping) || self.is_leaving {
            self.retry_at = None;
            return;
        }
        if self.started_at.elapsed() >= FORGIVEN_AFTER {
            self.crashes = 0;
        }
        self.crashed(exited.how.clone(), program);
    }

    fn crashed(&mut self, how: String, program: &Program<'_>) {
        let backoff = BACKOFF_FIRST
            .saturating_mul(2_u32.saturating_pow(self.crashes.min(16)))
            .min(BACKOFF_MAX);
        self.crashes += 1;
        self.retry_at = Some(Instant::now() + backoff);
        self.readiness = Readiness::Unready(Timestamp::now());
        let log = self.log_below(program);
        let (again, shown) = (super::super::console::human(backoff), program.state.shown(&log));
        let text = format!("{how}; starting it again in {again}; its log {shown} ends with:");
        program.console.step(&self.configured.name, &text);
        for line in log_tail(&program.state.path(&log), LOG_LINES) {
            program.console.text(&format!("             {line}"));
        }
        // One crash happens; a second one is a state.
        self.failure = (self.crashes > 1).then(|| format!("{how}, {} times", self.crashes));
    }

    fn is_silent(&self) -> bool {
        self.process.is_some() && self.has_served && self.status.is_err()
    }

    fn note(&mut self, answer: Result<BrokerStatus, String>, now: Timestamp) {
        if let Ok(status) = &answer {
            self.has_served = is_serving(status);
        }
        let is_ready = answer.as_ref().is_ok_and(|status| status.ready);
        self.readiness = match (self.readiness, is_ready) {
            (Readiness::Unready(_), true) => Readiness::Ready(now),
            (Readiness::Ready(_), false) => Readiness::Unready(now),
            (unchanged, _) => unchanged,
        };
        if is_ready {
            self.failure = None;
        }
        self.status = answer;
    }

    fn observed(&self, version: &str, template: &str) -> Observed {
        let is_current = self.started_with == self.configured.digest;
        let runs = self.process.is_some() || self.failure.is_some();
        let instance = runs.then(|| Instance {
            version: version.to_owned(),
            template: if is_current { template.to_owned() } else { self.started_with.clone() },
            readiness: self.readiness,
            is_terminating: self.is_stopping,
            failure: self.failure.clone(),
        });
        Observed { name: self.configured.name.clone(), instance, status: self.status.clone() }
    }
}
