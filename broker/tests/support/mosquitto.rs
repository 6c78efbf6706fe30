//! The broker started as Mosquitto is, in a folder with its files.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};

use super::client::{Client, PUBACK, packet};
use super::eventually;
use super::process::{free_port, program};

/// A folder with files, and a broker that runs in it.
pub(crate) struct Mosquitto {
    pub(crate) folder: tempfile::TempDir,
    child: Option<Child>,
    lines: Arc<Mutex<Vec<String>>>,
    pub(crate) address: SocketAddr,
    /// Where it tells its numbers.
    pub(crate) metrics: SocketAddr,
}

impl Mosquitto {
    pub(crate) fn new() -> Self {
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("tmp")).unwrap();
        let metrics = SocketAddr::from(([127, 0, 0, 1], free_port()));
        Self { folder, child: None, lines: Arc::default(), address, metrics }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file, in which `PORT` stands for the port.
    pub(crate) fn write(&self, name: &str, text: &str) {
        let text = text.replace("PORT", &self.address.port().to_string());
        std::fs::write(self.path(name), text).unwrap();
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let port = self.address.port().to_string();
        let mut command = program();
        command
            .args(arguments.iter().map(|word| word.replace("PORT", &port)))
            .current_dir(self.folder.path())
            .env("TMPDIR", self.path("tmp"))
            .env("DUNLIN_METRICS_ADDRESS", self.metrics.to_string());
        command
    }

    /// Starts the program and waits until it listens.
    pub(crate) fn start(&mut self, arguments: &[&str]) {
        let mut child = self.command(arguments).stderr(Stdio::piped()).spawn().unwrap();
        let (stderr, sink) = (child.stderr.take().unwrap(), Arc::clone(&self.lines));
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                sink.lock().unwrap().push(line);
            }
        });
        self.child = Some(child);
        eventually("it listens", || Client::try_plain(self.address).ok());
    }

    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &id]).status().unwrap().success());
    }

    pub(crate) fn stop(&mut self) -> ExitStatus {
        self.signal("TERM");
        self.wait()
    }

    /// Waits for the end.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let child = self.child.as_mut().unwrap();
        eventually("the process ends", || child.try_wait().unwrap())
    }

    /// Waits for a line of the log with this text.
    pub(crate) fn log(&self, text: &str) -> String {
        self.log_with(&[text])
    }

    /// Waits for a line of the log with all these texts.
    pub(crate) fn log_with(&self, texts: &[&str]) -> String {
        eventually(&format!("log line with {texts:?}"), || {
            let lines = self.lines.lock().unwrap();
            lines.iter().find(|line| texts.iter().all(|text| line.contains(text))).cloned()
        })
    }

    pub(crate) fn client(&self, name: &str, username: Option<&str>, password: &[u8]) -> Client {
        let mut client = Client::plain(self.address);
        assert_eq!(client.connect(name, username, password), 0);
        client
    }

    pub(crate) fn refusal(&self, username: Option<&str>, password: &[u8]) -> u8 {
        Client::plain(self.address).connect("c", username, password)
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.lines.lock().unwrap().iter().for_each(|line| eprintln!("{line}"));
        }
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Publishes with QoS 1; the reason code of the answer.
pub(crate) fn publish(client: &mut Client, topic: &str, is_retained: bool) -> u8 {
    let length = u16::try_from(topic.len()).unwrap().to_be_bytes();
    let body = [&length[..], topic.as_bytes(), &[0, 7, 0], b"x"].concat();
    client.send(&packet(0x32 | u8::from(is_retained), &body));
    client.expect(PUBACK).body.get(2).copied().unwrap_or(0)
}
