//! One client's socket, with or without TLS: reads and writes that never wait.

use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice, Read as _, Write as _};
use std::net::Shutdown;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use broker_core::types::ConnectionId;
use rustls::ServerConnection;
use socket2::SockRef;
use tokio::io::{AsyncRead as _, ReadBuf};
use tokio::net::TcpStream;

use crate::node::{ConnectionSlot, ListenerId};

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
    /// The reading task, which waits for bytes or to be let go on.
    reader: RefCell<Option<Waker>>,
    _slot: ConnectionSlot,
}

/// TCP, or TLS driven by hand over it.
pub(super) enum Transport {
    Plain(TcpStream),
    Tls { tcp: TcpStream, tls: Box<ServerConnection> },
}

impl Transport {
    fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(tcp) | Self::Tls { tcp, .. } => tcp,
        }
    }

    fn tcp_mut(&mut self) -> &mut TcpStream {
        match self {
            Self::Plain(tcp) | Self::Tls { tcp, .. } => tcp,
        }
    }
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
    /// All that was there; the task is woken when there is more.
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
        slot: ConnectionSlot,
    ) -> Self {
        Self {
            connection,
            listener,
            transport: RefCell::new(transport),
            phase: Cell::new(Phase::Open),
            is_paused: Cell::new(false),
            awaits_room: Cell::new(false),
            reader: RefCell::new(None),
            _slot: slot,
        }
    }

    pub(super) fn phase(&self) -> Phase {
        self.phase.get()
    }

    pub(super) fn set_phase(&self, phase: Phase) {
        self.phase.set(phase);
    }

    pub(super) fn is_paused(&self) -> bool {
        self.is_paused.get()
    }

    pub(super) fn pause(&self) {
        self.is_paused.set(true);
    }

    /// Lets reading go on, and wakes the reading task where it was parked.
    pub(super) fn resume(&self) {
        self.is_paused.set(false);
        self.wake_reader();
    }

    /// Remembers the reading task, to be woken by [`Socket::wake_reader`].
    pub(super) fn park_reader(&self, context: &Context<'_>) {
        let mut reader = self.reader.borrow_mut();
        match reader.as_mut() {
            Some(known) => known.clone_from(context.waker()),
            None => *reader = Some(context.waker().clone()),
        }
    }

    pub(super) fn wake_reader(&self) {
        if let Some(waker) = self.reader.borrow().as_ref() {
            waker.wake_by_ref();
        }
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

    /// Reads once and hands what came to `take`, in one or more pieces. Registers the task when
    /// there is nothing.
    pub(super) fn poll_read(
        &self,
        context: &mut Context<'_>,
        scratch: &mut Scratch,
        mut take: impl FnMut(&[u8]),
    ) -> Poll<ReadProgress> {
        let mut transport = self.transport.borrow_mut();
        let mut buffer = ReadBuf::new(&mut scratch.raw);
        let read = Pin::new(transport.tcp_mut()).poll_read(context, &mut buffer);
        if ready!(read).is_err() || buffer.filled().is_empty() {
            return Poll::Ready(ReadProgress::Ended);
        }
        let is_full = buffer.remaining() == 0;
        match &mut *transport {
            Transport::Plain(_) => take(buffer.filled()),
            Transport::Tls { tcp, tls } => {
                let decrypted = decrypt(tls, buffer.filled(), &mut scratch.plaintext, take);
                // An alert or the answer to a key update; what finds no room goes with the next
                // write.
                let _ = flush_tls(tcp, tls);
                if !matches!(decrypted, Ok(Side::Open)) {
                    return Poll::Ready(ReadProgress::Ended);
                }
            }
        }
        Poll::Ready(if is_full { ReadProgress::Filled } else { ReadProgress::Drained })
    }

    /// Reads and forgets; ready when the client has closed its side.
    pub(super) fn poll_discard(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut sink = [0; 4096];
        loop {
            let mut buffer = ReadBuf::new(&mut sink);
            let read =
                Pin::new(self.transport.borrow_mut().tcp_mut()).poll_read(context, &mut buffer);
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
        match &mut *self.transport.borrow_mut() {
            Transport::Plain(tcp) => tcp.try_write(bytes),
            Transport::Tls { tcp, tls } => {
                flush_tls(tcp, tls)?;
                let taken = tls.writer().write(bytes)?;
                match flush_tls(tcp, tls) {
                    // What was taken lies in the TLS buffer: `has_pending` says so.
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(taken),
                    other => other.map(|()| taken),
                }
            }
        }
    }

    /// Whether bytes that were taken still wait for the socket.
    pub(super) fn has_pending(&self) -> bool {
        match &*self.transport.borrow() {
            Transport::Plain(_) => false,
            Transport::Tls { tls, .. } => tls.wants_write(),
        }
    }

    /// Writes pending bytes.
    ///
    /// # Errors
    /// `WouldBlock` when some are left; anything else means that the socket is broken.
    pub(super) fn flush_pending(&self) -> io::Result<()> {
        match &mut *self.transport.borrow_mut() {
            Transport::Plain(_) => Ok(()),
            Transport::Tls { tcp, tls } => flush_tls(tcp, tls),
        }
    }

    /// Ready when the socket takes bytes again or is broken.
    pub(super) fn poll_room(&self, context: &mut Context<'_>) -> Poll<()> {
        self.transport.borrow().tcp().poll_write_ready(context).map(drop)
    }

    /// Tells the client that no more bytes come.
    pub(super) fn shut_down(&self) {
        let transport = &mut *self.transport.borrow_mut();
        if let Transport::Tls { tcp, tls } = transport {
            tls.send_close_notify();
            let _ = flush_tls(tcp, tls);
        }
        // Fails only where the client is gone already.
        let _ = SockRef::from(transport.tcp()).shutdown(Shutdown::Write);
    }
}

/// Feeds ciphertext to the TLS connection and hands out the plaintext.
fn decrypt(
    tls: &mut ServerConnection,
    mut raw: &[u8],
    plaintext: &mut [u8],
    mut take: impl FnMut(&[u8]),
) -> io::Result<Side> {
    while !raw.is_empty() {
        if tls.read_tls(&mut raw)? == 0 {
            break;
        }
        tls.process_new_packets().map_err(io::Error::other)?;
        if drain_plaintext(tls, plaintext, &mut take)? == Side::Closed {
            return Ok(Side::Closed);
        }
    }
    Ok(Side::Open)
}

/// Whether the client may still send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Open,
    /// It has sent `close_notify`.
    Closed,
}

