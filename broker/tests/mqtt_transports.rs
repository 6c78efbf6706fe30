//! What carries MQTT beside TCP and TLS: WebSocket, Unix sockets, proxies in front.
#![allow(clippy::unwrap_used, reason = "a test ends where something unexpected happens")]

mod support;

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;

use broker_config::{Bind, Listener, Protocol};
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::{Error, Message, WebSocket};

use support::client::{CONNACK, Client, connect, connect_tcp, publish};
use support::node::{Node, Options, address, listener};
use support::{DEADLINE, eventually};

/// A node with one more listener.
fn node(protocol: Protocol, change: impl FnOnce(&mut Listener)) -> Node {
    let mut options = Options::default();
    let mut more = listener(&options, "more", protocol);
    change(&mut more);
    options.listeners = vec![more];
    Node::start(options)
}

/// A WebSocket of the library's own client half, as a stream of bytes.
struct WebSocketChannel<S> {
    websocket: WebSocket<S>,
    unread: Vec<u8>,
}

impl<S: Read + Write> Read for WebSocketChannel<S> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        while self.unread.is_empty() {
            match self.websocket.read() {
                Ok(Message::Binary(payload)) => self.unread.extend_from_slice(&payload),
                Ok(_) => {}
                Err(Error::ConnectionClosed | Error::AlreadyClosed) => return Ok(0),
                Err(Error::Io(error)) => return Err(error),
                Err(_) => return Err(io::ErrorKind::ConnectionReset.into()),
            }
        }
        let count = self.unread.len().min(bytes.len());
        bytes[..count].copy_from_slice(&self.unread[..count]);
        self.unread.drain(..count);
        Ok(count)
    }
}

impl<S: Read + Write> Write for WebSocketChannel<S> {
    /// A message of its own for each piece, so that packets span messages.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let piece = &bytes[..bytes.len().min(7)];
        self.websocket.send(Message::Binary(piece.to_vec().into())).map_err(io::Error::other)?;
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.websocket.flush().map_err(io::Error::other)
    }
}

/// The handshake, with the subprotocols offered; the one chosen, or the HTTP status of a refusal.
fn upgrade<S: Read + Write>(
    stream: S,
    offers: Option<&'static str>,
) -> Result<(WebSocket<S>, String), u16> {
    upgrade_from(stream, offers, None)
}

/// The same of a web page.
fn upgrade_from<S: Read + Write>(
    stream: S,
    offers: Option<&'static str>,
    origin: Option<&'static str>,
) -> Result<(WebSocket<S>, String), u16> {
    let mut request = "ws://localhost/mqtt".into_client_request().unwrap();
    if let Some(offers) = offers {
        let offers = HeaderValue::from_static(offers);
        request.headers_mut().insert("Sec-WebSocket-Protocol", offers);
    }
    if let Some(origin) = origin {
        request.headers_mut().insert("Origin", HeaderValue::from_static(origin));
    }
    match tokio_tungstenite::tungstenite::client(request, stream) {
        Ok((websocket, response)) => {
            let chosen = response.headers()["Sec-WebSocket-Protocol"].to_str().unwrap().to_owned();
            Ok((websocket, chosen))
        }
        Err(tokio_tungstenite::tungstenite::HandshakeError::Failure(Error::Http(response))) => {
            Err(response.status().as_u16())
        }
        Err(other) => panic!("{other}"),
    }
}

fn websocket<S: Read + Write + Send + 'static>(stream: S) -> Client {
    let (websocket, chosen) = upgrade(stream, Some("other, mqtt")).ok().unwrap();
    assert_eq!(chosen, "mqtt");
    Client::Other(Box::new(WebSocketChannel { websocket, unread: Vec::new() }))
}

/// What one client sends another over the listener under test, in both directions.
fn talk(node: &Node, client: Client) {
    let mut client = client.log_in("under-test");
    client.subscribe("down/#", 0);
    let mut other = Client::plain(node.plain).log_in("other");
    other.subscribe("up/#", 0);
    let long = vec![b'x'; 200_000];
    client.publish("up/a", &long);
    assert_eq!(other.message(), ("up/a".to_owned(), long.clone()));
    other.publish("down/a", &long);
    assert_eq!(client.message(), ("down/a".to_owned(), long));
    client.ping();
}

#[test]
fn mqtt_goes_through_a_websocket() {
    let node = node(Protocol::Ws, |_| {});
    talk(&node, websocket(connect_tcp(address(&node.places[2])).unwrap()));
}

#[test]
fn mqtt_goes_through_a_websocket_over_tls() {
    let node = node(Protocol::Wss, |_| {});
    let name = ServerName::try_from("localhost").unwrap();
    let tls = ClientConnection::new(node.pki.device(), name).unwrap();
    let tcp = connect_tcp(address(&node.places[2])).unwrap();
    talk(&node, websocket(StreamOwned::new(tls, tcp)));
}

