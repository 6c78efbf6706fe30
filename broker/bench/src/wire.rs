//! The few packets that a load generator needs, written and read by hand: it must cost little beside the broker. Pure.
//!
//! The tests hold it against the codec of `broker-core`, which the program itself does not use: a fault of the codec must not
//! be invisible because both ends share it.

use clap::ValueEnum;
use serde::Serialize;
use thiserror::Error;

use crate::stamp::Stamp;

/// First byte of CONNACK.
pub const CONNACK: u8 = 0x20;
/// First byte of PUBACK.
pub const PUBACK: u8 = 0x40;
/// First byte of PUBREC.
pub const PUBREC: u8 = 0x50;
/// First byte of PUBREL.
pub const PUBREL: u8 = 0x62;
/// First byte of PUBCOMP.
pub const PUBCOMP: u8 = 0x70;
/// First byte of SUBACK.
pub const SUBACK: u8 = 0x90;
/// First byte of UNSUBACK.
pub const UNSUBACK: u8 = 0xB0;
/// First byte of PINGRESP.
pub const PINGRESP: u8 = 0xD0;
/// First byte of DISCONNECT.
pub const DISCONNECT: u8 = 0xE0;
/// PINGREQ, whole.
pub const PINGREQ: [u8; 2] = [0xC0, 0];

/// The first reason code that says no. Spec: MQTT 5.0 section 2.4.
pub const FAILURE: u8 = 0x80;

/// The protocol that is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
pub enum Version {
    /// MQTT 3.1.1.
    #[value(name = "3.1.1")]
    #[serde(rename = "3.1.1")]
    V311,
    /// MQTT 5.0.
    #[value(name = "5.0", alias = "5")]
    #[serde(rename = "5.0")]
    V5,
}

/// Bytes that are not MQTT.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Malformed {
    /// A Variable Byte Integer has more than four bytes.
    #[error("a variable byte integer has more than four bytes")]
    VariableByteInteger,
    /// A packet ends before its fields do.
    #[error("the packet that begins with {first:#04x} ends before its fields do")]
    Short {
        /// The packet's first byte.
        first: u8,
    },
}

/// A packet as it lies in a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Packet type and flags.
    pub first: u8,
    /// What follows the fixed header.
    pub body: &'a [u8],
}

/// A PUBLISH that a subscriber got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivery<'a> {
    /// 0, 1 or 2.
    pub qos: u8,
    /// The Packet Identifier; 0 with QoS 0.
    pub packet_id: u16,
    /// The payload.
    pub payload: &'a [u8],
}

/// The packet at the start of `bytes` and its length; `None` when it has not arrived whole.
///
/// # Errors
/// [`Malformed::VariableByteInteger`].
#[inline]
pub fn next_frame(bytes: &[u8]) -> Result<Option<(Frame<'_>, usize)>, Malformed> {
    let Some((&first, rest)) = bytes.split_first() else { return Ok(None) };
    let Some((length, used)) = variable_byte_integer(rest)? else { return Ok(None) };
    let frame =
        rest.get(used..used + length).map(|body| (Frame { first, body }, 1 + used + length));
    Ok(frame)
}

#[inline]
fn variable_byte_integer(bytes: &[u8]) -> Result<Option<(usize, usize)>, Malformed> {
    let mut value = 0;
    for (at, byte) in bytes.iter().take(4).enumerate() {
        value |= usize::from(byte & 0x7F) << (7 * at);
        if byte & 0x80 == 0 {
            return Ok(Some((value, at + 1)));
        }
    }
    if bytes.len() < 4 { Ok(None) } else { Err(Malformed::VariableByteInteger) }
}

impl<'a> Frame<'a> {
    /// Whether it is a PUBLISH.
    #[must_use]
    pub fn is_publish(self) -> bool {
        self.first & 0xF0 == 0x30
    }

