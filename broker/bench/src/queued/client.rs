//! A client that waits for what it asked for: MQTT 3.1.1 over a blocking socket.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::connection::unexpected;
use crate::stamp::Stamp;
use crate::wire::{
    self, CONNACK, FAILURE, Frame, PUBACK, PublishTemplate, SUBACK, SessionKeeping, Version,
    next_frame,
};

/// How long the broker may be silent.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// Messages that are not acknowledged at a time.
const WINDOW: u16 = 1000;
/// Bytes gathered for one write.
const WRITE_BYTES: usize = 64 << 10;
/// DISCONNECT, whole.
const DISCONNECT: [u8; 2] = [wire::DISCONNECT, 0];

/// A connection.
pub(super) struct Client {
    stream: TcpStream,
    unread: Vec<u8>,
    output: Vec<u8>,
    packet_id: u16,
    unacknowledged: u16,
}

impl Client {
    /// Connects; a session that is kept is gone on with.
    pub(super) fn connect(address: SocketAddr, client_id: &str, is_kept: bool) -> Result<Self> {
        let stream = TcpStream::connect(address).context("connect")?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(SILENCE_MAX))?;
        let (unread, output) = (Vec::new(), Vec::new());
        let mut client = Self { stream, unread, output, packet_id: 0, unacknowledged: 0 };
        let keeping = match is_kept {
            true => SessionKeeping::Kept { seconds: 0 },
            false => SessionKeeping::Clean,
        };
        wire::connect(Version::V311, client_id, None, (0, keeping), &mut client.output);
        let code = client.next(|frame| match frame.first {
            CONNACK => Ok(frame.connack(Version::V311)?.0),
            _ => unexpected(frame),
        })?;
        ensure!(code == 0, "the broker refused with return code {code}");
        Ok(client)
    }

    pub(super) fn subscribe(&mut self, filter: &str) -> Result<()> {
        wire::subscribe(Version::V311, 1, [filter], 1, &mut self.output);
        let code = self.next(|frame| match frame.first {
            SUBACK => Ok(frame.suback_codes(Version::V311)?.first().copied()),
            _ => unexpected(frame),
        })?;
        ensure!(code.is_some_and(|code| code < FAILURE), "the broker refused the subscription");
        Ok(())
    }

    /// Publishes a message of QoS 1 with a number; waits while the window is full.
    pub(super) fn publish(&mut self, topic: &str, bytes: usize, number: u64) -> Result<()> {
        while self.unacknowledged >= WINDOW {
            self.take_acknowledgement()?;
        }
        self.packet_id = self.packet_id.checked_add(1).unwrap_or(1);
        self.unacknowledged += 1;
        let stamp = Stamp { sent_nanos: 0, sequence: number, publisher: 0 };
        let template = PublishTemplate::new(Version::V311, topic, 1, bytes);
        template.append(self.packet_id, stamp, &mut self.output);
        if self.output.len() >= WRITE_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    pub(super) fn wait_for_acknowledgements(&mut self) -> Result<()> {
        while self.unacknowledged > 0 {
            self.take_acknowledgement()?;
        }
        Ok(())
    }

    fn take_acknowledgement(&mut self) -> Result<()> {
        self.next(|frame| match frame.first {
            PUBACK => Ok(()),
            _ => unexpected(frame),
        })?;
        self.unacknowledged -= 1;
        Ok(())
    }

    /// Takes the messages 0 to `count` of a session, in that order.
    pub(super) fn fetch(&mut self, count: usize, bytes: usize) -> Result<()> {
        for expected in 0..count as u64 {
            let (packet_id, number, found) = self.next(|frame| {
                if !frame.is_publish() {
                    return unexpected(frame);
                }
                let delivery = frame.delivery(Version::V311)?;
                let stamp = Stamp::read(delivery.payload).context("not a message of ours")?;
                Ok((delivery.packet_id, stamp.sequence, delivery.payload.len()))
            })?;
            if number != expected {
                bail!("message {number} came where {expected} was due");
            }
            ensure!(found == bytes.max(Stamp::BYTES), "message {number} has {found} bytes");
            wire::acknowledge(PUBACK, packet_id, &mut self.output);
        }
        self.flush()
    }

    pub(super) fn disconnect(mut self) -> Result<()> {
        self.output.extend(DISCONNECT);
        self.flush()?;
        // Until the broker has closed the connection too: then the session is left.
        let mut rest = Vec::new();
        let _ = self.stream.read_to_end(&mut rest);
        ensure!(rest.is_empty(), "{} bytes more came than were due", rest.len());
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        self.stream.write_all(&self.output).context("write")?;
        self.output.clear();
        Ok(())
    }

    /// Writes what has gathered, if there is nothing to read, and reads one packet.
    fn next<T>(&mut self, read: impl FnOnce(Frame<'_>) -> Result<T>) -> Result<T> {
        loop {
            if let Some((frame, bytes)) = next_frame(&self.unread)? {
                let result = read(frame);
                self.unread.drain(..bytes);
                return result;
            }
            self.flush()?;
            let mut buffer = [0; 16 << 10];
            let count = self.stream.read(&mut buffer).context("read")?;
            ensure!(count > 0, "the broker closed the connection");
            self.unread.extend_from_slice(&buffer[..count]);
        }
    }
}
