//! A client that speaks just enough MQTT 5.0, over TCP or TLS, and waits for each answer.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use super::DEADLINE;

/// One packet: its first byte and its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Packet {
    pub(crate) first: u8,
    pub(crate) body: Vec<u8>,
}

impl Packet {
    /// The packet type. Spec: MQTT 5.0 section 2.1.2.
    pub(crate) fn kind(&self) -> u8 {
        self.first >> 4
    }
}

pub(crate) const CONNACK: u8 = 2;
pub(crate) const PUBLISH: u8 = 3;
pub(crate) const PUBACK: u8 = 4;
pub(crate) const SUBACK: u8 = 9;
pub(crate) const PINGRESP: u8 = 13;
pub(crate) const DISCONNECT: u8 = 14;

/// Whatever else carries bytes.
pub(crate) trait Channel: Read + Write + Send {}

impl<T: Read + Write + Send> Channel for T {}

pub(crate) enum Client {
    Plain(TcpStream),
    Other(Box<dyn Channel>),
    Secure(Box<StreamOwned<ClientConnection, TcpStream>>),
}

pub(crate) fn connect_tcp(address: SocketAddr) -> io::Result<TcpStream> {
    let tcp = TcpStream::connect_timeout(&address, DEADLINE)?;
    tcp.set_read_timeout(Some(DEADLINE))?;
    tcp.set_write_timeout(Some(DEADLINE))?;
    tcp.set_nodelay(true)?;
    Ok(tcp)
}

impl Client {
    pub(crate) fn plain(address: SocketAddr) -> Self {
        Self::Plain(connect_tcp(address).unwrap())
    }

    pub(crate) fn try_plain(address: SocketAddr) -> io::Result<Self> {
        connect_tcp(address).map(Self::Plain)
    }

    /// Connects and shakes hands.
    pub(crate) fn try_secure(address: SocketAddr, config: &Arc<ClientConfig>) -> io::Result<Self> {
        Self::try_secure_over(connect_tcp(address)?, config)
    }

    /// Shakes hands on a connection.
    pub(crate) fn try_secure_over(
        mut tcp: TcpStream,
        config: &Arc<ClientConfig>,
    ) -> io::Result<Self> {
        let name = ServerName::try_from("localhost").unwrap();
        let mut tls = ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
        while tls.is_handshaking() {
            tls.complete_io(&mut tcp)?;
        }
        Ok(Self::Secure(Box::new(StreamOwned::new(tls, tcp))))
    }

    pub(crate) fn secure(address: SocketAddr, config: &Arc<ClientConfig>) -> Self {
        Self::try_secure(address, config).unwrap()
    }

