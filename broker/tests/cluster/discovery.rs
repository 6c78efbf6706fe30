//! Peers that are found by way of a Kubernetes API server, or of etcd.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};

use broker::cluster::{Discovery, NodeId};
use broker_config::{EtcdPeers, KubernetesPeers, Server};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::certificates::PeerCa;
use crate::links::{ECHO, End, end};
use crate::node::{CLUSTER_ID, eventually};
use crate::optional::left_out;

fn server(address: SocketAddr) -> Server {
    Server { is_tls: false, host: address.ip().to_string(), port: address.port() }
}

pub(crate) async fn peer(ca: &PeerCa, node: u64, name: &str) -> End {
    end(ca.tls(CLUSTER_ID, name), node, name, None).await
}

/// What is known of a watch's trouble.
pub(crate) fn problem(discovery: &Discovery) -> String {
    let Discovery::Watched(found) = discovery else { panic!("no watch") };
    found.clone().now().1.unwrap_or_default()
}

/// As much of an API server as a watch needs: what it answers to lists, and the lines of watches.
struct FakeApi {
    address: SocketAddr,
    list: Arc<Mutex<(u16, String)>>,
    /// What it answers to watches; a refusal leaves with the next event.
    watch: Arc<AtomicU16>,
    events: watch::Sender<String>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl FakeApi {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let list = Arc::new(Mutex::new((403, String::new())));
        let (events, lines) = watch::channel(String::new());
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let watch = Arc::new(AtomicU16::new(200));
        let (answers, log, watch_status) =
            (Arc::clone(&list), Arc::clone(&asked), Arc::clone(&watch));
        tokio::spawn(async move {
            loop {
                let (mut tcp, _) = listener.accept().await.unwrap();
                let (answers, log, mut lines) =
                    (Arc::clone(&answers), Arc::clone(&log), lines.clone());
                let watch_status = Arc::clone(&watch_status);
                tokio::spawn(async move {
                    let mut head = Vec::new();
                    while !head.ends_with(b"\r\n\r\n") {
                        head.push(tcp.read_u8().await.unwrap());
                    }
                    let head = String::from_utf8(head).unwrap();
                    let is_watch = head.contains("watch=true");
                    let watch_status = watch_status.load(Ordering::Relaxed);
                    if watch_status != 200 {
                        lines.mark_unchanged();
                    }
                    log.lock().unwrap().push(head.lines().next().unwrap().to_owned());
                    let (status, body) = answers.lock().unwrap().clone();
                    let status = if is_watch { watch_status } else { status };
                    if is_watch && status != 200 {
                        lines.changed().await.unwrap();
                    }
                    let answer = format!("HTTP/1.1 {status} X\r\nconnection: close\r\n\r\n");
                    tcp.write_all(answer.as_bytes()).await.unwrap();
                    if !is_watch || status != 200 {
                        let _ = tcp.write_all(body.as_bytes()).await;
                        return;
                    }
                    while lines.changed().await.is_ok() {
                        let line = lines.borrow_and_update().clone();
                        if tcp.write_all(format!("{line}\n").as_bytes()).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        Self { address, list, watch, events, asked }
    }

    /// Of what was asked, the watches.
    fn watches(&self) -> usize {
        self.asked.lock().unwrap().iter().filter(|line| line.contains("watch=true")).count()
    }
}

/// Finds peers by the EndpointSlices that it tells of.
fn slices_of(api: &FakeApi, port: u16) -> Discovery {
    Discovery::kubernetes(KubernetesPeers {
        service: "fleet-peers".to_owned(),
        port,
        namespace: Some("iot".to_owned()),
        server: Some(server(api.address)),
        token_file: None,
        ca_file: None,
    })
}

#[tokio::test]
async fn a_role_that_may_list_but_not_watch_is_named_and_a_list_that_works_does_not_unsay_it() {
    let api = FakeApi::start().await;
    *api.list.lock().unwrap() = (
        200,
        r#"{"metadata":{"resourceVersion":"7"},"items":[{"metadata":{"name":"s"},
            "endpoints":[{"addresses":["127.0.0.9"]}]}]}"#
            .to_owned(),
    );
    api.watch.store(403, Ordering::Relaxed);
    let discovery = slices_of(&api, 7000);
    eventually("a watch is asked for", || api.watches() == 1).await;
    let Discovery::Watched(found) = &discovery else { panic!("no watch") };
    let found = || found.clone().now();
    eventually("what is listed counts", || found().0.contains("127.0.0.9:7000")).await;
    assert!(problem(&discovery).contains("has not answered yet"), "no watch is open yet");
    api.events.send_replace(String::new());
    eventually("the missing right is named", || {
        problem(&discovery).contains("may not watch endpointslices.discovery.k8s.io")
    })
    .await;
    eventually("it lists again and asks again", || api.watches() == 2).await;
    assert!(problem(&discovery).contains("may not watch"), "{}", problem(&discovery));
}

#[tokio::test]
async fn peers_are_found_by_the_endpoint_slices_of_a_service_and_stay_when_its_server_goes() {
    let ca = PeerCa::new();
    let (a, b) = (peer(&ca, 1, "a").await, peer(&ca, 2, "b").await);
    let api = FakeApi::start().await;
    let discovery = slices_of(&api, b.address.port());
    a.links.set_discovery(discovery.clone());
    eventually("the missing right is named", || {
        let problem = problem(&discovery);
        problem.contains("may not list endpointslices.discovery.k8s.io in namespace iot")
            && problem.contains("get, list and watch")
    })
    .await;
    assert_eq!(a.links.status().discovery_problems, 1);
    *api.list.lock().unwrap() =
        (200, r#"{"metadata":{"resourceVersion":"7"},"items":[]}"#.to_owned());
    eventually("the list is read", || problem(&discovery).is_empty()).await;
    eventually("the watch is on", || {
        let asked = api.asked.lock().unwrap();
        asked.iter().any(|line| line.contains("watch=true") && line.contains("resourceVersion=7"))
    })
    .await;
    let asked = api.asked.lock().unwrap()[0].clone();
    assert!(asked.contains("/namespaces/iot/endpointslices?labelSelector="), "{asked}");
    assert!(asked.contains("kubernetes.io%2Fservice-name%3Dfleet-peers"), "{asked}");
    assert!(!a.links.is_live(NodeId(2)));
    let added = r#"{"type":"ADDED","object":{"metadata":{"name":"s","resourceVersion":"8"},
        "endpoints":[{"addresses":["127.0.0.1"],"conditions":{"ready":false}}]}}"#;
    api.events.send_replace(added.replace('\n', ""));
    eventually("link", || a.links.is_live(NodeId(2))).await;
    *api.list.lock().unwrap() = (500, "out of order".to_owned());
    drop(api.events);
    eventually("the trouble is named", || problem(&discovery).contains("out of order")).await;
    assert_eq!(a.links.request(NodeId(2), ECHO, b"x").await.unwrap()[..], *b"x");
}

/// etcd's program, as Debian installs it or as Kubernetes' tests have it.
pub(crate) fn etcd_program() -> Option<PathBuf> {
    let assets = std::env::var_os("KUBEBUILDER_ASSETS").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders = std::env::split_paths(&path).chain(assets);
    let found = folders.find(|folder| folder.join("etcd").is_file());
    if found.is_none() {
        left_out("etcd is not installed (Debian: etcd-server)");
    }
    found.map(|folder| folder.join("etcd"))
}

/// A member of etcd. Killed when dropped.
pub(crate) struct Etcd {
    child: Child,
    address: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Etcd {
    /// With an empty disk.
    async fn start(program: &Path, address: SocketAddr, peers: SocketAddr) -> Self {
        let etcd = Self::spawn(program, address, peers, &[]);
        eventually("etcd answers", || etcd.try_post("/v3/kv/range", r#"{"key":"YQ=="}"#).is_some())
            .await;
        etcd
    }

    /// With an empty disk, and TLS where `tls` has the options for it. It may not answer yet.
    pub(crate) fn spawn(
        program: &Path,
        address: SocketAddr,
        peers: SocketAddr,
        tls: &[&str],
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let scheme = if tls.is_empty() { "http" } else { "https" };
        let (url, peer_url) = (format!("{scheme}://{address}"), format!("http://{peers}"));
        let child = Command::new(program)
            .args(["--data-dir", folder.path().to_str().unwrap()])
            .args(["--listen-client-urls", &url, "--advertise-client-urls", &url])
            .args(["--listen-peer-urls", &peer_url, "--initial-advertise-peer-urls", &peer_url])
            .args(["--initial-cluster", &format!("default={peer_url}")])
            .args(tls)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { child, address, _folder: folder }
    }

    fn try_post(&self, path: &str, body: &str) -> Option<String> {
        let mut tcp = std::net::TcpStream::connect(self.address).ok()?;
        let length = body.len();
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: etcd\r\nconnection: close\r\n\
             content-length: {length}\r\n\r\n{body}"
        );
        tcp.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        tcp.read_to_string(&mut answer).ok()?;
        answer.starts_with("HTTP/1.1 200").then_some(answer)
    }

    fn post(&self, path: &str, body: &str) {
        self.try_post(path, body).unwrap();
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn free_addresses() -> [SocketAddr; 2] {
    [(); 2]
        .map(|()| std::net::TcpListener::bind("127.0.0.1:0").unwrap())
        .map(|listener| listener.local_addr().unwrap())
}

pub(crate) fn registered(etcd: SocketAddr, end: &End) -> EtcdPeers {
    EtcdPeers {
        // The first is never there.
        endpoints: vec![server("127.0.0.1:1".parse().unwrap()), server(etcd)],
        prefix: "/dunlin/fleet/brokers/".to_owned(),
        advertise: end.address.to_string(),
        lease_seconds: 5,
        ca_file: None,
        identity: None,
        login: None,
    }
}

#[tokio::test]
async fn peers_register_in_etcd_find_each_other_and_stay_when_it_goes_and_comes_back_empty() {
    let Some(program) = etcd_program() else { return };
    let [address, peers] = free_addresses();
    let etcd = Etcd::start(&program, address, peers).await;
    let ca = PeerCa::new();
    let (a, b) = (peer(&ca, 1, "a").await, peer(&ca, 2, "b").await);
    for (end, name) in [(&a, "a"), (&b, "b")] {
        end.links.set_discovery(Discovery::etcd(registered(address, end), name));
    }
    eventually("links", || a.links.is_live(NodeId(2)) && b.links.is_live(NodeId(1))).await;
    drop(etcd);
    eventually("its loss is noticed", || a.links.status().discovery_problems > 0).await;
    assert_eq!(a.links.request(NodeId(2), ECHO, b"x").await.unwrap()[..], *b"x");
    // With nothing of what was registered.
    let _etcd = Etcd::start(&program, address, peers).await;
    let c = peer(&ca, 3, "c").await;
    c.links.set_discovery(Discovery::etcd(registered(address, &c), "c"));
    let others = [&a, &b];
    eventually("all find the new one and it finds them", || {
        let finds = |end: &&End| end.links.is_live(NodeId(3));
        others.iter().all(finds) && c.links.is_live(NodeId(1)) && c.links.is_live(NodeId(2))
    })
    .await;
    assert_eq!(a.links.request(NodeId(2), ECHO, b"x").await.unwrap()[..], *b"x");
}

#[tokio::test]
async fn who_asks_etcd_logs_in_and_a_wrong_password_is_named() {
    let Some(program) = etcd_program() else { return };
    let [address, peers] = free_addresses();
    let etcd = Etcd::start(&program, address, peers).await;
    etcd.post("/v3/auth/user/add", r#"{"name":"root","password":"secret"}"#);
    etcd.post("/v3/auth/role/add", r#"{"name":"root"}"#);
    etcd.post("/v3/auth/user/grant", r#"{"user":"root","role":"root"}"#);
    etcd.post("/v3/auth/enable", "{}");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    std::fs::write(&file, "wrong\n").unwrap();
    let ca = PeerCa::new();
    let (a, b) = (peer(&ca, 1, "a").await, peer(&ca, 2, "b").await);
    let with_login = |end: &End| EtcdPeers {
        endpoints: vec![server(address)],
        login: Some(("root".to_owned(), file.clone())),
        ..registered(address, end)
    };
    let discovery = Discovery::etcd(with_login(&a), "a");
    a.links.set_discovery(discovery.clone());
    eventually("the refusal is named", || problem(&discovery).contains("authentication failed"))
        .await;
    std::fs::write(&file, "secret\n").unwrap();
    b.links.set_discovery(Discovery::etcd(with_login(&b), "b"));
    eventually("links", || a.links.is_live(NodeId(2)) && b.links.is_live(NodeId(1))).await;
}
