//! `mqtt-operator local up`: reads the manifests, runs a task for each cluster, follows edits, and ends in order. IO.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use jiff::Timestamp;
use operator_core::policy::Problem;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::cluster::desired::{Desired, Edit, Statuses};
use super::cluster::{ClusterTask, Ending, Platform};
use super::console::Console;
use super::edits::{edits, statuses_of, without_statuses};
use super::manifest::{Complaint, Folder, Identity, Kind, ManifestObject, Objects, scoped};
use super::process;
use super::state::{Session, StateDir};
use super::store::Store;
use super::watch::FolderWatch;
use crate::args::UpArgs;
use crate::health::{self, Readiness};
use crate::metrics::Metrics;

/// Wishes that a cluster's task has not taken yet.
const WISHES_MAX: usize = 8;
/// How often it is looked whether `local down` was called.
const LOOK_FOR_STOP: Duration = Duration::from_millis(100);

/// Runs until a signal or `local down`; then stops the brokers.
///
/// # Errors
/// The folder or the broker program can't be used, or the state folder is in use: in words, with what to change.
pub(crate) async fn up(args: &UpArgs) -> anyhow::Result<()> {
    let manifests = &args.manifests;
    anyhow::ensure!(
        manifests.is_dir(),
        "{} is not a folder: -f takes the folder that holds the manifests",
        manifests.display()
    );
    let console = Console::new();
    let state = StateDir::new(&args.state.state)?;
    let _lock = state.lock()?;
    let binary = binary(args.broker_binary.as_deref())?;
    let version = process::version(&binary).await.map_err(anyhow::Error::msg)?;
    let metrics = Metrics::new().context("make the metrics")?;
    let readiness = Readiness::default();
    if let Some(listen) = args.http_listen {
        tokio::spawn(health::serve(listen, metrics.clone(), readiness.clone()));
    }
    let shown = std::path::absolute(manifests)?.display().to_string();
    let text = format!("manifests {shown}, state {state}, broker {version}");
    console.step("local up", &text);
    let store = Store::new(&state);
    let platform = Platform {
        state,
        store,
        console,
        binary,
        version,
        listener_port_base: args.listener_port_base,
        metrics,
        manifests: shown,
    };
    let mut up = Up::new(platform, manifests);
    up.read();
    up.run(readiness).await
}

/// The broker program: the one that was named, or the one beside this program.
fn binary(named: Option<&Path>) -> anyhow::Result<PathBuf> {
    if let Some(named) = named {
        anyhow::ensure!(named.is_file(), "--broker-binary {} is not a file", named.display());
        return Ok(std::path::absolute(named)?);
    }
    let own = std::env::current_exe().context("find this program's own path")?;
    let beside = own.with_file_name("mqtt-broker");
    anyhow::ensure!(
        beside.is_file(),
        "there is no mqtt-broker beside this program ({}): build it, or say where it is with --broker-binary",
        beside.display()
    );
    Ok(beside)
}

struct Up {
    platform: Platform,
    folder: Folder,
    objects: Objects,
    complaints: Vec<Complaint>,
    /// What could not be read, told once.
    trouble: String,
    tasks: JoinSet<Identity>,
    clusters: HashMap<Identity, Running>,
    started: (mpsc::Sender<()>, mpsc::Receiver<()>),
    /// Tasks that have looked at everything once.
    passes: usize,
    tasks_ever: usize,
    hurry: watch::Sender<bool>,
    session: Session,
    statuses: BTreeMap<Identity, Statuses>,
    /// A task has ended by itself, which none does.
    is_faulty: bool,
}

/// A cluster's task.
struct Running {
    wishes: mpsc::Sender<Desired>,
    stop: watch::Sender<bool>,
}

