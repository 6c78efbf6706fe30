//! openraft's state machine around [`ClusterState`]: in memory, but for what [`MessageStore`] moves
//! from it, with snapshots on disk.
//!
//! [`MessageStore`]: broker_core::stored::MessageStore
//!
//! A restart rebuilds it from the snapshot and the log behind it.

use std::io;
use std::sync::{Arc, Mutex};

use broker_core::cluster_state::{
    ClusterState, Effect, FEATURE_LEVEL_FIRST, RetainedStore, SharedSecret, StateSnapshot,
};
use broker_core::shard::SessionStore;
use broker_core::types::NodeId;
use broker_policy::Policy;
use bytes::Bytes;
use futures::{Stream, TryStreamExt};
use openraft::storage::{EntryResponder, RaftStateMachine};
use openraft::{EntryPayload, Membership, OptionalSend};
use tokio::sync::watch;

use super::layout::{decode, encode};
use super::sessions::{Applied, SessionEvents};
use super::snapshot_builder::SnapshotBuilder;
use super::type_config::{
    BatchOutcome, LogId, MemberNode, Snapshot, SnapshotMeta, StoredMembership, TypeConfig,
};
use crate::cluster::environment::{Environment, Process, SnapshotStorage};
use crate::storage::{GroupId, SnapshotContent, SnapshotFile};
use crate::sync::lock;

/// The policy as of an applied log entry.
#[derive(Debug, Clone, Default)]
pub struct AppliedPolicy {
    /// The entry; 0 for the empty policy that all begins with.
    pub log_index: u64,
    /// The policy.
    pub policy: Arc<Policy>,
}

/// What the machine holds.
struct Inner {
    state: ClusterState,
    applied: Option<LogId>,
    membership: StoredMembership,
    /// The snapshot on disk and what it covers.
    snapshot: Option<Snapshot>,
    growth: Growth,
}

/// How far the state has moved from the last snapshot.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Growth {
    /// Entries applied since.
    pub(super) entries: u64,
    /// Their bytes.
    pub(super) bytes: u64,
    /// Bytes of the snapshot.
    pub(super) snapshot_bytes: u64,
    /// The last entry that it covers.
    pub(super) snapshot_index: Option<u64>,
    /// Whether the next one is under way.
    pub(super) is_snapshot_being_made: bool,
}

/// The state machine; a clone is the same one.
#[derive(Clone)]
pub(super) struct StateMachine<E: Environment = Process> {
    pub(super) group: GroupId,
    pub(super) store: E::Snapshots,
    inner: Arc<Mutex<Inner>>,
    /// Held while the snapshot file is replaced: one that is being made must not overwrite a
    /// newer one that the leader sent meanwhile, as the log before that one is gone.
    pub(super) file: Arc<tokio::sync::Mutex<()>>,
    policy: watch::Sender<AppliedPolicy>,
    feature_level: watch::Sender<u16>,
    applied: Arc<Applied>,
    /// This node and its process.
    this: (NodeId, u64),
    events: Arc<SessionEvents>,
}

impl<E: Environment> StateMachine<E> {
    /// The state as of the snapshot on disk; `state` is what all begins with. Blocks.
    pub(super) fn open(
        store: E::Snapshots,
        group: GroupId,
        this: (NodeId, u64),
        state: ClusterState,
    ) -> io::Result<Self> {
        let found = store.read(group).map_err(io::Error::other)?;
        let machine = Self {
            group,
            store,
            inner: Arc::new(Mutex::new(Inner {
                state,
                applied: None,
                membership: StoredMembership::default(),
                snapshot: None,
                growth: Growth::default(),
            })),
            file: Arc::default(),
            policy: watch::Sender::new(AppliedPolicy::default()),
            feature_level: watch::Sender::new(FEATURE_LEVEL_FIRST),
            applied: Arc::default(),
            this,
            events: Arc::default(),
        };
        if let Some(SnapshotFile { meta, content }) = found {
            let meta: SnapshotMeta = decode("snapshot meta", &meta)?;
            let state = StateSnapshot::read(content.range()).map_err(io::Error::other)?;
            machine.install(Snapshot { meta, snapshot: content }, state);
        }
        Ok(machine)
    }

    /// The policy as of the last applied entry, and its changes from now on.
    pub(super) fn watch_policy(&self) -> watch::Receiver<AppliedPolicy> {
        self.policy.subscribe()
    }

