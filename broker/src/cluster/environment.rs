//! What the cluster side of a node stands on: a runtime, links to its peers, a disk, a clock.
//!
//! Layer: bottom of the cluster side. Consensus and hub are generic over it, so that a simulation
//! runs them, not a likeness of them, under virtual time. [`Process`] is the real one.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io;
use std::ops::{Range, RangeInclusive};
use std::sync::Arc;

use broker_core::cluster_state::FEATURE_LEVEL_MAX;
use broker_core::stored::MessageStore;
use broker_core::types::{Millis, NodeId};
use bytes::Bytes;
use openraft::AsyncRuntime;
use openraft::impls::TokioRuntime;
use ring::rand::{SecureRandom as _, SystemRandom};
use tokio::sync::watch;

use super::link_types::{LinkError, PeerHandler};
use super::links::Links;
use crate::node::Clock;
use crate::storage::{
    Completion, GroupId, LogWriter, NewSnapshot, Record, SnapshotError, SnapshotFile,
    SnapshotStore, SpillStore,
};

/// What a node's cluster side stands on. A value of it stands for nothing; it names the parts.
pub trait Environment: Debug + Clone + Copy + Default + Ord + Send + Sync + 'static {
    /// Runs tasks, and knows how time passes.
    type Runtime: AsyncRuntime;
    /// The way to the peers.
    type Links: PeerLinks;
    /// The write-ahead log.
    type Log: GroupLog;
    /// Where snapshots are kept.
    type Snapshots: SnapshotStorage;
    /// Where queued messages are kept that memory has no room for.
    type Messages: MessageStore + Clone + 'static;
    /// Tells what time it is.
    type Clock: WallClock;

    /// Fills `bytes` with what nobody can foresee.
    ///
    /// # Errors
    /// The system gives no random bytes.
    fn fill_random(bytes: &mut [u8]) -> io::Result<()>;

    /// Does work that may block, apart from the runtime's tasks.
    fn blocking<T: Send + 'static>(
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> impl Future<Output = io::Result<T>> + Send;
}

/// The links to the peers, as consensus and hub use them. A clone has the same ones.
pub trait PeerLinks: Clone + Send + Sync + 'static {
    /// This node.
    fn node_id(&self) -> NodeId;

    /// This broker's name.
    fn name(&self) -> &str;

    /// Has `handler` serve the frames of `kinds`, and hear of links. Before there are any.
    fn serve(&self, kinds: RangeInclusive<u8>, handler: Arc<dyn PeerHandler>);

    /// Asks `node` and waits for its answer. Queued at once: what is sent to a node arrives in the
    /// order of the calls, or the link breaks.
    fn request(
        &self,
        node: NodeId,
        kind: u8,
        body: &[u8],
    ) -> impl Future<Output = Result<Bytes, LinkError>> + Send + use<Self>;

    /// Sends one way. `Ok` means queued, not received.
    ///
    /// # Errors
    /// There is no link, or it takes no more.
    fn send(&self, node: NodeId, kind: u8, body: &[u8]) -> Result<(), LinkError>;

    /// Sends one way what may be lost. `Ok(false)` means dropped, as the peer reads too slowly.
    ///
    /// # Errors
    /// There is no link.
    fn send_droppable(&self, node: NodeId, kind: u8, body: &[u8]) -> Result<bool, LinkError>;

    /// Whether requests can be made to `node` now.
    fn is_live(&self, node: NodeId) -> bool;

    /// The nodes to which requests can be made now.
    fn live(&self) -> Vec<NodeId>;

    /// The nodes that can make requests here now.
    fn accepted(&self) -> Vec<NodeId>;

    /// Highest feature level that a node knows to which requests can be made now. Where all are of
    /// one version it is this one's.
    fn feature_level_max(&self, node: NodeId) -> Option<u16> {
        self.is_live(node).then_some(FEATURE_LEVEL_MAX)
    }

    /// Tells the cluster's feature level; a peer that does not know it gets no link.
    fn set_feature_level(&self, _level: u16) {}

    /// Tells who the members are, by name; a peer that has another one's node id gets no link.
    fn set_members(&self, _members: BTreeMap<NodeId, String>) {}
}

/// A write-ahead log that several groups share. A clone writes the same one.
pub trait GroupLog: Clone + Send + Sync + 'static {
    /// Queues records, in order and whole: after a crash the log holds a prefix of what was
    /// queued. Waits while there is no room. The completion is called once they are durable.
    fn append(
        &self,
        records: Vec<Record>,
        completion: Completion,
    ) -> impl Future<Output = io::Result<()>> + Send;

    /// Queues records and waits until they are durable, and with them all that was queued before:
    /// also where there are none.
    fn append_durably(&self, records: Vec<Record>) -> impl Future<Output = io::Result<()>> + Send;

    /// Leaves a record to be written with the next batch; a later one takes its place.
    fn note(&self, record: Record);

    /// Reads the payloads of durable entries, from the first of them on; fewer where the others are
    /// purged. May block.
    ///
    /// # Errors
    /// One can't be read; it may have been purged meanwhile.
    fn read_entries(&self, group: GroupId, range: Range<u64>) -> io::Result<Vec<Bytes>>;

    /// Bytes of entries that a group keeps in memory; those before them are read when they are
    /// needed.
    fn cached_bytes_max(&self) -> usize;

    /// Whether the disk is so full that nothing should be added to the log that can be turned down,
    /// and changes of it.
    fn is_disk_low(&self) -> watch::Receiver<bool>;

    /// Keeps room for a snapshot of so many bytes before the disk counts as full.
    fn reserve(&self, snapshot_bytes: u64);

    /// Writes what is queued; later appends fail. May block.
    fn close(&self);
}