impl Up {
    fn new(platform: Platform, manifests: &Path) -> Self {
        let objects = platform.store.load();
        let statuses = statuses_of(&objects);
        Self {
            folder: Folder::new(manifests),
            objects: without_statuses(objects),
            complaints: Vec::new(),
            trouble: String::new(),
            tasks: JoinSet::new(),
            clusters: HashMap::new(),
            started: mpsc::channel(WISHES_MAX),
            passes: 0,
            tasks_ever: 0,
            hurry: watch::channel(false).0,
            session: Session {
                pid: std::process::id(),
                manifests: platform.manifests.clone(),
                ..Session::default()
            },
            statuses,
            is_faulty: false,
            platform,
        }
    }

    /// Reads the folder and tells the tasks what changed.
    fn read(&mut self) {
        let noticed = Instant::now();
        let reading = match self.folder.read(&self.objects, Timestamp::now()) {
            Ok(reading) => {
                self.trouble.clear();
                reading
            }
            Err(error) => {
                let text = format!("{} can't be read: {error}", self.folder.path().display());
                if self.trouble != text {
                    self.platform.console.step("manifests", &text);
                    self.trouble = text;
                }
                return;
            }
        };
        for complaint in &reading.complaints {
            if !self.complaints.contains(complaint) {
                self.platform.console.step("manifests", &complaint.to_string());
            }
        }
        let is_repaired = !self.complaints.is_empty() && reading.complaints.is_empty();
        if is_repaired {
            self.platform.console.step("manifests", "nothing is wrong with them any more");
        }
        let is_first = self.tasks_ever == 0 && self.complaints.is_empty();
        self.complaints = reading.complaints;
        let edits = edits(&self.objects, &reading.objects);
        self.objects = reading.objects;
        self.count();
        if !edits.is_empty() || is_first {
            self.apply(edits, noticed);
        }
        self.tell_session();
    }

