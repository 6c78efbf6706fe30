//! A broker on its own that is killed and started again.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::client::Client;
use crate::process::{raise_open_files, usage};

/// How long one may take to start.
const STARTS_WITHIN: Duration = Duration::from_secs(120);
/// Between two tries to connect.
const TRY_AGAIN: Duration = Duration::from_millis(5);
/// Open files of a broker.
const OPEN_FILES: u64 = 4096;

/// The program, its configuration, and its process.
pub(super) struct Broker {
    program: PathBuf,
    folder: PathBuf,
    address: SocketAddr,
    process: Option<Child>,
}

impl Broker {
    /// Writes its configuration; so many messages may wait in a session.
    pub(super) fn new(
        binaries: &Path,
        folder: &Path,
        configuration: &str,
        messages: usize,
    ) -> Result<Self> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let text = format!(
            "data_dir = {:?}\n{configuration}\n[policy]\n[[listeners]]\nname = \"plain\"\nprotocol = \"mqtt\"\n\
             address = \"127.0.0.1\"\nport = {port}\nanonymous = true\nacknowledge_plaintext = true\n\
             limits = {{ connections = 20000, connections_per_second = 1000000 }}\n[sessions]\n\
             queued_messages_max = {}\ndurable_bytes_max = {}\n",
            folder.join("data"),
            messages.max(2048),
            16u64 << 30,
        );
        std::fs::write(folder.join("broker.toml"), text)?;
        let program = binaries.join("mqtt-broker");
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Ok(Self { program, folder: folder.to_owned(), address, process: None })
    }

    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn pid(&self) -> Result<u32> {
        self.process.as_ref().map(Child::id).context("the broker does not run")
    }

    /// Starts it and waits until it has let a client in.
    pub(super) fn start(&mut self) -> Result<()> {
        let _ = raise_open_files(OPEN_FILES);
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.folder.join("broker.log"))?;
        let child = Command::new(&self.program)
            .args(["run", "--config"])
            .arg(self.folder.join("broker.toml"))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| {
                format!("start {}: --binaries names its folder", self.program.display())
            })?;
        let child = self.process.insert(child);
        let deadline = Instant::now() + STARTS_WITHIN;
        loop {
            match Client::connect(self.address, "queued-probe", false) {
                Ok(client) => return client.disconnect(),
                Err(error) if Instant::now() > deadline => {
                    return Err(error.context(format!("no client got in within {STARTS_WITHIN:?}")));
                }
                Err(_) => {}
            }
            if let Some(status) = child.try_wait()? {
                let log = std::fs::read_to_string(self.folder.join("broker.log"));
                bail!("the broker ended with {status}:\n{}", log.unwrap_or_default());
            }
            std::thread::sleep(TRY_AGAIN);
        }
    }

    /// Kills it without a word.
    pub(super) fn kill(&mut self) -> Result<()> {
        let mut child = self.process.take().context("the broker does not run")?;
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// Waits until it has no more to do.
    pub(super) fn settle(&self, within: Duration) -> Result<()> {
        let deadline = Instant::now() + within;
        let mut before = usage(self.pid()?)?.cpu;
        loop {
            std::thread::sleep(Duration::from_secs(1));
            let now = usage(self.pid()?)?.cpu;
            if now.saturating_sub(before) < Duration::from_millis(60) {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "the broker is still at work after {within:?}");
            before = now;
        }
    }

    /// Bytes of the files in a folder of its data directory, as the file system counts them.
    pub(super) fn disk_bytes(&self, folder: &str) -> u64 {
        bytes_below(&self.folder.join("data").join(folder))
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // One that was killed already is gone.
        let _ = self.kill();
    }
}

fn bytes_below(folder: &Path) -> u64 {
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let bytes = files.map(|file| match file.metadata() {
        Ok(data) if data.is_dir() => bytes_below(&file.path()),
        Ok(data) => data.len(),
        Err(_) => 0,
    });
    bytes.sum()
}
