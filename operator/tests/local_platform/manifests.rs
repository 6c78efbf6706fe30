//! Edits while it runs: enforced when they are good, said what to change when they are not.

use crate::support::{Desk, is_alive};

#[test]
fn edits_additions_and_deletions_are_enforced_and_told_in_one_line_each() {
    let Some(mut desk) = Desk::with_brokers() else { return };
    desk.up();
    desk.is_ready_within("60s");
    desk.until_printed("Ctrl-C stops");
    let revision = |desk: &Desk| desk.object("mqa", "pumps")["status"]["revision"].clone();
    let before = revision(&desk);

    desk.edit("acl.yaml", "telemetry", "measurements");
    desk.until_printed("MqttAcl pumps changed (acl.yaml): enforced by all 3 brokers in ");
    desk.is_ready_within("30s");
    assert_ne!(revision(&desk), before);

    desk.write(
        "more.yaml",
        "apiVersion: mqtt.dunlin.io/v1alpha1\nkind: MqttUser\nmetadata: {name: pump-18, labels: {kind: pump}}\nspec: {clusterRef: {name: fleet}}\n",
    );
    desk.until_printed("MqttUser pump-18 created (more.yaml): enforced by all 3 brokers in ");
    desk.is_ready_within("30s");
    assert_eq!(desk.object("mqa", "pumps")["status"]["subjects"], 2);
    assert!(desk.state("secrets/pump-18-mqtt/password").exists());

    desk.remove("more.yaml");
    desk.until_printed("MqttUser pump-18 deleted (more.yaml): enforced by all 3 brokers in ");
    assert!(!desk.state("secrets/pump-18-mqtt").exists());
    assert!(!desk.state("objects/default/mqttusers/pump-18.json").exists());
}

#[test]
fn a_bad_manifest_says_what_to_change_and_stops_nothing_else() {
    let Some(mut desk) = Desk::with_brokers() else { return };
    desk.up();
    desk.is_ready_within("60s");
    desk.edit("users.yaml", "password: {}", "password: {}\n    x509: {}");
    desk.until_printed("authentication takes exactly one of password and x509");
    desk.edit("acl.yaml", "telemetry", "measurements");
    desk.until_printed("MqttAcl pumps changed (acl.yaml): enforced");
    let status = desk.run("status", &[]);
    assert!(!status.status.success());
    assert!(String::from_utf8_lossy(&status.stdout).contains("refused: users.yaml:"));
    desk.edit("users.yaml", "password: {}\n    x509: {}", "password: {}");
    desk.until_printed("nothing is wrong with them any more");
    desk.is_ready_within("30s");
}

#[test]
fn manifests_that_are_wrong_from_the_start_are_told_one_by_one_and_the_others_run() {
    let Some(mut desk) = Desk::with_brokers() else { return };
    let head = "apiVersion: mqtt.dunlin.io/v1alpha1\nkind: ";
    desk.write("no-yaml.yaml", "kind: [\n");
    desk.write("empty.yaml", "");
    std::fs::write(desk.manifest("no-text.yaml"), [0xFF, 0xFE, 0x00]).unwrap();
    std::fs::create_dir(desk.manifest("folder.yaml")).unwrap();
    desk.write(
        "typo.yaml",
        &format!("{head}MqttUser\nmetadata: {{name: typo}}\nspec: {{clusterRef: {{name: fleet}}, grups: [a]}}\n"),
    );
    desk.write(
        "filter.yaml",
        &format!(
            "{head}MqttAcl\nmetadata: {{name: filter}}\nspec:\n  clusterRef: {{name: fleet}}\n  subjects: [{{user: pump-17}}]\n  \
             rules: [{{effect: Allow, actions: [Publish], topics: [\"a/#/b\"]}}]\n"
        ),
    );
    desk.write(
        "even.yaml",
        &format!(
            "{head}MqttCluster\nmetadata: {{name: even}}\nspec: {{version: 0.1.0, replicas: 2}}\n"
        ),
    );
    let wrong = [
        ("no-yaml.yaml:", "no YAML"),
        ("no-text.yaml: ", "UTF-8"),
        ("typo.yaml:", "spec.grups"),
        ("filter.yaml:", "#"),
        ("even.yaml:", "spec.replicas"),
    ];
    desk.up();
    desk.until("the others to be Ready", || desk.condition("mqa", "pumps", "Ready").0 == "True");
    let printed = desk.printed();
    let status = desk.run("status", &["--wait", "1s"]);
    let status = String::from_utf8_lossy(&status.stdout).into_owned();
    for (file, what) in wrong {
        for text in [&printed, &status] {
            let told = text.lines().any(|line| line.contains(file) && line.contains(what));
            assert!(told, "{file} {what} is not in:\n{text}");
        }
    }
    // Each put right is taken, the last one too.
    desk.edit("filter.yaml", "a/#/b", "a/b/#");
    desk.until("the rule to be Ready", || desk.condition("mqa", "filter", "Ready").0 == "True");
    for (file, _) in wrong {
        if !file.starts_with("filter") {
            desk.remove(file.trim_end_matches([':', ' ']));
        }
    }
    desk.until_printed("nothing is wrong with them any more");
    desk.is_ready_within("30s");
}

