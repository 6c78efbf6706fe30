//! Passwords are in Secrets: nowhere else in the state folder, in no status, and not in what is printed.

use std::path::{Path, PathBuf};

use base64::Engine as _;

use crate::support::Desk;

const CHOSEN: &str = "tea-at-five-with-lemon";

/// Every file below a folder.
fn files(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, into);
        } else {
            into.push(path);
        }
    }
}

fn holds(content: &[u8], text: &str) -> bool {
    let encoded = base64::engine::general_purpose::STANDARD.encode(text);
    [text, &encoded].iter().any(|text| {
        let text = text.as_bytes();
        content.windows(text.len()).any(|window| window == text)
    })
}

/// Where the text is that doesn't belong there.
fn places(desk: &Desk, password: &str) -> Vec<String> {
    let mut all = Vec::new();
    files(&desk.state(""), &mut all);
    let is_credential = |path: &Path| {
        ["secrets/pump-17-mqtt", "secrets/chosen-mqtt", "secrets/chosen"]
            .iter()
            .any(|folder| path.starts_with(desk.state(folder)))
    };
    assert!(all.iter().any(|path| is_credential(path)), "{all:?}");
    let mut found: Vec<String> = all
        .iter()
        .filter(|path| !is_credential(path))
        .filter(|path| holds(&std::fs::read(path).unwrap_or_default(), password))
        .map(|path| path.display().to_string())
        .collect();
    if holds(desk.printed().as_bytes(), password) {
        found.push("what up prints".to_owned());
    }
    for command in [["get", "mqc,mqu,mqa"], ["status", "--wait=1s"]] {
        let output = desk.run(command[0], &command[1..]);
        let yaml = desk.run("get", &["mqc,mqu,mqa", "-o", "yaml"]);
        assert!(!output.stdout.is_empty() && !yaml.stdout.is_empty());
        if holds(&output.stdout, password) || holds(&yaml.stdout, password) {
            found.push(format!("what {} prints", command[0]));
        }
    }
    found
}

#[test]
fn a_password_is_in_its_secret_and_nowhere_else() {
    let Some(mut desk) = Desk::with_brokers() else { return };
    desk.write(
        "chosen.yaml",
        &format!(
            "apiVersion: mqtt.dunlin.io/v1alpha1\nkind: MqttUser\nmetadata: {{name: chosen}}\n\
             spec: {{clusterRef: {{name: fleet}}, authentication: {{password: {{secretRef: {{name: chosen}}}}}}}}\n\
             ---\napiVersion: v1\nkind: Secret\nmetadata: {{name: chosen}}\nstringData: {{password: {CHOSEN}}}\n"
        ),
    );
    desk.up();
    desk.is_ready_within("60s");
    let generated = desk.read("secrets/pump-17-mqtt/password");
    assert!(generated.len() >= 16 && desk.read("secrets/chosen-mqtt/password") == CHOSEN);
    // An edit, a refusal and a restart have been written about, too.
    desk.edit("acl.yaml", "telemetry", "measurements");
    desk.until_printed("MqttAcl pumps changed (acl.yaml): enforced");
    desk.edit("users.yaml", "password: {}", "password: {}\n    x509: {}");
    desk.until_printed("authentication takes exactly one of password and x509");
    for password in [generated.as_str(), CHOSEN] {
        assert_eq!(places(&desk, password), Vec::<String>::new());
    }
    desk.edit("users.yaml", "password: {}\n    x509: {}", "password: {}");
    desk.stop();
    desk.up();
    desk.is_ready_within("60s");
    for password in [generated.as_str(), CHOSEN] {
        assert_eq!(places(&desk, password), Vec::<String>::new());
    }
}

#[test]
fn a_secret_that_is_no_yaml_is_told_without_what_is_in_it() {
    let Some(mut desk) = Desk::with_brokers() else { return };
    desk.up();
    desk.is_ready_within("60s");
    for (name, rest) in [
        ("open.yaml", format!("stringData: {{password: {CHOSEN}\n")),
        ("twice.yaml", format!("stringData: {{password: {CHOSEN}, password: {CHOSEN}}}\n")),
        ("list.yaml", format!("stringData: [{CHOSEN}]\n")),
        ("text.yaml", format!("stringData: {CHOSEN}\n")),
        ("bytes.yaml", format!("data: {{password: {CHOSEN}}}\n")),
        ("field.yaml", format!("stringData: {{}}\npassword: {CHOSEN}\n")),
    ] {
        let head = "apiVersion: v1\nkind: Secret\nmetadata: {name: chosen}\n";
        desk.write(name, &format!("{head}{rest}"));
        desk.until_printed(name);
        desk.remove(name);
    }
    let status = desk.run("status", &["--wait=10s"]);
    for text in [desk.printed(), String::from_utf8_lossy(&status.stdout).into_owned()] {
        assert!(!holds(text.as_bytes(), CHOSEN), "{text}");
    }
    let session = desk.read("session.json");
    assert!(!session.is_empty() && !holds(session.as_bytes(), CHOSEN), "{session}");
}