#[test]
fn a_websocket_must_offer_mqtt() {
    let node = node(Protocol::Ws, |_| {});
    let tcp = || connect_tcp(address(&node.places[2])).unwrap();
    assert_eq!(upgrade(tcp(), Some("chat")).err(), Some(400));
    assert_eq!(upgrade(tcp(), None).err(), Some(400));
    let (_, chosen) = upgrade(tcp(), Some("mqttv3.1")).ok().unwrap();
    assert_eq!(chosen, "mqttv3.1");
    // What is no HTTP at all is closed, and the others serve on.
    let mut stranger = Client::Plain(tcp());
    stranger.send(&connect("stranger", Some("pump"), b"secret", true));
    stranger.until_closed();
    Client::plain(node.plain).log_in("bystander").ping();
}

#[test]
fn only_pages_that_are_named_may_connect_and_what_is_no_browser() {
    let pages = vec!["https://plant.example".to_owned(), "http://localhost:8080".to_owned()];
    let node = node(Protocol::Ws, |listener| listener.websocket_origins = pages);
    let from = |origin| {
        let tcp = connect_tcp(address(&node.places[2])).unwrap();
        upgrade_from(tcp, Some("mqtt"), origin).err()
    };
    for origin in [Some("https://plant.example"), Some("HTTP://localhost:8080"), None] {
        assert_eq!(from(origin), None, "{origin:?}");
    }
    let strangers = ["https://plant.example.evil.example", "http://plant.example", "null", ""];
    for origin in strangers {
        assert_eq!(from(Some(origin)), Some(403), "{origin:?}");
    }
    let counted: u64 = node.worker_readings().iter().map(|reading| reading.origins_refused).sum();
    assert_eq!(strangers.len() as u64, counted);
}

#[test]
fn where_no_page_is_named_all_may_connect() {
    let node = node(Protocol::Ws, |_| {});
    let tcp = connect_tcp(address(&node.places[2])).unwrap();
    assert!(upgrade_from(tcp, Some("mqtt"), Some("https://anywhere.example")).is_ok());
}

#[test]
fn a_packet_too_large_is_told_so_through_a_websocket_and_messages_may_be_larger_than_packets() {
    let node = node(Protocol::Ws, |_| {});
    let limit = broker_core::engine::EngineConfig::default().packet_bytes_max as usize;
    let tcp = connect_tcp(address(&node.places[2])).unwrap();
    let (mut websocket, _) = upgrade(tcp, Some("mqtt")).ok().unwrap();
    // CONNECT and more than a packet's worth of PUBLISH packets in one message.
    let payload = vec![b'x'; limit / 4];
    let mut bytes = connect("sender", Some("pump"), b"secret", true);
    (0..6).for_each(|_| bytes.extend(publish("up", &payload)));
    let mut other = Client::plain(node.plain).log_in("other");
    other.subscribe("up", 0);
    websocket.send(Message::Binary(bytes.into())).unwrap();
    (0..6).for_each(|_| assert_eq!(other.message().1.len(), payload.len()));
    // The first bytes of one that is too long, in a frame of its length.
    // (It is closed while it sends.)
    let _ = websocket.send(Message::Binary(publish("up", &vec![b'x'; limit]).into()));
    let mut answers = Vec::new();
    while let Ok(message) = websocket.read() {
        if let Message::Binary(bytes) = message {
            answers.extend(bytes);
        }
    }
    let last = answers.windows(3).rposition(|bytes| bytes[0] == 0xE0 && bytes[2] == 0x95);
    assert!(last.is_some(), "DISCONNECT 0x95 in {answers:?}");
    let read = || node.worker_readings().iter().map(|r| r.engine.limits.packet_bytes).sum::<u64>();
    assert_eq!(eventually("it is counted", || Some(read()).filter(|count| *count > 0)), 1);
}

#[test]
fn text_in_a_websocket_ends_only_that_connection() {
    let node = node(Protocol::Ws, |_| {});
    let mut bystander = Client::plain(node.plain).log_in("bystander");
    let tcp = connect_tcp(address(&node.places[2])).unwrap();
    let (mut websocket, _) = upgrade(tcp, Some("mqtt")).ok().unwrap();
    websocket.send(Message::text("hello")).unwrap();
    while websocket.read().is_ok() {}
    bystander.ping();
}

#[test]
fn mqtt_goes_through_a_unix_socket() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mqtt.sock");
    let node = node(Protocol::Mqtt, |listener| listener.bind = Bind::Unix(path.clone()));
    let unix = UnixStream::connect(&path).unwrap();
    unix.set_read_timeout(Some(DEADLINE)).unwrap();
    talk(&node, Client::Other(Box::new(unix)));
}

#[test]
fn a_proxy_says_first_where_the_client_is() {
    let node = node(Protocol::Mqtt, |listener| listener.proxy_protocol = true);
    let proxied = address(&node.places[2]);
    let mut client = Client::plain(proxied);
    // Header and CONNECT in one segment: nothing of the client's is lost.
    let mut bytes = b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 1883\r\n".to_vec();
    bytes.extend(connect("proxied", Some("pump"), b"secret", true));
    bytes.extend(publish("a", b"b"));
    client.send(&bytes);
    assert_eq!(client.expect(CONNACK).body[1], 0);
    client.ping();
    let mut direct = Client::plain(proxied);
    direct.send(&connect("direct", Some("pump"), b"secret", true));
    direct.until_closed();
    client.ping();
}
