//! One connection of the generator: one read into a buffer that the thread's connections share, one write of what has gathered.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use anyhow::{Error, Result, anyhow, bail};
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};

use crate::stream::Stream;
use crate::wire::{DISCONNECT, Frame, next_frame};

/// Bytes that are read at a time.
const READ_BYTES: usize = 256 << 10;

/// The buffer that all connections of a thread read into, one after the other.
pub type Scratch = Rc<RefCell<Vec<u8>>>;

/// A new [`Scratch`].
#[must_use]
pub fn scratch() -> Scratch {
    Rc::new(RefCell::new(Vec::new()))
}

/// A connection and what has not gone either way yet.
#[derive(Debug)]
pub struct Connection {
    stream: Stream,
    scratch: Scratch,
    /// The start of a packet whose rest has not arrived.
    rest: Vec<u8>,
    output: Vec<u8>,
    written: usize,
    must_flush: bool,
}

impl Connection {
    /// A connection over `stream`.
    #[must_use]
    pub fn new(stream: Stream, scratch: Scratch) -> Self {
        Self {
            stream,
            scratch,
            rest: Vec::new(),
            output: Vec::new(),
            written: 0,
            must_flush: false,
        }
    }

    /// What will be written next; append to it.
    pub fn output(&mut self) -> &mut Vec<u8> {
        &mut self.output
    }

    /// Reads once and hands every packet that is whole to `handle`, with the output to answer into.
    ///
    /// # Errors
    /// The broker closed the connection or sent what is not MQTT, or `handle` failed.
    pub fn poll_frames(
        &mut self,
        cx: &mut Context<'_>,
        mut handle: impl FnMut(Frame<'_>, &mut Vec<u8>) -> Result<()>,
    ) -> Poll<Result<()>> {
        let scratch = Rc::clone(&self.scratch);
        let mut scratch = scratch.borrow_mut();
        let have = self.rest.len();
        if scratch.len() < have + READ_BYTES {
            scratch.resize(have + READ_BYTES, 0);
        }
        let mut buf = ReadBuf::new(&mut scratch[have..]);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buf))?;
        let filled = have + buf.filled().len();
        if filled == have {
            return Poll::Ready(Err(closed()));
        }
        scratch[..have].copy_from_slice(&self.rest);
        let mut unread = &scratch[..filled];
        while let Some((frame, bytes)) = next_frame(unread)? {
            handle(frame, &mut self.output)?;
            unread = &unread[bytes..];
        }
        self.rest.clear();
        self.rest.extend_from_slice(unread);
        Poll::Ready(Ok(()))
    }

    /// Writes what has gathered; ready when everything went.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        while self.written < self.output.len() {
            let unwritten = &self.output[self.written..];
            let bytes = ready!(Pin::new(&mut self.stream).poll_write(cx, unwritten))?;
            if bytes == 0 {
                return Poll::Ready(Err(closed()));
            }
            self.written += bytes;
            self.must_flush = true;
        }
        self.output.clear();
        self.written = 0;
        if self.must_flush {
            // TLS may hold bytes back until it is flushed.
            ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
            self.must_flush = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Writes what has gathered and waits for one packet that begins with `first`.
    ///
    /// # Errors
    /// Another packet came, or `read` could not make sense of this one.
    pub async fn call<T>(&mut self, first: u8, read: impl Fn(Frame<'_>) -> Result<T>) -> Result<T> {
        poll_fn(|cx| self.poll_flush(cx)).await?;
        let mut found = None;
        while found.is_none() {
            poll_fn(|cx| {
                self.poll_frames(cx, |frame, _| {
                    if frame.first != first {
                        return unexpected(frame);
                    }
                    found = Some(read(frame)?);
                    Ok(())
                })
            })
            .await?;
        }
        found.ok_or_else(|| anyhow!("no packet {first:#04x}"))
    }
}

fn closed() -> Error {
    anyhow!("the broker closed the connection")
}

/// The error for a packet that should not come here; a DISCONNECT names its reason.
///
/// # Errors
/// Always.
pub fn unexpected<T>(frame: Frame<'_>) -> Result<T> {
    if frame.first == DISCONNECT {
        let reason = frame.body.first().copied().unwrap_or(0);
        bail!("the broker sent DISCONNECT with reason {reason:#04x}");
    }
    bail!("the broker sent a packet that begins with {:#04x} where none is due", frame.first)
}