    /// What may be written, and its changes from now on.
    pub(super) fn watch_feature_level(&self) -> watch::Receiver<u16> {
        self.feature_level.subscribe()
    }

    /// The retained messages; the store stays the same over restores.
    pub(super) fn retained(&self) -> Arc<RetainedStore> {
        Arc::clone(lock(&self.inner).state.retained())
    }

    /// The durable sessions; the store stays the same over restores.
    pub(super) fn sessions(&self) -> Arc<SessionStore> {
        Arc::clone(lock(&self.inner).state.sessions())
    }

    /// The cluster's secret, once it has one; the place stays the same over restores.
    pub(super) fn secret(&self) -> SharedSecret {
        Arc::clone(lock(&self.inner).state.secret())
    }

    /// What applied entries ask of this node's workers.
    pub(super) fn session_events(&self) -> Arc<SessionEvents> {
        Arc::clone(&self.events)
    }

    /// Index of the last applied entry, and its changes.
    pub(super) fn applied(&self) -> Arc<Applied> {
        Arc::clone(&self.applied)
    }

    /// Index of the last applied entry.
    pub(super) fn applied_index(&self) -> Option<u64> {
        lock(&self.inner).applied.map(|applied| applied.index)
    }

    /// The whole state, and the last entry that it holds the effect of.
    pub(super) fn copy(&self) -> Option<(LogId, StateSnapshot)> {
        let inner = lock(&self.inner);
        Some((inner.applied?, inner.state.snapshot()))
    }

    /// The membership as of the last applied entry.
    pub(super) fn membership(&self) -> Membership<u64, MemberNode> {
        lock(&self.inner).membership.membership().clone()
    }

    /// Writes a snapshot that came from elsewhere; it is yet to be installed.
    pub(super) async fn write_snapshot(
        &self,
        meta: SnapshotMeta,
        content: Bytes,
    ) -> io::Result<Snapshot> {
        let (store, group) = (self.store.clone(), self.group);
        E::blocking(move || {
            let mut file = store.begin(group, &encode(&meta)?).map_err(into_io)?;
            file.write_all(&content)?;
            let snapshot = file.finish().map_err(into_io)?;
            Ok(Snapshot { meta, snapshot })
        })
        .await
    }

    /// How far the state has moved from the last snapshot.
    pub(super) fn growth(&self) -> Growth {
        lock(&self.inner).growth
    }

    /// The last entry that the snapshot on disk covers.
    pub(super) fn newest_snapshot(&self) -> Option<LogId> {
        lock(&self.inner).snapshot.as_ref().and_then(|snapshot| snapshot.meta.last_log_id)
    }

    /// A snapshot is on disk in the place of the one before: the entries in `replaced` are in it.
    pub(super) fn replace_snapshot(&self, snapshot: Snapshot, replaced: Growth) {
        let mut inner = lock(&self.inner);
        let growth = &mut inner.growth;
        growth.entries = growth.entries.saturating_sub(replaced.entries);
        growth.bytes = growth.bytes.saturating_sub(replaced.bytes);
        growth.snapshot_bytes = snapshot.snapshot.range().bytes();
        growth.snapshot_index = snapshot.meta.last_log_id.map(|last| last.index);
        inner.snapshot = Some(snapshot);
    }

    /// No snapshot is being made any more.
    pub(super) fn snapshot_ended(&self) {
        lock(&self.inner).growth.is_snapshot_being_made = false;
    }

    fn install(&self, snapshot: Snapshot, state: StateSnapshot) {
        let meta = &snapshot.meta;
        let mut inner = lock(&self.inner);
        inner.state.install(state);
        inner.applied = meta.last_log_id;
        inner.membership = meta.last_membership.clone();
        inner.growth = Growth {
            snapshot_bytes: snapshot.snapshot.range().bytes(),
            snapshot_index: meta.last_log_id.map(|last| last.index),
            is_snapshot_being_made: inner.growth.is_snapshot_being_made,
            ..Growth::default()
        };
        inner.snapshot = Some(snapshot);
        self.feature_level.send_replace(inner.state.feature_level());
        self.announce_policy(&inner);
        self.events.everything();
        self.applied.set(inner.applied.map_or(0, |applied| applied.index));
    }

    fn announce_policy(&self, inner: &Inner) {
        let log_index = inner.applied.map_or(0, |applied| applied.index);
        let policy = Arc::new(inner.state.policy().clone());
        self.policy.send_replace(AppliedPolicy { log_index, policy });
    }

