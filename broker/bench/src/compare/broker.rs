//! The brokers that are compared: started here, on loopback, and ended when dropped.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::target::{Target, Tls};
use crate::wire::{Login, Version};

/// How long a broker may take to start.
const STARTS_WITHIN: Duration = Duration::from_secs(60);
/// How long one may take to end before it is killed.
const ENDS_WITHIN: Duration = Duration::from_secs(20);

/// One broker, one user, one rule that is checked on every message; nothing is switched off. The limits on connections are
/// raised, as opening them fast is part of what is measured.
const MANIFESTS: &str = r#"
apiVersion: mqtt.dunlin.io/v1alpha1
kind: MqttCluster
metadata: {name: bench}
spec:
  version: VERSION
  replicas: 1
  listeners:
  - name: plain
    protocol: mqtt
    port: PLAIN
    acknowledgePlaintext: true
    authentication: [password]
    limits: {connections: 1000000, connectionsPerSecond: 1000000}
  - {name: tls, protocol: mqtts, port: TLS, authentication: [password]}
---
apiVersion: mqtt.dunlin.io/v1alpha1
kind: MqttUser
metadata: {name: bench}
spec: {clusterRef: {name: bench}, authentication: {password: {}}}
---
apiVersion: mqtt.dunlin.io/v1alpha1
kind: MqttAcl
metadata: {name: bench}
spec:
  clusterRef: {name: bench}
  subjects: [{user: bench}]
  rules: [{effect: Allow, actions: [Publish, Subscribe, Receive], topics: ["bench/#"]}]
"#;

/// A running broker.
pub(super) struct Broker {
    pub(super) name: &'static str,
    pub(super) plain: Target,
    pub(super) tls: Target,
    pub(super) pid: u32,
    /// Ends what was started when dropped.
    _process: Process,
}

