//! Peers that are let in by their certificate and then misbehave: refused, named, and no harm to others.

use broker::cluster::{FRAME_BODY_BYTES_MAX, NodeId, RefusalKind};
use broker::tls::{PeerTls, peer_server_name};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::certificates::PeerCa;
use crate::links::{ECHO, End, end};
use crate::node::{CLUSTER_ID, eventually};
use crate::versions::refused_by;

const HELLO: u8 = 0;
const REFUSED: u8 = 1;

/// A peer that says whatever it is told to.
struct Stranger(TlsStream<TcpStream>);

impl Stranger {
    async fn dial(end: &End, tls: &PeerTls) -> Self {
        let tcp = TcpStream::connect(end.address).await.unwrap();
        let name = ServerName::try_from(peer_server_name(CLUSTER_ID)).unwrap();
        let connector = TlsConnector::from(std::sync::Arc::clone(&tls.client));
        Self(connector.connect(name, tcp).await.unwrap())
    }

    async fn send(&mut self, length: u32, kind: u8, rest: &[u8]) {
        let head = [&length.to_le_bytes()[..], &[kind], &[0; 8]].concat();
        self.0.write_all(&[&head, rest].concat()).await.unwrap();
        self.0.flush().await.unwrap();
    }

    async fn say_hello(&mut self, body: &[u8]) {
        self.send(9 + body.len() as u32, HELLO, body).await;
    }

    /// The next frame of the handshake; `None` at the end.
    async fn receive(&mut self) -> Option<(u8, Vec<u8>)> {
        let length = self.0.read_u32_le().await.ok()?;
        let mut frame = vec![0; length as usize];
        self.0.read_exact(&mut frame).await.ok()?;
        Some((frame[0], frame.split_off(9)))
    }

    /// Waits for the end.
    async fn until_closed(&mut self) {
        let mut rest = Vec::new();
        // Closed in either way.
        let _ = self.0.read_to_end(&mut rest).await;
    }
}

/// As a broker of wire versions 1 to 2 says it.
fn hello(cluster_id: &str, node: u8, name: &str) -> Vec<u8> {
    let text = |text: &str| [&[text.len() as u8], text.as_bytes()].concat();
    [&[1, 1, 2][..], &text(cluster_id), &[node], &text(name), &[2, 1, b'x']].concat()
}

struct Scene {
    ca: PeerCa,
    /// Listens.
    here: End,
    /// A good peer, linked to it.
    good: End,
}

impl Scene {
    async fn new() -> Self {
        let ca = PeerCa::new();
        let here = end(ca.tls(CLUSTER_ID, "here"), 2, "here", None).await;
        let good = end(ca.tls(CLUSTER_ID, "good"), 3, "good", Some(here.address)).await;
        eventually("link", || good.links.is_live(NodeId(2))).await;
        Self { ca, here, good }
    }

    async fn stranger(&self, name: &str) -> Stranger {
        Stranger::dial(&self.here, &self.ca.tls(CLUSTER_ID, name)).await
    }

    /// The refusal names the address, the certificate and the claimed node; the good peer is served.
    async fn check(&self, kind: RefusalKind, named: (&str, Option<u64>)) -> String {
        let reason = refused_by(&self.here.links, kind).await;
        let refusals = self.here.links.status().refusals;
        let refusal = refusals.iter().find(|refusal| refusal.kind == kind).unwrap();
        assert!(refusal.address.ip().is_loopback());
        assert_eq!(refusal.common_name.as_deref(), Some(named.0));
        assert_eq!(refusal.node_id, named.1.map(NodeId));
        let answer = self.good.links.request(NodeId(2), ECHO, b"x").await.unwrap();
        assert_eq!(answer[..], *b"x");
        assert_eq!(self.here.links.accepted(), [NodeId(3)]);
        reason
    }
}

