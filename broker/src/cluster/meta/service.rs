//! openraft's network over the peer links: the answering side.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use broker_core::types::NodeId;
use bytes::Bytes;
use openraft::Instant;
use openraft::raft::SnapshotResponse;

use super::layout::{Layout, VoteForm, decode, decode_form, encode};
use super::log_store::LogStore;
use super::network::{SnapshotPart, kind};
use super::proposals::{InstantOf, ProposalQueue};
use super::sessions::Applied;
use super::type_config::{Raft, Snapshot, SnapshotMeta, TypeConfig, Vote};
use super::view::Views;
use crate::cluster::environment::{Environment, SnapshotStorage, spawn};
use crate::cluster::link_types::{LinkEvent, PeerHandler};
use crate::cluster::replier::Replier;
use crate::storage::{GroupId, NewSnapshot};
use crate::sync::lock;

/// Largest snapshot taken from a peer: it goes to disk, not to memory.
const SNAPSHOT_BYTES_MAX: u64 = 256 << 30;

/// Answers what other nodes' consensus asks.
pub(super) struct RaftService<E: Environment> {
    pub(super) raft: Raft<E>,
    pub(super) proposals: ProposalQueue<E>,
    pub(super) log: LogStore<E>,
    pub(super) applied: Arc<Applied>,
    pub(super) incoming: Arc<IncomingSnapshots<E>>,
    pub(super) heard: Heard<E>,
    pub(super) views: Views<E>,
}

/// Which node last sent log entries or a heartbeat, and when.
#[derive(Debug, Clone, Default)]
pub(super) struct Heard<E: Environment>(Arc<Mutex<LastHeard<E>>>);

type LastHeard<E> = Option<(NodeId, InstantOf<E>)>;

impl<E: Environment> Heard<E> {
    pub(super) fn note(&self, from: NodeId) {
        *lock(&self.0) = Some((from, InstantOf::<E>::now()));
    }

    /// Whether `node` was the last one, no longer ago than `within`. A node that was removed, or
    /// that a partition cuts off, still believes in its last leader but no longer hears it.
    pub(super) fn is_recent(&self, node: NodeId, within: Duration) -> bool {
        lock(&self.0).is_some_and(|(from, at)| from == node && at.elapsed() <= within)
    }
}

impl<E: Environment> PeerHandler for RaftService<E> {
    fn peer_frame(&self, from: NodeId, kind: u8, body: Bytes, replier: Replier) {
        if kind == kind::PROPOSE {
            self.proposals.take_forwarded(&self.raft, body, replier);
            return;
        }
        if kind == kind::APPLIED {
            return self.views.answer_applied(&body, replier);
        }
        if kind == kind::CONFIRM {
            return self.views.answer_confirm(from, replier);
        }
        if kind == kind::APPLIED_BY {
            return self.views.answer_applied_by(&body, replier);
        }
        if kind == kind::APPEND || kind == kind::SNAPSHOT {
            self.heard.note(from);
        }
        let raft = self.raft.clone();
        if kind == kind::SNAPSHOT {
            let (incoming, log) = (Arc::clone(&self.incoming), self.log.clone());
            let applied = Arc::clone(&self.applied);
            spawn::<E>(async move {
                let taken = take_snapshot(&raft, &incoming, (&log, &applied), from, &body).await;
                reply(replier, taken);
            });
            return;
        }
        // The runtime polls new tasks in the order of their making, so requests of one link
        // reach openraft in the order in which they came.
        spawn::<E>(async move { reply(replier, answer(&raft, kind, &body).await) });
    }

    fn link_event(&self, event: &LinkEvent) {
        if let LinkEvent::AcceptedClosed { node, .. } = event {
            self.incoming.drop_from(*node);
        }
    }
}

fn reply(replier: Replier, answer: io::Result<Bytes>) {
    match answer {
        Ok(answer) => replier.reply(&answer),
        Err(error) => replier.fail(&error.to_string()),
    }
}

