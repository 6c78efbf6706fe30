//! One connection to one peer, after its handshake: batched writes, answers paired with requests,
//! and a watch over silence.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use broker_core::types::NodeId;
use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{Notify, oneshot};

use super::frame::{FRAME_BODY_BYTES_MAX, Frame, FrameError, FrameKind, append_frame, split_frame};
use super::link_types::{LinkError, LinkTiming, PeerHandler};
use super::links::Counters;
use super::replier::{AnswerSink, Replier};
use crate::sync::lock;

/// Unsent bytes from which droppable frames are dropped.
const UNSENT_BYTES_SOFT_MAX: usize = 8 << 20;

/// Unsent bytes beyond which the link is closed: the peer can't follow, and a new link starts
/// from a snapshot.
const UNSENT_BYTES_HARD_MAX: usize = 64 << 20;

/// Most unanswered requests of one link.
const CALLS_MAX: usize = 65_536;

/// Buffers larger than this are given back once they are empty.
const BUFFER_KEPT_BYTES: usize = 1 << 20;

/// Room made before each read.
const READ_BYTES: usize = 64 << 10;

/// Who is at the other end.
#[derive(Debug, Clone)]
pub(super) struct Peer {
    pub(super) node: NodeId,
    pub(super) name: String,
    pub(super) address: SocketAddr,
    /// Version of the link's frames.
    pub(super) version: u16,
    /// Highest feature level that it knows.
    pub(super) feature_level_max: u16,
}

/// Why a connection has ended.
#[derive(Debug)]
pub(super) enum LinkEnd {
    /// As links end, in words.
    Closed(&'static str),
    /// The peer sent what is no frame.
    BadFrame(FrameError),
}

#[derive(Default)]
struct Outgoing {
    bytes: Vec<u8>,
    is_closed: bool,
}

type Answer = Result<Bytes, String>;

#[derive(Default)]
struct Calls {
    waiting: HashMap<u64, oneshot::Sender<Answer>>,
    is_closed: bool,
}

/// A connection to a peer that both sides have accepted.
pub(super) struct Connection {
    peer: Peer,
    outgoing: Mutex<Outgoing>,
    wake_writer: Notify,
    calls: Mutex<Calls>,
    next_id: AtomicU64,
    reads: AtomicU64,
    closing: Notify,
    counters: Arc<Counters>,
}

impl Connection {
    pub(super) fn new(peer: Peer, counters: Arc<Counters>) -> Arc<Self> {
        Arc::new(Self {
            peer,
            outgoing: Mutex::default(),
            wake_writer: Notify::new(),
            calls: Mutex::default(),
            next_id: AtomicU64::new(1),
            reads: AtomicU64::new(0),
            closing: Notify::new(),
            counters,
        })
    }

    pub(super) fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Fails every waiting call and every later one, and ends [`Connection::run`].
    pub(super) fn close(&self) {
        {
            let mut outgoing = lock(&self.outgoing);
            outgoing.is_closed = true;
            outgoing.bytes = Vec::new();
        }
        let waiting = {
            let mut calls = lock(&self.calls);
            calls.is_closed = true;
            std::mem::take(&mut calls.waiting)
        };
        drop(waiting);
        self.closing.notify_one();
    }

    /// Queues a request.
    pub(super) fn call(self: &Arc<Self>, kind: u8, body: &[u8]) -> Result<Call, LinkError> {
        let node = self.peer.node;
        let (sender, receiver) = oneshot::channel();
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        {
            let mut calls = lock(&self.calls);
            if calls.is_closed {
                return Err(LinkError::Closed { node });
            }
            if calls.waiting.len() >= CALLS_MAX {
                return Err(LinkError::Overloaded { node });
            }
            calls.waiting.insert(id, sender);
        }
        let call = Call { connection: Arc::clone(self), id, receiver };
        self.push(kind, id, body)?;
        Ok(call)
    }

    /// Queues a one-way frame.
    pub(super) fn send(&self, kind: u8, body: &[u8]) -> Result<(), LinkError> {
        self.push(kind, 0, body)
    }

    /// Queues a one-way frame unless the peer is behind; `Ok(false)` when it was dropped.
    pub(super) fn send_droppable(&self, kind: u8, body: &[u8]) -> Result<bool, LinkError> {
        if lock(&self.outgoing).bytes.len() + body.len() > UNSENT_BYTES_SOFT_MAX {
            self.counters.frames_dropped.fetch_add(1, Ordering::Relaxed);
            return Ok(false);
        }
        self.push(kind, 0, body).map(|()| true)
    }

    fn push(&self, kind: u8, id: u64, body: &[u8]) -> Result<(), LinkError> {
        let node = self.peer.node;
        if body.len() > FRAME_BODY_BYTES_MAX {
            return Err(LinkError::TooLong { bytes: body.len() });
        }
        let (is_first, is_over) = {
            let mut outgoing = lock(&self.outgoing);
            if outgoing.is_closed {
                return Err(LinkError::Closed { node });
            }
            let is_first = outgoing.bytes.is_empty();
            let is_over = outgoing.bytes.len() + body.len() > UNSENT_BYTES_HARD_MAX;
            if !is_over {
                append_frame(&mut outgoing.bytes, self.peer.version, kind, id, body);
            }
            (is_first, is_over)
        };
        if is_over {
            self.counters.links_overloaded.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(
                node_id = %node,
                name = self.peer.name,
                "peer reads too slowly, closing its link"
            );
            self.close();
            return Err(LinkError::Overloaded { node });
        }
        if is_first {
            self.wake_writer.notify_one();
        }
        Ok(())
    }