/// Keeps one snapshot a group, replaced as a whole. A clone has the same ones.
pub trait SnapshotStorage: Clone + Send + Sync + 'static {
    /// Begins a snapshot of the group, which takes the place of the one before when it is finished
    /// and told to. May block.
    ///
    /// # Errors
    /// The disk fails.
    fn begin(&self, group: GroupId, meta: &[u8]) -> Result<Box<dyn NewSnapshot>, SnapshotError>;

    /// The group's snapshot; `None` when there has been none. Reads all of it. May block.
    ///
    /// # Errors
    /// It can't be read, or is not what was written.
    fn read(&self, group: GroupId) -> Result<Option<SnapshotFile>, SnapshotError>;
}

/// Unix milliseconds that never go back.
pub trait WallClock: Copy + Send + Sync + 'static {
    /// The time now.
    fn now(&self) -> Millis;
}

/// Runs a task for itself.
pub(crate) fn spawn<E: Environment>(task: impl Future<Output = ()> + Send + 'static) {
    drop(E::Runtime::spawn(task));
}

/// Bytes of log entries that a broker keeps in memory, for followers and for what is to be applied.
const LOG_CACHED_BYTES_MAX: usize = 8 << 20;

/// A broker's process: Tokio, TLS links, files, the system's clock.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Process;

impl Environment for Process {
    type Runtime = TokioRuntime;
    type Links = Links;
    type Log = LogWriter;
    type Snapshots = SnapshotStore;
    type Messages = SpillStore;
    type Clock = Clock;

    fn fill_random(bytes: &mut [u8]) -> io::Result<()> {
        let filled = SystemRandom::new().fill(bytes);
        filled.map_err(|_| io::Error::other("the system gives no random bytes"))
    }

    async fn blocking<T: Send + 'static>(
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
    }
}

impl PeerLinks for Links {
    fn node_id(&self) -> NodeId {
        Self::node_id(self)
    }

    fn name(&self) -> &str {
        Self::name(self)
    }

    fn serve(&self, kinds: RangeInclusive<u8>, handler: Arc<dyn PeerHandler>) {
        Self::serve(self, kinds, handler);
    }

    fn request(
        &self,
        node: NodeId,
        kind: u8,
        body: &[u8],
    ) -> impl Future<Output = Result<Bytes, LinkError>> + Send + use<> {
        Self::request(self, node, kind, body)
    }

    fn send(&self, node: NodeId, kind: u8, body: &[u8]) -> Result<(), LinkError> {
        Self::send(self, node, kind, body)
    }

    fn send_droppable(&self, node: NodeId, kind: u8, body: &[u8]) -> Result<bool, LinkError> {
        Self::send_droppable(self, node, kind, body)
    }

    fn is_live(&self, node: NodeId) -> bool {
        Self::is_live(self, node)
    }

    fn live(&self) -> Vec<NodeId> {
        Self::live(self)
    }

    fn accepted(&self) -> Vec<NodeId> {
        Self::accepted(self)
    }

    fn feature_level_max(&self, node: NodeId) -> Option<u16> {
        Self::feature_level_max(self, node)
    }

    fn set_feature_level(&self, level: u16) {
        Self::set_feature_level(self, level);
    }

    fn set_members(&self, members: BTreeMap<NodeId, String>) {
        Self::set_members(self, members);
    }
}

impl GroupLog for LogWriter {
    async fn append(&self, records: Vec<Record>, completion: Completion) -> io::Result<()> {
        Self::append(self, records, completion).await
    }

    async fn append_durably(&self, records: Vec<Record>) -> io::Result<()> {
        Self::append_durably(self, records).await
    }

    fn note(&self, record: Record) {
        Self::note(self, record);
    }

    fn read_entries(&self, group: GroupId, range: Range<u64>) -> io::Result<Vec<Bytes>> {
        Self::read_entries(self, group, range)
    }

    fn cached_bytes_max(&self) -> usize {
        LOG_CACHED_BYTES_MAX
    }

    fn is_disk_low(&self) -> watch::Receiver<bool> {
        Self::is_disk_low(self)
    }

    fn reserve(&self, snapshot_bytes: u64) {
        Self::reserve(self, snapshot_bytes);
    }

    fn close(&self) {
        Self::close(self);
    }
}

impl SnapshotStorage for SnapshotStore {
    fn begin(&self, group: GroupId, meta: &[u8]) -> Result<Box<dyn NewSnapshot>, SnapshotError> {
        Ok(Box::new(Self::begin(self, group, meta)?))
    }

    fn read(&self, group: GroupId) -> Result<Option<SnapshotFile>, SnapshotError> {
        Self::read(self, group)
    }
}

impl WallClock for Clock {
    fn now(&self) -> Millis {
        Self::now(self)
    }
}