/// Takes a part of a snapshot; with the last one, installs it.
///
/// What the answer covers must outlast this process: the leader never goes back behind it. openraft
/// turns down what is applied here already, or is being installed, without a wait for the disk.
async fn take_snapshot<E: Environment>(
    raft: &Raft<E>,
    incoming: &IncomingSnapshots<E>,
    (log, applied): (&LogStore<E>, &Applied),
    from: NodeId,
    body: &Bytes,
) -> io::Result<Bytes> {
    let Some((vote, snapshot)) = incoming.take_part(from, body).await? else {
        return encode(&None::<SnapshotResponse<TypeConfig<E>>>);
    };
    let last = snapshot.meta.last_log_id.map_or(0, |last| last.index);
    let vote = Vote::from_form(vote)?;
    let answer = raft.install_full_snapshot(vote, snapshot).await.map_err(io::Error::other)?;
    if answer.vote == vote {
        applied.reached(last).await;
        log.synced().await?;
    }
    encode(&Some(answer))
}

async fn answer<E: Environment>(raft: &Raft<E>, kind: u8, body: &Bytes) -> io::Result<Bytes> {
    match kind {
        kind::APPEND => {
            let request = decode("AppendEntries", body)?;
            encode(&raft.append_entries(request).await.map_err(io::Error::other)?)
        }
        kind::VOTE => {
            let request = decode("RequestVote", body)?;
            encode(&raft.vote(request).await.map_err(io::Error::other)?)
        }
        kind::PRE_VOTE => {
            let request = decode("pre-vote", body)?;
            encode(&raft.pre_vote(request).await.map_err(io::Error::other)?)
        }
        kind::TRANSFER => {
            let request = decode("TransferLeader", body)?;
            encode(&raft.handle_transfer_leader(request).await.map_err(io::Error::other)?)
        }
        kind => Err(io::Error::other(format!("consensus has no frames of kind {kind}"))),
    }
}

/// Snapshots on their way from other nodes, each in a file of its own.
pub(super) struct IncomingSnapshots<E: Environment> {
    store: E::Snapshots,
    snapshots: Mutex<BTreeMap<NodeId, Incoming>>,
}

struct Incoming {
    meta: SnapshotMeta,
    file: Box<dyn NewSnapshot>,
    bytes: u64,
}

impl<E: Environment> IncomingSnapshots<E> {
    pub(super) fn new(store: E::Snapshots) -> Arc<Self> {
        Arc::new(Self { store, snapshots: Mutex::default() })
    }

    fn drop_from(&self, node: NodeId) {
        lock(&self.snapshots).remove(&node);
    }

    /// Adds a part to the snapshot on its way from that node; gives it once it is whole.
    async fn take_part(
        &self,
        from: NodeId,
        body: &Bytes,
    ) -> io::Result<Option<(VoteForm, Snapshot)>> {
        // The content stands behind the encoded part; postcard leaves it alone.
        let part: SnapshotPart = decode_form("snapshot part", body)?;
        let SnapshotPart { vote, meta, total_bytes, offset, content_bytes } = part;
        let Some(start) = body.len().checked_sub(content_bytes as usize) else {
            return Err(invalid("snapshot part is shorter than it says"));
        };
        if total_bytes > SNAPSHOT_BYTES_MAX {
            return Err(invalid("snapshot is too large"));
        }
        let earlier = lock(&self.snapshots).remove(&from).filter(|_| offset > 0);
        if offset > 0 && earlier.is_none() {
            return Err(invalid("snapshot part comes without those before it"));
        }
        if earlier.as_ref().is_some_and(|earlier| earlier.bytes != offset) {
            return Err(invalid("snapshot part does not follow the one before it"));
        }
        let (store, meta) = (self.store.clone(), SnapshotMeta::from_form(meta)?);
        let content = body.slice(start..);
        let is_last = offset + u64::from(content_bytes) >= total_bytes;
        let (incoming, whole) = E::blocking(move || {
            let mut incoming = match earlier {
                Some(earlier) => earlier,
                None => {
                    let encoded = encode(&meta)?;
                    let file = store.begin(GroupId::META, &encoded).map_err(io::Error::other)?;
                    Incoming { meta, file, bytes: 0 }
                }
            };
            incoming.file.write_all(&content)?;
            incoming.bytes += content.len() as u64;
            if !is_last {
                return Ok((Some(incoming), None));
            }
            let snapshot = incoming.file.finish().map_err(io::Error::other)?;
            Ok((None, Some(Snapshot { meta: incoming.meta, snapshot })))
        })
        .await?;
        if let Some(incoming) = incoming {
            // One that was begun meanwhile goes on instead.
            lock(&self.snapshots).entry(from).or_insert(incoming);
        }
        Ok(whole.map(|snapshot| (vote, snapshot)))
    }
}

fn invalid(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text.to_owned())
}