    fn count(&self) {
        for kind in Kind::ALL {
            let count = self.objects.keys().filter(|identity| identity.kind == kind).count();
            let gauge = self.platform.metrics.objects.with_label_values(&[kind.as_str()]);
            gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    /// Starts, tells and ends tasks.
    fn apply(&mut self, edits: Vec<(Identity, Option<String>, Edit)>, noticed: Instant) {
        for (identity, _, edit) in &edits {
            if edit.verb == "deleted" {
                self.platform.store.remove(identity);
            }
        }
        let wanted: Vec<Identity> =
            self.objects.keys().filter(|id| id.kind == Kind::Cluster).cloned().collect();
        self.clusters.retain(|identity, running| {
            let stays = wanted.contains(identity);
            if !stays {
                let _ = running.stop.send(true);
                let text = "deleted: its brokers are stopped; data, keys and passwords stay in the state folder";
                self.platform.console.step(&scoped(&identity.namespace, &identity.name), text);
            }
            stays
        });
        for cluster in &wanted {
            let concerns = |(identity, of, _): &&(Identity, Option<String>, Edit)| {
                identity.namespace == cluster.namespace
                    && of.as_ref().is_none_or(|of| *of == cluster.name)
            };
            let own: Vec<Edit> =
                edits.iter().filter(concerns).map(|(_, _, edit)| edit.clone()).collect();
            let is_running = self.clusters.contains_key(cluster);
            if is_running && own.is_empty() {
                continue;
            }
            let Some(desired) = self.desired(cluster, own, noticed) else { continue };
            self.hand_over(cluster, desired);
        }
        self.refuse_homeless();
    }

    fn hand_over(&mut self, cluster: &Identity, desired: Desired) {
        if let Some(running) = self.clusters.get(cluster) {
            if let Err(error) = running.wishes.try_send(desired) {
                // Not lost: the next change, or the next look, brings everything again.
                tracing::warn!(%cluster, %error, "the cluster's task is behind");
            }
            return;
        }
        let (wishes, received) = mpsc::channel(WISHES_MAX);
        let (stop, stopped) = watch::channel(false);
        let ending = Ending { stop: stopped, hurry: self.hurry.subscribe() };
        let statuses = self.statuses.remove(cluster).unwrap_or_default();
        let task = ClusterTask::new(
            self.platform.clone(),
            desired,
            received,
            ending,
            self.started.0.clone(),
            statuses,
        );
        let identity = cluster.clone();
        self.tasks_ever += 1;
        self.tasks.spawn(async move {
            task.run().await;
            identity
        });
        self.clusters.insert(cluster.clone(), Running { wishes, stop });
    }

    fn desired(&self, cluster: &Identity, edits: Vec<Edit>, noticed: Instant) -> Option<Desired> {
        let ManifestObject::Cluster(object) = &self.objects.get(cluster)?.object else {
            return None;
        };
        let mut desired = Desired {
            cluster: object.clone(),
            users: Vec::new(),
            acls: Vec::new(),
            secrets: BTreeMap::new(),
            edits,
            noticed,
        };
        for (identity, stored) in &self.objects {
            if identity.namespace != cluster.namespace {
                continue;
            }
            let is_ours = stored.object.cluster() == Some(&cluster.name);
            match &stored.object {
                ManifestObject::User(user) if is_ours => desired.users.push(user.clone()),
                ManifestObject::Acl(acl) if is_ours => desired.acls.push(acl.clone()),
                ManifestObject::Secret(secret) => {
                    desired.secrets.insert(identity.name.clone(), secret.clone());
                }
                _ => {}
            }
        }
        Some(desired)
    }

    /// Users and rules of clusters that don't exist.
    fn refuse_homeless(&mut self) {
        for (identity, stored) in &self.objects {
            let Some(cluster) = stored.object.cluster() else { continue };
            let home = Identity {
                kind: Kind::Cluster,
                namespace: identity.namespace.clone(),
                name: cluster.to_owned(),
            };
            if self.objects.contains_key(&home) {
                continue;
            }
            let problem = Problem::unknown_cluster(cluster);
            let text = format!("{identity} is not in force: {problem}");
            if super::homeless::write(&self.platform.store, identity, &stored.object, &problem) {
                self.platform.console.step("manifests", &text);
            }
        }
    }

    fn tell_session(&mut self) {
        self.session.complaints.clone_from(&self.complaints);
        self.session.is_started = self.passes >= self.tasks_ever;
        if let Err(error) = self.platform.state.set_session(&self.session) {
            tracing::error!(%error, "session.json was not written");
        }
    }

    async fn run(&mut self, readiness: Readiness) -> anyhow::Result<()> {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut watch = FolderWatch::new(self.folder.path());
        let mut look = tokio::time::interval(LOOK_FOR_STOP);
        loop {
            tokio::select! {
                _ = interrupt.recv() => break,
                _ = terminate.recv() => break,
                () = watch.changed() => self.read(),
                Some(()) = self.started.1.recv() => {
                    self.passes += 1;
                    self.tell_session();
                    readiness.ready();
                }
                Some(ended) = self.tasks.join_next() => self.ended(ended),
                _ = look.tick() => {
                    if self.platform.state.is_stop_requested() {
                        break;
                    }
                }
            }
            if self.is_faulty {
                break;
            }
        }
        self.platform.console.step("local up", "stopping the brokers; once more Ctrl-C hurries");
        for running in self.clusters.values() {
            let _ = running.stop.send(true);
        }
        loop {
            tokio::select! {
                _ = interrupt.recv() => drop(self.hurry.send(true)),
                _ = terminate.recv() => drop(self.hurry.send(true)),
                ended = self.tasks.join_next() => match ended {
                    Some(ended) => self.ended(ended),
                    None => break,
                },
            }
        }
        let text = format!("stopped; everything is kept in {}", self.platform.state);
        self.platform.console.step("local up", &text);
        anyhow::ensure!(!self.is_faulty, "a cluster's task has ended by itself");
        Ok(())
    }

    fn ended(&mut self, ended: Result<Identity, tokio::task::JoinError>) {
        match ended {
            // One that was deleted and created again meanwhile has another task.
            Ok(identity) => {
                let is_over = self.clusters.get(&identity).is_none_or(|r| r.wishes.is_closed());
                if is_over {
                    self.clusters.remove(&identity);
                }
            }
            Err(error) => {
                self.platform
                    .console
                    .step("local up", &format!("a fault of this program: {error}"));
                self.is_faulty = true;
            }
        }
    }
}
