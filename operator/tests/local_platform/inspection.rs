//! `get`, `status` and `down` beside a running operator and without one.

use crate::support::Desk;

fn text(output: &std::process::Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

#[test]
fn get_prints_as_kubectl_does() {
    let Some(mut desk) = Desk::with_brokers() else { return };
    desk.up();
    desk.is_ready_within("60s");
    let all = text(&desk.run("get", &[]));
    assert!(all.contains("mqttcluster.mqtt.dunlin.io/fleet"), "{all}");
    assert!(all.contains("mqttacl.mqtt.dunlin.io/pumps"), "{all}");
    let users = text(&desk.run("get", &["mqu"]));
    let heads: Vec<&str> = users.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(heads, ["NAME", "CLUSTER", "READY", "REVISION", "SECRET", "AGE"]);
    assert!(users.lines().nth(2).unwrap().starts_with("pump-17 "), "{users}");
    let wide = text(&desk.run("get", &["mqu", "-o", "wide"]));
    assert!(wide.contains("REASON"), "{wide}");
    let yaml = text(&desk.run("get", &["mqttuser", "pump-17", "-o", "yaml"]));
    assert!(yaml.contains("kind: MqttUser") && yaml.contains("secretName: pump-17-mqtt"), "{yaml}");
    let names = text(&desk.run("get", &["mqc,mqu", "-o", "name"]));
    assert_eq!(names.lines().count(), 3, "{names}");
    let secret = desk.object("secret", "pump-17-mqtt");
    assert_eq!(secret["data"]["username"], "cHVtcC0xNw==");
    let list = desk.run("get", &["mqu", "-o", "json"]);
    let list: serde_json::Value = serde_json::from_slice(&list.stdout).unwrap();
    assert_eq!((&list["kind"], list["items"].as_array().unwrap().len()), (&"List".into(), 2));
}

#[test]
fn what_does_not_exist_is_said() {
    let Some(mut desk) = Desk::with_brokers() else { return };
    let never = desk.run("get", &[]);
    assert!(!never.status.success());
    assert!(text(&never).contains("local up -f DIR"), "{}", text(&never));
    desk.up();
    desk.is_ready_within("60s");
    let kind = desk.run("get", &["pods"]);
    assert!(!kind.status.success() && text(&kind).contains("mqttusers (mqu)"), "{}", text(&kind));
    let name = desk.run("get", &["mqu", "nobody"]);
    assert!(!name.status.success() && text(&name).contains("not found"), "{}", text(&name));
}

#[test]
fn what_up_prints_works_in_any_folder_and_another_folder_is_told_where_was_looked() {
    let Some(mut desk) = Desk::with_brokers() else { return };
    desk.up_with_relative_paths();
    desk.is_ready_within("60s");
    desk.until_printed("Ctrl-C stops the brokers");
    let printed = desk.printed();
    let state = desk.state("");
    let state = state.to_str().unwrap().trim_end_matches('/');
    for line in printed.lines().filter(|line| line.contains("state")) {
        let all = line.matches("state").count();
        assert_eq!(line.matches(state).count() + line.matches(", state ").count(), all, "{line}");
    }
    let elsewhere = tempfile::tempdir().unwrap();
    for what in ["get", "status", "down"] {
        let said = text(&desk.run_in(elsewhere.path(), what));
        let looked = elsewhere.path().join(".dunlin");
        assert!(said.contains(looked.to_str().unwrap()), "{what}: {said}");
        assert!(said.contains("--state or DUNLIN_STATE"), "{what}: {said}");
    }
    assert!(desk.run("status", &[]).status.success());
}

#[test]
fn status_without_an_operator_says_how_to_start_one() {
    let Some(mut desk) = Desk::with_brokers() else { return };
    let status = desk.run("status", &["--wait", "1s"]);
    assert_eq!(status.status.code(), Some(1));
    assert!(text(&status).contains("local up -f DIR"), "{}", text(&status));
    desk.up();
    desk.is_ready_within("60s");
    desk.stop();
    assert_eq!(desk.run("status", &[]).status.code(), Some(1), "what was Ready is not now");
}

#[test]
fn down_stops_what_runs_and_is_content_when_nothing_does() {
    let Some(mut desk) = Desk::with_brokers() else { return };
    desk.up();
    desk.is_ready_within("60s");
    let down = desk.run("down", &[]);
    assert!(down.status.success() && text(&down).contains("stopped in"), "{}", text(&down));
    assert_eq!(desk.ended(), Some(0));
    let again = desk.run("down", &[]);
    assert!(again.status.success() && text(&again).contains("nothing runs"), "{}", text(&again));
    let left = desk.run("get", &["mqc"]);
    assert!(text(&left).contains("this is how it was left"), "{}", text(&left));
}

#[test]
fn a_second_operator_on_the_same_state_is_refused() {
    let Some(mut desk) = Desk::with_brokers() else { return };
    desk.up();
    desk.is_ready_within("60s");
    let manifests = desk.state("../m");
    let second = desk.run("up", &["-f", &manifests.to_string_lossy()]);
    assert!(!second.status.success());
    let pid = desk.operator_pid();
    assert!(text(&second).contains(&format!("in use by process {pid}")), "{}", text(&second));
}
