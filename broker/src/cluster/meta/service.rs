//! openraft's network over the peer links: the answering side.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use broker_core::types::NodeId;
use bytes::{Bytes, BytesMut};
use openraft::Instant;
use openraft::raft::SnapshotResponse;

use super::layout::{Layout, decode, decode_form, encode};
use super::network::{SnapshotPart, kind};
use super::proposals::{InstantOf, ProposalQueue};
use super::sessions::Applied;
use super::type_config::{Raft, Snapshot, SnapshotMeta, TypeConfig, Vote};
use super::view::Views;
use crate::cluster::connection::Replier;
use crate::cluster::environment::{Environment, spawn};
use crate::cluster::link_types::{LinkEvent, PeerHandler};
use crate::sync::lock;

/// Largest snapshot taken from a peer.
const SNAPSHOT_BYTES_MAX: u64 = 4 << 30;

/// Answers what other nodes' consensus asks.
pub(super) struct RaftService<E: Environment> {
    pub(super) raft: Raft<E>,
    pub(super) proposals: ProposalQueue<E>,
    pub(super) applied: Arc<Applied>,
    pub(super) incoming: Arc<Mutex<BTreeMap<NodeId, BytesMut>>>,
    pub(super) heard: Heard<E>,
    pub(super) views: Views<E>,
}

/// Which node last sent log entries or a heartbeat, and when.
#[derive(Debug, Clone, Default)]
pub(super) struct Heard<E: Environment>(Arc<Mutex<Option<(NodeId, InstantOf<E>)>>>);

impl<E: Environment> Heard<E> {
    fn note(&self, from: NodeId) {
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
            let Ok(log_index) = <[u8; 8]>::try_from(&body[..]).map(u64::from_le_bytes) else {
                return replier.fail("an index has eight bytes: run the same version");
            };
            let applied = Arc::clone(&self.applied);
            spawn::<E>(async move {
                applied.reached(log_index).await;
                replier.reply(&[]);
            });
            return;
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
        let incoming = Arc::clone(&self.incoming);
        // The runtime polls new tasks in the order of their making, so requests of one link
        // reach openraft in the order in which they came.
        spawn::<E>(async move {
            match answer(&raft, &incoming, from, kind, &body).await {
                Ok(answer) => replier.reply(&answer),
                Err(error) => replier.fail(&error.to_string()),
            }
        });
    }

    fn link_event(&self, event: &LinkEvent) {
        if let LinkEvent::AcceptedClosed { node, .. } = event {
            lock(&self.incoming).remove(node);
        }
    }
}

async fn answer<E: Environment>(
    raft: &Raft<E>,
    incoming: &Mutex<BTreeMap<NodeId, BytesMut>>,
    from: NodeId,
    kind: u8,
    body: &Bytes,
) -> io::Result<Bytes> {
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
        kind::SNAPSHOT => {
            let answer: Option<SnapshotResponse<TypeConfig<E>>> =
                match take_part(incoming, from, body)? {
                    Some((part, content)) => {
                        let vote = Vote::from_form(part.vote)?;
                        let meta = SnapshotMeta::from_form(part.meta)?;
                        let snapshot = Snapshot { meta, snapshot: content };
                        let installed = raft.install_full_snapshot(vote, snapshot).await;
                        Some(installed.map_err(io::Error::other)?)
                    }
                    None => None,
                };
            encode(&answer)
        }
        kind => Err(io::Error::other(format!("consensus has no frames of kind {kind}"))),
    }
}

/// Adds a part to the snapshot on its way from that node; returns it once it is whole.
fn take_part(
    incoming: &Mutex<BTreeMap<NodeId, BytesMut>>,
    from: NodeId,
    body: &Bytes,
) -> io::Result<Option<(SnapshotPart, Bytes)>> {
    let invalid = |text: &str| io::Error::new(io::ErrorKind::InvalidData, text.to_owned());
    // The content stands behind the encoded part; postcard leaves it alone.
    let part: SnapshotPart = decode_form("snapshot part", body)?;
    let content_bytes = part.content_bytes as usize;
    let Some(start) = body.len().checked_sub(content_bytes) else {
        return Err(invalid("snapshot part is shorter than it says"));
    };
    if part.total_bytes > SNAPSHOT_BYTES_MAX {
        return Err(invalid("snapshot is too large"));
    }
    let mut incoming = lock(incoming);
    if part.offset == 0 {
        incoming.insert(from, BytesMut::new());
    }
    let Some(gathered) = incoming.get_mut(&from) else {
        return Err(invalid("snapshot part comes without those before it"));
    };
    if gathered.len() as u64 != part.offset {
        return Err(invalid("snapshot part does not follow the one before it"));
    }
    gathered.extend_from_slice(&body[start..]);
    if (gathered.len() as u64) < part.total_bytes {
        return Ok(None);
    }
    let content = incoming.remove(&from).unwrap_or_default().freeze();
    Ok(Some((part, content)))
}
