//! A broker that stands alone, with listeners for MQTT over TLS and over secure WebSocket, for clients
//! that are no devices of a cluster.

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::json;

use crate::cluster::binaries;

/// `mosquitto_passwd -b passwd bob bob`, of version 2.0.11.
const PASSWORDS: &str = "bob:$7$101$DlWyOvsiGlykPezo$BtZGV7GZpfOKqyc5T2OKbE2gycsJkYI9wvq6ZyIg/HRPHKLmeyRZI0PZ0/pYmNrs8npSiRhd8ef/LD/9SUJkjg==\n";
const RIGHTS: &str = "user bob\ntopic readwrite own/#\n";

const CONFIGURATION: &str = r#"
data_dir = "FOLDER/data"
workers = 2
[policy]
password_file = "FOLDER/passwords"
acl_file = "FOLDER/rights"
[tls]
server_certificate = "FOLDER/tls.crt"
server_key = "FOLDER/tls.key"
[[listeners]]
name = "mqtts"
protocol = "mqtts"
address = "127.0.0.1"
port = 0
[[listeners]]
name = "wss"
protocol = "wss"
address = "127.0.0.1"
port = 0
"#;

/// A running broker. Killed when dropped.
pub(crate) struct Alone {
    child: Child,
    pub(crate) folder: tempfile::TempDir,
    pub(crate) mqtts: u16,
    pub(crate) wss: u16,
}

impl Alone {
    /// Starts it and waits until it listens.
    pub(crate) fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let path = folder.path();
        let write = |name: &str, text: &str| std::fs::write(path.join(name), text).context("write");
        let key = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
        write("tls.crt", &key.cert.pem())?;
        write("tls.key", &key.signing_key.serialize_pem())?;
        write("passwords", PASSWORDS)?;
        write("rights", RIGHTS)?;
        write("broker.toml", &CONFIGURATION.replace("FOLDER", &path.to_string_lossy()))?;
        let log = std::fs::File::create(path.join("log"))?;
        let child = Command::new(binaries().join("mqtt-broker"))
            .args(["run", "--config"])
            .arg(path.join("broker.toml"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .context("start mqtt-broker")?;
        let mut alone = Self { child, folder, mqtts: 0, wss: 0 };
        alone.mqtts = alone.port("mqtts")?;
        alone.wss = alone.port("wss")?;
        Ok(alone)
    }

    /// What it has logged so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// The path of one of its files.
    pub(crate) fn file(&self, name: &str) -> String {
        Path::join(self.folder.path(), name).to_string_lossy().into_owned()
    }

    /// What scripts are told of it.
    pub(crate) fn settings(&self) -> serde_json::Value {
        json!({
            "urls": {
                "mqtts": format!("mqtts://localhost:{}", self.mqtts),
                "wss": format!("wss://localhost:{}/mqtt", self.wss),
            },
            "ca": self.file("tls.crt"),
            "username": "bob",
            "password": "bob",
        })
    }

    /// The port of a listener, once it listens.
    fn port(&self, listener: &str) -> Result<u16> {
        let deadline = Instant::now() + Duration::from_secs(30);
        while Instant::now() < deadline {
            let lines = self.log();
            let mut lines = lines.lines().filter_map(|line| {
                let line: serde_json::Value = serde_json::from_str(line).ok()?;
                let is_wanted = line["message"] == "listening" && line["listener"] == listener;
                line["port"].as_u64().filter(|_| is_wanted)
            });
            if let Some(port) = lines.next() {
                return Ok(u16::try_from(port)?);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        bail!("no listener {listener}:\n{}", self.log())
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl std::fmt::Display for Alone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}; it logged:\n{}", Ipv4Addr::LOCALHOST, self.log())
    }
}