    pub(crate) fn server_certificate(&self) -> CertificateDer<'static> {
        let Self::Secure(stream) = self else { panic!("no TLS") };
        stream.conn.peer_certificates().unwrap()[0].clone().into_owned()
    }

    pub(crate) fn is_resumed(&self) -> bool {
        let Self::Secure(stream) = self else { panic!("no TLS") };
        stream.conn.handshake_kind() == Some(rustls::HandshakeKind::Resumed)
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.try_send(bytes).unwrap();
    }

    pub(crate) fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(tcp) => tcp.write_all(bytes),
            Self::Other(channel) => channel.write_all(bytes).and_then(|()| channel.flush()),
            Self::Secure(stream) => stream.write_all(bytes).and_then(|()| stream.flush()),
        }
    }

    /// Puts bytes on the wire that TLS knows nothing of.
    pub(crate) fn send_beneath_tls(&mut self, bytes: &[u8]) {
        let Self::Secure(stream) = self else { panic!("no TLS") };
        stream.sock.write_all(bytes).unwrap();
    }

    /// Reads until the broker has closed the connection, in whatever way.
    pub(crate) fn until_closed(&mut self) {
        let mut sink = [0; 1024];
        loop {
            let read = match self {
                Self::Plain(tcp) => tcp.read(&mut sink),
                Self::Other(channel) => channel.read(&mut sink),
                Self::Secure(stream) => stream.read(&mut sink),
            };
            match read {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) => {
                    assert!(!is_timeout(&error), "the connection is still open");
                    return;
                }
            }
        }
    }

    /// Whether the broker has closed the connection by now; what else it has sent is thrown away.
    pub(crate) fn is_closed(&mut self) -> bool {
        let Self::Secure(stream) = self else { panic!("no TLS") };
        stream.sock.set_nonblocking(true).unwrap();
        let mut sink = [0; 1024];
        let end = loop {
            match stream.read(&mut sink) {
                Ok(0) => break true,
                Ok(_) => {}
                Err(error) => break error.kind() != io::ErrorKind::WouldBlock,
            }
        };
        stream.sock.set_nonblocking(false).unwrap();
        end
    }

    fn read_exact(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        match self {
            Self::Plain(tcp) => tcp.read_exact(bytes),
            Self::Other(channel) => channel.read_exact(bytes),
            Self::Secure(stream) => stream.read_exact(bytes),
        }
    }

    /// The next packet; `None` when the broker has closed the connection.
    pub(crate) fn receive(&mut self) -> Option<Packet> {
        let mut byte = [0];
        match self.read_exact(&mut byte) {
            Ok(()) => {}
            Err(error) if is_close(&error) => return None,
            Err(error) => panic!("reading from the broker: {error}"),
        }
        let first = byte[0];
        let (mut length, mut shift) = (0, 0);
        loop {
            self.read_exact(&mut byte).unwrap();
            length |= usize::from(byte[0] & 0x7F) << shift;
            shift += 7;
            if byte[0] & 0x80 == 0 {
                break;
            }
        }
        let mut body = vec![0; length];
        self.read_exact(&mut body).unwrap();
        Some(Packet { first, body })
    }

    pub(crate) fn expect(&mut self, kind: u8) -> Packet {
        let packet = self.receive().expect("the broker has closed the connection");
        assert_eq!(packet.kind(), kind, "{packet:?}");
        packet
    }

    /// CONNECT and its answer's reason code.
    pub(crate) fn connect(
        &mut self,
        client_id: &str,
        username: Option<&str>,
        password: &[u8],
    ) -> u8 {
        self.send(&connect(client_id, username, password, true));
        self.expect(CONNACK).body[1]
    }

    /// Connects as `pump`.
    pub(crate) fn log_in(mut self, client_id: &str) -> Self {
        assert_eq!(self.connect(client_id, Some("pump"), b"secret"), 0);
        self
    }

    pub(crate) fn subscribe(&mut self, filter: &str, qos: u8) {
        let mut body = vec![0, 1, 0];
        body.extend(text(filter));
        body.push(qos);
        self.send(&packet(0x82, &body));
        assert_eq!(self.expect(SUBACK).body, [0, 1, 0, qos]);
    }

    /// QoS 0.
    pub(crate) fn publish(&mut self, topic: &str, payload: &[u8]) {
        self.send(&publish(topic, payload));
    }

    /// QoS 1: waits for PUBACK; its reason code.
    pub(crate) fn publish_acknowledged(&mut self, topic: &str, payload: &[u8]) -> u8 {
        let body = [&text(topic)[..], &[0, 1, 0], payload].concat();
        self.send(&packet(0x32, &body));
        let acknowledgement = self.expect(PUBACK);
        // Spec: MQTT 5.0 section 3.4.2.1: Success may be left out.
        acknowledgement.body.get(2).copied().unwrap_or(0)
    }

    /// A PUBLISH of QoS 1 without properties, acknowledged; its payload.
    pub(crate) fn acknowledged_message(&mut self) -> Vec<u8> {
        let packet = self.expect(PUBLISH);
        assert_eq!(packet.first & 0x06, 0x02, "QoS 1: {packet:?}");
        let topic = 2 + usize::from(u16::from_be_bytes([packet.body[0], packet.body[1]]));
        self.send(&[0x40, 2, packet.body[topic], packet.body[topic + 1]]);
        assert_eq!(packet.body[topic + 2], 0, "no properties are expected");
        packet.body[topic + 3..].to_vec()
    }

    /// A PUBLISH of QoS 0 as topic and payload.
    pub(crate) fn message(&mut self) -> (String, Vec<u8>) {
        message_of(&self.expect(PUBLISH))
    }

    /// The next message, if it comes before the answer to a PINGREQ.
    pub(crate) fn message_before_ping(&mut self) -> Option<(String, Vec<u8>)> {
        self.send(&[0xC0, 0]);
        let packet = self.receive()?;
        (packet.kind() == PUBLISH).then(|| message_of(&packet))
    }

    /// PINGREQ, and its answer behind whatever else comes before.
    pub(crate) fn ping_behind_messages(&mut self) {
        self.send(&[0xC0, 0]);
        loop {
            let packet = self.receive().expect("the broker has closed the connection");
            match packet.kind() {
                PUBLISH => {}
                PINGRESP => return,
                _ => panic!("unexpected {packet:?}"),
            }
        }
    }

    pub(crate) fn ping(&mut self) {
        self.send(&[0xC0, 0]);
        self.expect(PINGRESP);
    }
}

