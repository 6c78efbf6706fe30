//! Writes the state to disk as a snapshot, beside the entries that go on being applied.

use std::io;
use std::time::Duration;

use broker_core::cluster_state::StateSnapshot;
use broker_core::stored::Placed;
use openraft::{AsyncRuntime, RaftSnapshotBuilder};

use super::layout::encode;
use super::state_machine::{Growth, StateMachine, into_io};
use super::type_config::{Snapshot, SnapshotMeta, TypeConfig};
use crate::cluster::environment::{Environment, SnapshotStorage};
use crate::storage::{SnapshotContent, is_full};

/// Wait before another try to write a snapshot where the disk was full.
const FULL_PAUSE: Duration = Duration::from_secs(2);

/// A snapshot being made: the state is taken, encoding and writing are still to come.
pub(super) struct SnapshotBuilder<E: Environment> {
    pub(super) machine: StateMachine<E>,
    /// The entries that this snapshot will make superfluous.
    pub(super) replaced: Growth,
    pub(super) meta: SnapshotMeta,
    pub(super) state: StateSnapshot,
}

impl<E: Environment> RaftSnapshotBuilder<TypeConfig<E>> for SnapshotBuilder<E> {
    type SnapshotData = SnapshotContent;

    async fn build_snapshot(&mut self) -> io::Result<Snapshot> {
        let built = self.build().await;
        self.machine.snapshot_ended();
        built
    }
}

impl<E: Environment> SnapshotBuilder<E> {
    async fn build(&self) -> io::Result<Snapshot> {
        let (content, placed) = self.write().await?;
        let snapshot = Snapshot { meta: self.meta.clone(), snapshot: content.clone() };
        let _file = self.machine.file.lock().await;
        if self.machine.newest_snapshot() > self.meta.last_log_id {
            return Ok(snapshot);
        }
        let in_place = content.clone();
        E::blocking(move || {
            in_place.replace_earlier().map_err(io::Error::other)?;
            placed.take_over(in_place.range());
            Ok(())
        })
        .await?;
        let (last, bytes) = (self.meta.last_log_id.map(|last| last.index), content.range().bytes());
        self.machine.replace_snapshot(snapshot.clone(), self.replaced);
        tracing::info!(log_index = last, bytes, "snapshot written");
        Ok(snapshot)
    }

    /// Writes the state to a file that is not in the place of the one before yet. While the disk has
    /// no room, it waits: there is nothing else that the log could be cut by.
    async fn write(&self) -> io::Result<(SnapshotContent, Placed)> {
        let mut has_told = false;
        loop {
            let (store, group) = (self.machine.store.clone(), self.machine.group);
            let (meta, state) = (encode(&self.meta)?, self.state.clone());
            let written = E::blocking(move || {
                let mut file = store.begin(group, &meta).map_err(into_io)?;
                let placed = state.write(&mut file).map_err(into_io)?;
                Ok((file.finish().map_err(into_io)?, placed))
            });
            match written.await {
                Err(error) if is_full(&error) => {
                    if !std::mem::replace(&mut has_told, true) {
                        tracing::warn!(%error, "the disk has no room for a snapshot: it has to wait");
                    }
                    E::Runtime::sleep(FULL_PAUSE).await;
                }
                written => return written,
            }
        }
    }
}