    /// Reads a PUBLISH.
    ///
    /// # Errors
    /// [`Malformed::Short`], [`Malformed::VariableByteInteger`].
    #[inline]
    pub fn delivery(self, version: Version) -> Result<Delivery<'a>, Malformed> {
        let short = Malformed::Short { first: self.first };
        let qos = self.first >> 1 & 3;
        let topic_bytes = usize::from(self.u16_at(0)?);
        let mut at = 2 + topic_bytes;
        let mut packet_id = 0;
        if qos > 0 {
            packet_id = self.u16_at(at)?;
            at += 2;
        }
        if version == Version::V5 {
            let properties = self.body.get(at..).ok_or(short)?;
            let (length, used) = variable_byte_integer(properties)?.ok_or(short)?;
            at += used + length;
        }
        let payload = self.body.get(at..).ok_or(short)?;
        Ok(Delivery { qos, packet_id, payload })
    }

    /// The Packet Identifier of an acknowledgement and its Reason Code, which is 0 where it is left out.
    ///
    /// # Errors
    /// [`Malformed::Short`].
    #[inline]
    pub fn acknowledgement(self) -> Result<(u16, u8), Malformed> {
        Ok((self.u16_at(0)?, self.body.get(2).copied().unwrap_or(0)))
    }

    /// The Reason Codes of a SUBACK.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn suback_codes(self, version: Version) -> Result<&'a [u8], Malformed> {
        let short = Malformed::Short { first: self.first };
        let rest = self.body.get(2..).ok_or(short)?;
        if version == Version::V311 {
            return Ok(rest);
        }
        let (length, used) = variable_byte_integer(rest)?.ok_or(short)?;
        rest.get(used + length..).ok_or(short)
    }

    /// The Reason Code (3.1.1: return code) of a CONNACK and its Receive Maximum, by default 65,535.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn connack(self, version: Version) -> Result<(u8, u16), Malformed> {
        let short = Malformed::Short { first: self.first };
        let code = *self.body.get(1).ok_or(short)?;
        let rest = self.body.get(2..).unwrap_or_default();
        if version == Version::V311 || rest.is_empty() {
            return Ok((code, u16::MAX));
        }
        let (length, used) = variable_byte_integer(rest)?.ok_or(short)?;
        let properties = rest.get(used..used + length).ok_or(short)?;
        Ok((code, receive_maximum(properties).unwrap_or(u16::MAX)))
    }

    #[inline]
    fn u16_at(self, at: usize) -> Result<u16, Malformed> {
        match self.body.get(at..at + 2) {
            Some(&[high, low]) => Ok(u16::from_be_bytes([high, low])),
            _ => Err(Malformed::Short { first: self.first }),
        }
    }
}

/// Walks the properties of a CONNACK. Spec: MQTT 5.0 section 3.2.2.3.
fn receive_maximum(mut properties: &[u8]) -> Option<u16> {
    let text = |at: usize, from: &[u8]| {
        let length = u16::from_be_bytes([*from.get(at)?, *from.get(at + 1)?]);
        Some(2 + usize::from(length))
    };
    while let Some(&id) = properties.first() {
        let bytes = match id {
            0x21 => return Some(u16::from_be_bytes([*properties.get(1)?, *properties.get(2)?])),
            0x24 | 0x25 | 0x28 | 0x29 | 0x2A => 1,
            0x13 | 0x22 => 2,
            0x11 | 0x27 => 4,
            0x26 => {
                let name = text(1, properties)?;
                name + text(1 + name, properties)?
            }
            _ => text(1, properties)?,
        };
        properties = properties.get(1 + bytes..)?;
    }
    None
}

/// A name and, where there is one, a password.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// The User Name.
    pub username: String,
    /// The Password; it is in no log and no report.
    pub password: Option<String>,
}

/// What becomes of the session after the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionKeeping {
    /// It starts anew and ends with the connection.
    Clean,
    /// It outlives the connection: in 5.0 for so many seconds, in 3.1.1 for as long as the broker keeps it.
    Kept {
        /// Session Expiry Interval.
        seconds: u32,
    },
    /// As `Kept`, and one that there is goes on. In 3.1.1 both are the same.
    Resumed {
        /// Session Expiry Interval.
        seconds: u32,
    },
}

