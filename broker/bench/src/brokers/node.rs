//! One broker's process: where it runs, and what is done to it.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use super::admin::Admin;

/// How often a process that is to end is looked at.
const LOOK: Duration = Duration::from_millis(10);

/// Where a broker runs.
#[derive(Clone, Debug)]
pub struct Place {
    /// Its address.
    pub address: Ipv4Addr,
    /// The network namespace, as `ip netns` knows it; `None`: that of this process.
    pub namespace: Option<String>,
    /// The folder for its data.
    pub data: PathBuf,
}

/// Where a broker listens.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ports {
    pub(super) plain: u16,
    pub(super) tls: u16,
    pub(super) peers: u16,
    pub(super) admin: u16,
}

impl Place {
    /// In a namespace nobody else listens; on an address of this machine somebody may.
    pub(super) fn ports(&self) -> Result<Ports> {
        if self.namespace.is_some() {
            return Ok(Ports { plain: 1883, tls: 8883, peers: 7000, admin: 7001 });
        }
        let free = || TcpListener::bind((self.address, 0));
        let held = [free()?, free()?, free()?, free()?];
        let [plain, tls, peers, admin] = held.each_ref().map(TcpListener::local_addr);
        Ok(Ports {
            plain: plain?.port(),
            tls: tls?.port(),
            peers: peers?.port(),
            admin: admin?.port(),
        })
    }
}

/// A broker; killed when dropped.
#[derive(Debug)]
pub struct Node {
    /// Its name in the cluster.
    pub name: String,
    /// Its listener without TLS.
    pub plain: SocketAddr,
    /// Its listener with TLS.
    pub tls: SocketAddr,
    /// Its admin API.
    pub admin: Admin,
    /// The file with what it logged, over all its starts.
    pub log: PathBuf,
    pub(super) program: PathBuf,
    pub(super) configuration: PathBuf,
    pub(super) place: Place,
    pub(super) child: Option<Child>,
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

impl Node {
    /// Starts the process with what is on its disk; it must not run.
    ///
    /// # Errors
    /// The program can't be started.
    pub fn start(&mut self) -> Result<()> {
        let log = std::fs::File::options().create(true).append(true).open(&self.log)?;
        let mut command = match &self.place.namespace {
            None => Command::new(&self.program),
            Some(namespace) => {
                // It becomes the program, so the process that is known here is the broker.
                let mut command = Command::new("ip");
                command.args(["netns", "exec", namespace]).arg(&self.program);
                command
            }
        };
        for name in ["RUST_LOG", "DUNLIN_CONFIG", "DUNLIN_NAME", "DUNLIN_METRICS_ADDRESS"] {
            command.env_remove(name);
        }
        let child = command
            .args(["run", "--name", &self.name, "--config"])
            .arg(&self.configuration)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("start {}: is it built?", self.program.display()))?;
        self.child = Some(child);
        Ok(())
    }

    /// The process id, while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// SIGSTOP: the process stands still.
    ///
    /// # Errors
    /// It does not run.
    pub fn pause(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// SIGCONT: it goes on.
    ///
    /// # Errors
    /// It does not run.
    pub fn resume(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let pid = self.pid().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
        let pid = pid.with_context(|| format!("{} does not run", self.name))?;
        kill_process(pid, signal).with_context(|| format!("signal {}", self.name))
    }

    /// `kill -9`; returns when the process is gone.
    ///
    /// # Errors
    /// The system does not let it.
    pub fn kill(&mut self) -> Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// SIGTERM; returns how the process ended.
    ///
    /// # Errors
    /// It did not end within `within`, or did not run.
    pub fn terminate(&mut self, within: Duration) -> Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        let deadline = Instant::now() + within;
        loop {
            if let Some(status) = self.ended()? {
                return Ok(status);
            }
            if Instant::now() > deadline {
                bail!("{} has not ended {within:?} after SIGTERM", self.name);
            }
            std::thread::sleep(LOOK);
        }
    }

    /// How the process has ended, if it has since it was started.
    ///
    /// # Errors
    /// The system does not say.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        let Some(child) = &mut self.child else { return Ok(None) };
        let status = child.try_wait()?;
        if status.is_some() {
            self.child = None;
        }
        Ok(status)
    }
}