/// Hands out the plaintext that the TLS connection holds.
fn drain_plaintext(
    tls: &mut ServerConnection,
    plaintext: &mut [u8],
    take: &mut impl FnMut(&[u8]),
) -> io::Result<Side> {
    loop {
        match tls.reader().read(plaintext) {
            Ok(0) => return Ok(Side::Closed),
            Ok(bytes) => take(&plaintext[..bytes]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Side::Open),
            Err(error) => return Err(error),
        }
    }
}

impl Socket {
    /// Hands out what the client sent right behind its handshake.
    ///
    /// # Errors
    /// The TLS connection is broken.
    pub(super) fn take_early(
        &self,
        scratch: &mut Scratch,
        mut take: impl FnMut(&[u8]),
    ) -> io::Result<()> {
        match &mut *self.transport.borrow_mut() {
            Transport::Plain(_) => Ok(()),
            Transport::Tls { tls, .. } => {
                drain_plaintext(tls, &mut scratch.plaintext, &mut take).map(drop)
            }
        }
    }
}

/// Writes TLS records until none is left or the socket takes no more.
fn flush_tls(tcp: &TcpStream, tls: &mut ServerConnection) -> io::Result<()> {
    while tls.wants_write() {
        tls.write_tls(&mut NoWait(tcp))?;
    }
    Ok(())
}

/// A TCP stream as rustls wants it.
struct NoWait<'a>(&'a TcpStream);

impl io::Write for NoWait<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
