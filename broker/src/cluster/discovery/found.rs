//! What a watch has found, between the task that watches and those who dial.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::sync::watch;

/// First wait before a watch that broke is begun again; doubles up to [`BACKOFF_MAX`].
const BACKOFF_MIN: Duration = Duration::from_secs(1);

/// Longest such wait.
const BACKOFF_MAX: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, Default)]
struct State {
    /// `host:port` of brokers.
    targets: BTreeSet<String>,
    /// Why they may be out of date; `None`: they are not.
    problem: Option<String>,
}

/// What a watch has found. A clone is told the same.
#[derive(Debug, Clone)]
pub struct Found(watch::Receiver<State>);

impl Found {
    /// What is known now, and why it may be out of date.
    #[must_use]
    pub fn now(&mut self) -> (BTreeSet<String>, Option<String>) {
        let State { targets, problem } = self.0.borrow_and_update().clone();
        (targets, problem)
    }

    pub(super) async fn changed(&mut self) {
        // The watch ends with the process.
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// The task's side.
#[derive(Debug)]
pub(super) struct Finder {
    /// What is watched, for the log.
    what: &'static str,
    state: watch::Sender<State>,
    backoff: Duration,
}

impl Finder {
    /// Nothing is known yet.
    pub(super) fn new(what: &'static str) -> (Self, Found) {
        let problem = Some(format!("{what} has not answered yet"));
        let (state, receiver) = watch::channel(State { problem, ..State::default() });
        (Self { what, state, backoff: BACKOFF_MIN }, Found(receiver))
    }

    /// These are the brokers now, as a list says. Whether the watch behind it opens is not known yet:
    /// what is said of its trouble stays.
    pub(super) fn listed(&self, targets: BTreeSet<String>) {
        self.state.send_if_modified(|state| {
            let is_new = state.targets != targets;
            state.targets = targets;
            is_new
        });
    }

    /// These are the brokers now, and a watch is open that tells of changes.
    pub(super) fn found(&mut self, targets: BTreeSet<String>) {
        self.backoff = BACKOFF_MIN;
        self.state.send_if_modified(|state| {
            if state.problem.take().is_some() {
                tracing::info!(brokers = targets.len(), "{} tells where brokers are", self.what);
            } else if state.targets == targets {
                return false;
            }
            state.targets = targets;
            true
        });
    }

    /// The watch broke: what was found stays. Said once for each reason.
    pub(super) async fn failed(&mut self, problem: String) {
        self.state.send_if_modified(|state| {
            let is_new = state.problem.as_ref() != Some(&problem);
            if is_new {
                tracing::warn!(
                    problem,
                    known = state.targets.len(),
                    "{} does not tell where brokers are: those that are known stay",
                    self.what
                );
                state.problem = Some(problem);
            }
            is_new
        });
        tokio::time::sleep(self.backoff).await;
        self.backoff = (self.backoff * 2).min(BACKOFF_MAX);
    }

    /// Waits before all is listed anew, where nothing broke: a server that ends each watch at once is
    /// not to be asked without a pause.
    pub(super) async fn pause() {
        tokio::time::sleep(BACKOFF_MIN).await;
    }

    /// Whether nobody wants to know any more.
    pub(super) fn is_unwanted(&self) -> bool {
        self.state.receiver_count() == 0
    }
}