/// Appends CONNECT.
pub fn connect(
    version: Version,
    client_id: &str,
    login: Option<&Login>,
    (keep_alive, keeping): (u16, SessionKeeping),
    out: &mut Vec<u8>,
) {
    let mut body = Vec::with_capacity(64);
    put_text(&mut body, "MQTT");
    let password = login.and_then(|login| login.password.as_deref());
    // In 5.0 Clean Start says nothing of the end.
    let is_clean = match keeping {
        SessionKeeping::Clean => true,
        SessionKeeping::Kept { .. } => version == Version::V5,
        SessionKeeping::Resumed { .. } => false,
    };
    let flags = (u8::from(is_clean) << 1)
        | (u8::from(login.is_some()) << 7)
        | (u8::from(password.is_some()) << 6);
    body.extend([if version == Version::V5 { 5 } else { 4 }, flags]);
    body.extend(keep_alive.to_be_bytes());
    match keeping {
        _ if version != Version::V5 => {}
        SessionKeeping::Clean => body.push(0),
        SessionKeeping::Kept { seconds } | SessionKeeping::Resumed { seconds } => {
            body.extend([5, 0x11]);
            body.extend(seconds.to_be_bytes());
        }
    }
    put_text(&mut body, client_id);
    if let Some(login) = login {
        put_text(&mut body, &login.username);
    }
    if let Some(password) = password {
        put_text(&mut body, password);
    }
    put_frame(0x10, &body, out);
}

/// Appends SUBSCRIBE.
pub fn subscribe<'f>(
    version: Version,
    packet_id: u16,
    filters: impl IntoIterator<Item = &'f str>,
    qos: u8,
    out: &mut Vec<u8>,
) {
    let mut body = Vec::from(packet_id.to_be_bytes());
    if version == Version::V5 {
        body.push(0);
    }
    for filter in filters {
        put_text(&mut body, filter);
        body.push(qos);
    }
    put_frame(0x82, &body, out);
}

/// Appends UNSUBSCRIBE.
pub fn unsubscribe<'f>(
    version: Version,
    packet_id: u16,
    filters: impl IntoIterator<Item = &'f str>,
    out: &mut Vec<u8>,
) {
    let mut body = Vec::from(packet_id.to_be_bytes());
    if version == Version::V5 {
        body.push(0);
    }
    for filter in filters {
        put_text(&mut body, filter);
    }
    put_frame(0xA2, &body, out);
}

/// Appends PUBACK, PUBREC, PUBREL or PUBCOMP, which are the same four bytes in both versions.
#[inline]
pub fn acknowledge(first: u8, packet_id: u16, out: &mut Vec<u8>) {
    let [high, low] = packet_id.to_be_bytes();
    out.extend_from_slice(&[first, 2, high, low]);
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    debug_assert!(text.len() <= usize::from(u16::MAX), "the callers bound their texts");
    out.extend((text.len() as u16).to_be_bytes());
    out.extend(text.as_bytes());
}

fn put_frame(first: u8, body: &[u8], out: &mut Vec<u8>) {
    out.push(first);
    let mut left = body.len();
    loop {
        let byte = (left % 128) as u8;
        left /= 128;
        out.push(if left > 0 { byte | 0x80 } else { byte });
        if left == 0 {
            break;
        }
    }
    out.extend_from_slice(body);
}

/// One publisher's PUBLISH: encoded once, then copied and patched for each message.
#[derive(Clone, Debug)]
pub struct PublishTemplate {
    frame: Vec<u8>,
    packet_id_at: Option<usize>,
    payload_at: usize,
}

impl PublishTemplate {
    /// A message of `payload_bytes`, at least [`Stamp::BYTES`].
    #[must_use]
    pub fn new(version: Version, topic: &str, qos: u8, payload_bytes: usize) -> Self {
        let payload_bytes = payload_bytes.max(Stamp::BYTES);
        let mut body = Vec::new();
        put_text(&mut body, topic);
        let packet_id_in_body = body.len();
        if qos > 0 {
            body.extend([0, 0]);
        }
        if version == Version::V5 {
            body.push(0);
        }
        body.resize(body.len() + payload_bytes, b'x');
        let mut frame = Vec::new();
        put_frame(0x30 | (qos << 1), &body, &mut frame);
        let header_bytes = frame.len() - body.len();
        let packet_id_at = (qos > 0).then_some(header_bytes + packet_id_in_body);
        Self { payload_at: frame.len() - payload_bytes, frame, packet_id_at }
    }

    /// Appends one message; `packet_id` counts with QoS 1 and 2 only.
    #[inline]
    pub fn append(&self, packet_id: u16, stamp: Stamp, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&self.frame);
        let frame = &mut out[start..];
        if let Some(at) = self.packet_id_at {
            frame[at..at + 2].copy_from_slice(&packet_id.to_be_bytes());
        }
        stamp.write(&mut frame[self.payload_at..]);
    }

    /// Bytes of one packet.
    #[must_use]
    pub fn packet_bytes(&self) -> usize {
        self.frame.len()
    }
}
