//! From nothing to Ready, through crashes and restarts, to the end in order.

use std::os::unix::fs::PermissionsExt as _;

use crate::support::{Desk, is_alive, signal};

#[test]
fn the_quickstart_becomes_ready_and_says_what_a_person_needs() {
    let Some(mut desk) = Desk::with_brokers() else { return };
    desk.up();
    desk.is_ready_within("60s");
    desk.until_printed("Ctrl-C stops the brokers");
    let printed = desk.printed();
    for text in
        ["CA certificate", "mosquitto_sub -V mqttv5", "mosquitto_pub -V mqttv5", "-u pump-17 -P"]
    {
        assert!(printed.contains(text), "{text} is not in:\n{printed}");
    }
    for file in ["fleet-ca-bundle/ca.crt", "pump-17-mqtt/password", "control-room-mqtt/tls.key"] {
        let path = desk.state(&format!("secrets/{file}"));
        let mode =
            |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o600, "{file}");
        assert_eq!(mode(path.parent().unwrap()), 0o700, "{file}");
    }
    assert_eq!(desk.read("secrets/pump-17-mqtt/password").len(), 32);
    let cluster = desk.object("mqc", "fleet");
    assert_eq!(cluster["status"]["readyBrokers"], "3/3");
    assert_eq!(cluster["status"]["endpoints"].as_array().unwrap().len(), 3);
    let password = desk.read("secrets/pump-17-mqtt/password");
    for log in ["fleet-0", "fleet-1", "fleet-2"] {
        let log = desk.read(&format!("logs/{log}.log"));
        assert!(!log.is_empty() && !log.contains(&password));
    }
    assert!(!printed.contains(&password));
}

#[test]
fn starting_again_keeps_everything_and_writes_no_user_anew() {
    let Some(mut desk) = Desk::with_brokers() else { return };
    desk.up();
    desk.is_ready_within("60s");
    let kept = |desk: &Desk| {
        let cluster = desk.object("mqc", "fleet");
        let nodes: Vec<_> = cluster["status"]["brokers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|broker| broker["nodeID"].clone())
            .collect();
        (
            cluster["status"]["clusterID"].clone(),
            nodes,
            cluster["status"]["endpoints"].clone(),
            desk.read("secrets/pump-17-mqtt/password"),
            desk.read("secrets/fleet-server/tls.crt"),
            desk.read("secrets/fleet-ca/root.key"),
        )
    };
    let written =
        |desk: &Desk, file: &str| std::fs::metadata(desk.state(file)).unwrap().modified().unwrap();
    let user = "objects/default/mqttusers/pump-17.json";
    let (before, at) = (kept(&desk), written(&desk, user));
    desk.stop();
    desk.up();
    desk.is_ready_within("60s");
    assert_eq!(kept(&desk), before);
    assert_eq!(written(&desk, user), at);
}

#[test]
fn a_broker_that_is_killed_is_started_again() {
    let Some(mut desk) = Desk::with_brokers() else { return };
    desk.up();
    desk.is_ready_within("60s");
    let victim = desk.broker_pids()[1];
    signal("KILL", victim);
    desk.until_printed("was ended by signal 9; starting it again in 500 ms");
    desk.until("another process", || !desk.broker_pids().contains(&victim));
    desk.is_ready_within("60s");
}

#[test]
fn brokers_do_not_outlive_an_operator_that_is_killed() {
    let Some(mut desk) = Desk::with_brokers() else { return };
    desk.up();
    desk.is_ready_within("60s");
    let pids = desk.broker_pids();
    assert_eq!(pids.len(), 3);
    signal("KILL", desk.operator_pid());
    desk.ended();
    desk.until("the brokers to end", || !pids.iter().any(|pid| is_alive(*pid)));
    desk.up();
    desk.is_ready_within("60s");
}

#[test]
fn the_leader_is_stopped_last_and_the_exit_code_is_0() {
    let Some(mut desk) = Desk::with_brokers() else { return };
    desk.up();
    desk.is_ready_within("60s");
    let cluster = desk.object("mqc", "fleet");
    let brokers = cluster["status"]["brokers"].as_array().unwrap();
    let leader = brokers.iter().find(|broker| broker["role"] == "Leader").unwrap();
    let leader = leader["name"].as_str().unwrap().to_owned();
    signal("INT", desk.operator_pid());
    assert_eq!(desk.ended(), Some(0));
    let printed = desk.printed();
    let stopped: Vec<&str> =
        printed.lines().filter(|line| line.contains(": stopped in ")).collect();
    assert_eq!(stopped.len(), 3, "{printed}");
    assert!(stopped[2].contains(&leader), "{printed}");
}

#[test]
fn a_lost_disk_comes_back_under_another_identity() {
    let Some(mut desk) = Desk::with_brokers() else { return };
    desk.up();
    desk.is_ready_within("60s");
    let identity = |desk: &Desk| {
        desk.object("mqc", "fleet")["status"]["brokers"][2]["nodeID"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    let before = identity(&desk);
    desk.stop();
    std::fs::remove_dir_all(desk.state("data/fleet-2")).unwrap();
    desk.up();
    desk.is_ready_within("60s");
    assert_ne!(identity(&desk), before);
    assert!(desk.printed().contains("is no member any more: LostDisk"), "{}", desk.printed());
}

#[test]
fn a_damaged_authority_is_named_and_what_is_there_serves_on() {
    let Some(mut desk) = Desk::with_brokers() else { return };
    desk.up();
    desk.is_ready_within("60s");
    desk.stop();
    let ca = desk.read("secrets/fleet-ca/root.crt");
    std::fs::write(desk.state("secrets/fleet-ca/root.crt"), "nothing").unwrap();
    desk.up();
    desk.until("a condition", || {
        let (status, message) = desk.condition("mqc", "fleet", "CertificatesValid");
        status == "False" && message.contains("root.crt")
    });
    desk.until("the brokers to serve", || desk.condition("mqc", "fleet", "Available").0 == "True");
    assert_eq!(desk.read("secrets/fleet-ca/root.crt"), "nothing", "it is not replaced");
    desk.stop();
    std::fs::write(desk.state("secrets/fleet-ca/root.crt"), ca).unwrap();
    desk.up();
    desk.is_ready_within("60s");
}
