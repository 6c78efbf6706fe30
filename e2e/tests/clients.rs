//! Three real brokers on loopback, started by `mqtt-operator local up` from the quickstart's manifests, driven by clients that
//! others wrote: Paho (Python), Mosquitto's command-line clients, rumqttc.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use anyhow::{Context, Result};
use e2e::local::LocalUp;
use e2e::program::{run, run_with_input};
use serde_json::json;

/// One cluster for all tests here, one test at a time: each check speaks as the same two users. The
/// tests that wait for their turn keep it; the last one takes it down.
static CLUSTER: Mutex<Weak<Mutex<Running>>> = Mutex::new(Weak::new());

struct Running {
    up: LocalUp,
    settings: serde_json::Value,
    _folder: tempfile::TempDir,
}

/// The binaries stand beside the folder of the test binary.
fn binaries() -> PathBuf {
    let test = std::env::current_exe().expect("own path");
    test.parent().and_then(Path::parent).expect("target folder").to_owned()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("repository").to_owned()
}

fn cluster() -> Arc<Mutex<Running>> {
    let mut shared = CLUSTER.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(running) = shared.upgrade() {
        return running;
    }
    let running = Arc::new(Mutex::new(start().expect("a running cluster")));
    *shared = Arc::downgrade(&running);
    running
}

fn start() -> Result<Running> {
    let folder = tempfile::tempdir()?;
    let manifests = folder.path().join("manifests");
    std::fs::create_dir(&manifests)?;
    for entry in std::fs::read_dir(root().join("examples/quickstart"))? {
        let entry = entry?;
        std::fs::copy(entry.path(), manifests.join(entry.file_name()))?;
    }
    let up = LocalUp::start(
        &binaries().join("mqtt-operator"),
        &manifests,
        &folder.path().join("state"),
    )?;
    wait_until_ready(&up)?;
    let file = |secret: &str, key: &str| -> Result<String> {
        let object = up.get("secret", secret)?;
        let text = object["data"][key].as_str().with_context(|| format!("{secret} {key}"))?;
        let bytes = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, text)?;
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
    Ok(Running { up, settings, _folder: folder })
}

fn wait_until_ready(up: &LocalUp) -> Result<()> {
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

fn paho(check: &str) {
    let Some(python) = std::env::var_os("DUNLIN_TEST_PYTHON") else {
        eprintln!("left out: DUNLIN_TEST_PYTHON is not set (make test sets it)");
        return;
    };
    let cluster = cluster();
    let running = cluster.lock().unwrap_or_else(PoisonError::into_inner);
    let script = root().join("e2e/python/clients.py");
    let outcome = run_with_input(
        &python.to_string_lossy(),
        &[&script.to_string_lossy(), check],
        &running.settings.to_string(),
    );
    if let Err(error) = outcome {
        panic!("{error:#}\nlocal up printed:\n{}", running.up.printed());
    }
}

macro_rules! paho_checks {
    ($($check:ident),* $(,)?) => {
        $(#[test]
        fn $check() {
            paho(stringify!($check));
        })*
    };
}

paho_checks!(
    every_qos_in_both_versions,
    retained,
    wills,
    session_is_kept,
    one_connection_per_client_id,
    rights,
    versions_refused,
);

/// The lines that `local up` prints work as pasted into a shell.
#[test]
fn printed_mosquitto_lines_work_as_pasted() {
    if Command::new("mosquitto_pub").arg("--help").output().is_err() {
        eprintln!("left out: mosquitto_pub and mosquitto_sub are not installed");
        return;
    }
    let cluster = cluster();
    let running = cluster.lock().unwrap_or_else(PoisonError::into_inner);
    let printed = running.up.printed();
    let line = |program: &str| {
        let found =
            printed.lines().find_map(|line| line.find(program).map(|at| line[at..].to_owned()));
        found.unwrap_or_else(|| panic!("no {program} line in:\n{printed}"))
    };
    let (publish, subscribe) = (line("mosquitto_pub "), line("mosquitto_sub "));
    let script = format!(
        "set -e\n{subscribe} -C 1 -W 20 > got & listener=$!\n\
         for i in $(seq 40); do {publish}; kill -0 $listener 2>/dev/null || break; sleep 0.25; done\n\
         wait $listener\ntest -s got\n"
    );
    let folder = tempfile::tempdir().expect("folder");
    let text = format!("cd {}\n{script}", folder.path().display());
    if let Err(error) = run("bash", &["-c", &text]) {
        panic!("{error:#}\n{printed}");
    }
}
