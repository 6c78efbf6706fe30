//! A broker that stands alone, killed and started again.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Stdio};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use super::durable::{Places, Role};
use super::process::{free_port, program};

/// A broker on its own, for everybody.
pub(crate) struct Alone {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) address: SocketAddr,
    /// Where it tells its numbers.
    pub(crate) metrics: SocketAddr,
    child: Option<Child>,
    pub(crate) lines: Arc<Mutex<Vec<String>>>,
}

impl Alone {
    /// Begins its configuration with these lines.
    pub(crate) fn new(lines: &str) -> Self {
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let folder = tempfile::tempdir().unwrap();
        let config = format!(
            "data_dir = {:?}\nworkers = 2\n{lines}\n\n[policy]\n\n\
             [[listeners]]\nname = \"plain\"\nprotocol = \"mqtt\"\naddress = \"127.0.0.1\"\n\
             port = {}\nanonymous = true\nacknowledge_plaintext = true\n",
            folder.path().join("data"),
            address.port(),
        );
        std::fs::write(folder.path().join("broker.toml"), config).unwrap();
        let metrics = SocketAddr::from(([127, 0, 0, 1], free_port()));
        Self { folder, address, metrics, child: None, lines: Arc::default() }
    }

    pub(crate) fn start(&mut self) {
        let mut child = program()
            .args(["run", "--name", "alone-0", "--config"])
            .env("DUNLIN_METRICS_ADDRESS", self.metrics.to_string())
            .arg(self.folder.path().join("broker.toml"))
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (stderr, sink) = (child.stderr.take().unwrap(), Arc::clone(&self.lines));
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                sink.lock().unwrap().push(line);
            }
        });
        self.child = Some(child);
    }

    pub(crate) fn kill(&mut self) {
        let child = self.child.as_mut().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Waits until the process has ended by itself, having said this.
    pub(crate) fn wait_for_end(&mut self, said: &str) {
        let child = self.child.as_mut().unwrap();
        let status = super::eventually("the broker ends", || child.try_wait().unwrap());
        assert!(!status.success(), "{status}");
        super::eventually(said, || {
            let lines = self.lines.lock().unwrap();
            lines.iter().any(|line| line.contains(said)).then_some(())
        });
    }

    pub(crate) fn role(&self, client_id: &'static str, stop: &Arc<AtomicBool>) -> Role {
        let places = Places::new(Mutex::new(vec![self.address]));
        Role { client_id, username: None, places, stop: Arc::clone(stop) }
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let lines = self.lines.lock().unwrap();
            lines.iter().rev().take(200).rev().for_each(|line| eprintln!("{line}"));
        }
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
