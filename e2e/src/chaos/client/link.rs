//! One connection of a client: blocking, over a socket that may go silent at any moment.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use mqtt_bench::connection::unexpected;
use mqtt_bench::wire::{
    self, CONNACK, Frame, Login, PINGREQ, PINGRESP, SessionKeeping, Version, next_frame,
};

/// How long a connection may take to stand.
const CONNECTS_WITHIN: Duration = Duration::from_secs(2);
/// Silence after which a client asks whether the broker is there.
const PING_AFTER: Duration = Duration::from_secs(1);
/// Silence after which it gives the connection up.
const SILENT_MAX: Duration = Duration::from_secs(4);
/// Sessions outlive every fault.
const SESSION_SECONDS: u32 = 86_400;
/// Keep Alive in seconds.
const KEEP_ALIVE: u16 = 30;
/// Bytes that are read at a time.
const READ_BYTES: usize = 64 << 10;

/// A connection that was let in.
#[derive(Debug)]
pub(super) struct Link {
    tcp: TcpStream,
    input: Vec<u8>,
    heard_at: Instant,
    /// When the pings were written that wait for their answers.
    pings: VecDeque<Instant>,
    /// When the last ping was written that was answered; taken by who wants to know.
    pub(super) answered: Option<Instant>,
    /// Whether the broker knew the session.
    pub(super) is_session_present: bool,
}

impl Link {
    /// Connects to a session that goes on.
    pub(super) fn open(address: SocketAddr, client_id: &str, login: &Login) -> Result<Self> {
        let tcp = TcpStream::connect_timeout(&address, CONNECTS_WITHIN)?;
        tcp.set_nodelay(true)?;
        tcp.set_write_timeout(Some(CONNECTS_WITHIN))?;
        let now = Instant::now();
        let mut link = Self {
            tcp,
            input: Vec::new(),
            heard_at: now,
            pings: VecDeque::new(),
            answered: None,
            is_session_present: false,
        };
        let lasting = (KEEP_ALIVE, SessionKeeping::Resumed { seconds: SESSION_SECONDS });
        let mut out = Vec::new();
        wire::connect(Version::V5, client_id, Some(login), lasting, &mut out);
        link.write(&out)?;
        let mut flags = None;
        link.call(CONNACK, |frame| {
            let (code, _) = frame.connack(Version::V5)?;
            ensure!(code == 0, "not let in: {code:#04x}");
            flags = frame.body.first().copied();
            Ok(())
        })?;
        link.is_session_present = flags == Some(1);
        Ok(link)
    }

    /// Writes.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.tcp.write_all(bytes)?)
    }

    /// Waits for one packet that begins with `first`; others may come behind it and are kept.
    pub(super) fn call(
        &mut self,
        first: u8,
        mut read: impl FnMut(Frame<'_>) -> Result<()>,
    ) -> Result<()> {
        let deadline = Instant::now() + SILENT_MAX;
        loop {
            if let Some((frame, bytes)) = next_frame(&self.input)? {
                if frame.first != first {
                    return unexpected(frame);
                }
                read(frame)?;
                self.input.drain(..bytes);
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "no packet {first:#04x} in time");
            self.read(Duration::from_millis(100))?;
        }
    }

    /// Handles what comes within `wait`, and writes the answers; asks whether the broker is there where nothing comes.
    pub(super) fn poll(
        &mut self,
        wait: Duration,
        mut handle: impl FnMut(Frame<'_>, &mut Vec<u8>) -> Result<()>,
    ) -> Result<()> {
        if next_frame(&self.input)?.is_none() {
            self.read(wait)?;
        }
        let (mut out, mut used) = (Vec::new(), 0);
        while let Some((frame, bytes)) = next_frame(&self.input[used..])? {
            match frame.first {
                PINGRESP => self.answered = self.pings.pop_front(),
                _ => handle(frame, &mut out)?,
            }
            used += bytes;
        }
        self.input.drain(..used);
        let silent = self.heard_at.elapsed();
        ensure!(silent < SILENT_MAX, "the broker is silent");
        if silent > PING_AFTER && self.pings.is_empty() {
            self.ping()?;
        }
        if out.is_empty() { Ok(()) } else { self.write(&out) }
    }

    /// Asks whether the broker is there.
    pub(super) fn ping(&mut self) -> Result<()> {
        self.write(&PINGREQ)?;
        self.pings.push_back(Instant::now());
        Ok(())
    }

    fn read(&mut self, wait: Duration) -> Result<()> {
        // A timeout of nothing would be none.
        self.tcp.set_read_timeout(Some(wait.max(Duration::from_millis(1))))?;
        let have = self.input.len();
        self.input.resize(have + READ_BYTES, 0);
        let read = self.tcp.read(&mut self.input[have..]);
        self.input.truncate(have + *read.as_ref().unwrap_or(&0));
        match read {
            Ok(0) => bail!("the broker closed the connection"),
            Ok(_) => self.heard_at = Instant::now(),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}