#[tokio::test]
async fn a_hello_that_can_not_be_read_is_refused_and_the_certificate_named() {
    let scene = Scene::new().await;
    let mut stranger = scene.stranger("stranger").await;
    stranger.say_hello(&[9, 9, 9]).await;
    let (kind, reason) = stranger.receive().await.unwrap();
    assert_eq!(kind, REFUSED);
    assert!(String::from_utf8(reason).unwrap().contains("no HELLO"));
    scene.check(RefusalKind::Hello, ("stranger", None)).await;
}

#[tokio::test]
async fn an_over_long_frame_is_refused_and_named_before_and_after_the_handshake() {
    let scene = Scene::new().await;
    let mut stranger = scene.stranger("early").await;
    stranger.send(u32::MAX, HELLO, b"").await;
    stranger.until_closed().await;
    let reason = scene.check(RefusalKind::Frame, ("early", None)).await;
    assert!(reason.contains(&u32::MAX.to_string()), "{reason}");

    let scene = Scene::new().await;
    let mut stranger = scene.stranger("late").await;
    stranger.say_hello(&hello(CLUSTER_ID, 9, "late")).await;
    assert_eq!(stranger.receive().await.unwrap().0, HELLO);
    stranger.send(FRAME_BODY_BYTES_MAX as u32 + 11, ECHO, b"").await;
    stranger.until_closed().await;
    let reason = scene.check(RefusalKind::Frame, ("late", Some(9))).await;
    assert!(reason.contains("frame of"), "{reason}");
}

#[tokio::test]
async fn a_frame_of_another_version_than_the_links_is_refused_and_named() {
    let scene = Scene::new().await;
    let mut stranger = scene.stranger("mixed").await;
    stranger.say_hello(&hello(CLUSTER_ID, 9, "mixed")).await;
    assert_eq!(stranger.receive().await.unwrap().0, HELLO);
    stranger.send(11, ECHO, &[3, b'x']).await;
    stranger.until_closed().await;
    let reason = scene.check(RefusalKind::Frame, ("mixed", Some(9))).await;
    assert!(reason.contains("version 3 on a link of version 2"), "{reason}");
}

#[tokio::test]
async fn another_brokers_name_or_node_id_or_cluster_is_refused_and_named() {
    let scene = Scene::new().await;
    let mut stranger = scene.stranger("stranger").await;
    stranger.say_hello(&hello(CLUSTER_ID, 9, "good")).await;
    assert_eq!(stranger.receive().await.unwrap().0, REFUSED);
    let reason = scene.check(RefusalKind::Name, ("stranger", Some(9))).await;
    assert!(reason.contains("calls itself good, its certificate calls it stranger"), "{reason}");

    // The good one's, which is linked.
    let mut stranger = scene.stranger("stranger").await;
    stranger.say_hello(&hello(CLUSTER_ID, 3, "stranger")).await;
    assert_eq!(stranger.receive().await.unwrap().0, REFUSED);
    let reason = scene.check(RefusalKind::NodeId, ("stranger", Some(3))).await;
    assert!(reason.contains("has the node id of good"), "{reason}");

    // A member's, which is not.
    scene.here.links.set_members([(NodeId(5), "away".to_owned())].into());
    let mut stranger = scene.stranger("other").await;
    stranger.say_hello(&hello(CLUSTER_ID, 5, "other")).await;
    let (kind, reason) = stranger.receive().await.unwrap();
    assert_eq!(kind, REFUSED);
    assert!(String::from_utf8(reason).unwrap().contains("has the node id of away"));

    let mut stranger = scene.stranger("stranger").await;
    stranger.say_hello(&hello("01KOTHER", 9, "stranger")).await;
    assert_eq!(stranger.receive().await.unwrap().0, REFUSED);
    let reason = scene.check(RefusalKind::Cluster, ("stranger", Some(9))).await;
    assert!(reason.contains("is of cluster 01KOTHER, this is cluster 01KTEST"), "{reason}");
}
