//! Brokers as child processes: started, watched, stopped. IO.
//!
//! A broker lives no longer than the operator: it is started with a pipe as standard input and told to stop when that closes, which
//! the kernel does for an operator that was killed. The same is how it is asked to stop in order.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::{mpsc, oneshot, watch};

use super::state::{StateError, make_private_dir};

/// A log larger than this is set aside when the broker is started, in bytes.
const LOG_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// How long a broker may take to stop before it is killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(15);

/// How a broker is started.
#[derive(Debug, Clone)]
pub(crate) struct Launch {
    pub(crate) binary: PathBuf,
    pub(crate) config: PathBuf,
    pub(crate) name: String,
    pub(crate) log: PathBuf,
}

/// A broker ended.
#[derive(Debug)]
pub(crate) struct Exited {
    pub(crate) name: String,
    pub(crate) pid: u32,
    /// How, in words.
    pub(crate) how: String,
}

/// A running broker; it is asked to stop when this is dropped.
#[derive(Debug)]
pub(crate) struct BrokerProcess {
    pub(crate) pid: u32,
    stdin: Option<ChildStdin>,
    kill: Option<oneshot::Sender<()>>,
    ended: watch::Receiver<bool>,
}

impl Launch {
    /// Starts the broker; `exits` is told when it ends.
    ///
    /// # Errors
    /// The program or its log can't be opened.
    pub(crate) fn start(&self, exits: mpsc::Sender<Exited>) -> Result<BrokerProcess, StateError> {
        let log = open_log(&self.log)?;
        let failed = |source| StateError::Io {
            act: "start",
            path: self.binary.display().to_string(),
            cause: source,
        };
        let errors = log.try_clone().map_err(failed)?;
        let mut child = Command::new(&self.binary)
            .args(["run", "--exit-when-stdin-closes", "--config"])
            .arg(&self.config)
            .args(["--name", &self.name])
            .env("DUNLIN_LOG_FORMAT", "text")
            .env("NO_COLOR", "1")
            .stdin(Stdio::piped())
            .stdout(log)
            .stderr(errors)
            // Ctrl-C at the terminal is for the operator, which stops the brokers in order.
            .process_group(0)
            .spawn()
            .map_err(failed)?;
        let pid = child.id().unwrap_or_default();
        let stdin = child.stdin.take();
        let (kill, killed) = oneshot::channel();
        let (end, ended) = watch::channel(false);
        let name = self.name.clone();
        tokio::spawn(async move {
            let how = wait(&mut child, killed).await;
            let _ = end.send(true);
            let _ = exits.send(Exited { name, pid, how }).await;
        });
        Ok(BrokerProcess { pid, stdin, kill: Some(kill), ended })
    }
}

impl BrokerProcess {
    /// Asks the broker to stop; it goes on serving while it says farewell to its clients.
    pub(crate) fn request_stop(&mut self) {
        self.stdin = None;
    }

    /// Kills the broker.
    pub(crate) fn kill(&mut self) {
        if let Some(kill) = self.kill.take() {
            let _ = kill.send(());
        }
    }

    /// Asks the broker to stop, waits for that, and kills it when it takes too long or `hurry` says so.
    pub(crate) async fn stop(&mut self, hurry: &mut watch::Receiver<bool>) {
        self.request_stop();
        tokio::select! {
            _ = self.ended.wait_for(|ended| *ended) => return,
            _ = hurry.wait_for(|hurry| *hurry) => {}
            () = tokio::time::sleep(STOP_TIMEOUT) => {
                tracing::warn!(pid = self.pid, "the broker did not stop in time and is killed");
            }
        }
        self.kill();
        let _ = self.ended.wait_for(|ended| *ended).await;
    }
}

async fn wait(child: &mut Child, killed: oneshot::Receiver<()>) -> String {
    let mut killed = killed;
    let ended = tokio::select! {
        ended = child.wait() => ended,
        Ok(()) = &mut killed => {
            let _ = child.start_kill();
            child.wait().await
        }
    };
    match ended {
        Ok(status) => describe(status),
        Err(error) => format!("was lost: {error}"),
    }
}

fn describe(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt as _;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with exit code {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "ended".to_owned(),
    }
}

fn open_log(path: &Path) -> Result<std::fs::File, StateError> {
    let failed = |source| StateError::Io {
        act: "open the log",
        path: path.display().to_string(),
        cause: source,
    };
    if let Some(folder) = path.parent() {
        make_private_dir(folder)?;
    }
    if std::fs::metadata(path).is_ok_and(|metadata| metadata.len() > LOG_BYTES_MAX) {
        std::fs::rename(path, path.with_extension("log.1")).map_err(failed)?;
    }
    std::fs::File::options().create(true).append(true).open(path).map_err(failed)
}

/// The last lines of a broker's log, for people.
pub(crate) fn log_tail(path: &Path, lines: usize) -> Vec<String> {
    use std::io::{Read as _, Seek as _, SeekFrom};
    const TAIL_BYTES: u64 = 8 * 1024;
    let read = || -> std::io::Result<String> {
        let mut file = std::fs::File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
        let mut bytes = Vec::new();
        file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let text = read().unwrap_or_default();
    let all: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    all[all.len().saturating_sub(lines)..].iter().map(|line| (*line).to_owned()).collect()
}

/// The version of a broker program.
///
/// # Errors
/// It can't be run, or says something else than `mqtt-broker VERSION`; in words.
pub(crate) async fn version(binary: &Path) -> Result<String, String> {
    let shown = binary.display();
    let output =
        Command::new(binary).arg("--version").stdin(Stdio::null()).kill_on_drop(true).output();
    let output = tokio::time::timeout(Duration::from_secs(10), output)
        .await
        .map_err(|_| format!("{shown} --version does not end"))?
        .map_err(|error| {
            format!(
                "{shown} can't be run: {error}; build it, or say where it is with --broker-binary"
            )
        })?;
    let text = String::from_utf8_lossy(&output.stdout);
    let words: Vec<&str> = text.split_whitespace().collect();
    match words.as_slice() {
        [name, version, ..] if *name == "mqtt-broker" => Ok((*version).to_owned()),
        _ => Err(format!("{shown} is no mqtt-broker: --version says {:?}", text.trim())),
    }
}
