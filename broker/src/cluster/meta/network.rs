//! openraft's network over the peer links: the asking side.

use std::time::Duration;

use broker_core::types::NodeId;
use openraft::errors::{RPCError, ReplicationClosed, StreamingError, Timeout, Unreachable};
use openraft::network::{RPCOption, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::{AsyncRuntime, OptionalSend, RPCTypes};

use super::layout::{Layout, SnapshotMetaForm, VoteForm, decode, encode, encode_form};
use super::type_config::{Entry, MemberNode, Snapshot, TypeConfig, Vote};
use crate::cluster::environment::{Environment, PeerLinks};
use crate::cluster::frame::FRAME_BODY_BYTES_MAX;
use crate::cluster::link_types::LinkError;
use crate::storage::SnapshotContent;

/// Kinds of the frames that carry consensus.
pub(super) mod kind {
    use crate::cluster::frame::FrameKind;

    pub(in crate::cluster::meta) const APPEND: u8 = FrameKind::CONSENSUS_FIRST;
    pub(in crate::cluster::meta) const VOTE: u8 = APPEND + 1;
    pub(in crate::cluster::meta) const PRE_VOTE: u8 = APPEND + 2;
    pub(in crate::cluster::meta) const SNAPSHOT: u8 = FrameKind::SNAPSHOT_PART;
    pub(in crate::cluster::meta) const TRANSFER: u8 = APPEND + 4;
    pub(in crate::cluster::meta) const PROPOSE: u8 = APPEND + 5;
    /// Answered when the entry of this index is applied.
    pub(in crate::cluster::meta) const APPLIED: u8 = APPEND + 6;
    /// Answered by the leader: how new the asker's copy of the state must be.
    pub(in crate::cluster::meta) const CONFIRM: u8 = APPEND + 7;
    /// Answered by the leader when a node has applied the entry of this index, or has no copy of
    /// the state that counts.
    pub(in crate::cluster::meta) const APPLIED_BY: u8 = APPEND + 8;
}

/// Content bytes of one part of a snapshot.
const SNAPSHOT_PART_BYTES: usize = 1 << 20;

/// Longest wait for a part of a snapshot to be taken; the last one is taken when the whole is
/// installed and synced.
const SNAPSHOT_PART_TIMEOUT: Duration = Duration::from_secs(60);

/// Longest wait for entries to be taken and synced. A link that has gone answers at once; who waits
/// for less sends everything again to a disk that is slow already.
const APPEND_TIMEOUT: Duration = Duration::from_secs(2);

/// Encoded bytes of entries in one request, roughly; one entry always fits.
const APPEND_BYTES_MAX: usize = 4 << 20;

/// One part of a snapshot on its way.
#[derive(serde::Serialize, serde::Deserialize)]
pub(super) struct SnapshotPart {
    /// The sender's vote: the leader on whose behalf it is sent.
    pub(super) vote: VoteForm,
    pub(super) meta: SnapshotMetaForm,
    /// Bytes of the whole.
    pub(super) total_bytes: u64,
    /// Where this part belongs; 0 starts anew.
    pub(super) offset: u64,
    /// Length of the content that follows the encoded part.
    pub(super) content_bytes: u32,
}

/// Makes the handles through which openraft reaches other nodes.
pub(super) struct NetworkFactory<E: Environment> {
    pub(super) links: E::Links,
}

impl<E: Environment> RaftNetworkFactory<TypeConfig<E>> for NetworkFactory<E> {
    type Network = Network<E>;

    async fn new_client(&mut self, target: u64, _node: &MemberNode) -> Network<E> {
        Network { links: self.links.clone(), target: NodeId(target) }
    }
}

/// The way to one node; the link behind it may come and go.
pub(super) struct Network<E: Environment> {
    links: E::Links,
    target: NodeId,
}

impl<E: Environment> Network<E> {
    async fn call<T: Layout>(
        &self,
        kind: u8,
        body: &[u8],
        timeout: Duration,
        action: RPCTypes,
    ) -> Result<T, RPCError<TypeConfig<E>>> {
        let answer = self.links.request(self.target, kind, body);
        match E::Runtime::timeout(timeout, answer).await {
            Ok(Ok(body)) => {
                decode("answer", &body).map_err(|error| unreachable(&error.to_string()))
            }
            Ok(Err(error)) => Err(link_error(&error)),
            Err(_) => Err(RPCError::Timeout(Timeout {
                action,
                id: self.links.node_id().0,
                target: self.target.0,
                timeout,
            })),
        }
    }

    async fn ask<Q: Layout, T: Layout>(
        &self,
        kind: u8,
        request: &Q,
        option: &RPCOption,
        action: RPCTypes,
    ) -> Result<T, RPCError<TypeConfig<E>>> {
        let body = encode(request).map_err(|error| unreachable(&error.to_string()))?;
        self.call(kind, &body, option.soft_ttl(), action).await
    }

    async fn send_snapshot(
        &self,
        vote: Vote,
        snapshot: Snapshot,
    ) -> Result<SnapshotResponse<TypeConfig<E>>, RPCError<TypeConfig<E>>> {
        let content = snapshot.snapshot.range();
        let mut offset = 0;
        loop {
            let range = content.clone();
            let read = E::blocking(move || range.read(offset, SNAPSHOT_PART_BYTES)).await;
            let read = read.map_err(|error| unreachable(&error.to_string()))?;
            let part = SnapshotPart {
                vote: vote.to_form(),
                meta: snapshot.meta.to_form(),
                total_bytes: content.bytes(),
                offset,
                content_bytes: read.len() as u32,
            };
            let mut body =
                encode_form(&part).map_err(|error| unreachable(&error.to_string()))?.to_vec();
            body.extend_from_slice(&read);
            let timeout = SNAPSHOT_PART_TIMEOUT;
            let answer: Option<SnapshotResponse<TypeConfig<E>>> =
                self.call(kind::SNAPSHOT, &body, timeout, RPCTypes::InstallSnapshot).await?;
            offset += read.len() as u64;
            // An answer before the last part turns the snapshot down for its vote.
            match answer {
                Some(response) => return Ok(response),
                None if offset < content.bytes() => {}
                None => return Err(unreachable("snapshot was taken but not installed")),
            }
        }
    }
}

fn unreachable<E: Environment>(reason: &str) -> RPCError<TypeConfig<E>> {
    RPCError::Unreachable(Unreachable::from_string(reason))
}

fn link_error<E: Environment>(error: &LinkError) -> RPCError<TypeConfig<E>> {
    unreachable(&error.to_string())
}

/// Takes so many entries from the front as fit one frame; true when some are left out.
fn cut_to_frame(entries: &mut Vec<Entry>) -> bool {
    let mut bytes = 0;
    for (position, entry) in entries.iter().enumerate() {
        bytes += match &entry.payload {
            openraft::EntryPayload::Normal(batch) => batch.as_bytes().len() + 64,
            openraft::EntryPayload::Blank | openraft::EntryPayload::Membership(_) => 1024,
        };
        if bytes > APPEND_BYTES_MAX && position > 0 {
            entries.truncate(position);
            return true;
        }
    }
    false
}

impl<E: Environment> RaftNetworkV2<TypeConfig<E>> for Network<E> {
    type SnapshotData = SnapshotContent;

    async fn append_entries(
        &mut self,
        mut request: AppendEntriesRequest<TypeConfig<E>>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig<E>>, RPCError<TypeConfig<E>>> {
        let is_cut = cut_to_frame(&mut request.entries);
        let last = request.entries.last().map(|entry| entry.log_id);
        let timeout = if last.is_some() { APPEND_TIMEOUT } else { option.soft_ttl() };
        let body = encode(&request).map_err(|error| unreachable(&error.to_string()))?;
        debug_assert!(body.len() <= FRAME_BODY_BYTES_MAX);
        let answer = self.call(kind::APPEND, &body, timeout, RPCTypes::AppendEntries).await?;
        match answer {
            AppendEntriesResponse::Success if is_cut => {
                Ok(AppendEntriesResponse::PartialSuccess(last))
            }
            answer => Ok(answer),
        }
    }

    async fn vote(
        &mut self,
        request: VoteRequest<TypeConfig<E>>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig<E>>, RPCError<TypeConfig<E>>> {
        self.ask(kind::VOTE, &request, &option, RPCTypes::Vote).await
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<TypeConfig<E>>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig<E>>, RPCError<TypeConfig<E>>> {
        self.ask(kind::PRE_VOTE, &request, &option, RPCTypes::Vote).await
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig<E>>, StreamingError<TypeConfig<E>>> {
        tokio::select! {
            biased;
            closed = cancel => Err(StreamingError::Closed(closed)),
            sent = self.send_snapshot(vote, snapshot) => sent.map_err(|error| match error {
                RPCError::Timeout(error) => StreamingError::Timeout(error),
                RPCError::Unreachable(error) => StreamingError::Unreachable(error),
                RPCError::Network(error) => StreamingError::Network(error),
                RPCError::RemoteError(error) => {
                    StreamingError::Unreachable(Unreachable::from_string(error.to_string()))
                }
            }),
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<TypeConfig<E>>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig<E>>, RPCError<TypeConfig<E>>> {
        self.ask(kind::TRANSFER, &request, &option, RPCTypes::TransferLeader).await
    }
}
