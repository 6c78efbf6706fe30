//! The brokers that the checks share, and how a test starts some of its own.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use anyhow::{Context, Result};
use e2e::local::LocalUp;
use serde_json::json;

/// One cluster for all tests here, one test at a time: each check speaks as the same two users. The
/// tests that wait for their turn keep it; the last one takes it down.
static CLUSTER: Mutex<Weak<Mutex<Running>>> = Mutex::new(Weak::new());

/// A running quickstart.
pub(crate) struct Running {
    pub(crate) up: LocalUp,
    /// For `clients.py`.
    pub(crate) settings: serde_json::Value,
    pub(crate) manifests: PathBuf,
    _folder: tempfile::TempDir,
}

/// The binaries stand beside the folder of the test binary.
pub(crate) fn binaries() -> PathBuf {
    let test = std::env::current_exe().expect("own path");
    test.parent().and_then(Path::parent).expect("target folder").to_owned()
}

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("repository").to_owned()
}

pub(crate) fn cluster() -> Arc<Mutex<Running>> {
    let mut shared = CLUSTER.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(running) = shared.upgrade() {
        return running;
    }
    let running = Arc::new(Mutex::new(start().expect("a running cluster")));
    *shared = Arc::downgrade(&running);
    running
}

/// The turn of a test that starts brokers of its own: two clusters that start at once may choose the
/// same ports, which are free until the brokers listen.
pub(crate) fn turn() -> MutexGuard<'static, Weak<Mutex<Running>>> {
    CLUSTER.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A copy of the quickstart's manifests.
pub(crate) fn quickstart(folder: &Path) -> Result<PathBuf> {
    let manifests = folder.join("manifests");
    std::fs::create_dir(&manifests)?;
    for entry in std::fs::read_dir(root().join("examples/quickstart"))? {
        let entry = entry?;
        std::fs::copy(entry.path(), manifests.join(entry.file_name()))?;
    }
    Ok(manifests)
}

fn start() -> Result<Running> {
    let folder = tempfile::tempdir()?;
    let manifests = quickstart(folder.path())?;
    let up = LocalUp::start(
        &binaries().join("mqtt-operator"),
        &manifests,
        &folder.path().join("state"),
    )?;
    wait_until_ready(&up)?;
    let file = |secret: &str, key: &str| -> Result<String> {
        let bytes = secret_entry(&up, secret, key)?;
        let path = folder.path().join(format!("{secret}-{key}"));
        std::fs::write(&path, bytes)?;
        Ok(path.to_string_lossy().into_owned())
    };
    let ports: Vec<u16> = up.endpoints("fleet")?.iter().map(std::net::SocketAddr::port).collect();
    let settings = json!({
        "host": "localhost",
        "ports": ports,
        "ca": file("fleet-ca-bundle", "ca.crt")?,
        "username": "pump-17",
        "password": std::fs::read_to_string(file("pump-17-mqtt", "password")?)?,
        "certificate": file("control-room-mqtt", "tls.crt")?,
        "key": file("control-room-mqtt", "tls.key")?,
    });
    Ok(Running { up, settings, manifests, _folder: folder })
}

pub(crate) fn wait_until_ready(up: &LocalUp) -> Result<()> {
    // The state folder appears a moment after the start.
    let mut last = None;
    for _ in 0..6 {
        match up.wait_ready(20) {
            Ok(()) => return Ok(()),
            Err(error) => last = Some(error),
        }
    }
    last.map_or(Ok(()), Err)
}

/// One entry of a Secret that the operator made.
pub(crate) fn secret_entry(up: &LocalUp, secret: &str, key: &str) -> Result<Vec<u8>> {
    let object = up.get("secret", secret)?;
    let text = object["data"][key].as_str().with_context(|| format!("{secret} {key}"))?;
    Ok(base64::Engine::decode(&base64::engine::general_purpose::STANDARD, text)?)
}