fn message_of(packet: &Packet) -> (String, Vec<u8>) {
    let length = usize::from(u16::from_be_bytes([packet.body[0], packet.body[1]]));
    let topic = String::from_utf8(packet.body[2..2 + length].to_vec()).unwrap();
    assert_eq!(packet.body[2 + length], 0, "no properties are expected");
    (topic, packet.body[3 + length..].to_vec())
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

fn is_close(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), UnexpectedEof | ConnectionReset | ConnectionAborted | BrokenPipe)
}

fn text(value: &str) -> Vec<u8> {
    binary(value.as_bytes())
}

fn binary(value: &[u8]) -> Vec<u8> {
    let mut bytes = u16::try_from(value.len()).unwrap().to_be_bytes().to_vec();
    bytes.extend(value);
    bytes
}

/// A SUBSCRIBE to a hundred filters.
pub(crate) fn subscribe_to_a_hundred(number: usize) -> Vec<u8> {
    let mut body = vec![0, 1, 0];
    for filter in (0..100).map(|n| format!("f/{number}/{n}/+")) {
        body.extend(u16::try_from(filter.len()).unwrap().to_be_bytes());
        body.extend(filter.as_bytes());
        body.push(1);
    }
    packet(0x82, &body)
}

/// A packet with its remaining length.
pub(crate) fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    let mut length = body.len();
    loop {
        let low = u8::try_from(length % 128).unwrap();
        length /= 128;
        bytes.push(if length > 0 { low | 0x80 } else { low });
        if length == 0 {
            break;
        }
    }
    bytes.extend(body);
    bytes
}

/// CONNECT of MQTT 5.0 with a keep alive of 60 s.
pub(crate) fn connect(
    client_id: &str,
    username: Option<&str>,
    password: &[u8],
    clean: bool,
) -> Vec<u8> {
    let mut flags = if clean { 0x02 } else { 0 };
    let mut body = text("MQTT");
    body.push(5);
    if username.is_some() {
        flags |= 0x80;
    }
    if !password.is_empty() {
        flags |= 0x40;
    }
    body.push(flags);
    body.extend([0, 60]);
    if clean {
        body.push(0);
    } else {
        // Session Expiry Interval: an hour.
        body.extend([5, 0x11, 0, 0, 0x0E, 0x10]);
    }
    body.extend(text(client_id));
    if let Some(username) = username {
        body.extend(text(username));
    }
    if !password.is_empty() {
        body.extend(binary(password));
    }
    packet(0x10, &body)
}

/// CONNECT of MQTT 5.0 as `pump` with a session that outlives the connection, and a will of QoS 2.
pub(crate) fn connect_with_will(
    client_id: &str,
    topic: &str,
    payload: &[u8],
    delay_seconds: u32,
) -> Vec<u8> {
    let mut body = text("MQTT");
    // User name, password, will of QoS 2; a keep alive of 60 s; an hour of Session Expiry Interval.
    body.extend([5, 0xC0 | 0x10 | 0x04, 0, 60, 5, 0x11, 0, 0, 0x0E, 0x10]);
    body.extend(text(client_id));
    body.extend([5, 0x18]);
    body.extend(delay_seconds.to_be_bytes());
    body.extend([&text(topic)[..], &binary(payload), &text("pump"), &binary(b"secret")].concat());
    packet(0x10, &body)
}

/// PUBLISH of QoS 0 without properties.
pub(crate) fn publish(topic: &str, payload: &[u8]) -> Vec<u8> {
    let mut body = text(topic);
    body.push(0);
    body.extend(payload);
    packet(0x30, &body)
}