/// A child process that is ended, then killed, when dropped.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(pid) = rustix::process::Pid::from_raw(self.0.id() as i32) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let deadline = Instant::now() + ENDS_WITHIN;
        while Instant::now() < deadline {
            if matches!(self.0.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Where the programs are, and what is spoken to them.
#[derive(Clone, Debug)]
pub(super) struct Programs {
    /// The folder with mqtt-operator and mqtt-broker.
    pub(super) binaries: PathBuf,
    pub(super) mosquitto: PathBuf,
    pub(super) mqtt: Version,
}

/// PEM files that both brokers and their clients use.
struct Pem {
    ca: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
}

/// Starts Dunlin and, with `with_mosquitto`, Mosquitto with the same server certificate. Their files are below `folder`, which
/// must be empty.
///
/// # Errors
/// Dunlin did not start; or Mosquitto did not, though it is installed.
pub(super) fn start(
    programs: &Programs,
    folder: &Path,
    with_mosquitto: bool,
) -> Result<Vec<Broker>> {
    let (dunlin, pem) = start_dunlin(programs, folder)?;
    let mut brokers = vec![dunlin];
    if with_mosquitto {
        brokers.push(start_mosquitto(programs, folder, &pem)?);
    }
    Ok(brokers)
}

/// Mosquitto's version, or why it can't be used.
pub(super) fn mosquitto_version(programs: &Programs) -> Result<String> {
    let output = Command::new(&programs.mosquitto)
        .arg("-h")
        .env("PATH", path_with_sbin())
        .output()
        .with_context(|| format!("start {}", programs.mosquitto.display()))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let version = text.split_whitespace().skip_while(|word| *word != "version").nth(1);
    Ok(version.unwrap_or("of unknown version").to_owned())
}

/// Debian puts the broker where a user's PATH does not lead.
fn path_with_sbin() -> String {
    format!("{}:/usr/sbin:/usr/local/sbin", std::env::var("PATH").unwrap_or_default())
}

/// The state folder of `mqtt-operator local up`, seen through its command line.
struct Local<'a> {
    operator: PathBuf,
    state: &'a Path,
}

impl Local<'_> {
    fn run(&self, arguments: &[&str]) -> Result<String> {
        let output = Command::new(&self.operator)
            .arg("local")
            .args(arguments)
            .arg("--state")
            .arg(self.state)
            .output()
            .with_context(|| format!("start {}", self.operator.display()))?;
        if !output.status.success() {
            let printed = String::from_utf8_lossy(&output.stderr);
            bail!("mqtt-operator local {}: {printed}", arguments.join(" "));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn secret(&self, name: &str, key: &str) -> Result<Vec<u8>> {
        let text = self.run(&["get", "secret", name, "-o", "json"])?;
        let secret: Value = serde_json::from_str(&text)?;
        let value = secret["data"][key].as_str();
        let value = value.with_context(|| format!("secret {name} has no {key}"))?;
        STANDARD.decode(value).with_context(|| format!("secret {name}, {key}"))
    }
}

fn start_dunlin(programs: &Programs, folder: &Path) -> Result<(Broker, Pem)> {
    let (manifests, state) = (folder.join("manifests"), folder.join("state"));
    std::fs::create_dir(&manifests)?;
    let (plain, tls) = (free_port()?, free_port()?);
    let text = MANIFESTS
        .replace("VERSION", env!("CARGO_PKG_VERSION"))
        .replace("PLAIN", &plain.to_string())
        .replace("TLS", &tls.to_string());
    std::fs::write(manifests.join("bench.yaml"), text)?;
    let log = folder.join("dunlin.log");
    let out = std::fs::File::create(&log)?;
    let local = Local { operator: programs.binaries.join("mqtt-operator"), state: &state };
    let child = Command::new(&local.operator)
        .args(["local", "up", "-f"])
        .arg(&manifests)
        .arg("--state")
        .arg(&state)
        .stdin(Stdio::null())
        .stdout(out.try_clone()?)
        .stderr(out)
        .spawn()
        .with_context(|| {
            format!("start {}: --binaries names its folder", local.operator.display())
        })?;
    let process = Process(child);
    let printed = || std::fs::read_to_string(&log).unwrap_or_default();
    until("Dunlin is ready", || local.run(&["status", "--wait", "5s"]).map(drop))
        .with_context(|| format!("mqtt-operator local up printed:\n{}", printed()))?;
    let pid = child_of(process.0.id())?;
    let pem = Pem {
        ca: folder.join("ca.crt"),
        certificate: folder.join("server.crt"),
        key: folder.join("server.key"),
    };
    std::fs::write(&pem.ca, local.secret("bench-ca-bundle", "ca.crt")?)?;
    std::fs::write(&pem.certificate, local.secret("bench-server", "tls.crt")?)?;
    std::fs::write(&pem.key, local.secret("bench-server", "tls.key")?)?;
    let password = String::from_utf8(local.secret("bench-mqtt", "password")?)?;
    let login = Some(Login { username: "bench".to_owned(), password: Some(password) });
    let (plain, tls) = targets(programs, &pem, [plain, tls], login)?;
    Ok((Broker { name: "Dunlin", plain, tls, pid, _process: process }, pem))
}

fn start_mosquitto(programs: &Programs, folder: &Path, pem: &Pem) -> Result<Broker> {
    let (plain, tls) = (free_port()?, free_port()?);
    let config = folder.join("mosquitto.conf");
    // `user root`: started by root it would otherwise change to a user who can't read the key.
    let text = format!(
        "user root\nallow_anonymous true\nmax_inflight_messages 0\nmax_queued_messages 0\nset_tcp_nodelay true\n\
         persistence true\npersistence_location {}/\nlog_type none\nlistener {plain} 127.0.0.1\nlistener {tls} 127.0.0.1\ncertfile {}\nkeyfile {}\n",
        folder.display(),
        pem.certificate.display(),
        pem.key.display()
    );
    std::fs::write(&config, text)?;
    let child = Command::new(&programs.mosquitto)
        .env("PATH", path_with_sbin())
        .arg("-c")
        .arg(&config)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(folder.join("mosquitto.log"))?)
        .spawn()
        .with_context(|| format!("start {}", programs.mosquitto.display()))?;
    let process = Process(child);
    let pid = process.0.id();
    let (plain, tls) = targets(programs, pem, [plain, tls], None)?;
    for target in [&plain, &tls] {
        let connects = || Ok(TcpStream::connect(target.address).map(drop)?);
        until("Mosquitto listens", connects).with_context(|| {
            std::fs::read_to_string(folder.join("mosquitto.log")).unwrap_or_default()
        })?;
    }
    Ok(Broker { name: "Mosquitto", plain, tls, pid, _process: process })
}

fn targets(
    programs: &Programs,
    pem: &Pem,
    [plain, tls]: [u16; 2],
    login: Option<Login>,
) -> Result<(Target, Target)> {
    let target = |port, tls| Target {
        address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
        tls,
        login: login.clone(),
        version: programs.mqtt,
    };
    Ok((target(plain, None), target(tls, Some(Tls::read(&pem.ca, None, "localhost")?))))
}

/// The broker that the operator started: its only child.
fn child_of(operator: u32) -> Result<u32> {
    let mut children = Vec::new();
    for thread in std::fs::read_dir(format!("/proc/{operator}/task"))?.flatten() {
        let text = std::fs::read_to_string(thread.path().join("children")).unwrap_or_default();
        children.extend(text.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
    }
    ensure!(children.len() == 1, "the operator should have one child and has {children:?}");
    Ok(children[0])
}

fn until(what: &str, mut probe: impl FnMut() -> Result<()>) -> Result<()> {
    let deadline = Instant::now() + STARTS_WITHIN;
    loop {
        match probe() {
            Ok(()) => return Ok(()),
            Err(error) if Instant::now() > deadline => {
                return Err(error.context(format!("{what}: not within {STARTS_WITHIN:?}")));
            }
            Err(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}
