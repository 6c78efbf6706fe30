//! What carries a client's bytes: a stream socket, with TLS or not, with WebSocket or not.
//!
//! Layer: below the worker's sockets. IO; knows no MQTT. Nothing here waits: reads are handed in
//! by the socket, writes take what goes.

mod stream;
mod tls;
mod websocket;

use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll};

use rustls::ServerConnection;

pub(super) use stream::Stream;
pub(super) use websocket::WebSocket;

/// Whether the client may still send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Open,
    /// It has said that it sends no more: TLS's `close_notify` or WebSocket's Close.
    Closed,
}

/// The layers between a client's socket and the engine.
pub(super) struct Transport {
    stream: Stream,
    tls: Option<Box<ServerConnection>>,
    websocket: Option<Box<WebSocket>>,
}

impl Transport {
    pub(super) fn new(
        stream: Stream,
        tls: Option<Box<ServerConnection>>,
        websocket: Option<Box<WebSocket>>,
    ) -> Self {
        Self { stream, tls, websocket }
    }

    /// Where the client is, as the system says.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        self.stream.address()
    }

    pub(super) fn stream_mut(&mut self) -> &mut Stream {
        &mut self.stream
    }

    /// Takes bytes as the socket gave them and hands out the client's, in one or more pieces.
    ///
    /// # Errors
    /// The client broke TLS or WebSocket.
    pub(super) fn read(
        &mut self,
        raw: &[u8],
        plaintext: &mut [u8],
        mut take: impl FnMut(&[u8]),
    ) -> io::Result<Side> {
        let side = match (&mut self.tls, &mut self.websocket) {
            (None, None) => {
                take(raw);
                return Ok(Side::Open);
            }
            (Some(tls), None) => tls::decrypt(tls, raw, plaintext, take),
            (None, Some(websocket)) => websocket.read(raw, take),
            (Some(tls), Some(websocket)) => {
                let mut side = Ok(Side::Open);
                let below = tls::decrypt(tls, raw, plaintext, |piece| {
                    if matches!(side, Ok(Side::Open)) {
                        side = websocket.read(piece, &mut take);
                    }
                })?;
                if below == Side::Closed { Ok(below) } else { side }
            }
        };
        // An alert, the answer to a key update or a ping; what finds no room goes with the next
        // write.
        let _ = self.flush();
        if self.websocket.as_ref().is_some_and(|websocket| websocket.is_overfull()) {
            return Err(io::Error::other("the client pings and does not read"));
        }
        side
    }

    /// Hands out what the client sent right behind its TLS handshake.
    ///
    /// # Errors
    /// The client broke TLS or WebSocket.
    pub(super) fn read_early(
        &mut self,
        plaintext: &mut [u8],
        mut take: impl FnMut(&[u8]),
    ) -> io::Result<()> {
        match (&mut self.tls, &mut self.websocket) {
            (None, _) => Ok(()),
            (Some(tls), None) => tls::drain_plaintext(tls, plaintext, &mut take).map(drop),
            (Some(tls), Some(websocket)) => {
                let mut side = Ok(Side::Open);
                tls::drain_plaintext(tls, plaintext, &mut |piece: &[u8]| {
                    if matches!(side, Ok(Side::Open)) {
                        side = websocket.read(piece, &mut take);
                    }
                })?;
                side.map(drop)
            }
        }
    }

    /// Writes from `bytes` what goes without waiting; the number that needs not be given again.
    ///
    /// # Errors
    /// `WouldBlock` when nothing could be taken; anything else means that the socket is broken.
    pub(super) fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match (&mut self.tls, &mut self.websocket) {
            (None, None) => return self.stream.try_write(bytes),
            (Some(tls), None) => return tls::encrypt(&self.stream, tls, bytes),
            (_, Some(_)) => self.flush()?,
        }
        let Some(websocket) = &mut self.websocket else { return Ok(0) };
        let taken = websocket.write(bytes)?;
        match self.flush() {
            // What was taken lies in the layers' buffers: `has_pending` says so.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(taken),
            other => other.map(|()| taken),
        }
    }

    /// Whether bytes that were taken still wait for the socket.
    pub(super) fn has_pending(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.wants_write())
            || self.websocket.as_ref().is_some_and(|websocket| !websocket.pending().is_empty())
    }

    /// Writes pending bytes.
    ///
    /// # Errors
    /// `WouldBlock` when some are left; anything else means that the socket is broken.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        if let Some(websocket) = &mut self.websocket {
            while !websocket.pending().is_empty() {
                let written = match &mut self.tls {
                    None => self.stream.try_write(websocket.pending())?,
                    Some(tls) => tls::encrypt(&self.stream, tls, websocket.pending())?,
                };
                websocket.sent(written);
            }
        }
        match &mut self.tls {
            None => Ok(()),
            Some(tls) => tls::flush(&self.stream, tls),
        }
    }

    /// Ready when the socket takes bytes again or is broken.
    pub(super) fn poll_room(&self, context: &mut Context<'_>) -> Poll<()> {
        self.stream.poll_write_ready(context)
    }

    /// Tells the client, in every layer, that no more bytes come. What finds no room is not told:
    /// the client is gone or does not read.
    pub(super) fn shut_down(&mut self) {
        if let Some(websocket) = &mut self.websocket {
            websocket.close();
            let _ = self.flush();
        }
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
            let _ = tls::flush(&self.stream, tls);
        }
        let _ = self.stream.shut_down();
    }
}
