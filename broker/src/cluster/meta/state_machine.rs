//! openraft's state machine around [`ClusterState`]: in memory, with snapshots on disk.
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
use openraft::{EntryPayload, Membership, OptionalSend, RaftSnapshotBuilder};
use tokio::sync::watch;

use super::layout::{decode, encode};
use super::sessions::{Applied, SessionEvents};
use super::type_config::{
    BatchOutcome, LogId, MemberNode, Snapshot, SnapshotMeta, StoredMembership, TypeConfig,
};
use crate::cluster::environment::{Environment, Process, SnapshotStorage};
use crate::storage::{GroupId, SnapshotFile};
use crate::sync::lock;

/// The policy as of an applied log entry.
#[derive(Debug, Clone, Default)]
pub struct AppliedPolicy {
    /// The entry; 0 for the empty policy that all begins with.
    pub log_index: u64,
    /// The policy.
    pub policy: Arc<Policy>,
}

struct Inner {
    state: ClusterState,
    applied: Option<LogId>,
    membership: StoredMembership,
    /// What the snapshot on disk covers.
    snapshot: Option<SnapshotMeta>,
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
    group: GroupId,
    store: E::Snapshots,
    inner: Arc<Mutex<Inner>>,
    /// Held while the snapshot file is replaced: one that is being made must not overwrite a
    /// newer one that the leader sent meanwhile, as the log before that one is gone.
    file: Arc<tokio::sync::Mutex<()>>,
    policy: watch::Sender<AppliedPolicy>,
    feature_level: watch::Sender<u16>,
    applied: Arc<Applied>,
    /// This node and its process.
    this: (NodeId, u64),
    events: Arc<SessionEvents>,
}

impl<E: Environment> StateMachine<E> {
    /// The state as of the snapshot on disk. `seed` is a number that clients can't foresee. Blocks.
    pub(super) fn open(
        store: E::Snapshots,
        group: GroupId,
        this: (NodeId, u64),
        seed: u64,
    ) -> io::Result<Self> {
        let found = store.read(group).map_err(io::Error::other)?;
        let machine = Self {
            group,
            store,
            inner: Arc::new(Mutex::new(Inner {
                state: ClusterState::with_seed(seed),
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
            let bytes = content.len() as u64;
            let state = StateSnapshot::decode(content).map_err(io::Error::other)?;
            machine.install(meta, state, bytes);
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

    /// How far the state has moved from the last snapshot.
    pub(super) fn growth(&self) -> Growth {
        lock(&self.inner).growth
    }

    fn install(&self, meta: SnapshotMeta, state: StateSnapshot, bytes: u64) {
        let mut inner = lock(&self.inner);
        inner.state.install(state);
        inner.applied = meta.last_log_id;
        inner.membership = meta.last_membership.clone();
        inner.growth = Growth {
            snapshot_bytes: bytes,
            snapshot_index: meta.last_log_id.map(|last| last.index),
            is_snapshot_being_made: inner.growth.is_snapshot_being_made,
            ..Growth::default()
        };
        inner.snapshot = Some(meta);
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

impl<E: Environment> RaftStateMachine<TypeConfig<E>> for StateMachine<E> {
    type SnapshotData = Bytes;
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

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, content: Bytes) -> io::Result<()> {
        let (store, group, meta) = (self.store.clone(), self.group, meta.clone());
        let bytes = content.len() as u64;
        let for_disk = meta.clone();
        let _file = self.file.lock().await;
        let state = E::blocking(move || {
            let state = StateSnapshot::decode(content.clone()).map_err(io::Error::other)?;
            let encoded = encode(&for_disk)?;
            store.write(group, &encoded, &content).map_err(io::Error::other)?;
            Ok(state)
        })
        .await?;
        self.install(meta, state, bytes);
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Snapshot>> {
        if lock(&self.inner).snapshot.is_none() {
            return Ok(None);
        }
        let (store, group) = (self.store.clone(), self.group);
        let found = E::blocking(move || store.read(group).map_err(io::Error::other)).await?;
        match found {
            Some(SnapshotFile { meta, content }) => {
                let meta = decode("snapshot meta", &meta)?;
                Ok(Some(Snapshot { meta, snapshot: content }))
            }
            None => Ok(None),
        }
    }
}

/// A snapshot being made: the state is taken, encoding and writing are still to come.
pub(super) struct SnapshotBuilder<E: Environment> {
    machine: StateMachine<E>,
    /// The entries that this snapshot will make superfluous.
    replaced: Growth,
    meta: SnapshotMeta,
    state: StateSnapshot,
}

impl<E: Environment> RaftSnapshotBuilder<TypeConfig<E>> for SnapshotBuilder<E> {
    type SnapshotData = Bytes;

    async fn build_snapshot(&mut self) -> io::Result<Snapshot> {
        let built = self.build().await;
        lock(&self.machine.inner).growth.is_snapshot_being_made = false;
        built
    }
}

impl<E: Environment> SnapshotBuilder<E> {
    async fn build(&self) -> io::Result<Snapshot> {
        let (store, group) = (self.machine.store.clone(), self.machine.group);
        let (meta, state) = (self.meta.clone(), self.state.clone());
        let content =
            E::blocking(move || state.encode().map(Bytes::from).map_err(io::Error::other)).await?;
        let _file = self.machine.file.lock().await;
        let on_disk = lock(&self.machine.inner).snapshot.as_ref().and_then(|s| s.last_log_id);
        if on_disk > meta.last_log_id {
            return Ok(Snapshot { meta, snapshot: content });
        }
        let for_disk = content.clone();
        E::blocking(move || {
            let meta = encode(&meta)?;
            store.write(group, &meta, &for_disk).map_err(io::Error::other)
        })
        .await?;
        let last = self.meta.last_log_id.map(|last| last.index);
        {
            let mut inner = lock(&self.machine.inner);
            inner.snapshot = Some(self.meta.clone());
            let growth = &mut inner.growth;
            growth.entries = growth.entries.saturating_sub(self.replaced.entries);
            growth.bytes = growth.bytes.saturating_sub(self.replaced.bytes);
            growth.snapshot_bytes = content.len() as u64;
            growth.snapshot_index = last;
        }
        tracing::info!(log_index = last, bytes = content.len(), "snapshot written");
        Ok(Snapshot { meta: self.meta.clone(), snapshot: content })
    }
}
