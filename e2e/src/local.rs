//! `mqtt-operator local up` as a child process, in a folder of its own.

use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::program::{eventually, run};

/// A running local platform; it is taken down when dropped.
#[derive(Debug)]
pub struct LocalUp {
    operator: PathBuf,
    child: Child,
    /// The manifests' folder.
    pub manifests: PathBuf,
    /// The state's folder.
    pub state: PathBuf,
}

impl Drop for LocalUp {
    fn drop(&mut self) {
        let _ = run("kill", &["-TERM", &self.child.id().to_string()]);
        let deadline = Instant::now() + Duration::from_secs(20);
        while Instant::now() < deadline {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl LocalUp {
    /// Starts it; both folders may be new or those of an earlier run. What it prints goes to `<state>.out`.
    ///
    /// # Errors
    /// The program could not be started.
    pub fn start(operator: &Path, manifests: &Path, state: &Path) -> Result<Self> {
        let out = std::fs::File::create(state.with_extension("out"))?;
        let child = Command::new(operator)
            .args(["local", "up", "-f"])
            .arg(manifests)
            .arg("--state")
            .arg(state)
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .spawn()
            .with_context(|| format!("start {}", operator.display()))?;
        Ok(Self {
            operator: operator.to_owned(),
            child,
            manifests: manifests.to_owned(),
            state: state.to_owned(),
        })
    }

    /// The operator's process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it printed so far.
    #[must_use]
    pub fn printed(&self) -> String {
        let mut text = String::new();
        if let Ok(mut file) = std::fs::File::open(self.state.with_extension("out")) {
            let _ = file.read_to_string(&mut text);
        }
        text
    }

    /// `mqtt-operator local status --wait`: until every object is Ready.
    ///
    /// # Errors
    /// It was not in time; the text holds what is missing and what `local up` printed.
    pub fn wait_ready(&self, seconds: u64) -> Result<()> {
        let operator = self.operator.to_string_lossy();
        let state = self.state.to_string_lossy();
        let arguments = ["local", "status", "--state", &state, "--wait", &format!("{seconds}s")];
        run(&operator, &arguments)
            .map(drop)
            .map_err(|error| error.context(format!("local up printed:\n{}", self.printed())))
    }

    /// `mqtt-operator local get KIND NAME -o json`.
    ///
    /// # Errors
    /// No such object.
    pub fn get(&self, kind: &str, name: &str) -> Result<Value> {
        let operator = self.operator.to_string_lossy();
        let state = self.state.to_string_lossy();
        let text = run(&operator, &["local", "get", kind, name, "-o", "json", "--state", &state])?;
        Ok(serde_json::from_str(&text)?)
    }

    /// The addresses of each broker's first listener.
    ///
    /// # Errors
    /// The cluster has no endpoints yet.
    pub fn endpoints(&self, cluster: &str) -> Result<Vec<SocketAddr>> {
        let object = self.get("mqttcluster", cluster)?;
        let endpoints = object["status"]["endpoints"].as_array().cloned().unwrap_or_default();
        let mut addresses = Vec::new();
        for endpoint in &endpoints {
            let text = endpoint["address"].as_str().unwrap_or_default();
            let port = text.rsplit(':').next().and_then(|port| port.parse().ok());
            let Some(port) = port else { bail!("endpoint {text:?} has no port") };
            addresses.push(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        }
        ensure!(!addresses.is_empty(), "no endpoints in {}", object["status"]);
        Ok(addresses)
    }

    /// Waits until `probe` says yes.
    ///
    /// # Errors
    /// It never did, with what `local up` printed.
    pub async fn until(
        &self,
        what: &str,
        within: Duration,
        probe: impl AsyncFnMut() -> Result<()>,
    ) -> Result<()> {
        eventually(what, within, probe)
            .await
            .map_err(|error| error.context(format!("local up printed:\n{}", self.printed())))
    }
}

/// Resident memory of a process in bytes.
///
/// # Errors
/// No such process, or no /proc.
pub fn resident_bytes(pid: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).context("VmRSS")?;
    let kib: u64 = line.split_whitespace().nth(1).context("VmRSS")?.parse()?;
    Ok(kib * 1024)
}
