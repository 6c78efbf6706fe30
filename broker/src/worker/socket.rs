//! One client's socket: reads and writes that never wait, and what must be remembered of it.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use broker_core::types::ConnectionId;
use tokio::io::{AsyncRead as _, ReadBuf};

use super::scram::Exchange;
use super::transport::{Side, Transport};
use crate::node::{ConnectionSlot, ListenerId, Place};

/// Where a connection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Bytes come and go.
    Open,
    /// The engine is done with it; what is left of its output is being written.
    Closing,
    /// The engine has forgotten it.
    Gone,
}

/// A client's socket and what the worker must remember of it.
pub(super) struct Socket {
    pub(super) connection: ConnectionId,
    pub(super) listener: ListenerId,
    transport: RefCell<Transport>,
    phase: Cell<Phase>,
    /// The engine wants no bytes from it now.
    is_paused: Cell<bool>,
    /// A task waits until the socket takes bytes again.
    awaits_room: Cell<bool>,
    pub(super) place: Place,
    exchange: Cell<Option<Box<Exchange>>>,
    /// Has the socket read.
    waker: Waker,
    _slot: ConnectionSlot,
}

/// A worker's buffers, shared by all its sockets: an idle connection owns none.
pub(super) struct Scratch {
    raw: Box<[u8]>,
    plaintext: Box<[u8]>,
}

/// Bytes read from a socket at a time.
const RAW_BYTES: usize = 64 * 1024;
/// A TLS record's plaintext. Source: RFC 8446 section 5.1.
const PLAINTEXT_BYTES: usize = 16 * 1024;

impl Scratch {
    pub(super) fn new() -> Self {
        Self {
            raw: vec![0; RAW_BYTES].into_boxed_slice(),
            plaintext: vec![0; PLAINTEXT_BYTES].into_boxed_slice(),
        }
    }
}

/// What a read has brought.
pub(super) enum ReadProgress {
    /// All that was there; the waker is woken when there is more.
    Drained,
    /// As much as the buffer holds: there may be more right now.
    Filled,
    /// The client has closed its side, or broken TLS.
    Ended,
}

impl Socket {
    pub(super) fn new(
        connection: ConnectionId,
        listener: ListenerId,
        transport: Transport,
        waker: Waker,
        (slot, place): (ConnectionSlot, Place),
    ) -> Self {
        Self {
            connection,
            listener,
            transport: RefCell::new(transport),
            phase: Cell::new(Phase::Open),
            is_paused: Cell::new(false),
            awaits_room: Cell::new(false),
            place,
            exchange: Cell::new(None),
            waker,
            _slot: slot,
        }
    }

    /// Where the client is: as the proxy in front said, or as the system says. `None` for a program
    /// of this machine, and where the client is gone.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        self.place.proxied().or_else(|| self.transport.borrow().address())
    }

    pub(super) fn phase(&self) -> Phase {
        self.phase.get()
    }

    pub(super) fn set_phase(&self, phase: Phase) {
        self.phase.set(phase);
    }

    /// Keeps an exchange, or none; gives the one before.
    pub(super) fn set_exchange(&self, exchange: Option<Box<Exchange>>) -> Option<Box<Exchange>> {
        self.exchange.replace(exchange)
    }

    pub(super) fn is_paused(&self) -> bool {
        self.is_paused.get()
    }

    pub(super) fn pause(&self) {
        self.is_paused.set(true);
    }

    /// Lets reading go on.
    pub(super) fn resume(&self) {
        self.is_paused.set(false);
        self.wake_reader();
    }

    /// What has the socket read when it is woken.
    pub(super) fn waker(&self) -> &Waker {
        &self.waker
    }

    /// Has the socket read, after those that were woken before.
    pub(super) fn wake_reader(&self) {
        self.waker.wake_by_ref();
    }

    /// Notes that a task waits for room; `false` when one does already.
    pub(super) fn start_awaiting_room(&self) -> bool {
        !self.awaits_room.replace(true)
    }

    pub(super) fn stop_awaiting_room(&self) {
        self.awaits_room.set(false);
    }

    pub(super) fn awaits_room(&self) -> bool {
        self.awaits_room.get()
    }

    /// Reads once and hands what came to `take`, in one or more pieces. Registers the waker when
    /// there is nothing.
    pub(super) fn poll_read(
        &self,
        context: &mut Context<'_>,
        scratch: &mut Scratch,
        take: impl FnMut(&[u8]),
    ) -> Poll<ReadProgress> {
        let mut transport = self.transport.borrow_mut();
        let mut buffer = ReadBuf::new(&mut scratch.raw);
        let read = Pin::new(transport.stream_mut()).poll_read(context, &mut buffer);
        if ready!(read).is_err() || buffer.filled().is_empty() {
            return Poll::Ready(ReadProgress::Ended);
        }
        let is_full = buffer.remaining() == 0;
        let side = transport.read(buffer.filled(), &mut scratch.plaintext, take);
        if !matches!(side, Ok(Side::Open)) {
            return Poll::Ready(ReadProgress::Ended);
        }
        Poll::Ready(if is_full { ReadProgress::Filled } else { ReadProgress::Drained })
    }

    /// Reads and forgets; ready when the client has closed its side.
    pub(super) fn poll_discard(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut sink = [0; 4096];
        loop {
            let mut buffer = ReadBuf::new(&mut sink);
            let mut transport = self.transport.borrow_mut();
            let read = Pin::new(transport.stream_mut()).poll_read(context, &mut buffer);
            if ready!(read).is_err() || buffer.filled().is_empty() {
                return Poll::Ready(());
            }
        }
    }

    /// Writes from `bytes` what goes without waiting; the number that needs not be given again.
    ///
    /// # Errors
    /// `WouldBlock` when nothing could be taken; anything else means that the socket is broken.
    pub(super) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.transport.borrow_mut().try_write(bytes)
    }

    /// Whether bytes that were taken still wait for the socket.
    pub(super) fn has_pending(&self) -> bool {
        self.transport.borrow().has_pending()
    }

    /// Writes pending bytes.
    ///
    /// # Errors
    /// `WouldBlock` when some are left; anything else means that the socket is broken.
    pub(super) fn flush_pending(&self) -> io::Result<()> {
        self.transport.borrow_mut().flush()
    }

    /// Ready when the socket takes bytes again or is broken.
    pub(super) fn poll_room(&self, context: &mut Context<'_>) -> Poll<()> {
        self.transport.borrow().poll_room(context)
    }

    /// Tells the client that no more bytes come.
    pub(super) fn shut_down(&self) {
        self.transport.borrow_mut().shut_down();
    }

    /// Hands out what the client sent right behind its handshake.
    ///
    /// # Errors
    /// The client broke TLS or WebSocket.
    pub(super) fn take_early(
        &self,
        scratch: &mut Scratch,
        take: impl FnMut(&[u8]),
    ) -> io::Result<()> {
        self.transport.borrow_mut().read_early(&mut scratch.plaintext, take)
    }
}
