//! Two ends of a peer link, with a network between them that can fall silent.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use broker::cluster::{
    Discovery, FRAME_BODY_BYTES_MAX, LinkError, LinkEvent, LinkTiming, Links, LinksConfig, NodeId,
    PeerHandler, Replier, Speaks,
};
use broker::tls::PeerTls;
use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::certificates::PeerCa;
use crate::node::{CLUSTER_ID, eventually};

pub(crate) const ECHO: u8 = 40;
const KEEP: u8 = 41;
const REFUSE: u8 = 42;
const FORGET: u8 = 43;
const NEVER: u8 = 44;
const PANIC: u8 = 45;

#[derive(Default)]
struct Recorder {
    events: Mutex<Vec<LinkEvent>>,
    kept: Mutex<Vec<Bytes>>,
    held: Mutex<Vec<Replier>>,
}

impl PeerHandler for Recorder {
    fn peer_frame(&self, _from: NodeId, kind: u8, body: Bytes, replier: Replier) {
        match kind {
            ECHO => replier.reply(&body),
            KEEP => self.kept.lock().unwrap().push(body),
            REFUSE => replier.fail("not today"),
            NEVER => self.held.lock().unwrap().push(replier),
            PANIC => panic!("a handler with a bug"),
            _ => drop(replier),
        }
    }

    fn link_event(&self, event: &LinkEvent) {
        self.events.lock().unwrap().push(event.clone());
    }
}

pub(crate) struct End {
    pub(crate) links: Links,
    recorder: Arc<Recorder>,
    tls: Arc<ArcSwap<PeerTls>>,
    pub(crate) address: SocketAddr,
}

pub(crate) async fn end(tls: PeerTls, node: u64, name: &str, peer: Option<SocketAddr>) -> End {
    end_that_speaks(Speaks::default(), tls, node, name, peer).await
}

pub(crate) async fn end_that_speaks(
    speaks: Speaks,
    tls: PeerTls,
    node: u64,
    name: &str,
    peer: Option<SocketAddr>,
) -> End {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let tls = Arc::new(ArcSwap::from_pointee(tls));
    let config = LinksConfig {
        node_id: NodeId(node),
        name: name.to_owned(),
        cluster_id: CLUSTER_ID.to_owned(),
        speaks,
        discovery: Discovery::Static { peers: peer.iter().map(ToString::to_string).collect() },
        timing: LinkTiming {
            ping_interval: Duration::from_millis(100),
            backoff_min: Duration::from_millis(10),
            backoff_max: Duration::from_millis(50),
            ..LinkTiming::default()
        },
    };
    let links = Links::new(config, Arc::clone(&tls));
    let recorder = Arc::new(Recorder::default());
    links.serve(ECHO..=50, Arc::clone(&recorder) as Arc<dyn PeerHandler>);
    links.start(listener);
    End { links, recorder, tls, address }
}

/// Passes bytes on, both ways, while it is told to; counts connections.
async fn network(to: SocketAddr) -> (SocketAddr, watch::Sender<bool>, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (passes, gate) = watch::channel(true);
    let connections = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&connections);
    tokio::spawn(async move {
        loop {
            let (near, _) = listener.accept().await.unwrap();
            counter.fetch_add(1, Ordering::Relaxed);
            let far = TcpStream::connect(to).await.unwrap();
            let (near_read, near_write) = near.into_split();
            let (far_read, far_write) = far.into_split();
            tokio::spawn(pass(near_read, far_write, gate.clone()));
            tokio::spawn(pass(far_read, near_write, gate.clone()));
        }
    });
    (address, passes, connections)
}

async fn pass(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    mut gate: watch::Receiver<bool>,
) {
    let mut buffer = vec![0; 64 << 10];
    loop {
        if gate.wait_for(|passes| *passes).await.is_err() {
            return;
        }
        match from.read(&mut buffer).await {
            Ok(count) if count > 0 => {
                if to.write_all(&buffer[..count]).await.is_err() {
                    return;
                }
            }
            _ => return,
        }
    }
}

/// A dials B over a network of its own; B dials nobody.
async fn pair() -> (End, End, watch::Sender<bool>) {
    let ca = PeerCa::new();
    let b = end(ca.tls(CLUSTER_ID, "b"), 2, "b", None).await;
    let (address, passes, _) = network(b.address).await;
    let a = end(ca.tls(CLUSTER_ID, "a"), 1, "a", Some(address)).await;
    eventually("link", || a.links.is_live(NodeId(2))).await;
    (a, b, passes)
}

