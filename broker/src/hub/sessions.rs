//! Durable sessions between the workers and the meta group.

use std::sync::Mutex;
use std::time::Duration;

use broker_core::engine::{Reach, SessionsOutcome};
use broker_core::shard::Drops;
use bytes::Bytes;
use openraft::AsyncRuntime;
use tokio::sync::watch;

use super::core::Core;
use crate::cluster::meta::{MetaGroup, ProposeError, SessionNews, SessionsProposed};
use crate::cluster::{Environment, WallClock, spawn};
use crate::node::{ToWorker, WorkerId};
use crate::sync::lock;

/// Wait before the process is announced again.
const ANNOUNCE_PAUSE: Duration = Duration::from_millis(200);

/// What a worker is told of its operations, once they have come as far as it asked.
pub(super) async fn outcome<E: Environment>(
    meta: &MetaGroup<E>,
    reach: Reach,
    proposed: impl Future<Output = Result<SessionsProposed, ProposeError>>,
) -> SessionsOutcome {
    let SessionsProposed { outcomes, log_index } = match proposed.await {
        Ok(proposed) => proposed,
        Err(error) => {
            tracing::debug!(%error, "operations on sessions are not committed");
            return match error {
                ProposeError::TimedOut => SessionsOutcome::Unknown,
                _ => SessionsOutcome::Refused,
            };
        }
    };
    match reach {
        Reach::Committed => {}
        Reach::AppliedHere => meta.applied_here(log_index).await,
        Reach::AppliedEverywhere => meta.applied_everywhere(log_index).await,
    }
    SessionsOutcome::Applied(outcomes)
}

/// Tells the workers what applied entries ask of them.
pub(super) fn tell_workers<E: Environment>(core: &Mutex<Core<E>>, news: SessionNews) {
    let mut core = lock(core);
    if news.is_everything {
        core.tell_workers(|| ToWorker::SessionsReady { sessions: None });
    }
    for (worker, sessions) in news.ready {
        let sessions = Some(sessions.into_iter().collect());
        core.answer(WorkerId(worker), ToWorker::SessionsReady { sessions });
    }
    if news.drops != Drops::default() {
        core.answer(WorkerId(0), ToWorker::SessionDrops(news.drops));
    }
    for live in news.live {
        core.answer(WorkerId(0), ToWorker::PublishLive(Box::new(live)));
    }
}

/// Whether this node's copy of the state is as of some moment after it last heard a leader again.
///
/// It is, once a batch that this process proposed since then is applied here. The first one also
/// ends what an earlier process of this node left: sessions that count as connected here.
pub(super) struct Currency {
    is_wanted: bool,
    was_serving: bool,
    /// Each try has its own, so that a late end of an earlier one says nothing.
    reached: watch::Receiver<bool>,
}

impl Currency {
    /// Where `is_wanted` is false, nobody needs to know.
    pub(super) fn new(is_wanted: bool) -> Self {
        let (_, reached) = watch::channel(!is_wanted);
        Self { is_wanted, was_serving: false, reached }
    }

    /// Looks whether a leader is heard again.
    pub(super) fn follow<E: Environment>(
        &mut self,
        is_serving: bool,
        meta: &MetaGroup<E>,
        clock: E::Clock,
    ) {
        if is_serving && !self.was_serving && self.is_wanted {
            let (sender, reached) = watch::channel(false);
            self.reached = reached;
            spawn::<E>(announce_process(meta.clone(), clock, sender));
        }
        self.was_serving = is_serving;
    }

    pub(super) fn is_current(&self) -> bool {
        *self.reached.borrow()
    }

    /// Waits until the answer may have changed. Cancel-safe.
    pub(super) async fn changed(&mut self) {
        if self.reached.changed().await.is_err() {
            // Whoever could change it has ended.
            std::future::pending().await
        }
    }
}

async fn announce_process<E: Environment>(
    meta: MetaGroup<E>,
    clock: E::Clock,
    reached: watch::Sender<bool>,
) {
    loop {
        match meta.propose_sessions(clock.now(), Bytes::new()).await {
            Ok(proposed) => {
                meta.applied_here(proposed.log_index).await;
                // Another try may have taken this one's place.
                let _ = reached.send(true);
                return;
            }
            Err(error) => tracing::debug!(%error, "this process is not announced yet"),
        }
        E::Runtime::sleep(ANNOUNCE_PAUSE).await;
    }
}
