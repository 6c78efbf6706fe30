//! Two clients that exchange numbered messages of QoS 2 over connections that break at any moment, and keep their part of the
//! session meanwhile, as MQTT asks of clients: so what comes twice was sent twice. Written by hand, since a client library may
//! forget what it has received when its connection breaks.

use std::collections::{BTreeSet, HashSet};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::device::ANSWER_WITHIN;

/// Keep Alive, in seconds; the receiver pings twice within it.
const KEEP_ALIVE: u8 = 20;

const CONNACK: u8 = 2;
const PUBLISH: u8 = 3;
const PUBREC: u8 = 5;
const PUBREL: u8 = 6;
const PUBCOMP: u8 = 7;
const SUBACK: u8 = 9;

/// An open connection.
pub struct Link {
    stream: TcpStream,
    /// Whether the broker had a session.
    pub session_present: bool,
}

struct Packet {
    first: u8,
    body: Vec<u8>,
}

impl Packet {
    const fn kind(&self) -> u8 {
        self.first >> 4
    }

    /// The Packet Identifier of an acknowledgement, unless its Reason Code is a refusal.
    fn acknowledged(&self) -> Result<u16> {
        let id = number(&self.body, 0)?;
        let code = self.body.get(2).copied().unwrap_or(0);
        ensure!(code < 0x80, "refused with {code:#04x}");
        Ok(id)
    }
}

impl Link {
    /// Connects to a plain listener on loopback; the session outlives the connection for so many seconds.
    ///
    /// # Errors
    /// It was not let in.
    pub async fn open(
        port: u16,
        client_id: &str,
        login: Option<(&str, &str)>,
        session_expiry_seconds: u32,
    ) -> Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        let mut link = Self { stream, session_present: false };
        let mut body = text("MQTT");
        let flags = if login.is_some() { 0xC0 } else { 0 };
        body.extend([5, flags, 0, KEEP_ALIVE, 5, 0x11]);
        body.extend(session_expiry_seconds.to_be_bytes());
        body.extend(text(client_id));
        if let Some((username, password)) = login {
            body.extend(text(username));
            body.extend(text(password));
        }
        link.send(0x10, &body).await?;
        let connack = link.receive().await?;
        ensure!(connack.kind() == CONNACK, "{} instead of CONNACK", connack.kind());
        let code = connack.body.get(1).copied().context("CONNACK without a Reason Code")?;
        ensure!(code == 0, "CONNACK {code:#04x}");
        link.session_present = connack.body[0] & 1 == 1;
        Ok(link)
    }

    async fn send(&mut self, first: u8, body: &[u8]) -> io::Result<()> {
        let mut packet = vec![first];
        let mut length = body.len();
        loop {
            let more = length > 0x7F;
            packet.push((length & 0x7F) as u8 | if more { 0x80 } else { 0 });
            length >>= 7;
            if !more {
                break;
            }
        }
        packet.extend_from_slice(body);
        self.stream.write_all(&packet).await
    }

    async fn acknowledge(&mut self, kind: u8, id: u16) -> io::Result<()> {
        let flags = if kind == PUBREL { 2 } else { 0 };
        self.send(kind << 4 | flags, &id.to_be_bytes()).await
    }

    async fn receive(&mut self) -> Result<Packet> {
        let received = timeout(ANSWER_WITHIN, self.read()).await;
        Ok(received.context("no answer in time")??)
    }

    async fn read(&mut self) -> io::Result<Packet> {
        let first = self.stream.read_u8().await?;
        let (mut length, mut shift) = (0_usize, 0);
        loop {
            let byte = self.stream.read_u8().await?;
            length |= usize::from(byte & 0x7F) << shift;
            shift += 7;
            if byte & 0x80 == 0 || shift > 21 {
                break;
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).await?;
        Ok(Packet { first, body })
    }
}

/// Publishes 1, 2, 3, … one after the other.
#[derive(Debug, Default)]
pub struct Sender {
    /// Messages whose exchange has ended.
    completed: u64,
    /// Whether the next one was sent.
    is_sent: bool,
    /// Whether PUBREC of it has come.
    is_released: bool,
    /// Whether the broker has known the session.
    has_session: bool,
}