#[tokio::test]
async fn requests_are_answered_each_with_its_own_answer() {
    let (a, b, _passes) = pair().await;
    let asked: Vec<_> = (0..100u32)
        .map(|number| (number, a.links.request(NodeId(2), ECHO, &number.to_le_bytes())))
        .collect();
    for (number, answer) in asked {
        assert_eq!(answer.await.unwrap()[..], number.to_le_bytes());
    }
    let refused = a.links.request(NodeId(2), REFUSE, b"").await.unwrap_err();
    assert!(matches!(refused, LinkError::Refused { reason, .. } if reason == "not today"));
    let dropped = a.links.request(NodeId(2), FORGET, b"").await.unwrap_err();
    assert!(matches!(dropped, LinkError::Refused { .. }), "{dropped}");
    let unknown = a.links.request(NodeId(2), 200, b"").await.unwrap_err();
    assert!(matches!(&unknown, LinkError::Refused { reason, .. } if reason.contains("200")));
    let nobody = a.links.request(NodeId(9), ECHO, b"").await.unwrap_err();
    assert_eq!(nobody, LinkError::NoLink { node: NodeId(9) });
    // B has not dialled A, so it can't ask.
    assert_eq!(b.links.status().live, []);
    assert_eq!(b.links.status().accepted, [NodeId(1)]);
}

#[tokio::test]
async fn one_way_frames_arrive_in_order_and_long_ones_are_refused() {
    let (a, b, _passes) = pair().await;
    let large = vec![7; FRAME_BODY_BYTES_MAX];
    for number in 0..1000u32 {
        a.links.send(NodeId(2), KEEP, &number.to_le_bytes()).unwrap();
    }
    a.links.send(NodeId(2), KEEP, &large).unwrap();
    eventually("frames", || b.recorder.kept.lock().unwrap().len() == 1001).await;
    let kept = b.recorder.kept.lock().unwrap().clone();
    for (number, body) in kept[..1000].iter().enumerate() {
        assert_eq!(body[..], (number as u32).to_le_bytes());
    }
    assert_eq!(kept[1000], large);
    let too_long = vec![0; FRAME_BODY_BYTES_MAX + 1];
    let error = a.links.send(NodeId(2), KEEP, &too_long).unwrap_err();
    assert_eq!(error, LinkError::TooLong { bytes: too_long.len() });
    assert!(a.links.is_live(NodeId(2)));
}

#[tokio::test]
async fn a_silent_link_is_closed_its_calls_fail_and_a_new_one_takes_its_place() {
    let (a, b, passes) = pair().await;
    let waiting = a.links.request(NodeId(2), NEVER, b"");
    eventually("request", || !b.recorder.held.lock().unwrap().is_empty()).await;
    passes.send_replace(false);
    assert_eq!(waiting.await.unwrap_err(), LinkError::Closed { node: NodeId(2) });
    eventually("down", || !a.links.is_live(NodeId(2))).await;
    let error = a.links.send(NodeId(2), KEEP, b"x").unwrap_err();
    assert_eq!(error, LinkError::NoLink { node: NodeId(2) });
    eventually("closed there too", || b.links.status().accepted.is_empty()).await;

    passes.send_replace(true);
    eventually("up again", || a.links.is_live(NodeId(2))).await;
    assert_eq!(a.links.request(NodeId(2), ECHO, b"back").await.unwrap()[..], *b"back");
    let (node, name) = (NodeId(2), "b".to_owned());
    let up = LinkEvent::Up { node, name: name.clone() };
    let down = LinkEvent::Down { node, name };
    assert_eq!(*a.recorder.events.lock().unwrap(), [up.clone(), down, up]);
    let (node, name) = (NodeId(1), "a".to_owned());
    let accepted = LinkEvent::Accepted { node, name: name.clone() };
    let closed = LinkEvent::AcceptedClosed { node, name };
    assert_eq!(*b.recorder.events.lock().unwrap(), [accepted.clone(), closed, accepted]);
}