    /// Applies one entry; what it answers goes to whoever proposed it.
    fn apply_entry(&self, entry: super::type_config::Entry) -> io::Result<BatchOutcome> {
        let mut inner = lock(&self.inner);
        let log_index = entry.log_id.index;
        let mut outcome = BatchOutcome::default();
        let mut has_new_policy = false;
        match entry.payload {
            EntryPayload::Blank => {}
            EntryPayload::Membership(membership) => {
                tell(log_index, &membership);
                inner.membership = StoredMembership::new(Some(entry.log_id), membership);
            }
            EntryPayload::Normal(batch) => {
                let applied = inner.state.apply(log_index, &batch).map_err(|error| {
                    io::Error::new(
                        io::ErrorKind::InvalidData,
                        format!("apply log entry {log_index}: {error}"),
                    )
                })?;
                inner.growth.bytes += batch.as_bytes().len() as u64;
                for effect in applied.effects {
                    match effect {
                        Effect::PolicyChanged { .. } => has_new_policy = true,
                        Effect::FeatureLevelRaised { level } => {
                            self.feature_level.send_replace(level);
                        }
                        Effect::SessionsReady { sessions } => {
                            let (node, start) = self.this;
                            self.events.sessions_ready(node, start, sessions);
                        }
                        Effect::Live { message } => {
                            if (message.node, message.start) == self.this {
                                self.events.live(message);
                            }
                        }
                        Effect::Dropped { node, start, drops } => {
                            if (node, start) == self.this {
                                self.events.dropped(drops);
                            }
                        }
                    }
                }
                outcome.outcomes = applied.outcomes;
            }
        }
        inner.applied = Some(entry.log_id);
        inner.growth.entries += 1;
        if has_new_policy {
            self.announce_policy(&inner);
        }
        self.applied.set(log_index);
        Ok(outcome)
    }
}

/// One line for each change of who votes and who follows: what a membership has become, and in which
/// steps, is read from any broker's log.
fn tell(log_index: u64, membership: &Membership<u64, MemberNode>) {
    let name =
        |id: u64| membership.get_node(&id).map_or_else(|| id.to_string(), |n| n.name.clone());
    let names = |ids: &mut dyn Iterator<Item = u64>| ids.map(name).collect::<Vec<_>>().join(",");
    let voters = membership.get_joint_config().iter();
    let voters: Vec<_> = voters.map(|set| names(&mut set.iter().copied())).collect();
    let voters = voters.join(" and ");
    let learners = names(&mut membership.learner_ids());
    tracing::info!(log_index, voters, learners, "membership applied");
}

impl<E: Environment> RaftStateMachine<TypeConfig<E>> for StateMachine<E> {
    type SnapshotData = SnapshotContent;
    type SnapshotBuilder = SnapshotBuilder<E>;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        let inner = lock(&self.inner);
        Ok((inner.applied, inner.membership.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<TypeConfig<E>>>> + Unpin + OptionalSend,
    {
        while let Some((entry, responder)) = entries.try_next().await? {
            let outcome = self.apply_entry(entry)?;
            if let Some(responder) = responder {
                responder.send(outcome);
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> SnapshotBuilder<E> {
        let mut inner = lock(&self.inner);
        inner.growth.is_snapshot_being_made = true;
        SnapshotBuilder {
            machine: self.clone(),
            replaced: inner.growth,
            meta: SnapshotMeta {
                last_log_id: inner.applied,
                last_membership: inner.membership.clone(),
            },
            state: inner.state.snapshot(),
        }
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        content: SnapshotContent,
    ) -> io::Result<()> {
        let snapshot = Snapshot { meta: meta.clone(), snapshot: content.clone() };
        let _file = self.file.lock().await;
        let state = E::blocking(move || {
            let state = StateSnapshot::read(content.range()).map_err(io::Error::other)?;
            content.replace_earlier().map_err(io::Error::other)?;
            Ok(state)
        })
        .await?;
        self.install(snapshot, state);
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Snapshot>> {
        Ok(lock(&self.inner).snapshot.clone())
    }
}

/// An error as what the disk said, where it was the disk.
pub(super) fn into_io(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    let source = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    match source.map(io::Error::kind) {
        Some(kind) => io::Error::new(kind, error),
        None => io::Error::other(error),
    }
}