    /// Drives the connection until it closes, for whatever reason; returns that reason.
    /// `received` holds what the handshake has read beyond its own frames.
    pub(super) async fn run<S>(
        self: &Arc<Self>,
        stream: S,
        received: BytesMut,
        handlers: &Handlers,
        timing: &LinkTiming,
    ) -> LinkEnd
    where
        S: AsyncRead + AsyncWrite + Send,
    {
        // Also when a handler panics: nobody may wait on a connection that nobody drives.
        let _guard = CloseOnDrop(self);
        let (reader, writer) = tokio::io::split(stream);
        tokio::select! {
            end = self.read(reader, received, handlers) => end,
            () = self.write(writer) => LinkEnd::Closed("write failed"),
            () = self.watch_silence(timing) => LinkEnd::Closed("peer is silent"),
            () = self.closing.notified() => LinkEnd::Closed("closed here"),
        }
    }

    async fn read(
        self: &Arc<Self>,
        mut reader: impl AsyncRead + Unpin,
        mut received: BytesMut,
        handlers: &Handlers,
    ) -> LinkEnd {
        loop {
            loop {
                match split_frame(&mut received, self.peer.version, FRAME_BODY_BYTES_MAX) {
                    Ok(Some(frame)) => self.take(frame, handlers),
                    Ok(None) => break,
                    Err(error) => return LinkEnd::BadFrame(error),
                }
            }
            received.reserve(READ_BYTES);
            match reader.read_buf(&mut received).await {
                Ok(0) => return LinkEnd::Closed("peer closed"),
                Err(_) => return LinkEnd::Closed("read failed"),
                Ok(_) => self.reads.fetch_add(1, Ordering::Relaxed),
            };
        }
    }

    fn take(self: &Arc<Self>, frame: Frame, handlers: &Handlers) {
        match frame.kind {
            FrameKind::PING => drop(self.push(FrameKind::PONG, frame.id, &[])),
            FrameKind::PONG => {}
            FrameKind::ANSWER => self.answer(frame.id, Ok(frame.body)),
            FrameKind::FAILURE => {
                let reason = String::from_utf8_lossy(&frame.body).into_owned();
                self.answer(frame.id, Err(reason));
            }
            kind => {
                let replier = match frame.id {
                    0 => Replier::silent(),
                    id => Replier::new(Arc::clone(self) as Arc<dyn AnswerSink>, id),
                };
                match handlers.iter().find(|(kinds, _)| kinds.contains(&kind)) {
                    Some((_, handler)) => {
                        handler.peer_frame(self.peer.node, kind, frame.body, replier);
                    }
                    None => replier.fail(&format!("frames of kind {kind} are not served here")),
                }
            }
        }
    }

    fn answer(&self, id: u64, answer: Answer) {
        let waiting = lock(&self.calls).waiting.remove(&id);
        if let Some(sender) = waiting {
            // Who asked may have given up: then nobody wants it.
            let _ = sender.send(answer);
        }
    }

    async fn write(&self, mut writer: impl AsyncWrite + Unpin) {
        let mut batch = Vec::new();
        loop {
            self.wake_writer.notified().await;
            // The other tasks that are ready now add theirs to the same write.
            tokio::task::yield_now().await;
            std::mem::swap(&mut lock(&self.outgoing).bytes, &mut batch);
            if batch.is_empty() {
                continue;
            }
            if writer.write_all(&batch).await.is_err() || writer.flush().await.is_err() {
                return;
            }
            batch.clear();
            if batch.capacity() > BUFFER_KEPT_BYTES {
                batch = Vec::new();
            }
        }
    }

    /// Pings, and returns when the peer has been silent for too many intervals in a row. It
    /// counts intervals rather than time, so that a pause of this process is not held against
    /// the peer.
    async fn watch_silence(&self, timing: &LinkTiming) {
        let mut interval = tokio::time::interval(timing.ping_interval);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut reads_before = self.reads.load(Ordering::Relaxed);
        let mut silent_intervals = 0;
        loop {
            interval.tick().await;
            let reads = self.reads.load(Ordering::Relaxed);
            silent_intervals = if reads == reads_before { silent_intervals + 1 } else { 0 };
            reads_before = reads;
            if silent_intervals > timing.silent_intervals_max {
                return;
            }
            if self.push(FrameKind::PING, 0, &[]).is_err() {
                return;
            }
        }
    }
}

/// Who serves which kinds.
pub(super) type Handlers = Vec<(RangeInclusive<u8>, Arc<dyn PeerHandler>)>;

struct CloseOnDrop<'a>(&'a Connection);

impl Drop for CloseOnDrop<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// A request on its way; resolves to the answer. Dropping it gives the answer up.
pub(super) struct Call {
    connection: Arc<Connection>,
    id: u64,
    receiver: oneshot::Receiver<Answer>,
}

impl Future for Call {
    type Output = Result<Bytes, LinkError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let node = self.connection.peer.node;
        Pin::new(&mut self.receiver).poll(context).map(|answer| match answer {
            Ok(Ok(body)) => Ok(body),
            Ok(Err(reason)) => Err(LinkError::Refused { node, reason }),
            Err(_) => Err(LinkError::Closed { node }),
        })
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        lock(&self.connection.calls).waiting.remove(&self.id);
    }
}

impl AnswerSink for Connection {
    fn answer(&self, id: u64, answer: Result<&[u8], &str>) {
        // Only a closed link refuses a short frame, and its caller knows already.
        let fail = |reason: &str| drop(self.push(FrameKind::FAILURE, id, reason.as_bytes()));
        match answer {
            Ok(body) => {
                let pushed = self.push(FrameKind::ANSWER, id, body);
                if let Err(LinkError::TooLong { .. }) = pushed {
                    fail("answer is longer than a frame may be");
                }
            }
            Err(reason) => fail(reason),
        }
    }
}