#[tokio::test]
async fn a_handler_that_panics_costs_the_link_and_not_the_next_one() {
    let (a, b, _passes) = pair().await;
    let error = a.links.request(NodeId(2), PANIC, b"").await.unwrap_err();
    assert_eq!(error, LinkError::Closed { node: NodeId(2) });
    eventually("down", || !a.links.is_live(NodeId(2))).await;
    eventually("up again", || a.links.is_live(NodeId(2))).await;
    assert_eq!(a.links.request(NodeId(2), ECHO, b"x").await.unwrap()[..], *b"x");
    eventually("one link", || b.links.status().accepted == [NodeId(1)]).await;
}

#[tokio::test]
async fn a_slow_peer_costs_droppable_frames_first_and_then_its_link() {
    let (a, _b, passes) = pair().await;
    passes.send_replace(false);
    let frame = vec![1; 1 << 20];
    let mut dropped = 0;
    for _ in 0..20 {
        if !a.links.send_droppable(NodeId(2), KEEP, &frame).unwrap() {
            dropped += 1;
        }
    }
    assert!(dropped > 0);
    assert_eq!(a.links.status().frames_dropped, dropped);
    let overload = (0..200).find_map(|_| a.links.send(NodeId(2), KEEP, &frame).err());
    assert_eq!(overload, Some(LinkError::Overloaded { node: NodeId(2) }));
    assert_eq!(a.links.status().links_overloaded, 1);
    eventually("down", || !a.links.is_live(NodeId(2))).await;
}

#[tokio::test]
async fn new_certificates_are_used_from_the_next_connection_on() {
    let (a, b, _passes) = pair().await;
    let other = PeerCa::new();
    b.tls.store(Arc::new(other.tls(CLUSTER_ID, "b")));
    // The link that stands is not touched.
    assert_eq!(a.links.request(NodeId(2), ECHO, b"1").await.unwrap()[..], *b"1");
    let (gone, b_address) = (b.links.clone(), b.address);
    gone.stop();
    eventually("down", || !a.links.is_live(NodeId(2))).await;
    a.tls.store(Arc::new(other.tls(CLUSTER_ID, "a")));
    let b = end(other.tls(CLUSTER_ID, "b"), 2, "b", None).await;
    assert_ne!(b.address, b_address);
    a.links.set_discovery(Discovery::Static { peers: vec![b.address.to_string()] });
    eventually("up", || a.links.is_live(NodeId(2))).await;
}

#[tokio::test]
async fn peers_are_found_behind_a_dns_name() {
    let ca = PeerCa::new();
    let b = end(ca.tls(CLUSTER_ID, "b"), 2, "b", None).await;
    let a = end(ca.tls(CLUSTER_ID, "a"), 1, "a", None).await;
    let (host, port) = ("localhost".to_owned(), b.address.port());
    a.links.set_discovery(Discovery::Dns { host, port });
    eventually("link", || a.links.is_live(NodeId(2))).await;
    // A name that no longer resolves does not cost the link.
    let (host, port) = ("nowhere.invalid".to_owned(), b.address.port());
    a.links.set_discovery(Discovery::Dns { host, port });
    assert_eq!(a.links.request(NodeId(2), ECHO, b"x").await.unwrap()[..], *b"x");
}

#[tokio::test]
async fn a_node_leaves_itself_alone_and_links_a_peer_once_under_two_addresses() {
    let ca = PeerCa::new();
    let a = end(ca.tls(CLUSTER_ID, "a"), 1, "a", None).await;
    let b = end(ca.tls(CLUSTER_ID, "b"), 2, "b", None).await;
    let (first_way, _first, by_first) = network(b.address).await;
    let (second_way, _second, by_second) = network(b.address).await;
    let peers = [a.address, first_way, second_way].map(|address| address.to_string());
    a.links.set_discovery(Discovery::Static { peers: peers.to_vec() });
    eventually("link", || a.links.is_live(NodeId(2))).await;
    // The way that came second is tried now and then, in case the first one falls.
    let tries = || by_first.load(Ordering::Relaxed) + by_second.load(Ordering::Relaxed);
    eventually("more tries", || tries() >= 4).await;
    let up = LinkEvent::Up { node: NodeId(2), name: "b".to_owned() };
    assert_eq!(*a.recorder.events.lock().unwrap(), [up]);
    assert!(a.links.status().live.iter().map(|live| live.node).eq([NodeId(2)]));
    let copied = end(ca.tls(CLUSTER_ID, "c"), 2, "c", Some(b.address)).await;
    eventually("a copied data directory is refused", || {
        let refusals = copied.links.status().refusals;
        refusals.iter().any(|refusal| refusal.reason.contains("copied data directory"))
    })
    .await;
}