#[test]
fn what_only_the_operator_can_see_becomes_a_condition_of_that_object() {
    let Some(mut desk) = Desk::with_brokers() else { return };
    desk.write(
        "odd.yaml",
        "apiVersion: mqtt.dunlin.io/v1alpha1\nkind: MqttUser\nmetadata: {name: chosen}\nspec: {clusterRef: {name: fleet}, authentication: {password: {secretRef: {name: chosen}}}}\n\
         ---\napiVersion: mqtt.dunlin.io/v1alpha1\nkind: MqttUser\nmetadata: {name: lost}\nspec: {clusterRef: {name: elsewhere}}\n",
    );
    desk.up();
    desk.until("the user to have a condition", || {
        desk.condition("mqu", "chosen", "Ready").1.contains("the Secret chosen is not there")
    });
    assert!(desk.condition("mqu", "lost", "Ready").1.contains("elsewhere"));
    desk.until("the others to be Ready", || desk.condition("mqu", "pump-17", "Ready").0 == "True");
    desk.write("secret.yaml", "apiVersion: v1\nkind: Secret\nmetadata: {name: chosen}\nstringData: {password: tea at five}\n");
    desk.until("the user to be Ready", || desk.condition("mqu", "chosen", "Ready").0 == "True");
    assert_eq!(desk.read("secrets/chosen-mqtt/password"), "tea at five");
}

#[test]
fn another_version_becomes_a_condition() {
    let Some(mut desk) = Desk::with_brokers() else { return };
    desk.up();
    desk.is_ready_within("60s");
    desk.edit("cluster.yaml", "version: 0.1.0", "version: 0.2.0");
    desk.until("a condition", || {
        desk.condition("mqc", "fleet", "Upgrading").1.contains("set spec.version to that")
    });
    assert_eq!(desk.condition("mqc", "fleet", "Ready").0, "False");
    desk.edit("cluster.yaml", "version: 0.2.0", "version: 0.1.0");
    desk.is_ready_within("30s");
}

#[test]
fn brokers_are_added_and_removed_while_the_others_run_on() {
    let Some(mut desk) = Desk::with_brokers() else { return };
    desk.up();
    desk.is_ready_within("60s");
    let before = desk.broker_pids();
    desk.edit("cluster.yaml", "replicas: 3", "replicas: 5");
    desk.until_printed("MqttCluster fleet changed (cluster.yaml): in force after ");
    desk.is_ready_within("60s");
    let with_five = desk.broker_pids();
    assert_eq!((with_five.len(), &with_five[..3]), (5, &before[..]), "nobody was restarted");
    let aligned = desk.condition("mqc", "fleet", "MembersAligned");
    assert_eq!(aligned, ("True".to_owned(), "3 of 5 brokers vote, the others follow".to_owned()));
    assert_eq!(desk.object("mqc", "fleet")["status"]["readyBrokers"], "5/5");

    desk.edit("cluster.yaml", "replicas: 5", "replicas: 5\n  voters: 5");
    desk.until("all to vote", || {
        desk.condition("mqc", "fleet", "MembersAligned").1 == "every broker has its vote"
    });
    desk.edit("cluster.yaml", "replicas: 5\n  voters: 5", "replicas: 3");
    desk.until("the two to end", || with_five[3..].iter().all(|pid| !is_alive(*pid)));
    desk.is_ready_within("60s");
    assert!(before.iter().all(|pid| is_alive(*pid)), "the others ran on");
    assert_eq!(desk.object("mqc", "fleet")["status"]["brokers"].as_array().unwrap().len(), 3);
    let printed = desk.printed();
    for step in ["fleet-4: follows without a vote: NotWanted", "is no member any more: NotWanted"] {
        assert!(printed.contains(step), "{step} in\n{printed}");
    }
}

#[test]
fn another_configuration_restarts_the_brokers_one_at_a_time() {
    let Some(mut desk) = Desk::with_brokers() else { return };
    desk.edit("cluster.yaml", "replicas: 3", "replicas: 3\n  rollout: {minimumStable: 1s}");
    desk.up();
    desk.is_ready_within("60s");
    let before = desk.broker_pids();
    desk.edit("cluster.yaml", "rollout:", "sessions: {inflightMax: 50}\n  rollout:");
    desk.until_printed("MqttCluster fleet changed (cluster.yaml): in force after ");
    desk.is_ready_within("30s");
    let after = desk.broker_pids();
    assert!(before.iter().all(|pid| !after.contains(pid)), "{before:?} {after:?}");
    let printed = desk.printed();
    let restarts = printed.lines().filter(|line| line.contains("is restarted: TemplateChanged"));
    assert_eq!(restarts.count(), 3, "{printed}");
}

#[test]
fn a_deleted_cluster_stops_its_brokers_and_comes_back_with_all_it_had() {
    let Some(mut desk) = Desk::with_brokers() else { return };
    desk.up();
    desk.is_ready_within("60s");
    let id = desk.object("mqc", "fleet")["status"]["clusterID"].clone();
    let text = "apiVersion: mqtt.dunlin.io/v1alpha1\nkind: MqttCluster\nmetadata: {name: fleet}\nspec: {version: 0.1.0, replicas: 3}\n";
    desk.remove("cluster.yaml");
    desk.until_printed("deleted: its brokers are stopped");
    desk.until("the brokers to end", || desk.printed().matches(": stopped in ").count() == 3);
    desk.write("cluster.yaml", text);
    desk.until("the cluster to be Ready", || desk.condition("mqc", "fleet", "Ready").0 == "True");
    assert_eq!(desk.object("mqc", "fleet")["status"]["clusterID"], id);
    desk.is_ready_within("30s");
}
