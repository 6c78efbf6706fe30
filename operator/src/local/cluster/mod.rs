//! One cluster on this machine: a task that owns its brokers and brings them, pass by pass, to what the manifests say. IO.
//!
//! A pass derives everything from what is there: certificates, configurations, processes, rights, then what the brokers report and the one
//! step that the planners choose from it. What it needs to remember is in the state folder.

mod brokers;
mod certificates;
mod configuration;
mod credentials;
pub(crate) mod desired;
mod pass;
pub(crate) mod record;
mod report;
mod rights;
mod summary;
#[cfg(test)]
mod summary_test;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use kube::ResourceExt as _;
use operator_core::cluster::ValidatedCluster;
use tokio::sync::{mpsc, watch};

use self::brokers::{Brokers, Program};
use self::certificates::Certificates;
use self::desired::{Desired, Edit, Statuses};
use self::record::ClusterRecord;
use self::rights::Rights;
use super::console::Console;
use super::manifest::scoped;
use super::process::Exited;
use super::state::StateDir;
use super::store::Store;
use crate::broker_admin::HttpsAdmin;
use crate::metrics::Metrics;

/// Brokers that ended and were not looked at yet.
const EXITS_MAX: usize = 16;
/// Between passes while everything is as it should be.
const AT_REST: Duration = Duration::from_secs(1);
/// Between passes while something is on its way.
const UNDER_WAY: Duration = Duration::from_millis(50);
/// Between passes while a change of rights is on its way.
const EDIT_UNDER_WAY: Duration = Duration::from_millis(10);
/// For how long passes hurry for a change of rights.
const EDIT_FRESH: Duration = Duration::from_secs(3);
/// How often certificates are looked at though nothing changed.
const CERTIFICATES_EVERY: Duration = Duration::from_secs(60);

/// What every cluster's task shares.
#[derive(Debug, Clone)]
pub(crate) struct Platform {
    pub(crate) state: StateDir,
    pub(crate) store: Store,
    pub(crate) console: Console,
    pub(crate) binary: PathBuf,
    /// The version of `binary`.
    pub(crate) version: String,
    pub(crate) listener_port_base: Option<u16>,
    pub(crate) metrics: Metrics,
    /// The folder of manifests, as it is told to people.
    pub(crate) manifests: String,
}

/// How a cluster's task ends.
#[derive(Debug, Clone)]
pub(crate) struct Ending {
    /// The brokers shall stop.
    pub(crate) stop: watch::Receiver<bool>,
    /// At once.
    pub(crate) hurry: watch::Receiver<bool>,
}

/// Why a task wakes up.
enum Event {
    Wish(Box<Desired>),
    Exit(Exited),
    Stop,
    Time,
}

/// Ends when `told` is true or can't become so any more.
async fn told(told: &mut watch::Receiver<bool>) {
    let _ = told.wait_for(|told| *told).await;
}

/// One cluster.
pub(crate) struct ClusterTask {
    platform: Platform,
    wishes: mpsc::Receiver<Desired>,
    ending: Ending,
    /// Told once, after the first pass.
    started: Option<mpsc::Sender<()>>,
    desired: Desired,
    namespace: String,
    /// The cluster's name as folders have it.
    scoped_name: String,
    record: Option<ClusterRecord>,
    /// The spec that is acted upon: the last one that made sense.
    cluster: Option<ValidatedCluster>,
    certificates: Option<Certificates>,
    certificates_at: Option<Instant>,
    certificate_problems: Vec<String>,
    admin: Option<Arc<HttpsAdmin>>,
    brokers: Brokers,
    exits: mpsc::Receiver<Exited>,
    rights: Rights,
    statuses: Statuses,
    /// Whether the manifests were not looked at since they changed.
    is_desired_new: bool,
    /// Edits whose effect was not told yet.
    edits: Vec<Edit>,
    edits_noticed: Instant,
    told: report::Told,
}

impl ClusterTask {
    pub(crate) fn new(
        platform: Platform,
        desired: Desired,
        wishes: mpsc::Receiver<Desired>,
        ending: Ending,
        started: mpsc::Sender<()>,
        statuses: Statuses,
    ) -> Self {
        let (exit, exits) = mpsc::channel(EXITS_MAX);
        let namespace = desired.cluster.namespace().unwrap_or_default();
        let scoped_name = scoped(&namespace, &desired.cluster.name_any());
        Self {
            platform,
            wishes,
            ending,
            started: Some(started),
            edits_noticed: desired.noticed,
            desired,
            namespace,
            scoped_name,
            record: None,
            cluster: None,
            certificates: None,
            certificates_at: None,
            certificate_problems: Vec::new(),
            admin: None,
            brokers: Brokers::new(exit),
            exits,
            rights: Rights::default(),
            statuses,
            is_desired_new: true,
            edits: Vec::new(),
            told: report::Told::default(),
        }
    }

    /// Runs until the ending says so or the wishes end; then stops the brokers.
    pub(crate) async fn run(mut self) {
        let mut stop = self.ending.stop.clone();
        loop {
            let pause = tokio::select! {
                pause = self.pass() => pause,
                () = told(&mut stop) => break,
            };
            if let Some(started) = self.started.take() {
                let _ = started.send(()).await;
            }
            match self.next(&mut stop, pause).await {
                Event::Wish(wish) => self.take(*wish),
                Event::Exit(exited) => self.note_exit(&exited),
                Event::Stop => break,
                Event::Time => {}
            }
            while let Ok(exited) = self.exits.try_recv() {
                self.note_exit(&exited);
            }
        }
        let console = self.platform.console.clone();
        self.brokers.stop(&console, &mut self.ending.hurry).await;
    }

    async fn next(&mut self, stop: &mut watch::Receiver<bool>, pause: Duration) -> Event {
        tokio::select! {
            wish = self.wishes.recv() => wish.map_or(Event::Stop, |wish| Event::Wish(Box::new(wish))),
            Some(exited) = self.exits.recv() => Event::Exit(exited),
            () = told(stop) => Event::Stop,
            () = tokio::time::sleep(pause) => Event::Time,
        }
    }

    fn take(&mut self, wish: Desired) {
        let mut newest = wish;
        let mut edits = std::mem::take(&mut newest.edits);
        while let Ok(mut newer) = self.wishes.try_recv() {
            edits.append(&mut newer.edits);
            newest = Desired { noticed: newest.noticed, ..newer };
        }
        if self.edits.is_empty() {
            self.edits_noticed = newest.noticed;
        }
        self.edits.append(&mut edits);
        self.desired = newest;
        self.is_desired_new = true;
    }

    fn note_exit(&mut self, exited: &Exited) {
        tracing::debug!(broker = exited.name, pid = exited.pid, how = exited.how, "a broker ended");
        let program = program(&self.platform, &self.namespace);
        self.brokers.exited(exited, &program);
    }

    /// Something about the whole cluster.
    fn say(&self, text: &str) {
        self.platform.console.step(&self.scoped_name, text);
    }
}

fn program<'a>(platform: &'a Platform, namespace: &'a str) -> Program<'a> {
    Program {
        binary: &platform.binary,
        state: &platform.state,
        console: &platform.console,
        scope: namespace,
    }
}

fn now() -> Timestamp {
    Timestamp::now()
}
