//! The real binary as a child process, and a client of its admin API.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use broker_config::{
    Authentication, Protocol, RawAdmin, RawCluster, RawConfig, RawDiscovery, RawListener,
    RawListenerLimits, RawPeers, RawStaticPeer, RawTls,
};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use serde_json::Value;

use super::pki::{CLUSTER_ID, Pki};
use super::{DEADLINE, eventually};

/// A port that nobody has: not one of those that the system gives to connections, which may be taken
/// before the broker binds it, and not the same one twice.
pub(crate) fn free_port() -> u16 {
    const FIRST: u32 = 20_000;
    const COUNT: u32 = 12_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let start = std::process::id().wrapping_mul(101);
    loop {
        let port = FIRST + start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT;
        let port = u16::try_from(port).unwrap();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// The configuration of broker `fleet-0` alone; tests change what they need.
pub(crate) fn config(pki: &Pki) -> RawConfig {
    let (paths, cluster_paths) = (pki.paths(), pki.cluster_paths());
    let local = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
    RawConfig {
        data_dir: pki.folder.join("data"),
        workers: 2,
        pid_file: None,
        durability: Default::default(),
        partition_policy: Default::default(),
        cluster: Some(RawCluster {
            name: "fleet".to_owned(),
            id: CLUSTER_ID.to_owned(),
            feature_level_max: None,
        }),
        peers: Some(RawPeers {
            listen: local(free_port()),
            discovery: RawDiscovery::Static(Vec::<RawStaticPeer>::new()),
        }),
        admin: Some(RawAdmin { listen: local(free_port()) }),
        metrics: None,
        tls: Some(RawTls {
            server_certificate: Some(paths.server_certificate),
            server_key: Some(paths.server_key),
            peer_certificate: Some(cluster_paths.peer.certificate),
            peer_key: Some(cluster_paths.peer.key),
            peer_ca: Some(cluster_paths.peer.ca),
            admin_ca: Some(cluster_paths.admin_ca),
            client_ca: paths.client_ca,
            client_crl: None,
        }),
        policy: None,
        listeners: vec![listener("plain", Protocol::Mqtt), listener("secure", Protocol::Mqtts)],
        mqtt: Default::default(),
        sessions: Default::default(),
        retained: Default::default(),
        limits: Default::default(),
        sys: Default::default(),
        redirect: Default::default(),
        durability_rules: Vec::new(),
        rewrites: Vec::new(),
        auto_subscriptions: Vec::new(),
        delayed: Default::default(),
        log: Default::default(),
    }
}

fn listener(name: &str, protocol: Protocol) -> RawListener {
    let x509 = protocol.is_tls().then_some(Authentication::X509);
    RawListener {
        name: name.to_owned(),
        protocol,
        address: [127, 0, 0, 1].into(),
        port: Some(0),
        unix_socket: None,
        proxy_protocol: false,
        authentication: [Authentication::Password].into_iter().chain(x509).collect(),
        anonymous: None,
        client_certificates: None,
        websocket_origins: Vec::new(),
        certificate_username: Default::default(),
        tls: None,
        policy: None,
        mqtt: Default::default(),
        acknowledge_plaintext: !protocol.is_tls(),
        limits: RawListenerLimits::default(),
    }
}

/// The admin API of a member of a cluster.
pub(crate) fn admin(config: &RawConfig) -> &RawAdmin {
    config.admin.as_ref().unwrap()
}

/// Writes the file.
pub(crate) fn write_config(pki: &Pki, config: &RawConfig, name: &str) -> PathBuf {
    let path = pki.folder.join(format!("{name}.toml"));
    std::fs::write(&path, config.render()).unwrap();
    path
}

/// Today's program.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_mqtt-broker");

/// The program, to be called with arguments.
pub(crate) fn program() -> Command {
    program_at(Path::new(PROGRAM))
}

/// Another one.
fn program_at(path: &Path) -> Command {
    let mut command = Command::new(path);
    for name in ["RUST_LOG", "DUNLIN_CONFIG", "DUNLIN_NAME", "DUNLIN_METRICS_ADDRESS"] {
        command.env_remove(name);
    }
    command
}

/// A running broker. Killed when dropped.
pub(crate) struct Process {
    child: Child,
    lines: Arc<Mutex<Vec<Value>>>,
    pub(crate) admin: SocketAddr,
}

impl Process {
    /// Starts broker `name` and waits until its admin API answers.
    pub(crate) fn start(config: &RawConfig, path: &Path, name: &str) -> Self {
        Self::start_program(Path::new(PROGRAM), config, path, name)
    }

    /// The same with another program.
    pub(crate) fn start_program(
        program: &Path,
        config: &RawConfig,
        path: &Path,
        name: &str,
    ) -> Self {
        let process = Self::spawn_program(program, config, path, name);
        process.log("started");
        process
    }

    /// Starts it without waiting.
    pub(crate) fn spawn(config: &RawConfig, path: &Path, name: &str) -> Self {
        Self::spawn_program(Path::new(PROGRAM), config, path, name)
    }

    fn spawn_program(program: &Path, config: &RawConfig, path: &Path, name: &str) -> Self {
        let mut child = program_at(program)
            .args(["run", "--name", name, "--config"])
            .arg(path)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (stderr, sink) = (child.stderr.take().unwrap(), Arc::clone(&lines));
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines() {
                let Ok(line) = line else { return };
                let value = serde_json::from_str(&line).unwrap_or(Value::String(line));
                sink.lock().unwrap().push(value);
            }
        });
        Self { child, lines, admin: admin(config).listen }
    }

    /// Every line logged so far.
    pub(crate) fn lines(&self) -> Vec<Value> {
        self.lines.lock().unwrap().clone()
    }

    /// Waits for the line with this message; the last one.
    pub(crate) fn log(&self, message: &str) -> Value {
        eventually(&format!("log line {message:?}"), || {
            self.lines().into_iter().rev().find(|line| line["message"] == message)
        })
    }

    /// Where a listener listens, once it does.
    pub(crate) fn listener(&self, name: &str) -> SocketAddr {
        eventually(&format!("listener {name:?} is open"), || {
            let is_wanted =
                |line: &Value| line["message"] == "listening" && line["listener"] == name;
            let line = self.lines().into_iter().rev().find(is_wanted)?;
            line["address"].as_str()?.parse().ok()
        })
    }

    /// Sends a signal, for example `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .args([&format!("-{name}"), &self.child.id().to_string()])
            .status()
            .unwrap();
        assert!(status.success());
    }

    /// Waits for the end.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        eventually("the process ends", || self.child.try_wait().unwrap())
    }

    /// What went wrong according to the log; a test that expects nothing asserts that it is empty.
    pub(crate) fn complaints(&self) -> Vec<Value> {
        let is_bad = |line: &Value| !matches!(line["level"].as_str(), Some("INFO" | "DEBUG"));
        self.lines().into_iter().filter(is_bad).collect()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for line in self.lines() {
                eprintln!("{line}");
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Calls the admin API; status and body.
pub(crate) fn request(
    address: SocketAddr,
    config: &Arc<ClientConfig>,
    method: &str,
    path: &str,
    body: &str,
) -> std::io::Result<(u16, String)> {
    let (status, body) = request_bytes(address, config, method, path, body.as_bytes())?;
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}

/// The same for bodies of any bytes.
pub(crate) fn request_bytes(
    address: SocketAddr,
    config: &Arc<ClientConfig>,
    method: &str,
    path: &str,
    body: &[u8],
) -> std::io::Result<(u16, Vec<u8>)> {
    let tcp = TcpStream::connect_timeout(&address, DEADLINE)?;
    tcp.set_read_timeout(Some(DEADLINE))?;
    let name = ServerName::try_from("localhost").unwrap();
    let tls = ClientConnection::new(Arc::clone(config), name).map_err(std::io::Error::other)?;
    let mut stream = StreamOwned::new(tls, tcp);
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    )?;
    // Who refuses a long body need not read all of it.
    let _ = stream.write_all(body);
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Ok(_) => {}
        // Not every server says goodbye before it closes.
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {}
        Err(error) => return Err(error),
    }
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or(answer.len());
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    let body = answer.get(end + 4..).unwrap_or_default();
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    let status = status.ok_or_else(|| std::io::Error::other(format!("no answer: {head:?}")))?;
    if head.contains("transfer-encoding: chunked") {
        return Ok((status, joined(body).ok_or(std::io::ErrorKind::UnexpectedEof)?));
    }
    Ok((status, body.to_vec()))
}

/// The chunks of a body in one; `None` when the last one is missing.
fn joined(mut body: &[u8]) -> Option<Vec<u8>> {
    let mut all = Vec::new();
    loop {
        let end = body.windows(2).position(|two| two == b"\r\n")?;
        let length = usize::from_str_radix(std::str::from_utf8(&body[..end]).ok()?, 16).ok()?;
        if length == 0 {
            return Some(all);
        }
        all.extend_from_slice(body.get(end + 2..end + 2 + length)?);
        body = body.get(end + 4 + length..)?;
    }
}