impl Sender {
    /// Publishes until the connection breaks, and counts the messages whose exchange has ended; goes on where it was.
    ///
    /// # Errors
    /// Why it ended.
    pub async fn run(
        &mut self,
        link: &mut Link,
        topic: &str,
        pause: Duration,
        completed: &AtomicU64,
    ) -> Result<()> {
        ensure!(link.session_present || !self.has_session, "{SESSION_LOST} of the publisher");
        self.has_session = true;
        loop {
            let number = self.completed + 1;
            let id = (number % 65_535) as u16 + 1;
            if !self.is_released {
                let flags = if std::mem::replace(&mut self.is_sent, true) { 0x0C } else { 0x04 };
                let mut body = text(topic);
                body.extend(id.to_be_bytes());
                body.push(0);
                body.extend(number.to_string().as_bytes());
                link.send(PUBLISH << 4 | flags, &body).await?;
                answer(link, PUBREC, id).await?;
                self.is_released = true;
            }
            link.acknowledge(PUBREL, id).await?;
            let answer = link.receive().await?;
            ensure!(answer.kind() == PUBCOMP, "{} instead of PUBCOMP", answer.kind());
            // 0x92, Packet Identifier not found: the exchange had ended, and PUBCOMP was lost.
            let is_known = answer.body.get(2).is_none_or(|code| *code != 0x92);
            ensure!(!is_known || answer.acknowledged()? == id, "PUBCOMP for another message");
            (self.completed, self.is_sent, self.is_released) = (number, false, false);
            completed.store(number, Ordering::Relaxed);
            tokio::time::sleep(pause).await;
        }
    }
}

async fn answer(link: &mut Link, kind: u8, id: u16) -> Result<()> {
    let answer = link.receive().await?;
    ensure!(answer.kind() == kind, "{} instead of {kind}", answer.kind());
    ensure!(answer.acknowledged()? == id, "an answer for another message");
    Ok(())
}

/// What the end of a session before its time is called.
pub const SESSION_LOST: &str = "the session is lost";

/// Receives what a [`Sender`] publishes.
#[derive(Debug, Default)]
pub struct Receiver {
    /// What has come.
    pub received: BTreeSet<u64>,
    /// What has come twice.
    pub twice: Vec<u64>,
    /// Packet Identifiers that the broker has not released.
    unreleased: HashSet<u16>,
    has_session: bool,
}

impl Receiver {
    /// Subscribes, where the broker has no session yet.
    ///
    /// # Errors
    /// The Subscription was refused, or the session was there and is not any more.
    pub async fn begin(&mut self, link: &mut Link, filter: &str) -> Result<()> {
        ensure!(link.session_present || !self.has_session, "{SESSION_LOST} of the subscriber");
        if self.has_session {
            return Ok(());
        }
        let mut body = vec![0, 1, 0];
        body.extend(text(filter));
        body.push(2);
        link.send(0x82, &body).await?;
        let suback = link.receive().await?;
        ensure!(suback.kind() == SUBACK && suback.body.last() == Some(&2), "not granted QoS 2");
        self.has_session = true;
        Ok(())
    }

    /// Takes the next packet, if one comes within half of the Keep Alive; else pings.
    ///
    /// # Errors
    /// Why the connection ended.
    pub async fn step(&mut self, link: &mut Link) -> Result<()> {
        let pause = Duration::from_secs(u64::from(KEEP_ALIVE) / 2);
        let mut first = [0];
        let Ok(peeked) = timeout(pause, link.stream.peek(&mut first)).await else {
            return Ok(link.send(0xC0, &[]).await?);
        };
        ensure!(peeked? > 0, "the connection ended");
        let packet = link.receive().await?;
        match packet.kind() {
            PUBLISH => self.publish(&packet, link).await,
            PUBREL => {
                let id = number(&packet.body, 0)?;
                self.unreleased.remove(&id);
                Ok(link.acknowledge(PUBCOMP, id).await?)
            }
            14 => bail!("the broker disconnected: {:?}", packet.body.first()),
            _ => Ok(()),
        }
    }

    async fn publish(&mut self, packet: &Packet, link: &mut Link) -> Result<()> {
        let id_at = 2 + usize::from(number(&packet.body, 0)?);
        let id = number(&packet.body, id_at)?;
        ensure!(packet.first & 6 == 4, "a message of another QoS than 2");
        let properties = usize::from(*packet.body.get(id_at + 2).context("no properties")?);
        let payload = packet.body.get(id_at + 3 + properties..).context("no payload")?;
        if self.unreleased.insert(id) {
            let number: u64 = std::str::from_utf8(payload)?.parse()?;
            if !self.received.insert(number) {
                self.twice.push(number);
            }
        }
        Ok(link.acknowledge(PUBREC, id).await?)
    }
}

fn text(text: &str) -> Vec<u8> {
    let mut bytes = (text.len() as u16).to_be_bytes().to_vec();
    bytes.extend_from_slice(text.as_bytes());
    bytes
}

fn number(body: &[u8], at: usize) -> Result<u16> {
    let bytes = body.get(at..at + 2).context("a packet that is too short")?;
    Ok(u16::from_be_bytes([bytes[0], bytes[1]]))
}
