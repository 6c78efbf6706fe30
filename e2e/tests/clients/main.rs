//! Three real brokers on loopback, started by `mqtt-operator local up` from the quickstart's manifests, driven by clients that
//! others wrote: Paho (Python), Mosquitto's command-line clients, rumqttc; and by bare packets where the last bytes of a connection count.
//! MQTT.js and mosquitto_rr meet a broker that stands alone, over TLS and secure WebSocket.

mod alone;
mod backup;
mod bare;
mod cluster;
mod edit;
mod mosquitto_rr;
mod mqttjs;
mod restart;
mod rumqttc_checks;
mod rumqttc_client;
mod scale;

use std::process::Command;
use std::sync::PoisonError;

use e2e::optional::left_out;
use e2e::program::{run, run_with_input};

use crate::cluster::{cluster, root};

fn paho(check: &str) {
    let Some(python) = std::env::var_os("DUNLIN_TEST_PYTHON") else {
        return left_out(
            "DUNLIN_TEST_PYTHON is not set (make test sets it where it can install paho-mqtt)",
        );
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
    the_oldest_version,
);

/// The lines that `local up` prints work as pasted into a shell.
#[test]
fn printed_mosquitto_lines_work_as_pasted() {
    if Command::new("mosquitto_pub").arg("--help").output().is_err() {
        return left_out("mosquitto_pub and mosquitto_sub are not installed");
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
