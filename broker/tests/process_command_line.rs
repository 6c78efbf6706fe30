//! What the program says when it is called in the wrong way or asked about itself.
#![allow(clippy::unwrap_used, reason = "a test ends where something unexpected happens")]

mod support;

use support::pki::Pki;
use support::process::{config, program, write_config};

fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = program().args(arguments).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn the_version_is_printed() {
    let (code, out, _) = run(&["--version"]);
    assert_eq!((code, out.trim()), (Some(0), "mqtt-broker 0.1.0"));
}

#[test]
fn help_says_how_to_start() {
    let (code, out, _) = run(&["--help"]);
    assert_eq!(code, Some(0));
    let words = ["check", "run", "DUNLIN_METRICS_ADDRESS", "MQTT 3.1, 3.1.1 and 5.0"];
    for expected in ["mqtt-operator local up", "/v1/cluster/bootstrap"].into_iter().chain(words) {
        assert!(out.contains(expected), "{expected} is missing in:\n{out}");
    }
}

#[test]
fn check_accepts_a_good_file_and_names_what_is_wrong_in_a_bad_one() {
    let folder = tempfile::tempdir().unwrap();
    let pki = Pki::new(folder.path(), 1);
    let mut raw = config(&pki);
    let path = write_config(&pki, &raw, "broker");
    let path = path.to_str().unwrap();
    let (code, out, _) = run(&["check", "--config", path]);
    assert_eq!(code, Some(0));
    assert!(out.contains("is valid"), "{out}");
    raw.listeners[0].acknowledge_plaintext = false;
    write_config(&pki, &raw, "broker");
    let (code, _, err) = run(&["check", "--config", path]);
    assert_eq!(code, Some(1));
    assert!(err.contains("acknowledge_plaintext") && err.contains(path), "{err}");
    assert_eq!(err.matches("acknowledge_plaintext").count(), 1, "said once: {err}");
}

#[test]
fn a_broker_that_cannot_start_says_why_and_exits_1() {
    let folder = tempfile::tempdir().unwrap();
    let pki = Pki::new(folder.path(), 1);
    let path = write_config(&pki, &config(&pki), "broker");
    let path = path.to_str().unwrap();
    let (code, _, err) = run(&["run", "--config", path, "--name", "fleet"]);
    assert_eq!(code, Some(1));
    assert!(err.contains("{ordinal}") && err.contains("fleet-0"), "{err}");
    std::fs::remove_file(folder.path().join("tls.key")).unwrap();
    let (code, _, err) = run(&["run", "--config", path, "--name", "fleet-0"]);
    assert_eq!(code, Some(1));
    assert!(err.contains("tls.key") && err.contains("No such file"), "{err}");
}
